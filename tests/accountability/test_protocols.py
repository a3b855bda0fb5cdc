"""The protocols for one image, against hand-made cases and slow definitions with sets."""

from itertools import chain, combinations, permutations
from math import isnan, nan, sqrt
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retroscope.accountability.part_removals import ClassContrast, PartRemovals
from retroscope.accountability.protocols import (
    completeness_checks,
    irrelevant_parts,
    named_parts,
    part_shares,
    points_at,
    single_deletion,
    target_sensitivity,
)
from retroscope.accountability.rank_correlation import average_ranks, rank_correlation
from retroscope.errors import RetroscopeError
from tests.accountability.removals import SIDE, additive, removals_of

A, B, C = 0b001, 0b010, 0b100
CAT = additive([3, 2, 1], [0, 0, 0], rest=[0, 2.5])
"""Predicted as class 0 while the sum of its parts is above 2.5: for a, or for b with c."""


# The heat on a part


def test_a_share_is_the_positive_heat_on_the_mask_and_its_border() -> None:
    heat = np.full((SIDE, SIDE), -1.0)
    heat[0, 0], heat[3, 3], heat[11, 11] = 2, 5, 3  # (3, 3) touches the first square
    assert part_shares(heat, CAT.masks).tolist() == [0.7, 0.5, 0.0]


def test_even_heat_gives_a_part_the_area_of_its_grown_mask() -> None:
    shares = part_shares(np.ones((SIDE, SIDE)), CAT.masks)
    assert shares.tolist() == [16 / 144, 25 / 144, 25 / 144]


def test_without_positive_heat_no_part_has_a_share() -> None:
    assert part_shares(-np.ones((SIDE, SIDE)), CAT.masks).tolist() == [0, 0, 0]


def test_heat_of_another_size_or_not_finite_is_refused() -> None:
    with pytest.raises(RetroscopeError, match=r"shape \(3, 3\), and the image \(12, 12\); give"):
        part_shares(np.ones((3, 3)), CAT.masks)
    with pytest.raises(RetroscopeError, match="not finite"):
        part_shares(np.full((SIDE, SIDE), nan), CAT.masks)


def test_a_part_is_named_above_the_threshold_not_at_it() -> None:
    assert named_parts(np.array([0.2, 0.3, 0.1]), 0.2) == B


# Completeness


def test_sufficient_sets_are_the_smallest_that_keep_the_prediction() -> None:
    assert CAT.sufficient_sets == (A, B | C)


def test_naming_one_sufficient_set_is_enough() -> None:
    shares = {named: completeness_checks(CAT, named).sufficient_parts for named in range(8)}
    assert shares == {0: 0, A: 1, B: 0.5, C: 0.5, A | B: 1, A | C: 1, B | C: 1, A | B | C: 1}


def test_the_named_parts_keep_the_prediction_and_their_absence_changes_it() -> None:
    assert completeness_checks(CAT, A)[1:3] == (1, 0)  # b and c still suffice
    assert completeness_checks(CAT, B)[1:3] == (0, 0)
    assert completeness_checks(CAT, A | B)[1:3] == (1, 1)


def test_where_the_rest_of_the_image_suffices_no_part_needs_to_be_named() -> None:
    removals = additive([1, 1], [0, 0], rest=[3, 2])
    assert removals.sufficient_sets == (0,)
    assert isnan(completeness_checks(removals, A).sufficient_parts)


def test_a_part_is_irrelevant_if_the_score_loses_less_than_a_twentieth_or_rises() -> None:
    removals = additive([10, 0.4, -3], [0, 0, 0], rest=[2, 0])  # 5 % of 9.4 is 0.47
    assert irrelevant_parts(removals) == B | C
    assert completeness_checks(removals, A).distractibility == 1
    assert completeness_checks(removals, A | C).distractibility == 0.5
    assert completeness_checks(removals, B | C).distractibility == 0


def test_without_irrelevant_parts_nothing_can_distract() -> None:
    assert isnan(completeness_checks(CAT, A).distractibility)


@st.composite
def any_removals(draw: st.DrawFn) -> PartRemovals:
    """Any scores, few different ones, so many are equal."""
    parts = draw(st.integers(1, 4))
    classes = 3
    levels = st.lists(st.integers(-2, 4), min_size=classes, max_size=classes)
    rows = draw(st.lists(levels, min_size=2**parts, max_size=2**parts))
    return removals_of(np.array(rows, np.float64))


def subsets(parts: frozenset[str]) -> list[frozenset[str]]:
    sizes = range(len(parts) + 1)
    return [
        frozenset(names) for names in chain(*(combinations(sorted(parts), size) for size in sizes))
    ]


@settings(max_examples=80)
@given(any_removals(), st.data())
def test_the_checks_are_those_of_sets_of_names(removals: PartRemovals, data: st.DataObject) -> None:
    everything = frozenset(removals.parts)
    named = frozenset(data.draw(st.sets(st.sampled_from(removals.parts))))

    def bits(names: frozenset[str]) -> int:
        return sum(1 << removals.parts.index(name) for name in names)

    def predicted_without(names: frozenset[str]) -> int:
        return int(np.argmax(removals.scores[bits(names)]))

    label = predicted_without(frozenset())
    enough = [kept for kept in subsets(everything) if predicted_without(everything - kept) == label]
    smallest = [kept for kept in enough if not any(other < kept for other in enough)]
    score = removals.scores[0, label]
    irrelevant = {
        name
        for name in everything
        for lost in [score - removals.scores[bits(frozenset({name})), label]]
        if abs(lost) < 0.05 * abs(score) or lost < 0
    }
    checks = completeness_checks(removals, bits(named))
    expected = (
        nan if frozenset() in smallest else max(len(s & named) / len(s) for s in smallest),
        float(predicted_without(everything - named) == label),
        float(predicted_without(named) != label),
        1 - len(named & irrelevant) / len(irrelevant) if irrelevant else nan,
    )
    np.testing.assert_allclose(checks, expected)


# Correctness


def test_the_true_drops_are_perfect_and_their_reverse_is_not() -> None:
    drops = CAT.drops(0)
    assert single_deletion(CAT, drops) == 1
    assert single_deletion(CAT, -drops) == 0


def test_equal_shares_are_chance() -> None:
    assert single_deletion(CAT, np.full(3, 0.2)) == 0.5


def test_equal_shares_of_some_parts_share_their_ranks() -> None:
    """Ranks 3, 1.5, 1.5 against 3, 2, 1."""
    assert single_deletion(CAT, np.array([0.3, 0.1, 0.1])) == pytest.approx((sqrt(3) / 2 + 1) / 2)


def test_over_all_rankings_of_the_parts_the_mean_is_chance() -> None:
    removals = additive([4, 1, 1, 2], [0, 0, 0, 0], rest=[0, 1])  # two drops are equal
    orders = permutations([0.1, 0.2, 0.3, 0.4])
    assert fmean(single_deletion(removals, np.array(order)) for order in orders) == pytest.approx(
        0.5
    )


def test_equal_drops_rank_nothing() -> None:
    assert isnan(single_deletion(additive([1, 1], [0, 0], rest=[0, 1]), np.array([0.1, 0.2])))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9))
def test_rank_correlation_is_the_correlation_of_mean_ranks(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)

    def ranks(values: tuple[int, ...]) -> list[float]:
        return [
            sum(other < value for other in values) + (values.count(value) + 1) / 2
            for value in values
        ]

    assert average_ranks(first).tolist() == ranks(first)
    if len(set(first)) > 1 and len(set(second)) > 1:
        expected = np.corrcoef(ranks(first), ranks(second))[0, 1]
        assert rank_correlation(first, second) == pytest.approx(expected)
    else:
        assert isnan(rank_correlation(first, second))


# Contrastivity

OWL_OR_FISH = additive(
    [3, 2, 1],
    [0, 0, 0],
    rest=[0, 2.5],
    contrast=ClassContrast(1, 2, part_of_first=0, part_of_second=2),
)


def test_heat_on_the_part_of_the_class_in_question_is_sensitive_to_the_target() -> None:
    of_owl, of_fish = np.array([0.3, 0.2, 0.1]), np.array([0.2, 0.5, 0.6])
    assert target_sensitivity(OWL_OR_FISH, of_owl, of_fish) == 1
    assert target_sensitivity(OWL_OR_FISH, of_fish, of_owl) == 0
    assert target_sensitivity(OWL_OR_FISH, of_owl, np.array([0.5, 0.2, 0.3])) == 0.5


def test_the_same_heat_for_all_classes_is_chance() -> None:
    same = np.array([0.3, 0.2, 0.1])
    assert target_sensitivity(OWL_OR_FISH, same, same) == 0.5


def test_without_a_pair_of_classes_there_is_no_contrast() -> None:
    assert isnan(target_sensitivity(CAT, np.ones(3), np.ones(3)))


# The planted watermark


def test_several_parts_with_the_most_heat_share_the_point() -> None:
    parts = ("cup", "handle", "watermark")
    assert points_at(parts, np.array([0.1, 0.0, 0.2]), "watermark") == 1
    assert points_at(parts, np.array([0.2, 0.1, 0.1]), "watermark") == 0
    assert points_at(parts, np.zeros(3), "watermark") == pytest.approx(1 / 3)
