"""Attention inside windows of tokens, as of Swin: fields and places by what patches change."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retroscope.engine.survey import survey
from retroscope.results.layers import Layer
from tests.conftest import built, numbers

PATCH, WIDTH = 2, 4
Size = tuple[int, int]


def attend(query: Tensor, key: Tensor, value: Tensor, form: str) -> Tensor:
    """Attention of (batch, heads, tokens, features), in one of the usual ways."""
    if form == "fused":
        return F.scaled_dot_product_attention(query, key, value)
    if form == "einsum":
        weights = torch.einsum("bhqd,bhkd->bhqk", query, key).softmax(-1)
        return torch.einsum("bhqk,bhkd->bhqd", weights, value)
    weights = (query @ key.transpose(-2, -1)).softmax(-1)
    return weights @ value


class WindowBlock(nn.Module):
    """Tokens of a map (batch, height, width, channels) attend to those of their window.

    The map is rolled by `shift` and padded to whole windows. `to_oneself`: each token takes its own
    value.
    """

    def __init__(self, window: int, shift: int = 0, *, form: str = "written out") -> None:
        super().__init__()
        self.window, self.shift, self.form, self.to_oneself = window, shift, form, False
        self.norm, self.qkv = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        window, shift = self.window, self.shift
        shifted = torch.roll(self.norm(x), (-shift, -shift), (1, 2)) if shift else self.norm(x)
        shifted = F.pad(shifted, (0, 0, 0, -width % window, 0, -height % window))
        rows, columns = shifted.shape[1] // window, shifted.shape[2] // window
        cut = shifted.view(batch, rows, window, columns, window, channels).transpose(2, 3)
        tokens = self.qkv(cut.reshape(-1, window * window, channels))
        query, key, value = tokens.unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        heads = value if self.to_oneself else attend(query, key, value, self.form)
        heads = heads.transpose(1, 2).reshape(-1, window, window, channels)
        joined = heads.view(batch, rows, columns, window, window, channels).transpose(2, 3)
        joined = joined.reshape(batch, rows * window, columns * window, channels)
        joined = joined[:, :height, :width]
        joined = torch.roll(joined, (shift, shift), (1, 2)) if shift else joined
        return torch.tanh(x + joined)


class Windowed(nn.Module):
    """Patches, and blocks of windows; the map has its channels last."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.patches, self.blocks = nn.Conv2d(3, WIDTH, PATCH, PATCH), nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.blocks(self.patches(x).permute(0, 2, 3, 1))
        return maps


def last_layer(net: nn.Module, grid: Size) -> Layer:
    return survey(net, (3, grid[0] * PATCH, grid[1] * PATCH)).layers[-1]


def reached(net: nn.Module, grid: Size) -> Tensor:
    """Which positions each patch changes: (patches' y, x, positions' y, x)."""
    height, width = grid
    image = numbers(1, 3, height * PATCH, width * PATCH)
    images = image.repeat(height * width, 1, 1, 1)
    for number in range(height * width):
        y, x = number // width * PATCH, number % width * PATCH
        images[number, :, y : y + PATCH, x : x + PATCH] += 1
    with torch.no_grad():
        changed = ((net(images) - net(image)).abs() > 1e-12).any(3)
    return torch.reshape(changed, (height, width, height, width))


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("grid", [(6, 9), (7, 8)])
def test_tokens_of_windows_keep_their_places(grid: Size, shift: int) -> None:
    """With attention to itself alone, a patch changes its own position; the field is around it."""
    net = built(
        lambda: Windowed(WindowBlock(3), WindowBlock(3, shift), WindowBlock(max(grid)))
    ).double()
    layer = last_layer(net, grid)
    assert layer.field.whole
    assert not layer.note
    for block in net.modules():
        if isinstance(block, WindowBlock):
            block.to_oneself = True
    height, width = grid
    assert torch.equal(
        reached(net, grid).view(height * width, -1), torch.eye(height * width, dtype=torch.bool)
    )
    for field, length in zip(layer.field.axes(2), grid, strict=True):
        for index in range(length):
            start, stop = field.at(index)
            assert (start + stop) / 2 == (index + 0.5) * PATCH
