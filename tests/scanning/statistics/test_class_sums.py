"""The sums of a class are the same to the last bit, in any order and grouping, and near the truth.

What they must be is computed with integers of Python, which never round.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import frexp, inf, isfinite
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from retroscope.scanning.statistics import class_sums
from retroscope.scanning.statistics.class_sums import CLASS_BYTES, ClassRow, ClassSums
from retroscope.scanning.statistics.summary import summarise

CLASSES, CHANNELS = 3, 2
ANY_FLOAT32 = st.floats(width=32, allow_subnormal=True)
"""Also zeros of both signs, infinities and NaN."""
FAR_APART = st.builds(
    lambda sign, power: sign * 2.0**power, st.sampled_from([-1, 1]), st.integers(-126, 127)
)
MAXIMA = st.one_of(ANY_FLOAT32, FAR_APART, st.floats(-8, 8, width=32))
IMAGES = st.lists(
    st.tuples(st.integers(-1, CLASSES - 1), st.tuples(*[MAXIMA] * CHANNELS)),
    min_size=1,
    max_size=12,
)
Images = Sequence[tuple[int, Sequence[float]]]
"""The class of each image, and the only value of each of its maps."""


@pytest.fixture(params=["loop", "torch", "torch for a GPU"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The three ways to add a batch."""
    if request.param == "loop":
        pytest.importorskip("numba")
    elif request.param == "torch":
        monkeypatch.setattr(class_sums, "compiled_loops", lambda: None)
    else:
        monkeypatch.setattr(ClassSums, "_add_labelled", ClassSums._add_together)
    return str(request.param)


def add(sums: ClassSums, images: Images, dtype: torch.dtype = torch.float32) -> ClassSums:
    if not images:
        return sums
    maps = torch.tensor([values for _, values in images], dtype=dtype)[..., None, None]
    return sums.add(summarise(maps), [label for label, _ in images])


def sums_of(images: Images, dtype: torch.dtype = torch.float32) -> ClassSums:
    return add(ClassSums.empty(CHANNELS), images, dtype)


def assert_same(first: ClassSums, second: ClassSums) -> None:
    tensors, others = first.to_tensors(), second.to_tensors()
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == others[name].dtype
        assert tensor.equal(others[name]), name


@given(IMAGES, st.randoms(), st.lists(st.integers(0, 12), max_size=4))
def test_order_and_grouping_change_no_bit(images: Images, random: Random, cuts: list[int]) -> None:
    mixed = random.sample(images, len(images))
    edges = [0, *sorted(cuts), len(images)]
    sums = ClassSums.empty(CHANNELS)
    for start, stop in pairwise(edges):
        sums = add(sums, mixed[start:stop])
    assert_same(sums, sums_of(images))


@given(IMAGES, st.randoms())
def test_image_by_image_gives_the_same_as_all_at_once(images: Images, random: Random) -> None:
    sums = ClassSums.empty(CHANNELS)
    for image in random.sample(images, len(images)):
        sums = add(sums, [image])
    assert_same(sums, sums_of(images))


@given(IMAGES, IMAGES, IMAGES)
def test_merging_is_associative_and_commutative(a: Images, b: Images, c: Images) -> None:
    first, second, third = sums_of(a), sums_of(b), sums_of(c)
    everything = sums_of([*a, *b, *c])
    assert_same(first.merge(second).merge(third), everything)
    assert_same(first.merge(second.merge(third)), everything)
    assert_same(third.merge(first).merge(second), everything)


@given(IMAGES)
def test_no_image_is_neutral(images: Images) -> None:
    sums, nothing = sums_of(images), ClassSums.empty(CHANNELS)
    assert_same(sums.merge(nothing), sums)
    assert_same(nothing.merge(sums), sums)


@given(IMAGES, IMAGES)
def test_stored_tensors_go_on_where_the_sums_were(before: Images, after: Images) -> None:
    restored = ClassSums.from_tensors(sums_of(before).to_tensors())
    assert_same(add(restored, after), sums_of([*before, *after]))


@given(IMAGES, st.sampled_from([torch.bfloat16, torch.float16, torch.float64]))
def test_maps_of_any_precision_are_summed_without_rounding(
    images: Images, dtype: torch.dtype
) -> None:
    """Narrow values are float32 as well; so are these float64."""
    narrow = torch.tensor([values for _, values in images]).to(dtype).float().tolist()
    labels = [label for label, _ in images]
    rounded = list(zip(labels, narrow, strict=True))
    assert_same(sums_of(rounded, dtype), sums_of(rounded))


@given(IMAGES)
def test_the_mean_is_near_the_true_one(images: Images) -> None:
    """By less than 2**-31 of the largest maximum, as the docstring says."""
    tables = sums_of(images).tables(CLASSES)
    for label in range(CLASSES):
        for channel in range(CHANNELS):
            values = [values[channel] for own, values in images if own == label]
            values = [value for value in values if isfinite(value)]
            assert tables.images[label, channel] == len(values)
            assert tables.fired_images[label, channel] == sum(value > 0 for value in values)
            mean = tables.mean_maxima[label, channel].item()
            if not values:
                assert mean == -inf
                continue
            true_mean = sum(map(Fraction, values), Fraction(0)) / len(values)
            largest = Fraction(max(map(abs, values)))
            assert abs(Fraction(mean) - true_mean) <= largest / 2**31


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_the_digits_are_those_of_the_values_on_one_grid(values: list[float]) -> None:
    """Of each value the two digits at and below the one in which the largest begins."""
    row = sums_of([(0, [value] * CHANNELS) for value in values], torch.float64).rows[0]
    largest = max(map(abs, values))
    exponent = frexp(largest)[1] - 1 if largest else -1023
    window = max(exponent + 1023, 0) // 32
    assert row.window.tolist() == [window] * CHANNELS
    assert row.high.tolist() == [sum(digit(value, window) for value in values)] * CHANNELS
    assert row.low.tolist() == [sum(digit(value, window - 1) for value in values)] * CHANNELS


def digit(value: float, place: int) -> int:
    """The digit of 32 bits at this place, whose lowest bit is 2**(32 * place - 1023)."""
    shift = 32 * place - 1023
    magnitude = abs(Fraction(value)) / (Fraction(2) ** shift)
    return (-1 if value < 0 else 1) * (int(magnitude) % 2**32)


def test_what_cancels_leaves_the_small_ones() -> None:
    sums = sums_of([(0, [1e9, 0.0]), (0, [0.5, 0.0]), (0, [-1e9, 0.0])])
    assert sums.tables(1).maxima.tolist() == [[0.5, 0.0]]


def test_a_million_images_do_not_overflow_a_digit() -> None:
    """The largest digits there are, as many times as the counts can hold: merged by doubling."""
    value = float(np.nextafter(np.float32(2), np.float32(0)))
    row = sums_of([(0, [value, -value])]).rows[0]
    for _ in range(30):
        row = row.merge(row)
    assert row.images.tolist() == [2**30] * 2
    assert row.maxima.tolist() == [value * 2**30, -value * 2**30]


def test_an_image_without_a_class_counts_for_none() -> None:
    tables = sums_of([(0, [1, 1]), (2, [-2, 2]), (-1, [4, 4]), (0, [8, 0])]).tables(3)
    assert tables.images.T.tolist() == [[2, 0, 1]] * 2
    assert tables.maxima.T.tolist() == [[9, 0, -2], [1, 0, 2]]
    assert tables.fired_images.T.tolist() == [[2, 0, 0], [1, 0, 1]]


def test_only_the_classes_that_occur_take_memory() -> None:
    sums = sums_of([(7, [1, 1]), (900, [-2, 2]), (-1, [4, 4])])
    assert sorted(sums.rows) == [7, 900]
    assert sum(column.element_size() for column in ClassRow.empty(1).columns) == CLASS_BYTES == 25


def test_a_row_keeps_no_memory_of_other_classes() -> None:
    sums = sums_of([(label, [1, 1]) for label in range(CLASSES)])
    for row in sums.rows.values():
        for column in row.columns:
            assert column.untyped_storage().nbytes() == CHANNELS * column.element_size()


def test_a_batch_changes_only_the_classes_that_occur_in_it() -> None:
    before = sums_of([(0, [1, 1]), (1, [2, 2])])
    after = add(before, [(1, [3, 3])])
    assert after.rows[0] is before.rows[0]
    assert before.tables(2).maxima.tolist() == [[1, 1], [2, 2]]


@given(IMAGES)
def test_a_class_keeps_its_sums_under_another_number(images: Images) -> None:
    assume(all(label >= 0 for label, _ in images))
    numbers = {label: 10 - label for label in range(CLASSES)}
    moved = [(numbers[label], values) for label, values in images]
    assert_same(sums_of(images).renumber(numbers), sums_of(moved))


@given(IMAGES)
def test_the_ways_to_add_agree(images: Images) -> None:
    maps = torch.tensor([values for _, values in images])[..., None, None]
    maxima, labels = summarise(maps).maximum, [label + 1 for label, _ in images]
    nothing = ClassSums.empty(CHANNELS)
    together = ClassSums(nothing.no_image, nothing._add_together(maxima, labels))
    by_class = ClassSums(nothing.no_image, nothing._add_by_class(maxima, labels))
    assert_same(together, by_class)
    assert_same(nothing.add(summarise(maps), labels), by_class)
