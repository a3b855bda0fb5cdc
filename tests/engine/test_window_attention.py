"""Attention inside windows of tokens, as of Swin: fields and places by what patches change."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retroscope.engine.survey import survey
from retroscope.geometry import Field
from retroscope.results.layers import Layer
from tests.conftest import built, numbers

PATCH, WIDTH = 2, 4
Size = tuple[int, int]


def of_torch(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch's own call, with the projections of its linear layers left out."""
    heads, (query, key, value) = (
        query.shape[1],
        (part.transpose(1, 2).flatten(2).transpose(0, 1) for part in (query, key, value)),
    )
    eye, torchs = torch.eye(WIDTH, dtype=query.dtype), F.multi_head_attention_forward
    attended: Tensor = torchs(
        query, key, value, WIDTH, heads, eye.repeat(3, 1), None, None, None, False, 0.0, eye, None,
        need_weights=False,
    )[0]  # fmt: skip
    return torch.unflatten(attended.transpose(0, 1), 2, (heads, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, form: str) -> Tensor:
    """Attention of (batch, heads, tokens, features), in one of the usual ways."""
    if form == "fused":
        return F.scaled_dot_product_attention(query, key, value)
    if form == "einsum":
        weights = torch.einsum("bhqd,bhkd->bhqk", query, key).softmax(-1)
        return torch.einsum("bhqk,bhkd->bhqd", weights, value)
    if form == "bmm":
        flat = [part.flatten(0, 1) for part in (query, key, value)]
        return torch.bmm(torch.bmm(flat[0], flat[1].mT).softmax(-1), flat[2]).view(value.shape)
    if form == "of torch":
        return of_torch(query, key, value)
    weights = (query @ key.transpose(-2, -1)).softmax(-1)
    return weights @ value


FORMS = ["written out", "fused", "einsum", "bmm", "of torch"]


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
    return torch.reshape(changed, (height, width, *changed.shape[1:]))


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


class Halved(nn.Module):
    """A strided convolution beside a pool, on channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(WIDTH, WIDTH, 3, 2, 1), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        maps = x.permute(0, 3, 1, 2)
        halved: Tensor = (self.conv(maps) + self.pool(maps)).permute(0, 2, 3, 1)
        return halved


def test_places_behind_windows_and_a_strided_convolution() -> None:
    grid = (12, 8)
    net = built(lambda: Windowed(WindowBlock(4), Halved(), WindowBlock(6))).double()
    layer = last_layer(net, grid)
    assert layer.field.whole
    assert not layer.note
    for block in net.modules():
        if isinstance(block, WindowBlock):
            block.to_oneself = True
    changed, field = reached(net, grid), layer.field
    for y, x in [(1, 1), (3, 2), (5, 3)]:
        for axis, index, along in ((1, y, field.y), (0, x, field.x)):
            patches = changed[:, :, y, x].any(axis).nonzero()
            middle = (int(patches.min()) + int(patches.max()) + 1) / 2 * PATCH
            assert sum(along.at(index)) / 2 == middle


def compare_fields(net: nn.Module, grid: Size) -> Layer:
    """Compares each position's field with the patches that change it: none may lie outside."""
    layer, changed = last_layer(net, grid), reached(net, grid)
    for y in range(grid[0]):
        for x in range(grid[1]):
            box = layer.field.box(y, x)
            rows, columns = (changed[:, :, y, x].any(axis).nonzero() * PATCH for axis in (1, 0))
            assert box.top <= rows.min() < rows.max() + PATCH <= box.bottom
            assert box.left <= columns.min() < columns.max() + PATCH <= box.right
    return layer


@pytest.mark.parametrize("form", FORMS)
def test_a_window_is_seen_by_its_tokens(form: str) -> None:
    """Windows of 3 tokens are 6 pixels; one of them that moves with its token holds them all."""
    grid = (9, 12)
    net = built(lambda: Windowed(WindowBlock(3, form=form))).double()
    layer, changed = compare_fields(net, grid), reached(net, grid)
    window = 3 * PATCH
    assert layer.field.y == layer.field.x == Field(window + 2 * PATCH, PATCH, -2 * PATCH)
    assert layer.note.startswith("a unit sees at most this field")
    for y, x in [(0, 0), (4, 5), (8, 3)]:
        seen = torch.zeros(grid, dtype=torch.bool)
        seen[y // 3 * 3 : y // 3 * 3 + 3, x // 3 * 3 : x // 3 * 3 + 3] = True
        assert torch.equal(changed[:, :, y, x], seen)


def test_windows_of_windows_are_seen_together() -> None:
    """Behind windows of 2 tokens and windows of 4, a window of 4 is seen."""
    grid = (16, 16)
    net = built(lambda: Windowed(WindowBlock(2), WindowBlock(4))).double()
    layer = compare_fields(net, grid)
    assert layer.field.y == layer.field.x == Field(7 * PATCH, PATCH, -3 * PATCH)


def test_a_shifted_window_joins_opposite_borders() -> None:
    """The tokens of the first and last rows are in one window, unless a mask keeps them apart."""
    grid = (8, 8)
    net = built(lambda: Windowed(WindowBlock(2), WindowBlock(4, 2))).double()
    layer = compare_fields(net, grid)
    assert layer.field.whole
    assert reached(net, grid)[7, 4, 0, 4]


class GridBlock(nn.Module):
    """Tokens at every `step`-th row and column attend to each other, as in MaxViT."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step, self.qkv = step, nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        rows, columns, step = height // self.step, width // self.step, self.step
        cut = x.view(batch, rows, step, columns, step, channels).permute(0, 2, 4, 1, 3, 5)
        tokens = self.qkv(cut.reshape(batch * step * step, rows * columns, channels))
        query, key, value = tokens[:, None].chunk(3, -1)
        heads = attend(query, key, value, "written out")
        heads = heads.view(batch, step, step, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
        return torch.tanh(x + heads.reshape(x.shape))


def test_a_grid_that_leaves_out_rows_is_the_whole_image() -> None:
    grid = (8, 12)
    net = built(lambda: Windowed(GridBlock(4))).double()
    assert compare_fields(net, grid).field.whole


@settings(deadline=None, max_examples=25)
@given(
    windows=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3),
    grid=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    form=st.sampled_from(FORMS),
)
def test_no_patch_outside_its_field_changes_a_token(
    windows: list[tuple[int, int]], grid: Size, form: str
) -> None:
    net = built(lambda: Windowed(*(WindowBlock(*window, form=form) for window in windows)))
    layer = compare_fields(net.double(), grid)
    is_local = all(shift == 0 for _, shift in windows)
    width = max(window for window, _ in windows)
    if is_local and min(grid) >= 4 * width:
        assert not layer.field.whole
