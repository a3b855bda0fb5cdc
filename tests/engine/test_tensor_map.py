import gc

import pytest
import torch

from retroscope.engine.tensor_map import TensorMap


def test_a_mark_is_its_tensors_own() -> None:
    marks, one, other = TensorMap[str](), torch.zeros(2), torch.zeros(2)
    marks[one] = "one"
    assert marks[one] == "one"
    assert one in marks
    assert other not in marks
    assert marks.get(one) == "one"
    assert marks.get(other) is None
    with pytest.raises(KeyError):
        marks[other]


def test_a_new_mark_replaces_the_old_one() -> None:
    marks, one = TensorMap[int](), torch.zeros(2)
    marks[one] = 1
    marks[one] = 2
    assert marks[one] == 2
    assert len(marks) == 1


def test_a_mark_can_be_taken_away_also_where_there_is_none() -> None:
    marks, one = TensorMap[int](), torch.zeros(2)
    marks[one] = 1
    marks.drop(one)
    marks.drop(one)
    assert one not in marks
    assert len(marks) == 0


def test_a_view_has_no_part_in_the_mark() -> None:
    marks, one = TensorMap[int](), torch.zeros(2)
    marks[one] = 1
    assert one[:] not in marks
    assert one.detach() not in marks


def test_a_mark_stays_when_the_tensors_numbers_change() -> None:
    marks, one = TensorMap[int](), torch.zeros(2)
    marks[one] = 1
    one.add_(3).resize_(5)
    assert marks[one] == 1


def test_none_is_a_mark_like_any_other() -> None:
    marks, one = TensorMap[int | None](), torch.zeros(2)
    marks[one] = None
    assert one in marks
    assert marks.get(one) is None


def test_a_mark_keeps_no_tensor_alive_and_ends_with_it() -> None:
    marks = TensorMap[int]()
    kept = torch.zeros(2)
    marks[kept] = 1
    for _ in range(5):
        marks[torch.zeros(2)] = 2
    gc.collect()
    assert len(marks) == 1
    del kept
    gc.collect()
    assert len(marks) == 0
