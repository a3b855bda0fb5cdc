"""Average precision and intersection over union, against their definitions."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.localiser_scores import (
    Boxes,
    average_precision,
    box_overlaps,
    confusion,
    intersection_over_union,
    match_boxes,
    mean_average_precision,
)

corners = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 6), st.integers(1, 6))


def area_of(box: tuple[int, int, int, int]) -> npt.NDArray[np.bool_]:
    left, top, width, height = box
    area = np.zeros((16, 16), bool)
    area[top : top + height, left : left + width] = True
    return area


@given(st.lists(corners, min_size=1, max_size=4), st.lists(corners, min_size=1, max_size=4))
def test_overlaps_are_shares_of_pixels(
    first: list[tuple[int, int, int, int]], second: list[tuple[int, int, int, int]]
) -> None:
    as_corners = [
        np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], float) for boxes in (first, second)
    ]
    overlaps = box_overlaps(*as_corners)
    for row, box in enumerate(first):
        for column, other in enumerate(second):
            a, b = area_of(box), area_of(other)
            assert overlaps[row, column] == pytest.approx((a & b).sum() / (a | b).sum())


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 5))
def test_average_precision_is_the_mean_of_the_best_precision_at_each_recall(
    hits: list[bool], missed: int
) -> None:
    objects = sum(hits) + missed
    if not objects:
        return
    precisions = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    best_at = [
        max((p for n, p in enumerate(precisions) if sum(hits[: n + 1]) >= wanted), default=0)
        for wanted in range(1, objects + 1)
    ]
    scores = np.linspace(1, 0.1, len(hits))
    computed = average_precision(scores, np.array(hits, bool), objects)
    assert computed == pytest.approx(sum(best_at) / objects)


def test_the_order_of_predictions_does_not_matter() -> None:
    scores, right = np.array([0.2, 0.9, 0.5]), np.array([True, True, False])
    order = [2, 0, 1]
    assert average_precision(scores, right, 3) == average_precision(scores[order], right[order], 3)


def boxes(*rows: tuple[float, ...]) -> Boxes:
    """Rows of corners, class, and score."""
    table = np.array(rows, float).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4].astype(np.int64), table[:, 5])


TRUTH = boxes((0, 0, 10, 10, 1, 1), (20, 20, 30, 30, 2, 1))


@pytest.mark.parametrize(
    ("predicted", "right"),
    [
        ([(0, 0, 10, 10, 1, 0.9)], [True]),
        ([(0, 0, 10, 10, 2, 0.9)], [False]),  # another class
        ([(0, 0, 10, 4, 1, 0.9)], [False]),  # too little of it
        ([(0, 0, 10, 6, 1, 0.5), (0, 0, 10, 10, 1, 0.9)], [False, True]),  # taken by the better
        ([(20, 20, 30, 30, 2, 0.1), (0, 0, 10, 9, 1, 0.9)], [True, True]),
        ([], []),
    ],
)
def test_a_prediction_is_right_if_it_is_the_best_of_an_object_of_its_class(
    predicted: list[tuple[float, ...]], right: list[bool]
) -> None:
    assert match_boxes(boxes(*predicted), TRUTH).tolist() == right


def test_predictions_without_objects_are_wrong() -> None:
    assert match_boxes(boxes((0, 0, 9, 9, 1, 0.9)), boxes()).tolist() == [False]


def test_the_mean_is_over_the_classes_that_there_are() -> None:
    found = boxes((0, 0, 10, 10, 1, 0.9))
    assert mean_average_precision([(found, TRUTH)]) == pytest.approx(0.5)
    assert mean_average_precision([(TRUTH, TRUTH)]) == 1
    assert mean_average_precision([(boxes(), TRUTH)]) == 0


def test_a_second_box_of_an_object_costs_precision_only_below_it() -> None:
    twice = boxes((0, 0, 10, 10, 1, 0.9), (0, 0, 10, 9, 1, 0.8), (20, 20, 30, 30, 2, 0.7))
    assert mean_average_precision([(twice, TRUTH)]) == 1


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=6, max_size=30))
def test_intersection_over_union_counts_pixels(pairs: list[tuple[int, int]]) -> None:
    pairs += [(0, 0), (1, 1), (2, 2)]
    truth, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    measured = intersection_over_union(confusion(predicted, truth, 3))
    for number in range(3):
        a, b = truth == number, predicted == number
        assert measured[number] == pytest.approx((a & b).sum() / (a | b).sum())
