"""A sum of real numbers is the same to the last bit, whatever the order and the grouping."""

from fractions import Fraction
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retroscope.scanning.statistics import exact_sums
from retroscope.scanning.statistics.exact_sums import read_sums, sum_exactly

NUMBERS = st.one_of(
    st.floats(-1e6, 1e6),
    st.floats(2.0**-107, 2.0**280),
    st.floats(-(2.0**280), -(2.0**-107)),
    st.just(0.0),
)


def column(numbers: list[float]) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to add: compiled by numba, and by torch."""
    if request.param == "plain":
        monkeypatch.setattr(exact_sums, "compiled_loops", lambda: None)
    else:
        pytest.importorskip("numba")


@given(st.lists(NUMBERS, min_size=1, max_size=12), st.randoms(), st.integers(0, 12))
def test_order_and_grouping_change_no_bit(numbers: list[float], random: Random, cut: int) -> None:
    expected = sum_exactly(column(numbers))
    mixed = random.sample(numbers, len(numbers))
    parts = [part for part in (mixed[:cut], mixed[cut:]) if part]
    total = torch.stack([sum_exactly(column(part)) for part in parts]).sum(0)
    assert total.equal(expected)


@given(st.lists(NUMBERS, min_size=1, max_size=12))
def test_each_number_counts_with_all_its_digits(numbers: list[float]) -> None:
    """Also where large numbers cancel and only a small one is left."""
    found = read_sums(sum_exactly(column(numbers))).item()
    exact = sum(map(Fraction, numbers), Fraction(0))
    assert abs(Fraction(found) - exact) <= abs(exact) / 2**51 + len(numbers) * Fraction(1, 2**107)


def test_what_cancels_leaves_nothing_behind() -> None:
    assert read_sums(sum_exactly(column([1e30, 0.5, -1e30, -3.0]))).tolist() == [-2.5]


def test_whole_numbers_are_exact() -> None:
    numbers = np.random.default_rng(0).integers(-(2**44), 2**44, size=(200, 3))
    found = read_sums(sum_exactly(torch.from_numpy(numbers.astype(np.float64))))
    assert found.tolist() == numbers.sum(0).tolist()


def test_numbers_beyond_the_digits_stay_at_their_end() -> None:
    found = read_sums(sum_exactly(column([float("inf"), 1.0])))
    assert found.item() == 2.0**287
    assert read_sums(sum_exactly(column([-float("inf")]))).item() == -(2.0**287)


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_both_ways_to_add_give_the_same_digits(rows: list[list[float]]) -> None:
    values = torch.tensor(rows, dtype=torch.float64)
    assert sum_exactly(values).equal(exact_sums._sum_columns(values))
