"""Positions of tokens: by what perturbing a patch changes, and by reshaping by hand."""

from collections.abc import Callable
from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retroscope.engine.forward import run_forward
from retroscope.engine.motion import TokenAxis
from retroscope.engine.position_labels import PositionLabels
from retroscope.engine.program import Mixing, Survey
from retroscope.engine.survey import survey
from retroscope.geometry import Field
from retroscope.results.layers import Layer
from tests.conftest import built, numbers
from tests.reference.transformers import ATTENTION, GRID, PATCH, SIZE, TinyViT

EVERY_ATTENTION = [*ATTENTION, "torch"]


def maps_of(net: nn.Module, program: Survey, images: Tensor) -> dict[str, Tensor]:
    """The maps of every layer, by its name."""
    maps: dict[str, list[Tensor]] = {}

    def keep(name: str, output: Tensor) -> None:
        maps.setdefault(name, []).append(output.clone())

    listeners = {layer.index: partial(keep, layer.name) for layer in program.layers}
    with torch.no_grad():
        for image in images:
            run_forward(net, program, image[None], listeners)
    return {name: torch.cat(outputs) for name, outputs in maps.items()}


def of_grid(program: Survey) -> list[Layer]:
    return [layer for layer in program.layers if layer.size == GRID]


def changed_positions(maps: dict[str, Tensor], name: str) -> list[list[int]]:
    """Where the second image's maps differ from the first one's."""
    places: list[list[int]] = (maps[name][0] != maps[name][1]).any(0).nonzero().tolist()
    return places


def with_another_patch(place: tuple[int, ...]) -> Tensor:
    images = numbers(1, 3, *SIZE).repeat(2, 1, 1, 1)
    y, x = (index * PATCH for index in place)
    images[1, :, y : y + PATCH, x : x + PATCH] += 1
    return images


# The definition: a token is at the patch that alone changes it


@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 0), (2, 3), (0, 1)])
def test_before_attention_a_patch_changes_its_own_position_alone(before: int, after: int) -> None:
    net = built(partial(TinyViT, before=before, after=after)).double()
    program = survey(net, (3, *SIZE))
    first = next(n for n, step in enumerate(program.steps) if step.mixing is Mixing.ATTENTION)
    local = [layer for layer in of_grid(program) if layer.index < first]
    assert {"patches", "add", "blocks.0.norm1", "blocks.0.attn.qkv"} <= {one.name for one in local}
    assert {layer.extra_tokens for layer in local} == {0, before + after}
    for place in product(*map(range, GRID)):
        maps = maps_of(net, program, with_another_patch(place))
        for layer in local:
            assert changed_positions(maps, layer.name) == [list(place)], layer.name
            assert layer.field.y == layer.field.x == Field(PATCH, PATCH, 0)


@pytest.mark.parametrize("attention", EVERY_ATTENTION)
def test_a_residual_stream_keeps_its_positions_beside_attention(attention: str) -> None:
    """With no attention in the sum, every block works on each patch by itself."""
    net = built(partial(TinyViT, attention)).double()
    for name, weights in net.named_parameters():
        if "attn.proj" in name or "out_proj" in name:
            nn.init.zeros_(weights)
    program = survey(net, (3, *SIZE))
    stream = [one for one in of_grid(program) if one.kind in ("add", "norm", "gelu")]
    assert len(stream) == 1 + 2 * 5 + 1
    for place in [(0, 0), (1, 3), (2, 0)]:
        maps = maps_of(net, program, with_another_patch(place))
        for layer in stream:
            assert changed_positions(maps, layer.name) == [list(place)], layer.name


@pytest.mark.parametrize("attention", EVERY_ATTENTION)
def test_behind_attention_every_position_sees_the_whole_image(attention: str) -> None:
    net = built(partial(TinyViT, attention)).double()
    program = survey(net, (3, *SIZE))
    first = next(n for n, step in enumerate(program.steps) if step.mixing is Mixing.ATTENTION)
    behind = [layer for layer in of_grid(program) if layer.index >= first]
    assert behind
    maps = maps_of(net, program, with_another_patch((1, 1)))
    for layer in behind:
        assert layer.field.whole, layer.name
        if layer.kind in ("add", "norm", "gelu"):
            assert len(changed_positions(maps, layer.name)) == GRID[0] * GRID[1]


def test_a_token_without_a_position_is_not_among_the_maps() -> None:
    net = built(partial(TinyViT, before=2, after=1)).double()
    program = survey(net, (3, *SIZE))
    stream = next(layer for layer in program.layers if layer.name == "blocks.1.norm1")
    assert (stream.size, stream.channels, stream.extra_tokens) == (GRID, 8, 3)
    head = program.layers[-1]
    assert (head.size, head.extra_tokens) == ((1, 1), 0)


class Rearranged(nn.Module):
    """A map that becomes tokens, is rearranged, and becomes a map again."""

    def __init__(self, rearrange: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.patches, self.rearrange = nn.Conv2d(3, 8, PATCH, PATCH), rearrange

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.rearrange(self.patches(x)))


def in_windows(maps: Tensor) -> Tensor:
    """Cut into windows of 3x2 and put together, as Swin does on channels last."""
    x = maps.permute(0, 2, 3, 1)
    x = torch.roll(x, (1, -1), (1, 2))
    x = x.view(1, 1, 3, 2, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 6, 8) * 2
    x = x.view(1, 1, 2, 3, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(1, 3, 4, 8)
    return torch.roll(x, (-1, 1), (1, 2)).permute(0, 3, 1, 2)


REARRANGED: dict[str, Callable[[Tensor], Tensor]] = {
    "tokens and back": lambda m: m.flatten(2).mT.reshape(1, 3, 4, 8).permute(0, 3, 1, 2),
    "channels in groups": lambda m: m.flatten(2).view(1, 2, 4, 12).flatten(1, 2).mT,
    "columns first": lambda m: m.permute(0, 1, 3, 2).flatten(2).view(1, 8, 4, 3).mT,
    "halves joined": lambda m: torch.cat(m.flatten(2).chunk(2, 2), 2),
    "padded tokens": lambda m: F.pad(m.flatten(2).mT, (0, 0, 2, 1)),
    "padded tokens, named": lambda m: F.pad(input=m.flatten(2).mT, pad=(0, 0, 2, 1)),
    "rolled there and back": lambda m: m.flatten(2).roll(5, 2).roll(-5, 2),
    "picked by numbers": lambda m: m.flatten(2)[:, :, torch.arange(12)],
    "picked one by one": lambda m: m.flatten(2).index_select(2, torch.arange(12)),
    "a 1-D convolution over channels": lambda m: (
        F.conv1d(m.permute(0, 2, 3, 1).reshape(-1, 1, 8), numbers(1, 1, 3), padding=1)
        .view(1, 3, 4, 8)
        .permute(0, 3, 1, 2)
    ),
    "in stacks": lambda m: torch.stack([m.flatten(2)[:, :4], m.flatten(2)[:, 4:]], 1).flatten(1, 2),
    "windows": in_windows,
}


@pytest.mark.parametrize("name", REARRANGED)
def test_positions_are_followed_through_rearrangements(name: str) -> None:
    net = built(lambda: Rearranged(REARRANGED[name])).double()
    program = survey(net, (3, *SIZE))
    layer = program.layers[-1]
    assert (layer.name, layer.size, layer.channels) == ("tanh", GRID, 8)
    for place in product(*map(range, GRID)):
        maps = maps_of(net, program, with_another_patch(place))
        assert changed_positions(maps, "tanh") == [list(place)]
    assert layer.field.y == Field(PATCH, PATCH, 0)


SCRAMBLED: dict[str, Callable[[Tensor], Tensor]] = {
    "flipped": lambda m: m.flatten(2).flip(2).mT,
    "columns before rows": lambda m: m.mT.flatten(2).mT,
    "picked from the last to the first": lambda m: (
        m.flatten(2).index_select(2, torch.arange(11, -1, -1)).mT
    ),
    "sorted": lambda m: m.flatten(2).sort(2).values.mT,
    "some left out": lambda m: m.flatten(2)[:, :, 1:].mT,
    "some twice": lambda m: torch.cat([m.flatten(2), m.flatten(2)[:, :, :3]], 2).mT,
    "numbers of values": lambda m: m.flatten(2)[:, :, m.flatten(2)[0, 0].argsort()].mT,
}


@pytest.mark.parametrize("name", SCRAMBLED)
def test_tokens_in_another_order_are_not_taken_for_maps(name: str) -> None:
    """Their number alone would say that they are a grid."""
    net = built(lambda: Rearranged(SCRAMBLED[name])).double()
    layer = survey(net, (3, *SIZE)).layers[-1]
    assert layer.name == "tanh"
    assert layer.size[1] == 1
    assert layer.extra_tokens == 0


def test_a_number_for_each_token_is_a_map_of_one_channel() -> None:
    """As where tokens are scored, to leave out the worst."""
    net = built(lambda: Rearranged(lambda maps: maps.flatten(2).mean(1))).double()
    program = survey(net, (3, *SIZE))
    layer = program.layers[-1]
    assert (layer.name, layer.size, layer.channels) == ("tanh", GRID, 1)
    for place in product(*map(range, GRID)):
        maps = maps_of(net, program, with_another_patch(place))
        assert maps["tanh"].shape[1:] == (1, *GRID)
        assert changed_positions(maps, "tanh") == [list(place)]


# The same, for labels alone


def test_labels_say_along_which_dimension_a_grid_is_listed() -> None:
    grid = torch.arange(6, dtype=torch.int32)
    tokens = torch.cat([torch.tensor([-1, -1]), grid, torch.tensor([-1])]).view(1, 9, 1)
    labels = PositionLabels.of(tokens.expand(1, 9, 5).contiguous(), (2, 3))
    assert labels is not None
    assert labels.varying == (1,)
    assert labels.numbers.stride(2) == 0
    assert labels.token_axis() == TokenAxis(1, (2, 3), start=2, length=9)
    assert labels.axes() is None
    assert PositionLabels.of(torch.full((1, 4, 2), -1), (2, 3)) is None


@pytest.mark.parametrize("axes", [(2, 3), (1, 2), (3, 1), (0, 2)])
def test_labels_of_a_map_have_its_axes(axes: tuple[int, int]) -> None:
    shape = [5, 5, 5, 5]
    shape[axes[0]], shape[axes[1]] = 2, 3
    labels = PositionLabels.of_map(axes, tuple(shape))
    assert labels.axes() == axes
    assert {*labels.numbers.flatten().tolist()} == {*range(6)}


def near(place: tuple[int, ...], distance: int) -> list[list[int]]:
    """The positions of the grid at most so far from a place along each axis."""
    grid = product(*map(range, GRID))
    return [
        list(at) for at in grid if max(abs(at[0] - place[0]), abs(at[1] - place[1])) <= distance
    ]


def test_listed_windows_are_at_their_middle() -> None:
    """Windows of 3x3 patches overlap: a patch changes those around it."""
    net = built(lambda: Rearranged(lambda m: F.unfold(m, 3, padding=1).mT)).double()
    program = survey(net, (3, *SIZE))
    layer = program.layers[-1]
    assert (layer.name, layer.size, layer.channels) == ("tanh", GRID, 72)
    assert layer.field.y == layer.field.x == Field(3 * PATCH, PATCH, -PATCH)
    assert not layer.note
    for place in product(*map(range, GRID)):
        maps = maps_of(net, program, with_another_patch(place))
        assert changed_positions(maps, "tanh") == near(place, 1)


def test_windows_that_are_added_up_are_a_map_again() -> None:
    """As VOLO has it: each window is changed as a whole and added where it lies."""
    grid = 8, 9

    def add_windows(maps: Tensor) -> Tensor:
        windows = F.unfold(maps, kernel_size=3, padding=1).softmax(1)
        return F.fold(windows, output_size=grid, kernel_size=3, padding=1)

    net = built(lambda: Rearranged(add_windows)).double()
    image = numbers(1, 3, *(length * PATCH for length in grid))
    program = survey(net, tuple(image.shape[1:]))
    layer = program.layers[-1]
    assert (layer.name, layer.size, layer.channels) == ("tanh", grid, 8)
    assert layer.field.y == layer.field.x == Field(5 * PATCH, PATCH, -2 * PATCH)
    assert not layer.note
    for y, x in [(0, 0), (3, 4), (7, 2)]:
        changed = image.clone()
        changed[:, :, y * PATCH : (y + 1) * PATCH, x * PATCH : (x + 1) * PATCH] += 1
        maps = maps_of(net, program, torch.cat([image, changed]))
        near_by = [
            [other_y, other_x]
            for other_y, other_x in product(*map(range, grid))
            if max(abs(other_y - y), abs(other_x - x)) <= 2
        ]
        assert changed_positions(maps, "tanh") == near_by


def test_what_is_inside_a_listed_window_is_not_among_the_channels() -> None:
    net = built(lambda: Rearranged(lambda m: F.unfold(m, 3, padding=1).view(-1, 8, 9, 12)))
    layer = survey(net, (3, *SIZE)).layers[-1]
    assert (layer.channels, layer.size) == (8, (9, 12))
    assert (layer.field.y.stride, layer.field.x.stride) == (0, 0)


def test_nor_is_it_behind_a_slice_of_the_windows() -> None:
    def some_windows(maps: Tensor) -> Tensor:
        windows = maps.unfold(2, 2, 1).unfold(3, 2, 1)[:, :, :, :2]
        return windows.flatten(2, 3).flatten(3).transpose(2, 3)

    layer = survey(built(lambda: Rearranged(some_windows)), (3, *SIZE)).layers[-1]
    assert (layer.channels, layer.size) == (8, (4, 4))
    assert (layer.field.y.stride, layer.field.x.stride) == (0, 0)


class TalkingHeads(nn.Module):
    """As CaiT has it: a linear layer over the heads of attention weights (1, heads, 12, 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.talk = nn.Conv2d(3, 8, PATCH, PATCH), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).view(len(x), 2, 4, 12).transpose(2, 3)
        weights = (tokens @ tokens.transpose(2, 3)).permute(0, 2, 3, 1)
        weights = self.talk(weights).permute(0, 3, 1, 2).softmax(-1)
        heads = (weights @ tokens).transpose(1, 2)
        return torch.tanh(heads.reshape(len(x), 12, 8))


def test_attention_weights_have_no_place_in_the_image() -> None:
    program = survey(built(TalkingHeads).double(), (3, *SIZE))
    layers = {layer.name: layer for layer in program.layers}
    weights = [layer for layer in program.layers if layer.size == (12, 12)]
    assert layers["talk"] in weights
    assert len(weights) >= 2
    for layer in weights:
        assert layer.field.whole
        assert (layer.field.y.stride, layer.field.x.stride) == (0, 0), layer.name
    assert layers["tanh"].size == GRID
    assert (layers["tanh"].field.y.stride, layers["tanh"].field.x.stride) == (PATCH, PATCH)


class TorchEncoder(nn.Module):
    """nn.MultiheadAttention with the images of a batch in the first or the second dimension."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.patches, self.batch_first = nn.Conv2d(3, 8, PATCH, PATCH), batch_first
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).permute((0, 2, 1) if self.batch_first else (2, 0, 1))
        attended: Tensor = self.attention(x, x, x)[0]
        return torch.tanh(attended if self.batch_first else attended.transpose(0, 1))


@pytest.mark.parametrize("batch_first", [True, False])
def test_torchs_attention_is_a_layer_whose_images_stay_apart(batch_first: bool) -> None:
    net = built(partial(TorchEncoder, batch_first=batch_first)).double()
    program = survey(net, (3, *SIZE))
    layer = next(layer for layer in program.layers if layer.kind == "attention")
    assert (layer.name, layer.size, layer.channels) == ("attention", GRID, 8)
    assert layer.field.whole
    assert program.unlisted == ()
    images = numbers(3, 3, *SIZE)
    together = list[Tensor]()
    with torch.no_grad():
        run_forward(net, program, images, {layer.index: lambda maps: together.append(maps.clone())})
    alone = maps_of(net, program, images)
    torch.testing.assert_close(together[0], alone["attention"])
    torch.testing.assert_close(alone["tanh"], alone["attention"].tanh())


def test_a_network_without_attention_has_no_tokens() -> None:
    net = built(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 140, 2)))
    program = survey(net, (3, *SIZE))
    assert not program.has_attention
    assert {layer.extra_tokens for layer in program.layers} == {0}
    assert [layer.size for layer in program.layers] == [(10, 14), (1, 1)]
