"""The protocols of FunnyBirds for one image: parts that an explanation names, and removed parts.

Hesse, Schaub-Meyer and Roth, ICCV 2023, sections 4.2 to 4.4, and the authors' code. An explanation
names a part if the share of its heat on the part is above a threshold. Where the world forces
another definition, `docs/accountability.md` says so.
"""

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from retroscope.accountability.part_removals import Masks, PartRemovals, PartSet
from retroscope.accountability.rank_correlation import rank_correlation
from retroscope.errors import RetroscopeError

Shares = npt.NDArray[np.float64]
"""The share of an image's heat on each of its parts."""

RELEVANT_DROP = 0.05
"""A part is irrelevant if the score drops by less than this share of itself without it."""


class CompletenessChecks(NamedTuple):
    """Four checks of the parts that an explanation names, from 0 to 1; NaN if not defined."""

    sufficient_parts: float
    preservation: float
    deletion: float
    distractibility: float


def part_shares(heat: npt.ArrayLike, masks: Masks) -> Shares:
    """The share of the positive heat of an image on each part, whose mask grows by a pixel.

    Masks that grow may overlap. All shares are 0 if there is no positive heat.
    """
    values = np.asarray(heat, np.float64)
    if values.shape != masks.shape[1:]:
        raise RetroscopeError(
            f"the heat has shape {values.shape}, and the image {masks.shape[1:]}; give heat of "
            "the size of the image, such as HeatMap.full()"
        )
    if not np.isfinite(values).all():
        raise RetroscopeError("the heat is not finite everywhere; no part has a share of it")
    positive = np.maximum(values, 0)
    total = float(positive.sum())
    if not total > 0:
        return np.zeros(len(masks))
    return np.array([positive[_grow(mask)].sum() for mask in masks]) / total


def _grow(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask and the eight neighbours of each of its pixels."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    grown: npt.NDArray[np.bool_] = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return grown


def named_parts(shares: Shares, threshold: float) -> PartSet:
    """The parts with a larger share of the heat than the threshold.

    >>> bin(named_parts(np.array([0.5, 0.1, 0.3]), 0.2))
    '0b101'
    """
    return sum(1 << number for number, share in enumerate(shares.tolist()) if share > threshold)


def completeness_checks(removals: PartRemovals, named_parts: PartSet) -> CompletenessChecks:
    """The checks of the parts that an explanation of the prediction names."""
    return CompletenessChecks(
        _sufficient_parts(removals, named_parts),
        float(_keeps_prediction(removals, removals.all_parts ^ named_parts)),
        float(not _keeps_prediction(removals, named_parts)),
        _distractibility(removals, named_parts),
    )


def _keeps_prediction(removals: PartRemovals, removed: PartSet) -> bool:
    return removals.predictions[removed] == removals.predictions[0]


def _sufficient_parts(removals: PartRemovals, named_parts: PartSet) -> float:
    """The share that is named of the sufficient set of which most is named.

    NaN if the rest of the image suffices, so no part needs to be named.
    """
    if 0 in removals.sufficient_sets:
        return nan
    sets = removals.sufficient_sets
    return max((parts & named_parts).bit_count() / parts.bit_count() for parts in sets)


def _distractibility(removals: PartRemovals, named_parts: PartSet) -> float:
    """1 less the share of the irrelevant parts that is named; NaN if all parts are relevant."""
    irrelevant = irrelevant_parts(removals)
    if not irrelevant:
        return nan
    return 1 - (irrelevant & named_parts).bit_count() / irrelevant.bit_count()


def irrelevant_parts(removals: PartRemovals) -> PartSet:
    """The parts without which the score of the prediction rises, or drops by less than 5 %."""
    target = removals.predictions[0]
    threshold = RELEVANT_DROP * abs(float(removals.scores[0, target]))
    drops = removals.drops(target).tolist()
    return sum(1 << number for number, drop in enumerate(drops) if drop < threshold)


def single_deletion(removals: PartRemovals, shares: Shares) -> float:
    """How well the heat on the parts ranks them by the drop of the score without each, from 0 to 1.

    (r + 1) / 2 with Spearman's r, so 0.5 is chance, and an explanation that gives the same to each
    part gets it. NaN if all drops are equal.
    """
    drops = removals.drops(removals.predictions[0])
    if np.ptp(drops) == 0:
        return nan
    correlation = rank_correlation(drops, shares)
    return 0.5 if np.isnan(correlation) else (correlation + 1) / 2


def target_sensitivity(removals: PartRemovals, first: Shares, second: Shares) -> float:
    """Whether an explanation of each of two classes has more heat on the part of this class.

    `first` and `second` are the shares of the explanations of the two classes of the contrast. The
    mean of two comparisons; equal shares count a half. NaN if the image has no contrast.
    """
    contrast = removals.contrast
    if contrast is None:
        return nan
    part, other = contrast.part_of_first, contrast.part_of_second
    wins = _exceeds(first[part], second[part]) + _exceeds(second[other], first[other])
    return wins / 2


def _exceeds(value: float, other: float) -> float:
    return 0.5 if value == other else float(value > other)


def points_at(parts: Sequence[str], shares: Shares, part: str) -> float:
    """Whether a part has more heat than each other part; several with the most share the point.

    >>> points_at(("cup", "watermark"), np.array([0.2, 0.3]), "watermark")
    1.0
    """
    largest = shares == shares.max()
    return float(largest[list(parts).index(part)]) / float(largest.sum())
