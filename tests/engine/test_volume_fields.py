"""Fields of volumes, videos and signals are what perturbing their voxels finds."""

from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch

import retroscope as rs
from retroscope.engine.forward import run_forward
from retroscope.network import Network
from retroscope.results.layers import Layer
from tests.conftest import built, numbers
from tests.engine.test_fields import Reach
from tests.reference.volumes import SIGNAL_NETWORKS, VOLUME_NETWORKS, Make, Residual

VOLUME, SIGNAL = (6, 9, 8), (26,)


def opened(make: Make, channels: int, size: tuple[int, ...]) -> Network:
    """In double precision, with no weight near zero and biases that keep rectifiers open."""
    module = built(make).double()
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(weight.abs() + 0.1)
    return Network(module, input_size=size, mean=[0.0] * channels)


def maps_of(net: Network, batch: torch.Tensor) -> dict[int, torch.Tensor]:
    found: dict[int, torch.Tensor] = {}

    def keep(index: int, maps: torch.Tensor) -> None:
        found[index] = maps.clone()

    with torch.no_grad():
        listeners = {layer.index: partial(keep, layer.index) for layer in net.layers}
        run_forward(net.module, net.survey(), batch, listeners)
    return found


def _flat_index(voxel: tuple[int, ...], size: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index(voxel, size))


def influence(net: Network) -> dict[int, torch.Tensor]:
    """For each layer and each voxel, which units change with it (voxels, positions)."""
    clean = numbers(1, net.preprocessing.channels, *net.input_size).abs()
    before, found = maps_of(net, clean.clone()), dict[int, list[torch.Tensor]]()
    for voxel in product(*map(range, net.input_size)):
        changed = clean.clone()
        changed[0].flatten(1)[:, _flat_index(voxel, net.input_size)] += 50
        for index, maps in maps_of(net, changed).items():
            differs = ((maps - before[index]).abs() > 1e-9).any(1).flatten()
            found.setdefault(index, []).append(differs)
    return {index: torch.stack(rows) for index, rows in found.items()}


def check_layer(layer: Layer, found: torch.Tensor, size: tuple[int, ...]) -> None:
    """The box of each unit is the smallest around the voxels that change it."""
    for number, position in enumerate(product(*map(range, layer.size))):
        seen = found[:, number].view(size)
        inside = torch.zeros(size, dtype=torch.bool)
        box = layer.field.box(*position).clip_to(size)
        inside[box.slices(len(size))] = True
        assert not (seen & ~inside).any(), f"{layer.name} at {position} sees more than {box}"
        if layer.note or not seen.any():
            continue
        ends = [(int(axis.min()), int(axis.max()) + 1) for axis in seen.nonzero().T]
        assert rs.Box.of(ends) == box, f"{layer.name} at {position} sees less than {box}"


@pytest.mark.parametrize("name", VOLUME_NETWORKS)
def test_fields_of_volumes_are_what_perturbing_each_voxel_finds(name: str) -> None:
    net = opened(VOLUME_NETWORKS[name], 1, (8, 8, 8) if "unet" in name else VOLUME)
    found = influence(net)
    local = [layer for layer in net.layers if not layer.field.global_context]
    assert local
    for layer in local:
        check_layer(layer, found[layer.index], net.input_size)


def test_fields_of_a_video_network_are_what_perturbing_each_voxel_finds() -> None:
    net = opened(Residual, 3, (5, 10, 9))
    for index, found in influence(net).items():
        layer = next(layer for layer in net.layers if layer.index == index)
        check_layer(layer, found, net.input_size)
    assert str(net["stem"].field) == "1x5x5/1x2x2/0x-2x-2"
    assert str(net["time"].field) == "3x9x9/1x2x2/-1x-4x-4"
    assert str(net["head"].field) == "whole volume"


@pytest.mark.parametrize("name", SIGNAL_NETWORKS)
def test_fields_of_signals_are_what_perturbing_each_sample_finds(name: str) -> None:
    net = opened(SIGNAL_NETWORKS[name], 2, SIGNAL)
    for index, found in influence(net).items():
        layer = next(layer for layer in net.layers if layer.index == index)
        check_layer(layer, found, net.input_size)


def test_what_reads_the_whole_volume_through_a_gate_says_so() -> None:
    for name in ("unet with instance norms", "unet with group norms", "gated"):
        net = opened(VOLUME_NETWORKS[name], 1, (8, 20, 8))
        gated = [layer for layer in net.layers if layer.field.global_context]
        assert gated
        assert "whole volume through gates" in str(gated[-1].field)


# torchvision's


Line = tuple[int, int]
"""An axis, and a place on it: all voxels there."""
LINES_AT_ONCE = 12


def reached_from(net: Network, lines: Sequence[Line]) -> dict[int, list[torch.Tensor]]:
    """For each layer, which units along a line's axis are reached from each of the lines."""
    found: dict[int, list[torch.Tensor]] = {layer.index: [] for layer in net.layers}
    listeners = {layer.index: found[layer.index].append for layer in net.layers}
    reached: dict[int, list[torch.Tensor]] = {layer.index: [] for layer in net.layers}
    for start in range(0, len(lines), LINES_AT_ONCE):
        some = lines[start : start + LINES_AT_ONCE]
        batch = torch.zeros(len(some), net.preprocessing.channels, *net.input_size)
        for row, (axis, place) in enumerate(some):
            batch[row].select(axis + 1, place).fill_(1)
        with torch.no_grad():
            execute = Reach(batch, gates=False)
            run_forward(net.module, net.survey(), batch, listeners, execute=execute)
        for index, outputs in found.items():
            maps = outputs.pop().amax(1) > 0
            for row, (axis, _) in enumerate(some):
                others = tuple(other for other in range(3) if other != axis)
                reached[index].append(maps[row].any(others[1]).any(others[0]))
    return reached


def check_lines(layer: Layer, axis: int, places: Sequence[int], found: torch.Tensor) -> None:
    """Units are reached from the ends of their interval and from no place outside."""
    field, place = layer.field.axes(3)[axis], torch.tensor(places)[:, None]
    starts, stops = torch.tensor([field.at(n) for n in range(found.shape[1])]).T
    read = place[found.any(1)]
    starts, stops = starts.clamp(min=read.min()), stops.clamp(max=read.max() + 1)
    inside = (place >= starts) & (place < stops)
    assert not (found & ~inside).any(), f"{layer.name} sees more than {layer.field}"
    edges = inside & ((place == starts) | (place == stops - 1))
    assert layer.note or (found | ~edges).all(), f"{layer.name} sees less than {layer.field}"


@pytest.mark.zoo
@pytest.mark.parametrize(
    ("name", "size", "step"),
    [
        ("r3d_18", (5, 24, 20), 1),
        ("mc3_18", (5, 24, 20), 1),
        ("r2plus1d_18", (5, 24, 20), 1),
        ("s3d", (16, 224, 224), 37),
    ],
)
def test_fields_of_torchvisions_video_networks_are_what_perturbing_lines_finds(
    name: str, size: tuple[int, ...], step: int
) -> None:
    net = rs.open_model(name, random_weights=0, input_size=size, device="cpu")
    assert not net.unlisted
    lines = [
        (axis, place)
        for axis, length in enumerate(size)
        for place in sorted({*range(0, length, step if axis else 1), length - 1})
    ]
    reached = reached_from(net, lines)
    for layer in net.layers:
        for axis in range(3):
            rows = [row for row, line in enumerate(lines) if line[0] == axis]
            found = torch.stack([reached[layer.index][row] for row in rows])
            check_lines(layer, axis, [lines[row][1] for row in rows], found)


def test_a_volume_of_another_size_has_fields_of_its_own() -> None:
    net = opened(VOLUME_NETWORKS["plain"], 1, VOLUME)
    other = net.survey((4, 6, 10))
    assert [layer.size for layer in other.layers][:3] == [(4, 6, 10), (4, 6, 10), (4, 3, 5)]
    assert other.layers[0].field == net.layers[0].field


def test_a_network_says_what_it_takes() -> None:
    net = opened(VOLUME_NETWORKS["plain"], 1, VOLUME)
    assert (net.rank, net.input_size, repr(net)) == (
        3,
        VOLUME,
        "<Network Sequential: 6x9x8 on cpu>",
    )
    assert opened(SIGNAL_NETWORKS["plain"], 2, SIGNAL).rank == 1
