"""A unit's projection from the pixels it sees is that of the whole picture, in real networks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from retroscope.engine.region import RegionOutput
from retroscope.errors import ModelError
from retroscope.geometry import Box
from retroscope.methods.deconv.deconv import Request, deconv, deconv_many
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from tests.conftest import always_crops, built, never_crops, numbers
from tests.reference.volumes import SliceBySlice


@dataclass(frozen=True)
class Real:
    """A network of torchvision's, a picture's size, and an early, a middle and a deep layer."""

    size: tuple[int, int]
    local: tuple[str, ...]
    gated: tuple[str, ...] = ()


NETWORKS = {
    "alexnet": Real((215, 227), ("features.0", "features.3", "features.12")),
    "vgg16": Real((213, 37), ("features.2", "features.14", "features.28")),
    "vgg11_bn": Real((151, 37), ("features.2", "features.14", "features.27")),
    "resnet50": Real((117, 91), ("layer1.0", "layer2.1.add", "layer4.2.conv2")),
    "googlenet": Real((117, 91), ("conv3", "inception3a", "inception5b")),
    "inception_v3": Real((117, 91), ("Conv2d_2b_3x3", "Mixed_5c", "Mixed_7c")),
    "densenet121": Real(
        (117, 91), ("features.pool0", "features.transition1.pool", "features.norm5")
    ),
    "mobilenet_v2": Real((117, 91), ("features.1", "features.7", "features.18")),
    "mobilenet_v3_small": Real((117, 91), ("features.0",), ("features.1", "features.12")),
    "efficientnet_b0": Real((117, 91), ("features.0",), ("features.1", "features.8")),
    "shufflenet_v2_x1_0": Real((117, 91), ("maxpool", "stage2.1.concat", "conv5")),
    "regnet_y_400mf": Real((117, 91), ("stem",), ("trunk_output.block1", "trunk_output")),
    "squeezenet1_1": Real((117, 91), ("features.2", "features.6", "features.12")),
    "mnasnet0_5": Real((117, 91), ("layers.7", "layers.9", "layers.16")),
    "convnext_tiny": Real((117, 91), ("features.0.0", "features.1.2", "features.7.2")),
    "resnext50_32x4d": Real((117, 91), ("layer1.0", "layer2.1.add", "layer4.2.conv2")),
}


def opened(name: str) -> nn.Module:
    """A network without a classifier, which no map needs; in float64, weights from a seed."""
    quickly = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    home = "cpu" if name.startswith(("regnet", "convnext")) else "meta"  # they compute numbers
    with torch.random.fork_rng(devices=[]), torch.device(home):
        module: nn.Module = torchvision.models.get_model(name, weights=None, **quickly)
    if name.startswith(("alexnet", "vgg")):
        module.classifier = nn.Identity()
    module.double().eval()
    module = module.to_empty(device="cpu") if home == "meta" else module
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            draw(tensor, key, random)
    return module


def draw(tensor: Tensor, key: str, random: torch.Generator) -> None:
    """Numbers that keep signals about as large as they are."""
    if key.endswith("running_var"):
        tensor.uniform_(0.5, 1.5, generator=random)
    elif tensor.dim() > 1 and "layer_scale" not in key:
        tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=random)
    elif tensor.is_floating_point():
        tensor.normal_(float(key.endswith("weight")), 0.1, generator=random)


def units_of(layer: Layer, *, deep: bool) -> Iterator[str]:
    """Units at corners, at edges and inside, those inside side by side."""
    bottom, right = layer.size[0] - 1, layer.size[1] - 1
    middle, centre = layer.size[0] // 2, layer.size[1] // 2
    places = [(0, 0), (middle, centre), (bottom, centre)]
    if not deep:
        places += [(bottom, right), (middle, 0), (middle - 1, centre), (middle, centre - 1)]
    for y, x in places:
        yield f"{layer.name}:{(7 * y + x) % layer.channels}@{y},{x}"


def requests(net: Network, layers: tuple[str, ...]) -> list[Request]:
    """Units of the layers in two pictures; of the last layer in one."""
    one, other = (numbers(3, *net.input_size, seed=seed) for seed in (1, 2))
    found = [net.layer(name) for name in layers]
    return [
        (unit, picture)
        for layer in found
        for picture in ([one] if layer is found[-1] else [one, other])
        for unit in units_of(layer, deep=layer is found[-1])
    ]


def through_whole_pictures(net: Network, asked: list[Request]) -> list[Projection]:
    with never_crops():
        return list(deconv_many(net, asked))


def check_same(one: Projection, other: Projection) -> None:
    assert one.box == other.box
    assert one.unit == other.unit
    np.testing.assert_allclose(one.activation, other.activation, rtol=1e-9, atol=1e-9)
    limit = 1e-9 * abs(other.pixels).max()
    np.testing.assert_allclose(one.pixels, other.pixels, rtol=0, atol=limit, err_msg=str(one.unit))


@pytest.mark.zoo
@pytest.mark.parametrize("name", NETWORKS)
def test_a_unit_seen_alone_is_the_unit_in_its_picture(
    name: str, looks: list[RegionOutput | None]
) -> None:
    real, module = NETWORKS[name], opened(name)
    net = Network(module, input_size=real.size, name=name)
    asked = requests(net, real.local)
    alone = [(unit, picture) for unit, picture in asked[1 :: len(asked) // 2]]
    many, ones = (
        list(deconv_many(net, asked)),
        [deconv(net, unit, picture) for unit, picture in alone],
    )
    assert looks
    assert None not in looks
    expected = through_whole_pictures(net, asked)
    assert any(shown.pixels.any() for shown in expected)
    for shown, other in zip(many, expected, strict=True):
        check_same(shown, other)
    for shown, other in zip(ones, expected[1 :: len(asked) // 2], strict=True):
        check_same(shown, other)


SINGLE = ("vgg16", "resnet50", "densenet121", "mobilenet_v2", "convnext_tiny")
"""One of each kind of block: numbers of another precision take no other way."""


@pytest.mark.zoo
@pytest.mark.parametrize("name", SINGLE)
def test_in_single_precision_it_is_the_same_but_for_rounding(
    name: str, looks: list[RegionOutput | None]
) -> None:
    """Within a thousandth; more in a deep layer, where rounding may turn one of many switches."""
    real = NETWORKS[name]
    net = Network(opened(name).float(), input_size=real.size, name=name)
    deepest, asked = net.layer(real.local[-1]), requests(net, real.local)
    many = list(deconv_many(net, asked))
    assert looks
    assert None not in looks
    for shown, other in zip(many, through_whole_pictures(net, asked), strict=True):
        within = 2e-2 if shown.unit.layer == deepest.name else 1e-3
        np.testing.assert_allclose(shown.activation, other.activation, rtol=1e-3, atol=1e-3)
        assert shown.pixels.dtype == np.float32
        missed = np.linalg.norm(shown.pixels - other.pixels)
        assert missed <= within * np.linalg.norm(other.pixels), shown.unit


@pytest.mark.zoo
@pytest.mark.parametrize("name", [name for name, real in NETWORKS.items() if real.gated])
def test_a_unit_behind_a_gate_is_looked_at_in_its_whole_picture(
    name: str, looks: list[RegionOutput | None]
) -> None:
    net = Network(opened(name), input_size=NETWORKS[name].size, name=name)
    for shown in deconv_many(net, requests(net, NETWORKS[name].gated)):
        assert shown.box == Box(0, 0, *net.input_size)
    assert not looks


# Code that a crop could deceive


class Between(nn.Module):
    """Plain code between two convolutions and a third, all of which pad."""

    def __init__(self, code: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.code = code
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.last(self.second(self.code(self.first(image))))
        return result


def with_coordinates(x: Tensor) -> Tensor:
    batch, _, height, width = x.shape
    rows = torch.linspace(-1, 1, height, dtype=x.dtype)[:, None]
    return torch.cat([x[:, :3], rows.expand(batch, 1, height, width)], dim=1)


def with_a_row_set(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, 4] = 0
    return y


def with_a_channel_set(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0] = 2 * y[:, 1]
    return y


def moved_down(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :, 1:] = x[:, :, :-1]
    return y


def changed_in_views(x: Tensor) -> Tensor:
    y = 2 * x
    y[:, 1:3].add_(x[:, 0:2])
    y.view(len(y), 2, 2, *y.shape[2:])[:, 0].mul_(3)
    return y


def depth_to_space_and_back(x: Tensor) -> Tensor:
    parts = [x[:, :1, top::2, left::2] for top in (0, 1) for left in (0, 1)]
    return torch.cat(parts, dim=1)


def branching_on_numbers(x: Tensor) -> Tensor:
    return 2 * x if x.sum() > 0 else 3 * x


def attending(x: Tensor) -> Tensor:
    tokens = x.flatten(2)
    shares = (tokens.transpose(1, 2) @ tokens).softmax(dim=2)
    return (tokens @ shares).view(x.shape)


def own_statistics(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


def turned_convolution(x: Tensor) -> Tensor:
    weight = torch.tensor([1.0, -2, 3], dtype=x.dtype).view(1, 1, 1, 3).expand(4, 4, 1, 3)
    return F.conv2d(x.transpose(2, 3), weight, padding=(0, 1)).transpose(2, 3)


def weights_from_the_picture(x: Tensor) -> Tensor:
    return F.conv2d(x, x.mean(dim=(0, 2, 3)).view(1, 4, 1, 1).expand(4, 4, 1, 1))


CODE: dict[str, Callable[[Tensor], Tensor]] = {
    "coordinates": with_coordinates,
    "a row set": with_a_row_set,
    "a channel set": with_a_channel_set,
    "moved down": moved_down,
    "views changed": changed_in_views,
    "space to depth": depth_to_space_and_back,
    "a branch": branching_on_numbers,
    "attention": attending,
    "own statistics": own_statistics,
    "strided": lambda x: x[:, :, ::2, 1::2],
    "flipped": lambda x: x.flip(3),
    "rolled": lambda x: x.roll(1, 2),
    "less the row's mean": lambda x: x - x.mean(dim=2, keepdim=True),
    "less the channels' mean": lambda x: x - x.mean(dim=1, keepdim=True),
    "gated": lambda x: x * x.mean(dim=(2, 3), keepdim=True),
    "a place for each": lambda x: x + torch.arange(16.0, dtype=x.dtype)[:, None],
    "a number for each channel": lambda x: x * torch.arange(4.0, dtype=x.dtype)[:, None, None],
    "enlarged": lambda x: F.interpolate(x, scale_factor=2),
    "a mirrored border": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "uneven pools": lambda x: F.adaptive_avg_pool2d(x, (5, 5)),
    "a pool of half the map": lambda x: F.avg_pool2d(x, (x.shape[2] // 2, 2)),
    "normalised in groups": lambda x: F.group_norm(x, 2),
    "channels last": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2),
    "rows side by side": lambda x: torch.cat([x[:, :, 3:], x[:, :, :3]], dim=2),
    "transposed": lambda x: F.conv_transpose2d(x, torch.ones(4, 4, 2, 2, dtype=x.dtype), stride=2),
    "half the size by area": lambda x: F.interpolate(x, scale_factor=0.5, mode="area"),
    "another size by area": lambda x: F.interpolate(x, (5, 9), mode="area"),
    "the same size": lambda x: F.interpolate(x, x.shape[2:], mode="bilinear"),
    "bilinear": lambda x: F.interpolate(x, (9, 20), mode="bilinear"),
    "aligned corners": lambda x: F.interpolate(x, (25, 9), mode="bilinear", align_corners=True),
    "smooth": lambda x: F.interpolate(x, scale_factor=0.6, mode="bicubic", antialias=True),
    "smooth, with aligned corners": lambda x: F.interpolate(
        x, (5, 9), mode="bilinear", align_corners=True, antialias=True
    ),
    "pixel shuffle": lambda x: F.pixel_shuffle(x.repeat_interleave(4, 1), 2),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x, 2)[:, ::4],
    "blocks as channels": lambda x: (
        x.view(x.shape[0], 4, x.shape[2] // 2, 2, x.shape[3]).amax(3).repeat_interleave(2, 2)
    ),
    "a stack": lambda x: torch.stack([x, x.flip(1)], 1).amax(1),
    "windows of rows": lambda x: x.unfold(2, 3, 2).sum(-1),
    "some channels of some rows": lambda x: x[:, [2, 0, 1, 3], 1:, ::2],
    "one channel of some rows": lambda x: x[:, 1:2, 2:].expand(-1, 4, -1, -1),
    "a channel more": lambda x: F.pad(x[:, 1:], (0, 0, 0, 0, 1, 0)),
    "a border of ones": lambda x: F.pad(x, (1, 0, 2, 1), value=1.0),
    "a wide mirrored border": lambda x: F.pad(x, (4, 0, 0, 5), mode="reflect"),
    "rows changed in place": lambda x: _changed_rows(x, x[:, :, 2:]),
    "rows of a slice changed in place": lambda x: _changed_rows(x, x[:, 1:, 2:][:, :2]),
    "two slices of one map": lambda x: x[:, :, 2:] - x[:, :, :-2],
    "similar channels": lambda x: x * F.cosine_similarity(x, x.roll(1, 1))[:, None],
    "similar to a map": lambda x: x * F.cosine_similarity(x, numbers(1, 4, 16, 14))[:, None],
}


def _changed_rows(x: Tensor, rows: Tensor) -> Tensor:
    rows.mul_(3)
    return F.silu(x)


ONCE_DECEIVED: dict[str, Callable[[Tensor], Tensor]] = {
    "times the height": lambda x: x * x.shape[2],
    "over the width's root": lambda x: x / x.shape[3] ** 0.5,
    "a tensor of the height": lambda x: x * torch.tensor(float(x.shape[2])),
    "clamped by the height": lambda x: x.clamp(-x.shape[2] / 64, x.shape[2] / 64),
    "a branch on the height": lambda x: 2 * x if x.shape[2] > 12 else 3 * x,
    "the upper half": lambda x: x[:, :, : x.shape[2] // 2],
    "the middle": lambda x: x[:, :, 3:-3, 3:-3],
    "cut by padding": lambda x: F.pad(x, (-3, -3, -3, -3)),
    "less the batch's mean": lambda x: x - x.mean(dim=0, keepdim=True),
    "a turned convolution": turned_convolution,
    "weights from the picture": weights_from_the_picture,
    "flattened by view": lambda x: x.view(x.shape[0], -1).view(x.shape),
}
ALL_CODE = [pytest.param(code, id=name) for name, code in {**CODE, **ONCE_DECEIVED}.items()]


@pytest.mark.parametrize("code", ALL_CODE)
def test_no_code_is_deceived_by_a_crop(code: Callable[[Tensor], Tensor]) -> None:
    module = built(lambda: Between(code).double())
    net, picture = Network(module, input_size=(16, 14)), numbers(3, 16, 14)
    height, width = net.layer("last").size
    places = [(y, x) for y in range(0, height, 2) for x in range(1, width, 2)]
    asked = [(f"last:{(y + x) % 3}@{y},{x}", picture) for y, x in places]
    with always_crops():
        found = list(deconv_many(net, asked, rules="gradient"))
    pixels = picture[None].requires_grad_()
    maps = module(pixels)
    for (y, x), shown in zip(places, found, strict=True):
        fired = maps[0, (y + x) % 3, y, x]
        (gradient,) = torch.autograd.grad(fired, pixels, fired.detach(), retain_graph=True)
        expected = gradient[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(shown.activation, fired.item(), rtol=1e-9)
        limit = 1e-9 * abs(expected).max()
        np.testing.assert_allclose(shown.full(), expected, rtol=0, atol=limit)


@torch.no_grad()
def hidden_gate(x: Tensor) -> Tensor:
    return F.conv2d(x, torch.ones(4, 4, 3, 3, dtype=x.dtype), padding=1)


@pytest.mark.parametrize("place", ["8,7", "0,0", "0,7", "15,13"])
def test_a_hidden_step_is_refused_wherever_the_unit_lies(place: str) -> None:
    module = built(lambda: Between(lambda x: x * hidden_gate(x)).double())
    net = Network(module, input_size=(16, 14))
    with pytest.raises(ModelError, match="gradients switched off"):
        deconv(net, f"last:1@{place}", numbers(3, 16, 14))


class MeansOfSlices(SliceBySlice):
    """With means that leave out the padding, in place of the largest values."""

    def __init__(self) -> None:
        super().__init__()
        self.slice[2] = nn.AvgPool2d(3, 1, 1, count_include_pad=False)


@pytest.mark.parametrize("make", [SliceBySlice, MeansOfSlices])
@pytest.mark.parametrize("place", ["0,0,0", "1,2,2", "3,3,3"])
def test_units_behind_slices_are_run_from_crops(
    make: Callable[[], nn.Module], place: str, looks: list[RegionOutput | None]
) -> None:
    net = Network(built(make).double(), input_size=(6, 9, 8), mean=[0.0])
    image, unit = numbers(1, 6, 9, 8), f"time:1@{place}"
    shown = deconv(net, unit, image, rules="gradient")
    assert looks
    assert None not in looks
    with never_crops():
        check_same(shown, deconv(net, unit, image, rules="gradient"))
