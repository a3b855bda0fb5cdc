from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from retroscope import calls
from retroscope.geometry import Window
from retroscope.motion import Axes, Mix, Motion, Move, Place, Slide, Stay
from retroscope.network import Network
from retroscope.ops import (
    ROWS,
    TABLE,
    Args,
    Function,
    Kwargs,
    Operation,
    Role,
    asks_only,
    name_of,
    positional,
    tensors_in,
)
from tests.conftest import built, numbers

Call = Callable[[torch.Tensor], Any]
FRONT, LAST = (1, 4, 6, 5), (1, 6, 5, 4)
"""A map of 6x5 with four channels, in front and last."""


class Listen(TorchFunctionMode):
    """Remembers every call of a torch function."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[Function, Args, Kwargs]] = []

    def __torch_function__(
        self, func: Function, _types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> object:
        self.heard.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Heard:
    """What a call of the table's functions looks like from the table's side."""

    operation: Operation
    motion: Motion
    result: torch.Tensor
    place: Place = field(repr=False)


def heard(call: Call, x: torch.Tensor, axes: Axes) -> Heard:
    """The last call that is given the map, and what the table says of it."""
    with Listen() as listener:
        result = next(tensors_in(call(x)))
    function, args, kwargs = listener.heard[-1]
    operation = TABLE[function]
    constants = tuple(tuple(one.shape) for one in tensors_in(args, kwargs) if one is not x)
    place = Place(axes, tuple(x.shape), tuple(result.shape), constants)
    return Heard(operation, operation.motion_of(place, args, kwargs), result, place)


def influence(call: Call, x: torch.Tensor, axes: Axes) -> torch.Tensor:
    """For each position (y, x) of the map, which numbers of the result can change with it."""
    before = next(tensors_in(call(x.clone())))
    lengths = x.shape[axes[0]], x.shape[axes[1]]
    found = torch.zeros(*lengths, *before.shape, dtype=torch.bool)
    ramp = torch.linspace(50, 150, x.numel() // (lengths[0] * lengths[1]), dtype=x.dtype)
    for y, x_, sign in product(range(lengths[0]), range(lengths[1]), (1, -1)):
        other = x.clone()
        spot = other.select(axes[1], x_).select(axes[0], y)
        spot.add_(sign * ramp.view_as(spot))
        found[y, x_] |= (next(tensors_in(call(other))) - before).abs() > 1e-9
    return found


def check(call: Call, x: torch.Tensor, axes: Axes) -> Heard:
    """What the table says of a call is what perturbing the map finds."""
    told, found = heard(call, x, axes), influence(call, x, axes)
    if isinstance(told.motion, Mix):
        return told
    y, x_ = told.motion.axes if isinstance(told.motion, Move) else axes
    others = [2 + dim for dim in range(told.result.dim()) if dim not in (y, x_)]
    pairs = found.any(others) if others else found
    pairs = pairs.transpose(2, 3) if y > x_ else pairs
    reads = _reads(told.motion, pairs.shape[2:])
    if isinstance(told.motion, Stay) and told.motion.gated:
        assert (pairs | ~reads).all(), "a gate keeps the local path"
        assert (pairs & ~reads).any(), "a gate lets more through"
        return told
    assert torch.equal(pairs, reads)
    return told


def _reads(motion: Motion, outputs: torch.Size) -> torch.Tensor:
    windows = (motion.y, motion.x) if isinstance(motion, Slide) else (Window(), Window())
    y, x = (
        torch.tensor([[_taps(window, output, at) for output in range(count)] for at in range(size)])
        for window, count, size in zip(windows, outputs, (6, 5), strict=True)
    )
    return y[:, None, :, None] & x[None, :, None, :]


def _taps(window: Window, output: int, at: int) -> bool:
    start, stop = window.reads(output)
    return at in range(start, stop, window.dilation)


# The table itself


def test_every_function_of_the_table_can_be_called() -> None:
    assert [function for function in TABLE if not callable(function)] == []


def test_no_function_stands_in_two_rows() -> None:
    rows = [id(function) for _, functions in ROWS for function in set(functions)]
    assert len(rows) == len(set(rows)) == len(TABLE)


def test_every_listed_row_has_a_kind_and_no_other_has() -> None:
    assert all(bool(operation.kind) == operation.listed for operation, _ in ROWS)


KERNEL, FLAT, SQUARE = numbers(3, 4, 3, 3), numbers(3, 4), numbers(5, 5)
MAP, GATE = numbers(*FRONT), numbers(1, 4, 1, 1)
ONES = torch.ones(4, dtype=torch.float64)


HEADS = built(lambda: nn.MultiheadAttention(4, 1)).double()


def attention(x: torch.Tensor) -> torch.Tensor:
    tokens = x[0].flatten(1).T
    mixed: torch.Tensor = HEADS(tokens, tokens, tokens)[0]
    return mixed


CALLS: dict[str, Call] = {
    "conv": lambda x: F.conv2d(x, KERNEL, padding=1),
    "conv, strides": lambda x: F.conv2d(x, KERNEL, None, (2, 1), (0, 2)),
    "conv, dilated": lambda x: F.conv2d(x, KERNEL, dilation=(2, 1)),
    "conv, same": lambda x: F.conv2d(x, KERNEL, padding="same", dilation=2),
    "conv, valid": lambda x: torch.conv2d(x, KERNEL, padding="valid"),
    "conv, named": lambda x: F.conv2d(input=x, weight=KERNEL, stride=2),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "max pool, over the end": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max pool, dilated": lambda x: torch.max_pool2d(x, (2, 3), (2, 1), 0, (2, 1)),
    "max pool, with its places": lambda x: F.max_pool2d(x, 2, return_indices=True),
    "mean pool": lambda x: F.avg_pool2d(x, (2, 3), padding=(1, 0), count_include_pad=False),
    "adaptive mean pool": lambda x: F.adaptive_avg_pool2d(x, (3, None)),
    "adaptive max pool": lambda x: F.adaptive_max_pool2d(x, (2, 1)),
    "adaptive max pool, with its places": lambda x: F.adaptive_max_pool2d(
        x, (2, 5), return_indices=True
    ),
    "relu": F.relu,
    "relu in place": torch.relu_,
    "a method": lambda x: x.relu(),
    "relu6": F.relu6,
    "leaky relu": F.leaky_relu,
    "prelu": lambda x: F.prelu(x, ONES / 3),
    "clamp_min": lambda x: x.clamp_min(0),
    "hardtanh": F.hardtanh,
    "clamp": lambda x: torch.clamp(x, min=-1, max=9),
    "threshold": lambda x: F.threshold(x, 0.1, 2),
    "elu": F.elu,
    "selu": torch.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "logsigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "softmax over channels": lambda x: F.softmax(x, dim=1),
    "softmax over the width": lambda x: torch.log_softmax(x, -1),
    "batch norm": lambda x: F.batch_norm(x, ONES, ONES),
    "batch norm of its own statistics": lambda x: F.batch_norm(x, None, None, training=True),
    "response norm": lambda x: F.local_response_norm(x, 3),
    "layer norm of the map": lambda x: F.layer_norm(x, FRONT[1:]),
    "group norm": lambda x: F.group_norm(x, 2),
    "instance norm": lambda x: F.instance_norm(x, eps=1.0),
    "a sum": lambda x: x + MAP,
    "a number less": lambda x: 3 - x,
    "a sum in place": lambda x: x.add_(GATE, alpha=2),
    "a product": lambda x: GATE * x,
    "a share": lambda x: x / 3,
    "the larger": lambda x: torch.maximum(x, MAP),
    "the larger by max": lambda x: torch.max(x, other=MAP),
    "the largest channel": lambda x: torch.max(x, 1),
    "the largest of all": torch.max,
    "concatenation": lambda x: torch.cat([MAP, x], dim=1),
    "concatenation along the height": lambda x: torch.concat((x, x), dim=2),
    "the mean of channels": lambda x: x.mean(dim=1, keepdim=True),
    "the mean of channels, squeezed": lambda x: x.amax(-3),
    "the mean of all": torch.mean,
    "the mean of columns": lambda x: torch.sum(x, (1, 2)),
    "a piece": lambda x: x.chunk(2, dim=1),
    "a piece of the width": lambda x: torch.split(x, 2, 3),
    "a product from the right": lambda x: x @ SQUARE,
    "attention": attention,
    "a power": lambda x: x**2,
    "a mask": lambda x: x.masked_fill(MAP > 1, 0),
    "dropout": lambda x: F.dropout(x, training=False),
    "a copy": torch.clone,
    "less": lambda x: -x,
    "another type": lambda x: x.to(torch.float64, copy=True),
    "padding": lambda x: F.pad(x, (1, 0, 0, 2)),
    "cropping": lambda x: F.pad(x, (-1, 0, -2, 1)),
    "padding of channels too": lambda x: F.pad(x, (0, 0, 1, 1, 2, 0)),
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "channels last by transposing": lambda x: torch.transpose(x, 1, -1),
    "expanded along a new dimension": lambda x: x[:, None].expand(-1, 2, -1, -1, -1),
    "a turned map": lambda x: x.swapaxes(3, 2),
    "a new dimension": lambda x: x.unsqueeze(1),
    "a new last dimension": lambda x: torch.unsqueeze(x, -1),
    "channels in groups": lambda x: x.view(1, 2, 2, 6, 5),
    "without the batch": lambda x: x.squeeze(0),
    "channels and rows": lambda x: x.reshape(1, 24, 5),
    "some channels": lambda x: x[:, 1:3],
    "one channel": lambda x: x[:, 2],
    "rows and columns": lambda x: x[:, :, 1:-1, ::2],
    "all but the last column": lambda x: x[..., :-1],
    "one more dimension": lambda x: x[:, None],
    "one row": lambda x: x[:, :, 3],
    "a roll": lambda x: torch.roll(x, 1, 2),
    "einsum": lambda x: torch.einsum("nchw->nhcw", x),
}
CHANNELS_LAST: dict[str, Call] = {
    "linear": lambda x: F.linear(x, FLAT),
    "layer norm": lambda x: F.layer_norm(x, (4,), eps=1.0),
    "softmax": lambda x: x.softmax(3),
    "a product": lambda x: torch.matmul(x, FLAT.T),
    "the mean of channels": lambda x: x.mean(-1, keepdim=True),
    "concatenation": lambda x: torch.cat([x, x], -1),
    "slices": lambda x: x[:, 1::2, 1::2, :],
    "slices that drop the batch": lambda x: x[0, 1::2],
    "padding": lambda x: F.pad(x, (0, 0, 1, 2, 0, 1)),
    "channels first": lambda x: x.permute(0, 3, 1, 2),
    "flattening": lambda x: x.flatten(1, 2),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_motion_is_what_perturbing_a_map_finds(name: str) -> None:
    assert not getattr(check(CALLS[name], numbers(*FRONT), (2, 3)).motion, "note", "")


@pytest.mark.parametrize("name", CHANNELS_LAST)
def test_a_motion_is_what_perturbing_a_map_with_its_channels_last_finds(name: str) -> None:
    assert not getattr(check(CHANNELS_LAST[name], numbers(*LAST), (1, 2)).motion, "note", "")


def test_every_row_of_the_table_is_tried() -> None:
    tried = {id(heard(call, numbers(*FRONT), (2, 3)).operation) for call in CALLS.values()}
    tried |= {id(heard(call, numbers(*LAST), (1, 2)).operation) for call in CHANNELS_LAST.values()}
    untried = [functions[0] for operation, functions in ROWS if id(operation) not in tried]
    assert untried == []


UNMOVED = {name: call for name, call in CALLS.items() if name != "attention"}


@pytest.mark.parametrize("name", UNMOVED)
def test_a_constant_pins_a_map_to_its_place_if_moving_the_map_moves_more_than_the_result(
    name: str,
) -> None:
    call, x = UNMOVED[name], numbers(*FRONT)
    told = heard(call, x.clone(), (2, 3))
    if not isinstance(told.motion, Stay):
        return
    moved = next(tensors_in(call(x.roll((2, 1), (2, 3)))))
    together = torch.allclose(moved, told.result.roll((2, 1), (-2, -1)))
    assert together != told.motion.pinned


def test_bounds_that_vary_pin_a_map_to_its_place() -> None:
    assert heard(lambda x: x.clamp(MAP, MAP + 1), numbers(*FRONT), (2, 3)).motion == Stay(
        pinned=True
    )


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


class Sine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.conv(x))


def test_one_row_makes_a_new_function_known(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Network(built(Sine), input_size=(8, 8)).layers
    monkeypatch.setitem(TABLE, torch.sin, Operation("sine", calls.stay))
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
        (torch.sigmoid, None),
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
    assert all(asks_only(function) for function, _, _ in listener.heard)
    assert not any(asks_only(function) for function in TABLE)


def test_a_function_is_called_what_people_call_it() -> None:
    assert name_of(torch.sin) == "torch.sin"
    assert name_of(F.interpolate) == "torch.nn.functional.interpolate"
    assert name_of(lambda x: x) == "<lambda>"


def test_tensors_are_found_in_anything_that_holds_them() -> None:
    one, two, three = numbers(1), numbers(2), numbers(3)

    def held() -> Iterator[torch.Tensor]:
        return tensors_in(one, [2, (two, "three")], {"a": {"b": three}}, None)

    assert [len(tensor) for tensor in held()] == [1, 2, 3]
