"""Projections averaged over small shifts of the image."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from retroscope.errors import RetroscopeError
from retroscope.methods.deconv.deconv import deconv
from retroscope.network import Network
from tests.conftest import built, numbers

SIZE = (24, 20)


def strided() -> nn.Module:
    parts = (nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2))
    return nn.Sequential(*parts, nn.ReLU(), nn.Conv2d(8, 4, 3))


def shift(pixels: np.ndarray, down: int, right: int) -> np.ndarray:
    """Channels, height, width, moved; the border is repeated."""
    padded = np.pad(pixels, ((0, 0), (4, 4), (4, 4)), mode="edge")
    height, width = pixels.shape[1:]
    return padded[:, 4 - down : 4 - down + height, 4 - right : 4 - right + width]


@pytest.mark.parametrize("unit", ["4:1@1,1", "4:2@0,1", "4:3"])
@pytest.mark.parametrize("rules", ["guided", "relevance"])
def test_the_average_is_that_of_projections_in_shifted_images(unit: str, rules: str) -> None:
    net, image = Network(built(strided).double(), input_size=SIZE), numbers(3, *SIZE)
    averaged = deconv(net, unit, image, rules=rules, shifts=3)
    address, total = averaged.unit, np.zeros((*SIZE, 3))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            moved = torch.from_numpy(shift(image.numpy(), down, right).copy())
            projection = np.pad(
                deconv(net, address, moved, rules=rules).full(), ((4, 4), (4, 4), (0, 0))
            )
            total += projection[4 + down :, 4 + right :][: SIZE[0], : SIZE[1]]
    box = averaged.box
    expected = (total / 9)[box.top : box.bottom, box.left : box.right]
    np.testing.assert_allclose(averaged.pixels, expected, rtol=1e-9, atol=1e-12)
    assert averaged.unit == deconv(net, unit, image, rules=rules).unit
    assert "9 shifts" in averaged.notes[-1]


def grid_strength(pixels: np.ndarray, period: int) -> float:
    """How much the mean size of a projection varies with the position modulo a period."""
    size = np.abs(pixels).sum(2)
    height, width = (length // period * period for length in size.shape)
    phases = size[:height, :width].reshape(height // period, period, width // period, period)
    means = phases.mean((0, 2))
    return float(means.std() / means.mean())


def test_shifts_remove_the_grid_of_a_stride() -> None:
    net, image = Network(built(strided).double(), input_size=SIZE), numbers(3, *SIZE)
    plain, averaged = (
        deconv(net, "4:1@*", image, rules="deconvnet", shifts=shifts) for shifts in (1, 4)
    )
    assert grid_strength(plain.full(), 4) > 0.2
    assert grid_strength(averaged.full(), 4) < grid_strength(plain.full(), 4) / 2


def test_one_shift_is_the_projection_itself() -> None:
    net, image = Network(built(strided).double(), input_size=SIZE), numbers(3, *SIZE)
    one, plain = deconv(net, "4:1", image, shifts=1), deconv(net, "4:1", image)
    np.testing.assert_array_equal(one.pixels, plain.pixels)
    assert one.notes == plain.notes


@pytest.mark.parametrize("shifts", [0, -1, 17])
def test_a_number_of_shifts_out_of_range_is_refused(shifts: int) -> None:
    net = Network(built(strided).double(), input_size=SIZE)
    with pytest.raises(RetroscopeError, match=f"from 1 to 16, not {shifts}"):
        deconv(net, "4:1", numbers(3, *SIZE), shifts=shifts)


def short_clips() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 3, padding=1))


@pytest.mark.parametrize(("depth", "shifts"), [(2, 7), (1, 4), (4, 3)])
def test_the_average_in_a_clip_is_that_of_shifted_clips(depth: int, shifts: int) -> None:
    """Shifts may be longer than the clip; of one slice, nothing can be shifted along the depth."""
    size = (depth, 9, 8)
    net = Network(built(short_clips).double(), input_size=size, mean=[0.0])
    image = numbers(1, *size)
    averaged = deconv(net, "2:1@0,3,4", image, rules="gradient", shifts=shifts)
    steps = range(-((shifts - 1) // 2), shifts // 2 + 1)
    total, count, far = np.zeros((*size, 1)), 0, 8
    for z, y, x in product(steps if depth > 1 else [0], steps, steps):
        padded = np.pad(image.numpy(), ((0, 0), *((far, far),) * 3), mode="edge")
        starts = [far - step for step in (z, y, x)]
        inside = tuple(slice(s, s + length) for s, length in zip(starts, size, strict=True))
        moved = torch.from_numpy(padded[(slice(None), *inside)].copy())
        projection = deconv(net, averaged.unit, moved, rules="gradient").full()
        back = np.pad(projection, (*((far, far),) * 3, (0, 0)))
        total += back[far + z :, far + y :, far + x :][: size[0], : size[1], : size[2]]
        count += 1
    expected = (total / count)[averaged.box.slices(3)]
    np.testing.assert_allclose(averaged.pixels, expected, rtol=1e-9, atol=1e-12)
    assert f"{count} shifts" in averaged.notes[-1]
