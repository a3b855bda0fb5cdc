"""How each operation moves a map is what perturbing the map finds."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from retroscope.engine.call_arguments import tensors_in
from retroscope.engine.motion import Mix, Stay
from retroscope.engine.operations import ROWS
from tests.conftest import built, numbers
from tests.heard import FRONT, LAST, LINE, VOLUME, Call, check, heard

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
    "expanded to another's shape": lambda x: x[:, None].expand_as(torch.zeros(1, 2, *FRONT[1:])),
    "another's shape": lambda x: x.view_as(torch.zeros(1, 2, 2, *FRONT[2:])),
    "another's type": lambda x: x.type_as(MAP),
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
    "a roll, named": lambda x: torch.roll(x, shifts=(1, 2), dims=(0, 1)),
    "pieces, named": lambda x: torch.split(x, split_size_or_sections=2, dim=1),
    "pieces of a number, named": lambda x: x.tensor_split(sections=2, dim=1),
    "the two largest channels, named": lambda x: x.topk(k=2, dim=1),
    "one row of channels, named": lambda x: x.select(dim=1, index=2),
    "similar channels, named": lambda x: F.cosine_similarity(x1=x, x2=MAP, dim=1),
    "einsum": lambda x: torch.einsum("nchw->nhcw", x),
    "transposed conv": lambda x: F.conv_transpose2d(x, KERNEL.transpose(0, 1), None, 2, 1, 1),
    "uneven adaptive windows": lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    "twice the size": lambda x: F.interpolate(x, scale_factor=2),
    "another size": lambda x: F.interpolate(x, (4, 7), mode="nearest-exact"),
    "the same size": lambda x: F.interpolate(x, (6, 5), mode="bicubic"),
    "a factor that keeps the size": lambda x: F.interpolate(x, scale_factor=1.1, mode="bicubic"),
    "picked channels": lambda x: x.index_select(1, torch.tensor([2, 0, 3])),
    "a pool, sized by numpy": lambda x: F.max_pool2d(x, np.int64(2), np.int64(1)),  # type: ignore[call-overload]
    "one channel, by a number of numpy": lambda x: x[:, np.int64(2)],
    "pixel shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x[..., :4], 2),
    "reflected borders": lambda x: F.pad(x, (2, 1, 0, 3), mode="reflect"),
    "replicated borders": lambda x: F.pad(x, (1, 2, 2, 0), mode="replicate"),
    "circular borders": lambda x: F.pad(x, (1, 1, 2, 1), mode="circular"),
    "circular borders, cropped": lambda x: F.pad(x, (2, -1, -1, 2), mode="circular"),
    "reflected borders, cropped": lambda x: F.pad(x, (2, -1, -1, 2), mode="reflect"),
    "replicated borders, cropped": lambda x: F.pad(x, (2, -1, -1, 2), mode="replicate"),
    "rows in pairs": lambda x: x.view(1, 4, 3, 2, 5),
    "rows as columns of channels": lambda x: x.view(1, 2, 2, 6, 5),
    "one's twin": lambda x: torch.stack((x, x), dim=1),
    "a stack at the end": lambda x: torch.stack([x, MAP], -1),
    "single channels": lambda x: x.unbind(1),
    "one row of channels": lambda x: x.select(1, 2),
    "some rows": lambda x: x.narrow(2, 1, 4),
    "windows listed": lambda x: F.unfold(x, 3, padding=1),
    "windows of columns": lambda x: x.unfold(3, 3, 2),
    "repeated rows": lambda x: x.repeat_interleave(2, dim=2),
    "moved dimensions": lambda x: x.movedim(1, -1),
    "swapped dimensions": lambda x: x.mT,
    "the length of channels": lambda x: x.norm(dim=1),
    "normalised channels": lambda x: F.normalize(x, dim=1),
    "similar channels": lambda x: F.cosine_similarity(x, MAP, dim=1),
    "a matrix for each place": lambda x: x.permute(0, 2, 3, 1)[..., None, :] @ numbers(6, 5, 4, 3),
    "the spread of channels": lambda x: x.var(1, keepdim=True),
    "a comparison": lambda x: x > 0,
    "one of two": lambda x: torch.where(GATE > 0, x, MAP),
    "running sums of channels": lambda x: x.cumsum(1),
    "sorted channels": lambda x: x.sort(dim=1),
    "the two largest channels": lambda x: x.topk(2, dim=1),
    "flipped channels": lambda x: x.flip(1),
    "shuffled channels": lambda x: F.channel_shuffle(x, 2),
    "a rounded map": torch.round,
    "sorted batches": torch.msort,
    "a 1-D conv": lambda x: F.conv1d(x[0], numbers(3, 6, 3)),
    "a product of batches": lambda x: torch.bmm(x[0], x[0].mT),
    "attention in front": lambda x: F.scaled_dot_product_attention(
        x.permute(0, 2, 3, 1)[..., None], MAP.permute(0, 2, 3, 1)[..., None], ONES[:, None]
    ),
}
CHANNELS_LAST: dict[str, Call] = {
    "linear": lambda x: F.linear(x, FLAT),
    "layer norm": lambda x: F.layer_norm(x, (4,), eps=1.0),
    "norm of the root mean square": lambda x: F.rms_norm(x, (4,)),
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


KERNEL_1D, KERNEL_3D = numbers(3, 4, 3), numbers(3, 4, 2, 3, 2)
SIGNALS: dict[str, Call] = {
    "conv": lambda x: F.conv1d(x, KERNEL_1D, None, 2, 1),
    "conv, dilated and same": lambda x: F.conv1d(x, KERNEL_1D, padding="same", dilation=2),
    "transposed conv": lambda x: F.conv_transpose1d(x, KERNEL_1D.transpose(0, 1), None, 2, 1),
    "max pool": lambda x: F.max_pool1d(x, 3, 2, 1, ceil_mode=True),
    "max pool, with its places": lambda x: F.max_pool1d(x, 2, return_indices=True),
    "mean pool": lambda x: F.avg_pool1d(x, 3, 2, 1),
    "adaptive mean pool": lambda x: F.adaptive_avg_pool1d(x, 4),
    "adaptive max pool": lambda x: F.adaptive_max_pool1d(x, 3),
    "adaptive max pool, with its places": lambda x: F.adaptive_max_pool1d(
        x, 3, return_indices=True
    ),
    "twice the length": lambda x: F.interpolate(x, scale_factor=2, mode="linear"),
    "another length": lambda x: F.interpolate(x, 13),
    "reflected borders": lambda x: F.pad(x, (2, 3), mode="reflect"),
    "batch norm": lambda x: F.batch_norm(x, ONES, ONES),
    "instance norm": lambda x: F.instance_norm(x, eps=1.0),
    "channels last": lambda x: x.transpose(1, 2),
    "every other": lambda x: x[..., ::2],
    "pairs as channels": lambda x: x[..., 1:].view(1, 4, 4, 2),
}
VOLUMES: dict[str, Call] = {
    "conv": lambda x: F.conv3d(x, KERNEL_3D, None, (1, 2, 1), (1, 0, 1)),
    "conv, dilated": lambda x: F.conv3d(x, KERNEL_3D, dilation=(2, 1, 3)),
    "conv, same": lambda x: F.conv3d(x, KERNEL_3D[:, :, :1, :, :1], padding="same"),
    "transposed conv": lambda x: F.conv_transpose3d(
        x, KERNEL_3D.transpose(0, 1), None, (2, 1, 2), (0, 1, 0)
    ),
    "max pool": lambda x: F.max_pool3d(x, (1, 2, 2)),
    "max pool, over the end": lambda x: F.max_pool3d(x, 3, 2, 1, ceil_mode=True),
    "max pool, with its places": lambda x: F.max_pool3d(x, 2, return_indices=True),
    "mean pool": lambda x: F.avg_pool3d(x, (2, 3, 1), padding=(1, 0, 0), count_include_pad=False),
    "adaptive mean pool": lambda x: F.adaptive_avg_pool3d(x, (2, 3, None)),
    "uneven adaptive windows": lambda x: F.adaptive_avg_pool3d(x, (3, 4, 2)),
    "adaptive max pool": lambda x: F.adaptive_max_pool3d(x, (4, 1, 1)),
    "adaptive max pool, with its places": lambda x: F.adaptive_max_pool3d(
        x, 2, return_indices=True
    ),
    "twice the size": lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"),
    "corners aligned": lambda x: F.interpolate(x, (7, 11, 9), mode="trilinear", align_corners=True),
    "another size": lambda x: F.interpolate(x, (3, 8, 4)),
    "area": lambda x: F.interpolate(x, (2, 4, 3), mode="area"),
    "dropout": lambda x: F.dropout3d(x, training=False),
    "batch norm": lambda x: F.batch_norm(x, ONES, ONES),
    "instance norm": lambda x: F.instance_norm(x, eps=1.0),
    "group norm": lambda x: F.group_norm(x, 2),
    "padding": lambda x: F.pad(x, (1, 0, 0, 2, 2, 1)),
    "replicated borders": lambda x: F.pad(x, (1, 2, 2, 0, 0, 1), mode="replicate"),
    "channels last": lambda x: x.permute(0, 2, 3, 4, 1),
    "turned": lambda x: x.permute(0, 1, 4, 2, 3),
    "slices and rows": lambda x: x[:, :, 1:, ::2],
    "one slice": lambda x: x[:, :, 1],
    "slices in front": lambda x: x.transpose(1, 2),
    "pairs of slices": lambda x: x.view(1, 4, 2, 2, 6, 5),
    "the mean of channels": lambda x: x.mean(1),
    "the mean over time": lambda x: x.mean(2),
    "a product": lambda x: x * numbers(1, 4, 1, 1, 1),
    "a sum": lambda x: x + numbers(*VOLUME),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_motion_is_what_perturbing_the_map_of_a_signal_finds(name: str) -> None:
    assert not getattr(check(SIGNALS[name], numbers(*LINE), (2,)).motion, "note", "")


@pytest.mark.parametrize("name", VOLUMES)
def test_a_motion_is_what_perturbing_the_map_of_a_volume_finds(name: str) -> None:
    assert not getattr(check(VOLUMES[name], numbers(*VOLUME), (2, 3, 4)).motion, "note", "")


MIXED = {"one slice", "the mean over time"}


def test_only_operations_that_take_an_axis_away_mix_the_map_of_a_volume() -> None:
    axes = (2, 3, 4)
    mixed = {
        name
        for name in VOLUMES
        if isinstance(heard(VOLUMES[name], numbers(*VOLUME), axes).motion, Mix)
    }
    assert mixed == MIXED


@pytest.mark.parametrize("name", CALLS)
def test_a_motion_is_what_perturbing_a_map_finds(name: str) -> None:
    assert not getattr(check(CALLS[name], numbers(*FRONT), (2, 3)).motion, "note", "")


@pytest.mark.parametrize("name", CHANNELS_LAST)
def test_a_motion_is_what_perturbing_a_map_with_its_channels_last_finds(name: str) -> None:
    assert not getattr(check(CHANNELS_LAST[name], numbers(*LAST), (1, 2)).motion, "note", "")


def test_every_row_of_the_table_is_tried() -> None:
    tried = {id(heard(call, numbers(*FRONT), (2, 3)).operation) for call in CALLS.values()}
    tried |= {id(heard(call, numbers(*LAST), (1, 2)).operation) for call in CHANNELS_LAST.values()}
    tried |= {id(heard(call, numbers(*LINE), (2,)).operation) for call in SIGNALS.values()}
    tried |= {id(heard(call, numbers(*VOLUME), (2, 3, 4)).operation) for call in VOLUMES.values()}
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
