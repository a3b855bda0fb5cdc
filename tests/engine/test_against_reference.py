"""Every shape of network, every layer of it, against the deconvnet written out in float64."""

from collections.abc import Iterator
from functools import cache
from typing import get_args

import numpy as np
import pytest
import torch

from retroscope.engine.region import RegionOutput
from retroscope.errors import ModelError, UnitError
from retroscope.methods.deconv.deconv import deconv, deconv_many
from retroscope.network import Network
from retroscope.results.projections import Projection
from retroscope.unit import Unit
from tests.conftest import always_crops, never_crops
from tests.reference.operations import Array, Rules
from tests.reference.programs import Node, Tape, one_unit
from tests.reference.shapes import SHAPES

RULES: tuple[Rules, ...] = get_args(Rules)
NO_LAYER = {"fully_connected": {"1", "2.2"}, "zero_pad_module": {"2"}}
"""Flatten, Dropout and ZeroPad2d: they only hand on, so nothing fires there."""

MISNAMED = {name: {"relu"} for name in ("pre_activation", "pre_activation_in_place")}
MISNAMED["channel_shuffle"] = {"relu"}
"""Where code of the network's own is called what a module is called; see the last test."""

REFUSED = "checkpointed_reentrant"
RIGHT = [name for name in SHAPES if name != REFUSED]
ALWAYS_LOCAL = [name for name in RIGHT if name != "functional_pad"]
"""Where some units read so much padding that the pixels left fill no window: the whole picture."""

Written = tuple[Tape, dict[str, Node]]


@cache
def written(name: str) -> Written:
    shape, tape = SHAPES[name], Tape()
    return tape, shape.program(shape.build(0), tape, shape.image(0))


def opened(name: str) -> tuple[Network, torch.Tensor]:
    shape = SHAPES[name]
    net = Network(shape.build(0), input_size=shape.input_size[1:], name=name)
    return net, torch.from_numpy(shape.image(0))


def layers_of(name: str, net: Network) -> Iterator[tuple[str, Node]]:
    """The engine's name of each layer that the reference knows, and its node."""
    for target, node in written(name)[1].items():
        skipped = NO_LAYER.get(name, set()) | MISNAMED.get(name, set())
        if "#" not in target and target not in skipped:
            yield target or net.layers[-1].name, node


def units_in(layer: str, value: Array) -> Iterator[tuple[Unit, Array]]:
    """Units of a layer, and the start that each stands for."""
    maps = value.reshape(value.shape[0], *(value.shape[1:] or (1, 1)))
    channels, height, width = maps.shape
    strongest = int(maps.max(axis=(1, 2)).argmax())
    best = divmod(int(maps[strongest].argmax()), width)
    corners = [(0, 0), (height - 1, width - 1), (0, width - 1), (height // 2, width // 2)]
    yield Unit(layer, strongest), one_unit(maps, (strongest, *best)).reshape(value.shape)
    for k, place in enumerate(corners):
        start = one_unit(maps, (k % channels, *place))
        yield Unit(layer, k % channels, place), start.reshape(value.shape)
    whole = np.zeros_like(maps)
    whole[-1] = maps[-1]
    yield Unit(layer, channels - 1, whole_map=True), whole.reshape(value.shape)
    yield Unit(layer), value


def check(shown: Projection, expected: Array, start: Array) -> None:
    full = shown.full().transpose(2, 0, 1)
    size = abs(expected).max()
    np.testing.assert_allclose(
        full, expected, rtol=0, atol=1e-9 * size + 1e-15, err_msg=str(shown.unit)
    )
    fired = start[start != 0].max(initial=-np.inf)
    if np.isfinite(fired) and shown.unit.position is not None:
        np.testing.assert_allclose(shown.activation, fired, rtol=1e-9)


def check_all(name: str, rules: Rules) -> None:
    tape, _ = written(name)
    net, image = opened(name)
    asked = [
        (unit, node, start)
        for layer, node in layers_of(name, net)
        for unit, start in units_in(layer, node.value)
    ]
    found = deconv_many(net, [(unit, image) for unit, _, _ in asked], rules=rules)
    for shown, (_, node, start) in zip(found, asked, strict=True):
        check(shown, tape.project(node, start, rules), start)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", RIGHT)
def test_units_projected_from_what_they_see_are_the_definitions(name: str, rules: Rules) -> None:
    with always_crops():
        check_all(name, rules)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", RIGHT)
def test_units_projected_through_whole_pictures_are_the_definitions(
    name: str, rules: Rules
) -> None:
    with never_crops():
        check_all(name, rules)


@pytest.mark.parametrize("name", ALWAYS_LOCAL)
def test_every_unit_that_sees_a_part_is_projected_from_that_part(
    name: str, looks: list[RegionOutput | None]
) -> None:
    check_all(name, "deconvnet")
    assert looks
    assert None not in looks


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("unit", ["block.0:1@3,3", "block:1", "head:1@3,3", "head:1@*", "head"])
@pytest.mark.parametrize("rules", RULES)
def test_a_block_that_hides_its_steps_is_refused_with_its_reason(rules: Rules, unit: str) -> None:
    net, image = opened(REFUSED)
    with pytest.raises(ModelError, match="use_reentrant=False"):
        deconv(net, unit, image, rules=rules)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("rules", RULES)
def test_before_such_a_block_nothing_is_hidden(rules: Rules) -> None:
    tape, nodes = written(REFUSED)
    net, image = opened(REFUSED)
    start = one_unit(nodes["stem"].value, (2, 5, 5))
    expected = tape.project(nodes["stem"], start, rules)
    check(deconv(net, "stem:2@5,5", image, rules=rules), expected, start)


@pytest.mark.parametrize("target", ["1", "2.2"])
def test_a_module_that_only_hands_on_is_no_layer(target: str) -> None:
    net, image = opened("fully_connected")
    with pytest.raises(UnitError, match="no layer"):
        deconv(net, f"{target}:0", image)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
def test_layers_have_the_sizes_of_the_definitions_maps(name: str) -> None:
    net, _ = opened(name)
    for layer, node in layers_of(name, net):
        found = net.layer(layer)
        assert (found.channels, *found.size) == (*node.value.shape, 1, 1)[:3]


@pytest.mark.parametrize("name", MISNAMED)
def test_a_modules_path_names_that_module_and_nothing_else(name: str) -> None:
    net, image = opened(name)
    tape, nodes = written(name)
    for target in MISNAMED[name]:
        for unit, start in units_in(target, nodes[target].value):
            expected = tape.project(nodes[target], start, "deconvnet")
            check(deconv(net, unit, image, rules="deconvnet"), expected, start)
