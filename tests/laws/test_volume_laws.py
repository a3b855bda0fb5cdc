"""What the survey states of random programs of volumes and signals: no unit sees more."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retroscope.engine.call_arguments import Function
from retroscope.engine.operations import TABLE
from retroscope.errors import ModelError, RetroscopeError
from retroscope.geometry import Box
from retroscope.network import Network
from retroscope.unit import Unit
from tests.conftest import always_crops, never_crops, numbers
from tests.laws.drafting import Draft, Program
from tests.laws.operation_calls import example_name, write_call
from tests.laws.test_operation_laws import (
    changed_entries,
    check_equal,
    projections,
    record_outputs,
    rounds_coarsely,
    sees,
)

SIZES = {1: (23,), 3: (5, 8, 7)}
SEEDS, RANKS = st.integers(0, 2**31), st.sampled_from(sorted(SIZES))
STEMS: dict[int, Function] = {1: F.conv1d, 3: F.conv3d}

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def fitting_names(rank: int) -> list[str]:
    """Those whose windows are not for another number of axes, these three times as often."""
    names = sorted({example_name(function) for function in TABLE})
    other = [f"{count}d" for count in (1, 2, 3) if count != rank]
    fitting = [name for name in names if not any(end in name for end in other)]
    return fitting + 3 * [name for name in fitting if f"{rank}d" in name]


def open_stem(draft: Draft, rank: int) -> None:
    weight = draft.constant(4, 3, *(3,) * rank)
    draft.call(STEMS[rank], draft.values[0], weight, None, 1, 1)


def close_with_a_layer(draft: Draft) -> None:
    last = draft.values[-1]
    draft.call(F.relu, last if last.is_floating_point() else draft.call(F.relu, last * 1.5))


def write_call_named(name: str, draft: Draft) -> None:
    spellings = [function for function in TABLE if example_name(function) == name]
    write_call(draft, draft.pick(spellings))


def random_program(seed: int, rank: int) -> Program:
    draft, names = Draft(SIZES[rank], seed), fitting_names(rank)
    assert draft.attempt(partial(open_stem, rank=rank))
    for _ in range(draft.whole(4, 12)):
        name = draft.pick(names)
        draft.attempt(partial(write_call_named, name))
    draft.attempt(close_with_a_layer)
    return draft.program()


def opened(seed: int, rank: int) -> Network | None:
    """The network; None if it is refused."""
    net = Network(random_program(seed, rank).eval(), input_size=SIZES[rank], mean=[0.0] * 3)
    try:
        assert net.layers
    except ModelError:
        return None
    return net


@settings(max_examples=60, deadline=None)
@given(SEEDS, RANKS)
def test_no_unit_of_a_random_program_sees_more_than_its_field(seed: int, rank: int) -> None:
    net = opened(seed, rank)
    if net is None:
        return
    size, dice = SIZES[rank], np.random.default_rng(seed)
    steps, image = net.survey().steps, numbers(1, 3, *size, seed=seed)
    before = record_outputs(net, image)
    for voxel in [[0] * rank, [n - 1 for n in size], *dice.integers(0, size, (4, rank)).tolist()]:
        other = image.clone()
        other[(0, slice(None), *voxel)] += float(dice.choice([100, -100, 1]))
        after = record_outputs(net, other)
        for number, (step, was, now) in enumerate(zip(steps, before, after, strict=True)):
            if was is None or now is None or was.shape != now.shape:
                continue
            entries = changed_entries(was, now)
            assert step.field is not None or not entries, f"step {number} is no constant"
            if step.field is not None and not step.field.global_context:
                outside = [entry for entry in entries if not sees(step, entry, voxel)]
                assert not outside, f"step {number}, {step.function}: {voxel} changes {outside[0]}"
    for layer in net.layers:
        field = steps[layer.index].field
        assert field is not None
        for position in np.ndindex(*layer.size):
            ends = [axis.at(n) for axis, n in zip(field.fields, position, strict=True)]
            seen = Box.of(ends).clip_to(size)
            box = layer.field.box(*position).clip_to(size)
            assert min(seen.size(rank)) <= 0 or box.union(seen) == box, layer


@settings(max_examples=50, deadline=None)
@given(SEEDS, RANKS, st.sampled_from(["gradient", "deconvnet", "guided", "relevance"]))
@example(1077, 3, "gradient")  # it detaches maps in place, which a crop cannot do
@example(152, 3, "gradient")  # a single position ends up in the dimension of the batch
def test_crops_and_batches_of_a_random_program_give_what_single_volumes_give(
    seed: int, rank: int, rules: str
) -> None:
    net = opened(seed, rank)
    if net is None or rounds_coarsely(net):
        return
    dice = np.random.default_rng(seed)
    images = [numbers(3, *SIZES[rank], seed=seed + n) for n in (1, 2)]
    units = [
        (Unit(layer.name, *_some_place(layer.channels, layer.size, dice)), image)
        for layer in net.layers[-3:]
        for image in (*images, images[0])
    ]
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


def _some_place(
    channels: int, size: Sequence[int], dice: np.random.Generator
) -> tuple[int, tuple[int, ...]]:
    return int(dice.integers(channels)), tuple(int(dice.integers(length)) for length in size)


@pytest.mark.parametrize("rank", SIZES)
def test_the_laws_are_not_empty(rank: int) -> None:
    """Most programs open, and a good part of their layers have fields of their own."""
    nets = [opened(seed, rank) for seed in range(40)]
    layers = [layer for net in nets if net is not None for layer in net.layers[1:]]
    local = [layer for layer in layers if not (layer.field.whole or layer.field.global_context)]
    assert sum(net is not None for net in nets) > 30
    assert len(local) > 0.3 * len(layers) > 20
