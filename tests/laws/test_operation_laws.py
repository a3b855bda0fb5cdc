"""What the survey states of every operation holds in random programs: no unit sees more.

A program is drafted from the example calls of the whole table, so that each row meets operands of
every kind: gates, constants, maps that are shifted, turned or changed in place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from retroscope.engine.call_arguments import Function, tensors_in
from retroscope.engine.intercept import run
from retroscope.engine.interpreter import Call, Interpreter
from retroscope.engine.operations import TABLE, name_of
from retroscope.engine.program import Step
from retroscope.errors import ModelError, RetroscopeError
from retroscope.geometry import Box
from retroscope.methods.deconv.deconv import deconv_many
from retroscope.network import Network
from retroscope.results.projections import Projection
from retroscope.unit import Unit
from tests.conftest import always_crops, never_crops, numbers
from tests.laws.drafting import Draft, Program
from tests.laws.operation_calls import EXAMPLES, example_name, write_any_call, write_call

SIZE = (11, 9)
NAMES = sorted({example_name(function) for function in TABLE})
NEEDS_A_GPU = {"cuda"}
SEEDS = st.integers(0, 2**31)

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


# Programs


def open_stem(draft: Draft) -> None:
    draft.call(F.conv2d, draft.values[0], draft.constant(4, 3, 3, 3), None, 1, 1)


def turn(draft: Draft) -> None:
    """The map as it is, channels last, turned, or without its batch."""
    maps = draft.tensor(4)
    order = draft.choice((0, 1, 2, 3), (0, 1, 2, 3), (0, 2, 3, 1), (0, 1, 3, 2))
    maps = draft.call(torch.permute, maps, order)
    if draft.chance(0.3):
        draft.call(torch.select, maps, 0, 0)


def close_with_a_layer(draft: Draft) -> None:
    last = draft.values[-1]
    if not last.is_floating_point():
        last = draft.call(torch.mul, last, 1.5)
    if last.dim() == 3:
        last = draft.call(torch.unsqueeze, last, 0)
    draft.call(F.relu, last)


def program_around(functions: Sequence[Function], seed: int) -> Program | None:
    """A stem, a call of one of these, and a layer that reads it; None if no call of them fits."""
    draft = Draft(SIZE, seed)
    assert draft.attempt(open_stem)
    draft.attempt(turn)
    if not any(draft.attempt(lambda d: write_call(d, d.pick(functions))) for _ in range(6)):
        return None
    draft.attempt(close_with_a_layer)
    return draft.program()


def spellings(name: str) -> list[Function]:
    """The functions of this name: `F.relu`, `torch.relu`, `Tensor.relu_` and so on."""
    return [function for function in TABLE if example_name(function) == name]


def random_program(seed: int) -> Program:
    draft = Draft(SIZE, seed)
    assert draft.attempt(open_stem)
    for _ in range(draft.whole(4, 14)):
        draft.attempt(write_any_call)
    draft.attempt(close_with_a_layer)
    return draft.program()


# Fields


class OutputRecorder(Interpreter):
    """Copies the first result of each step, before later steps change it in place."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor | None] = []

    def step(self, call: Call) -> object:
        result = call.run(self.execute)
        output = next(tensors_in(result), call.target)
        self.outputs.append(None if output is None else output.detach().clone())
        return result


@torch.no_grad()
def record_outputs(net: Network, image: Tensor) -> list[Tensor | None]:
    recorder = OutputRecorder()
    run(net.module, image.clone(), recorder)
    return recorder.outputs


def changed_entries(before: Tensor, after: Tensor) -> list[list[int]]:
    """The indices at which two results differ by more than rounding."""
    if before.dtype == torch.bool or not before.is_floating_point():
        return (before != after).nonzero().tolist()
    tolerance = 1e-9 if before.dtype == torch.float64 else 1e-2
    equal = torch.isclose(before, after, rtol=tolerance, atol=tolerance, equal_nan=True)
    return (~equal).nonzero().tolist()


@dataclass(frozen=True)
class Change:
    """A pixel of the image and the amount that is added to it."""

    y: int
    x: int
    amount: float


def random_changes(seed: int, count: int) -> Iterator[Change]:
    dice = np.random.default_rng(seed)
    for y, x in [(0, 0), (SIZE[0] - 1, SIZE[1] - 1), *dice.integers(0, SIZE, (count, 2)).tolist()]:
        yield Change(y, x, float(dice.choice([100, -100, 1, -1])))


def position_of(step: Step, entry: Sequence[int]) -> tuple[int, ...] | None:
    """Where an entry of a step's result is; None for a token without a position."""
    field = step.field
    assert field is not None
    if field.axes is not None:
        return tuple(entry[axis] for axis in field.axes)
    if field.tokens is None:
        return (0,) * field.rank
    number = entry[field.tokens.dim] - field.tokens.start
    if not 0 <= number < prod(field.tokens.grid):
        return None
    return tuple(int(index) for index in np.unravel_index(number, field.tokens.grid))


def sees(step: Step, entry: Sequence[int], place: Sequence[int]) -> bool:
    """Whether the survey states that this entry of a step's result may see the pixel."""
    position = position_of(step, entry)
    if position is None:
        return True
    assert step.field is not None
    intervals = [field.at(n) for field, n in zip(step.field.fields, position, strict=True)]
    return all(start <= at < stop for (start, stop), at in zip(intervals, place, strict=True))


def check_fields(net: Network, seed: int, *, count: int) -> None:
    """A changed pixel changes only entries whose field holds it, and no constant."""
    steps, image = net.survey().steps, numbers(1, 3, *SIZE, seed=seed)
    before = record_outputs(net, image)
    for change in random_changes(seed, count):
        other = image.clone()
        other[:, :, change.y, change.x] += change.amount
        after = record_outputs(net, other)
        for number, (step, was, now) in enumerate(zip(steps, before, after, strict=True)):
            if was is None or now is None or was.shape != now.shape:
                continue
            entries = changed_entries(was, now)
            where = f"step {number}, {name_of(step.function)}, {change}"
            assert step.field is not None or not entries, f"{where}: stated to be a constant"
            if step.field is not None and not step.field.global_context:
                outside = [
                    entry for entry in entries if not sees(step, entry, (change.y, change.x))
                ]
                assert not outside, f"{where} changes {outside[0]}, with the field {step.field}"


def check_layers_hold_their_steps(net: Network) -> None:
    """A layer's box holds what each of its units sees of the image."""
    for layer in net.layers:
        field = net.survey().steps[layer.index].field
        assert field is not None
        for y, x in np.ndindex(*layer.size):
            ends = zip(field.fields, (y, x), strict=True)
            (top, bottom), (left, right) = (axis.at(index) for axis, index in ends)
            seen = Box(top, left, bottom, right).clip(*SIZE)
            if seen.height and seen.width:
                box = layer.field.box(y, x).clip(*SIZE)
                assert box.union(seen) == box, layer


def opened(program: Program) -> Network | None:
    """The network; None if it is refused."""
    net = Network(program.eval(), input_size=SIZE)
    try:
        assert net.layers
    except ModelError:
        return None
    return net


# Laws


def test_every_function_of_the_table_has_an_example() -> None:
    assert set(NAMES) <= set(EXAMPLES)


@pytest.mark.parametrize("name", sorted(set(NAMES) - NEEDS_A_GPU))
def test_the_example_runs_with_every_spelling_of_the_function(name: str) -> None:
    for function in spellings(name):
        assert any(program_around([function], seed) for seed in range(8)), name_of(function)


@pytest.mark.parametrize("name", sorted(set(NAMES) - NEEDS_A_GPU))
def test_no_unit_behind_a_call_sees_more_than_its_field(name: str) -> None:
    for seed in range(4):
        program = program_around(spellings(name), seed)
        net = None if program is None else opened(program)
        if net is not None:
            check_fields(net, seed, count=4)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_no_unit_of_a_random_program_sees_more_than_its_field(seed: int) -> None:
    net = opened(random_program(seed))
    if net is not None:
        check_fields(net, seed, count=6)
        check_layers_hold_their_steps(net)


def rounds_coarsely(net: Network) -> bool:
    """Whether some numbers have 16 bits: how torch rounds these depends on how many there are."""
    outputs = record_outputs(net, numbers(1, 3, *net.input_size))
    return any(
        output.dtype in (torch.float16, torch.bfloat16) for output in outputs if output is not None
    )


def projections(net: Network, units: list[tuple[Unit, Tensor]], rules: str) -> list[Projection]:
    return list(deconv_many(net, units, rules=rules))


def check_equal(projection: Projection, expected: Projection) -> None:
    scale = abs(expected.pixels).max(initial=0)
    if np.isfinite(scale) and np.isfinite(expected.activation):
        np.testing.assert_allclose(projection.activation, expected.activation, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(projection.pixels, expected.pixels, 0, 1e-9 * scale + 1e-14)


def random_units(net: Network, seed: int) -> list[tuple[Unit, Tensor]]:
    """Units of the last layers, each in one of two images."""
    dice = np.random.default_rng(seed)
    images = [numbers(3, *SIZE, seed=seed + n) for n in (1, 2)]
    units = []
    for layer in net.layers[-3:]:
        for image in (*images, images[0]):
            channel, y, x = (int(dice.integers(n)) for n in (layer.channels, *layer.size))
            units.append((Unit(layer.name, channel, (y, x)), image))
    return units


@settings(max_examples=50, deadline=None)
@example(730248, "gradient")  # it computes in bfloat16
@given(SEEDS, st.sampled_from(["gradient", "deconvnet", "guided"]))
def test_crops_and_batches_of_a_random_program_give_what_single_images_give(
    seed: int, rules: str
) -> None:
    net = opened(random_program(seed))
    if net is None or rounds_coarsely(net):
        return
    units = random_units(net, seed)
    try:
        with never_crops():
            expected = [projections(net, [unit], rules)[0] for unit in units]
    except RetroscopeError:
        return  # nothing leads back, or torch cannot differentiate it
    with always_crops():
        from_crops = projections(net, units, rules)
    with never_crops():
        from_batches = projections(net, units, rules)
    for single, cropped, batched in zip(expected, from_crops, from_batches, strict=True):
        check_equal(cropped, single)
        check_equal(batched, single)


def test_the_laws_are_not_empty() -> None:
    """Most programs open, and most of their layers have fields of their own."""
    nets = [opened(random_program(seed)) for seed in range(40)]
    layers = [layer for net in nets if net is not None for layer in net.layers[1:]]
    local = [layer for layer in layers if not (layer.field.whole or layer.field.global_context)]
    assert sum(net is not None for net in nets) > 34
    assert len(local) > 0.4 * len(layers)
    assert len(layers) > 2 * len(nets)
