"""Images that a network resizes and lays on a larger canvas, as torchvision's detectors do."""

from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retroscope.methods.deconv.deconv import deconv
from retroscope.network import Network
from tests.conftest import built, numbers

CANVAS = 32
SIZES = [(50, 66), (66, 50), (24, 32), (32, 32), (40, 20)]


class OnCanvas(nn.Module):
    """The longer side becomes 32; the rest of the square canvas is black."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.deep = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        scale = CANVAS / max(x.shape[2:])
        if scale != 1:
            x = F.interpolate(x, scale_factor=scale, mode="bilinear", recompute_scale_factor=True)
        canvas = x.new_full((len(x), 3, CANVAS, CANVAS), 0)
        canvas[:, :, : x.shape[2], : x.shape[3]].copy_(x)
        return cast("Tensor", self.deep(self.conv(canvas).relu()))


def network(size: tuple[int, int]) -> Network:
    return Network(built(lambda: OnCanvas().double()), input_size=size, name="on canvas")


def slopes(net: Network, position: tuple[int, int], image: Tensor) -> Tensor:
    """The gradient of one unit of the last layer at the pixels (height, width), without signs."""
    pixels = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net.module(pixels[None])[0, 1][position], pixels)
    return gradient.abs().sum(0)


@pytest.mark.parametrize("size", SIZES)
def test_fields_hold_what_a_unit_reads_and_little_more(size: tuple[int, int]) -> None:
    net, image = network(size), numbers(3, *size, seed=1)
    layer, scale = net.layer("deep"), max(size) / CANVAS
    for axis in (layer.field.y, layer.field.x):
        assert axis.size <= 7 * scale + 3
    for y in range(layer.size[0]):
        for x in (0, 5, layer.size[1] - 1):
            rows, columns = np.nonzero(slopes(net, (y, x), image).numpy())
            box = layer.field.box(y, x).clip(*size)
            if len(rows):
                assert box.top <= rows.min() <= rows.max() < box.bottom
                assert box.left <= columns.min() <= columns.max() < box.right


@pytest.mark.parametrize("size", SIZES[:3])
def test_a_unit_over_the_canvas_alone_has_an_empty_projection(size: tuple[int, int]) -> None:
    net, image = network(size), numbers(3, *size, seed=1)
    position = (15, 3) if size[0] < size[1] else (3, 15)
    assert not slopes(net, position, image).any()
    projection = deconv(net, f"deep:1@{position[0]},{position[1]}", image, rules="gradient")
    assert projection.pixels.size
    assert not projection.pixels.any()


@pytest.mark.parametrize("size", SIZES)
def test_projections_are_gradients(size: tuple[int, int]) -> None:
    net, image = network(size), numbers(3, *size, seed=1)
    for position in ((2, 3), (7, 8), (9, 6)):
        projection = deconv(net, f"deep:1@{position[0]},{position[1]}", image, rules="gradient")
        expected = slopes(net, position, image).numpy() * abs(projection.activation)
        np.testing.assert_allclose(abs(projection.full()).sum(2), expected, rtol=0, atol=1e-5)
