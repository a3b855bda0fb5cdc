"""The correlation of a channel's maxima with its best class, against its definition."""

from collections.abc import Sequence
from math import atanh, isnan, nan, sqrt, tanh

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retroscope.scanning.class_correlation import (
    ClassCorrelations,
    MaximaSums,
    correlate_classes,
    expected_best,
)
from retroscope.scanning.statistics.batch_images import SweptImage
from retroscope.scanning.statistics.sweep import Sweep
from tests.scanning.statistics.sweep_definition import add_maps

CLASSES = 3
VALUES = st.integers(-4, 4).map(lambda number: number / 2)
IMAGES = st.lists(st.tuples(VALUES, st.integers(-1, CLASSES - 1)), min_size=1, max_size=12)


def correlate(maxima: Sequence[float], labels: Sequence[int]) -> ClassCorrelations:
    """By a sweep of two batches, merged, of a channel with these maxima."""
    sweeps = []
    for places in (range(0, len(maxima), 2), range(1, len(maxima), 2)):
        sweep = Sweep.empty(1, top=1)
        if places:
            maps = torch.tensor([maxima[place] for place in places])[:, None, None, None]
            swept = [SweptImage(place, place, labels[place]) for place in places]
            sweep = add_maps(sweep, maps, swept)
        sweeps.append(sweep)
    merged = sweeps[1].merge(sweeps[0])
    tables = merged.class_sums.tables(CLASSES)
    return correlate_classes(MaximaSums.of_sweep(merged.channel_sums, tables))


def pearson(maxima: Sequence[float], labels: Sequence[int], label: int) -> float:
    """The correlation of the maxima with 1 for the images of a class and 0 for others."""
    a, b = np.array(maxima), np.array([own == label for own in labels], float)
    if a.std() == 0 or b.std() == 0:
        return nan
    return float(((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std()))


@given(IMAGES)
def test_the_number_is_the_highest_correlation_with_a_class(
    images: list[tuple[float, int]],
) -> None:
    maxima, labels = zip(*images, strict=True)
    expected = [pearson(maxima, labels, label) for label in range(CLASSES)]
    found = correlate(maxima, labels)
    best = max((r for r in expected if not isnan(r)), default=nan)
    if not best > 1e-9:  # none is positive
        assert isnan(found.values[0]) or found.values[0] < 1e-9
        return
    assert found.values[0] == pytest.approx(best, abs=1e-9)
    assert expected[found.labels[0]] == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(
    ("maxima", "labels"),
    [
        ([0.1, 0.1, 0.1, 0.1], [0, 0, 1, 1]),
        ([1e6 + 0.1] * 7, [0, 1, 0, 1, 0, 1, 1]),
        ([1.0, 2.0, 3.0], [0, 0, 0]),
        ([5.0], [0]),
        ([1.0, 2.0], [-1, -1]),
        ([float("nan"), 1.0], [0, 1]),
    ],
    ids=["constant", "constant and large", "one class", "one image", "no class", "one is finite"],
)
def test_without_a_spread_or_a_second_class_there_is_no_number(
    maxima: list[float], labels: list[int]
) -> None:
    found = correlate(maxima, labels)
    for column in (found.values, found.lows, found.highs, found.chances):
        assert isnan(column[0])
    assert found.labels.tolist() == [-1]


def test_only_a_positive_correlation_says_which_class_it_is() -> None:
    """Images without a class fire; those of the only class do not."""
    found = correlate([0.0, 0.0, 5.0, 6.0], [0, 0, -1, -1])
    assert isnan(found.values[0])
    assert found.labels.tolist() == [-1]
    assert found.chances[0] > 0


def test_the_interval_is_that_of_fishers_z() -> None:
    maxima = [0.0, 1.0, 0.5, 3.0, 2.5, 4.0, 1.5, 3.5]
    labels = [0, 0, 0, 1, 1, 1, 0, 0]
    found, r = correlate(maxima, labels), pearson(maxima, labels, 1)
    half = 1.959964 / sqrt(len(maxima) - 3)
    assert found.lows[0] == pytest.approx(tanh(atanh(r) - half), abs=1e-6)
    assert found.highs[0] == pytest.approx(tanh(atanh(r) + half), abs=1e-6)


def test_three_images_are_too_few_for_an_interval() -> None:
    found = correlate([0.0, 1.0, 3.0], [0, 0, 1])
    assert found.values[0] > 0
    assert isnan(found.lows[0])
    assert isnan(found.highs[0])


def test_a_perfect_correlation_has_no_doubt() -> None:
    found = correlate([0.0, 0.0, 0.0, 1.0, 1.0], [0, 0, 0, 1, 1])
    assert (found.values[0], found.lows[0], found.highs[0]) == (1, 1, 1)


@pytest.mark.parametrize(
    "class_images", [[30, 30], [20, 20, 20], [10, 50], [6] * 10, [25, 25]], ids=str
)
def test_chance_is_what_shuffled_labels_reach(class_images: list[int]) -> None:
    """Of 60 images with normal maxima; in the last case, ten have no class."""
    random = np.random.default_rng(1)
    labels = np.repeat(range(len(class_images)), class_images)
    labels = np.concatenate([labels, np.full(60 - len(labels), -1)])
    best = [_best_of_shuffled(random, labels) for _ in range(1500)]
    assert expected_best(60, np.array(class_images, float)) == pytest.approx(
        float(np.mean(best)), rel=0.05
    )


def _best_of_shuffled(random: np.random.Generator, labels: npt.NDArray[np.int64]) -> float:
    maxima, shuffled = random.normal(size=len(labels)), random.permutation(labels)
    indicators = shuffled == np.arange(labels.max() + 1)[:, None]
    centred = indicators - indicators.mean(1, keepdims=True)
    r = centred @ (maxima - maxima.mean()) / (centred.std(1) * maxima.std() * len(labels))
    return float(np.abs(r).max())


def test_a_class_of_all_images_and_one_of_none_are_no_classes() -> None:
    assert isnan(expected_best(4, np.array([4.0, 0.0])))
    assert isnan(expected_best(0, np.array([0.0])))
