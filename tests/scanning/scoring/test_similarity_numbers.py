"""Numbers about similar images, against loops over all pairs and over the draws."""

from math import isnan, nan

import numpy as np
import numpy.typing as npt
import pytest

from retroscope.scanning.scoring.intervals import mean_interval
from retroscope.scanning.scoring.similarity_numbers import (
    interpretability,
    monosemanticity,
    unit_vectors,
)

Values = npt.NDArray[np.float64]


def embeddings(count: int, seed: int = 0) -> Values:
    return unit_vectors(np.random.default_rng(seed).normal(size=(count, 5)))


def slow_monosemanticity(maxima: Values, vectors: Values) -> float:
    scaled = (maxima - maxima.min()) / (maxima.max() - maxima.min())
    above = below = 0.0
    for n in range(len(maxima)):
        for m in range(len(maxima)):
            if n != m:
                above += scaled[n] * scaled[m] * (vectors[n] @ vectors[m])
                below += scaled[n] * scaled[m]
    return above / below


def test_monosemanticity_is_the_weighted_mean_over_pairs() -> None:
    vectors = embeddings(12)
    maxima = np.random.default_rng(1).normal(size=(12, 3)).round(1)
    scores = monosemanticity(maxima, vectors)
    for column, found in zip(maxima.T, scores, strict=True):
        assert found.value == pytest.approx(slow_monosemanticity(column, vectors))
        assert found.low < found.value < found.high
    pairs = [vectors[n] @ vectors[m] for n in range(12) for m in range(12) if n != m]
    assert scores[0].chance == pytest.approx(np.mean(pairs))


def test_monosemanticity_of_equal_images_is_one() -> None:
    vectors = np.tile(unit_vectors(np.array([[3.0, 4.0]])), (5, 1))
    (found,) = monosemanticity(np.arange(5.0)[:, None], vectors)
    assert found.value == pytest.approx(1)
    assert found.chance == pytest.approx(1)


@pytest.mark.parametrize("maxima", [[2.0, 2.0, 2.0], [1.0, nan, 2.0], [4.0]])
def test_monosemanticity_is_undefined_without_two_different_maxima(maxima: list[float]) -> None:
    (found,) = monosemanticity(np.array(maxima)[:, None], embeddings(len(maxima)))
    assert isnan(found.value)


def slow_interpretability(maxima: Values, vectors: Values) -> float:
    """For maxima without ties."""
    ranked = sorted(range(len(maxima)), key=lambda image: maxima[image])
    draws = min(20, len(maxima) // 2 - 9)
    weak, strong = ranked[:9], ranked[::-1][:9]

    def closeness(query: int) -> float:
        to_strong = np.mean([vectors[query] @ vectors[other] for other in strong])
        to_weak = np.mean([vectors[query] @ vectors[other] for other in weak])
        return float(to_strong - to_weak)

    right = 0
    for draw in range(9, 9 + draws):
        right += closeness(ranked[::-1][draw]) > closeness(ranked[draw])
    return right / draws


@pytest.mark.parametrize("count", [20, 31, 58, 80])
def test_interpretability_is_the_share_of_draws_that_are_right(count: int) -> None:
    vectors, maxima = embeddings(count), np.random.default_rng(2).permutation(count) / 7
    found = interpretability(maxima, vectors)
    assert found.value == pytest.approx(slow_interpretability(maxima, vectors))
    assert found.chance == 0.5


def test_a_unit_of_two_kinds_of_images_is_interpretable() -> None:
    kinds = np.repeat(np.eye(2), 40, axis=0)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(80, 2))
    maxima = np.repeat([1.0, 5.0], 40)
    assert interpretability(maxima, unit_vectors(kinds + noise)).value == 1


def test_equal_maxima_do_not_favour_the_first_images() -> None:
    """The first images are of one kind, as in folders of classes: ranks by number would show it."""
    kinds = np.repeat(np.eye(8), 25, axis=0)
    maxima = np.zeros(200)
    maxima[np.random.default_rng(3).permutation(200)[:100]] = 1.0
    values = [interpretability(maxima, kinds, seed).value for seed in range(30)]
    assert abs(np.mean(values) - 0.5) < 0.1


@pytest.mark.parametrize("maxima", [np.ones(40), np.arange(19.0), np.array([nan, *range(40)])])
def test_interpretability_is_undefined_for_constant_few_and_broken_maxima(maxima: Values) -> None:
    assert isnan(interpretability(maxima, embeddings(len(maxima))).value)


def test_a_tie_is_half_right() -> None:
    same = np.ones((40, 1))
    assert interpretability(np.arange(40.0), same).value == 0.5


def test_an_interval_encloses_the_mean_and_is_the_same_each_time() -> None:
    values = np.random.default_rng(0).normal(size=200)
    low, high = mean_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.15)
    assert mean_interval(values) == (low, high)
    assert mean_interval(np.append(values, nan)) == (low, high)
