"""The best k: a sort written out, ties by number, places by the first maximum."""

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retroscope.scanning.statistics.extreme_positions import peak_positions, trough_positions
from retroscope.scanning.statistics.summary import summarise
from retroscope.scanning.statistics.topk import TopK

NOWHERE = torch.tensor([[0]])
SCORES = st.lists(st.integers(-3, 3), min_size=1, max_size=20)


def rank_scores(scores: list[int], numbers: list[int], count: int) -> TopK:
    """One channel, a picture at a time."""
    best = TopK.empty(1, count)
    for score, number in zip(scores, numbers, strict=True):
        best = best.add(torch.tensor([[float(score)]]), torch.tensor([number]), NOWHERE)
    return best


@given(SCORES, st.integers(1, 9), st.randoms())
def test_the_best_are_those_of_a_sort(scores: list[int], count: int, random: Random) -> None:
    numbers = list(range(len(scores)))
    random.shuffle(numbers)
    best = rank_scores(scores, numbers, count)
    pairs = sorted(zip([-score for score in scores], numbers, strict=True))[:count]
    taken = best.image[0] >= 0
    assert best.image[0][taken].tolist() == [number for _, number in pairs]
    assert best.score[0][taken].tolist() == [-score for score, _ in pairs]


def test_an_empty_slot_has_no_image_no_position_and_the_lowest_score() -> None:
    best = rank_scores([5], [7], 3)
    assert best.image.tolist() == [[7, -1, -1]]
    assert best.position.tolist() == [[0, -1, -1]]
    assert best.score.tolist() == [[5, -torch.inf, -torch.inf]]


@given(st.lists(st.sampled_from([-2.0, 0, 1, 3, np.nan, np.inf, -np.inf]), min_size=6, max_size=6))
def test_the_position_is_that_of_the_first_highest_finite_value(values: list[float]) -> None:
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return
    maps = torch.tensor(values).reshape(1, 1, 2, 3)
    found = peak_positions(maps, torch.tensor([[True]]), finite=len(finite) == len(values))
    assert found.item() == values.index(max(finite))


@given(
    st.lists(st.sampled_from([-2.0, 0, 1, 3, np.nan, np.inf, -np.inf]), min_size=6, max_size=6),
    st.sampled_from([torch.channels_last, torch.contiguous_format]),
    st.lists(st.sampled_from([-np.inf, -3.0, -1, 0, 2, 5]), min_size=3, max_size=3),
)
def test_a_minimum_that_enters_a_ranking_has_the_position_of_the_first_lowest_finite_value(
    values: list[float], layout: torch.memory_format, depths: list[float]
) -> None:
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return
    maps = torch.tensor(values).reshape(1, 1, 2, 3).expand(2, 3, 2, 3)
    maps = maps.contiguous(memory_format=layout)
    images, last = torch.tensor([0, 2]), torch.tensor(depths, dtype=torch.float64)[:, None]
    ranking = TopK(last, torch.where(last.isfinite(), 1, -1), torch.zeros(3, 1, dtype=torch.int64))
    summary = summarise(maps)
    mask = ranking.entry_mask(summary.depth, images)
    found = summary.troughs
    if found is None:
        found = trough_positions(maps, mask, finite=summary.is_finite)
        assert (found[~mask] == -1).all()
    assert (found[mask] == values.index(min(finite))).all()


def test_positions_are_looked_up_only_under_the_mask() -> None:
    maps = torch.tensor([[[[0.0, 5]], [[5.0, 0]]], [[[5.0, 0]], [[0.0, 5]]]])
    wanted = torch.tensor([[True, False], [False, True]])
    assert peak_positions(maps, wanted, finite=True).tolist() == [[1, -1], [-1, 1]]


def test_a_score_enters_if_it_beats_the_last_or_ties_with_a_lower_image() -> None:
    best = TopK.empty(2, 1)
    first, images = torch.tensor([[5.0, 5]]), torch.tensor([3])
    assert best.entry_mask(first, images).tolist() == [[True, True]]
    best = best.add(first, images, torch.zeros(1, 2, dtype=torch.int64))
    later = torch.tensor([[4.0, 6], [5, 5]])
    assert best.entry_mask(later, torch.tensor([0, 4])).tolist() == [[False, True], [False, False]]
    assert best.entry_mask(later, torch.tensor([0, 2])).tolist() == [[False, True], [True, True]]
    never = torch.tensor([[-torch.inf, torch.nan]])
    assert best.entry_mask(never, torch.tensor([0])).tolist() == [[False, False]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scores_of_any_float_are_kept_exactly(dtype: torch.dtype) -> None:
    score = torch.tensor([[0.1]], dtype=dtype)
    best = TopK.empty(1, 1).add(score, torch.tensor([0]), NOWHERE)
    assert best.score.item() == score.item()
