"""The protocols over many images: one score for each, with an interval over images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.accountability.part_removals import PartRemovals
from retroscope.accountability.protocols import (
    CompletenessChecks,
    Shares,
    completeness_checks,
    named_parts,
    part_shares,
    single_deletion,
    target_sensitivity,
)
from retroscope.errors import RetroscopeError
from retroscope.imaging.decoding import RGB
from retroscope.scanning.scoring.intervals import MEAN_DRAWS, tail_interval

Explainer = Callable[[RGB, int], npt.ArrayLike]
"""The heat of a class, by its index, at every pixel of an image (height, width)."""
ShareExplainer = Callable[[PartRemovals, int], Shares]
"""The share of the heat of a class on each part of an image."""

THRESHOLDS = np.linspace(0.01, 0.5, 50)
"""The shares of the heat from which on a part counts as named."""

_CHECKS = CompletenessChecks._fields
COLUMNS = (*_CHECKS, "completeness", "correctness", "contrastivity", "mean")
"""The scores: four checks and the completeness made of them, two more, and the mean of three."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProtocolScore:
    """A score from 0 to 1, and the interval that holds 95 % of bootstrap samples of the images.

    NaN if no image has it; `images` is the number of those that do.
    """

    value: float
    low: float
    high: float
    images: int


def hold_to_account(explain: Explainer, images: Sequence[PartRemovals]) -> dict[str, ProtocolScore]:
    """The scores of a method by the protocols of FunnyBirds, by the names of `COLUMNS`.

    The method explains the prediction of each image, and of some the two classes of their
    contrast. Heat below zero does not count.

    >>> from retroscope import cam, open_model
    >>> from retroscope.accountability import removable_scenes
    >>> net = open_model("demo")
    >>> images = list(removable_scenes(net, 1))
    >>> scores = hold_to_account(lambda image, c: cam(net, image, target=c).full(), images)
    >>> 0 <= scores["correctness"].value <= 1
    True
    """
    return score_shares(
        lambda removals, target: part_shares(explain(removals.pixels, target), removals.masks),
        images,
    )


def score_shares(
    explain: ShareExplainer, images: Sequence[PartRemovals]
) -> dict[str, ProtocolScore]:
    """As `hold_to_account`, for a method that says the share of each part itself."""
    if not images:
        raise RetroscopeError("no images to explain; give at least one")
    shares = [explain(removals, removals.predictions[0]) for removals in images]
    values = np.column_stack(
        [
            _checks_at_chosen_thresholds(images, shares),
            list(map(single_deletion, images, shares)),
            [_target_sensitivity(explain, removals) for removals in images],
        ]
    )
    samples = np.random.default_rng(0).integers(len(images), size=(MEAN_DRAWS, len(images)))
    defined = np.isfinite(values)
    means = combine_columns(_column_means(values))
    intervals = combine_columns(_column_means(values[samples]))
    if len(images) < 2:
        intervals = np.full_like(intervals, np.nan)
    counts = defined.sum(axis=0).tolist()
    images_of = [*counts[:4], max(counts[:4]), *counts[4:], len(images)]
    return {
        name: ProtocolScore(float(mean), *tail_interval(sample), images=image_count)
        for name, mean, sample, image_count in zip(
            COLUMNS, means, intervals.T, images_of, strict=True
        )
    }


def _target_sensitivity(explain: ShareExplainer, removals: PartRemovals) -> float:
    contrast = removals.contrast
    if contrast is None:
        return float("nan")
    first, second = explain(removals, contrast.first), explain(removals, contrast.second)
    return target_sensitivity(removals, first, second)


def _checks_at_chosen_thresholds(
    images: Sequence[PartRemovals], shares: Sequence[Shares]
) -> Values:
    """The four checks of each image, at the best threshold for the other half of the images.

    The best threshold has the highest completeness; of several, it is the lowest.
    """
    checks = np.array(
        [
            [
                completeness_checks(removals, named_parts(parts, threshold))
                for threshold in THRESHOLDS
            ]
            for removals, parts in zip(images, shares, strict=True)
        ]
    )
    halves = np.arange(len(images)) * 2 // len(images)
    chosen = np.empty((len(images), len(_CHECKS)))
    for half in (0, 1):
        others = checks[halves != half] if (halves != half).any() else checks
        best = int(_completeness(_column_means(others.transpose(1, 0, 2))).argmax())
        chosen[halves == half] = checks[halves == half, best]
    return chosen


def _column_means(values: Values) -> Values:
    """The means over the images (..., images, columns); NaN values do not count."""
    defined = np.isfinite(values)
    counts = defined.sum(axis=-2)
    sums = np.where(defined, values, 0).sum(axis=-2)
    means: Values = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means


def _completeness(checks: Values) -> Values:
    """Half the mean of the first three checks, and half of the distractibility (..., 4).

    A check that no image defines does not count; nor does a half without any.
    """
    first = _mean_of_defined(checks[..., :3])
    return _mean_of_defined(np.stack([first, checks[..., 3]], axis=-1))


def _mean_of_defined(values: Values) -> Values:
    return _column_means(values[..., None])[..., 0]


def combine_columns(means: Values) -> Values:
    """The columns of `COLUMNS` from the means of the checks, correctness and contrastivity."""
    completeness = _completeness(means[..., :4])
    scores = np.stack([completeness, means[..., 4], means[..., 5]], axis=-1)
    columns: Values = np.concatenate(
        [means[..., :4], scores, _mean_of_defined(scores)[..., None]], axis=-1
    )
    return columns
