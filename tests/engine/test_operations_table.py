"""The table of operations: its rows, roles and questions."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from retroscope.engine import call_motions
from retroscope.engine.call_arguments import positional, tensors_in
from retroscope.engine.call_kinds import is_metadata_query
from retroscope.engine.motion import Mix, Motion, Place, Stay
from retroscope.engine.operations import ROWS, TABLE, Operation, Role, name_of
from retroscope.network import Network
from tests.conftest import built, numbers
from tests.heard import FRONT, Call, Listen


def test_every_function_of_the_table_can_be_called() -> None:
    assert [function for function in TABLE if not callable(function)] == []


def test_no_function_stands_in_two_rows() -> None:
    rows = [id(function) for _, functions in ROWS for function in set(functions)]
    assert len(rows) == len(set(rows)) == len(TABLE)


def test_every_listed_row_has_a_kind_and_no_other_has() -> None:
    assert all(bool(operation.kind) == operation.is_layer for operation, _ in ROWS)


# Calls that the table does not know


def turned(_at: Place, _input: object, angle: float) -> Motion:
    return Stay() if angle == 0 else Mix()


def test_a_call_in_an_unknown_way_mixes_and_says_so() -> None:
    x, turn = numbers(*FRONT), Operation("turn", turned)
    place = Place((2, 3), FRONT, FRONT)
    assert turn.motion_of(place, (x, 0), {}) == Stay()
    assert turn.motion_of(place, (x,), {"angle": 90}) == Mix()
    note = "turn is called in a way that the table does not know"
    assert turn.motion_of(place, (x,), {"degrees": 90}) == Mix(note)
    assert turn.motion_of(place, (x, 1, 2), {}) == Mix(note)
    named = turn.motion_of(place, (x, 1, 2), {}, function="torch.turn")
    assert named == Mix("torch.turn is called in a way that the table does not know")


class Sine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.conv(x))


def test_one_row_makes_a_new_function_known(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Network(built(Sine), input_size=(8, 8)).layers
    monkeypatch.setitem(TABLE, torch.sin, Operation("sine", call_motions.stay))
    after = Network(built(Sine), input_size=(8, 8)).layers
    assert [one.name for one in before] == ["conv"]
    assert [one.name for one in after] == ["conv", "sine"]
    assert after[1].field == after[0].field
    assert not after[1].note


# Roles


@pytest.mark.parametrize(
    ("call", "role"),
    [
        (F.relu, Role.RECTIFIER),
        (lambda x: F.relu(input=x, inplace=True), Role.RECTIFIER),
        (F.silu, Role.RECTIFIER),
        (lambda x: x.clamp(min=0), Role.RECTIFIER),
        (lambda x: x.clamp(0, 6), Role.RECTIFIER),
        (lambda x: x.clamp_min(0), Role.RECTIFIER),
        (lambda x: x.clamp_min(1e-6), None),
        (lambda x: torch.clamp_min(x, min=1e-6), None),
        (lambda x: torch.clip(x, 0.0), Role.RECTIFIER),
        (lambda x: x.clamp(-1, 1), None),
        (lambda x: x.clamp(max=0), None),
        (lambda x: x.clamp(0, 0), None),
        (lambda x: F.hardtanh(x, 0.0, 6.0), Role.RECTIFIER),
        (F.hardtanh, None),
        (lambda x: F.threshold(x, 0, 0), Role.RECTIFIER),
        (lambda x: F.threshold(x, 1, 0), None),
        (lambda x: F.threshold(x, 0, 20), None),
        (lambda x: F.local_response_norm(x, 3), Role.RESPONSE_NORM),
        (torch.sigmoid, Role.SQUASHER),
        (F.logsigmoid, None),
        (lambda x: x * x, Role.PRODUCT),
        (lambda x: x / 2, None),
        (lambda x: x + 1, None),
    ],
)
def test_a_call_has_the_role_that_its_arguments_give_it(call: Call, role: Role | None) -> None:
    with Listen() as listener:
        call(numbers(*FRONT))
    function, args, kwargs = listener.heard[-1]
    assert TABLE[function].role_of(args, kwargs) is role


def test_a_clamp_at_a_tensor_has_no_role() -> None:
    x = numbers(*FRONT)
    assert TABLE[torch.clamp].role_of((x, torch.zeros(6, 5)), {}) is None


# Arguments and results


def test_the_first_argument_may_have_its_name() -> None:
    x = numbers(2, 3)
    assert positional((x, 1), {"dim": 2}) == ((x, 1), {"dim": 2})
    assert positional((), {"input": x, "dim": 2}) == ((x,), {"dim": 2})
    assert positional((), {}) == ((), {})


def test_the_first_argument_may_come_last() -> None:
    x = numbers(2, 3)
    assert positional((), {"dim": 2, "input": x}) == ((x,), {"dim": 2})


QUESTIONS: list[Call] = [
    lambda x: x.shape,
    lambda x: x.size(0),
    lambda x: x.dim(),
    lambda x: x.dtype,
    lambda x: x.device,
    lambda x: x.is_contiguous(),
    lambda x: x.requires_grad,
    len,
    hash,
]


@pytest.mark.parametrize("ask", QUESTIONS)
def test_questions_about_a_tensors_form_are_no_operations(ask: Call) -> None:
    with Listen() as listener:
        ask(numbers(2, 3))
    assert all(is_metadata_query(function) for function, _, _ in listener.heard)
    assert not any(is_metadata_query(function) for function in TABLE)


def test_a_function_is_called_what_people_call_it() -> None:
    assert name_of(torch.sin) == "torch.sin"
    assert name_of(F.interpolate) == "torch.nn.functional.interpolate"
    assert name_of(lambda x: x) == "<lambda>"


def test_tensors_are_found_in_anything_that_holds_them() -> None:
    one, two, three = numbers(1), numbers(2), numbers(3)

    def held() -> Iterator[torch.Tensor]:
        return tensors_in(one, [2, (two, "three")], {"a": {"b": three}}, None)

    assert [len(tensor) for tensor in held()] == [1, 2, 3]
