"""Scores over images: a perfect explainer, one that says nothing, thresholds and intervals."""

from math import isnan

import numpy as np
import pytest

from retroscope.accountability.part_removals import ClassContrast, PartRemovals
from retroscope.accountability.protocol_scores import (
    COLUMNS,
    ProtocolScore,
    hold_to_account,
    score_shares,
)
from retroscope.accountability.protocols import Shares
from retroscope.errors import RetroscopeError
from retroscope.imaging.decoding import RGB
from tests.accountability.removals import SIDE, additive

DECIDED_BY_A = additive(
    [10, 0.2, 0, 0],
    [0, 0, 0, 0],
    [0, 3, 1, 0],
    [0, 1, 3, 0],
    rest=[0, 5, -9, -9],
    contrast=ClassContrast(2, 3, 1, 2),
)
"""Class 0 for its first part; the second and third tell classes 2 and 3 apart."""


def values(scores: dict[str, ProtocolScore]) -> dict[str, float]:
    return {name: score.value for name, score in scores.items()}


def true_drops(removals: PartRemovals, target: int) -> Shares:
    drops = removals.drops(target)
    shares: Shares = drops / drops.sum()
    return shares


def test_an_explainer_that_knows_the_drops_is_perfect() -> None:
    assert values(score_shares(true_drops, [DECIDED_BY_A] * 4)) == dict.fromkeys(COLUMNS, 1.0)


def test_an_explainer_that_treats_all_parts_alike_is_at_one_half() -> None:
    scores = values(score_shares(lambda _removals, _target: np.full(4, 0.2), [DECIDED_BY_A] * 4))
    assert [scores[name] for name in COLUMNS[4:]] == [0.5] * 4


def test_an_explainer_that_reverses_the_drops_is_at_the_bottom() -> None:
    scores = values(score_shares(lambda *args: 1 - true_drops(*args), [DECIDED_BY_A] * 4))
    assert scores["correctness"] == scores["contrastivity"] == 0


def test_heat_at_the_pixels_counts_on_the_masks_of_the_parts() -> None:
    def explain(_image: RGB, target: int) -> np.ndarray:
        """Most heat in the middle of the part that the class depends on most."""
        heat = np.zeros((SIDE, SIDE))
        strengths = {0: (0.9, 0.005, 0, 0), 2: (0, 0.6, 0.4, 0), 3: (0, 0.4, 0.6, 0)}[target]
        for number, strength in enumerate(strengths):
            heat[3 * number + 1, 3 * number + 1] = strength
        return heat

    scores = values(hold_to_account(explain, [DECIDED_BY_A] * 2))
    assert scores == dict.fromkeys(COLUMNS, 1.0)


def test_the_threshold_of_an_image_is_the_best_for_the_other_half() -> None:
    """The first half would need a threshold from 0.2, the second one below 0.15.

    With each other's thresholds the first names all parts, the second none.
    """
    removals = [additive([10, 0], [0, 0], rest=[0, 5]) for _ in range(4)]
    shares = dict(zip(map(id, removals), [(0.4, 0.2)] * 2 + [(0.15, 0.05)] * 2, strict=True))
    scores = values(score_shares(lambda image, _target: np.array(shares[id(image)]), removals))
    assert [scores[name] for name in COLUMNS[:5]] == [0.5] * 5


def test_an_interval_is_over_images() -> None:
    good, bad = (additive(row, [0, 0], rest=[0, 5]) for row in ([10, 0], [0, 10]))
    scores = score_shares(lambda _removals, _target: np.array([0.4, 0.0]), [good, bad] * 10)
    score = scores["correctness"]
    assert (score.value, score.images) == (0.5, 20)
    assert 0.2 < score.low < 0.4
    assert 0.6 < score.high < 0.8
    same = score_shares(lambda _removals, _target: np.array([0.4, 0.0]), [good] * 10)["correctness"]
    assert (same.low, same.value, same.high) == (1, 1, 1)


def test_what_no_image_defines_has_no_score_and_does_not_count() -> None:
    removals = additive([10, 4], [0, 0], rest=[0, 5])  # no contrast, and no irrelevant part
    scores = score_shares(lambda _removals, _target: np.array([0.4, 0.3]), [removals] * 2)
    assert isnan(scores["contrastivity"].value)
    assert isnan(scores["distractibility"].value)
    assert scores["contrastivity"].images == 0
    assert scores["mean"].value == 1


def test_one_image_has_no_interval() -> None:
    score = score_shares(true_drops, [DECIDED_BY_A])["correctness"]
    assert score.value == 1
    assert isnan(score.low)
    assert isnan(score.high)


def test_no_images_are_refused() -> None:
    with pytest.raises(RetroscopeError, match="no images to explain"):
        score_shares(true_drops, [])
