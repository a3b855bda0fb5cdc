from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision.models
from torch import nn
from torchvision.models.maxvit import MaxVit

from retroscope.engine.call_arguments import Args, Function, Kwargs, tensors_in
from retroscope.engine.forward import run_forward
from retroscope.engine.survey import survey
from retroscope.engine.tensor_map import TensorMap
from retroscope.geometry import Box, Field
from retroscope.results.layers import Layer
from tests.conftest import built, numbers

Size = tuple[int, int]


# Published numbers


def blank(name: str) -> nn.Module:
    """A torchvision network with all weights zero: what it reads does not depend on them."""
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    counts_on_numbers = name.startswith(("regnet", "convnext"))
    home = torch.device("cpu" if counts_on_numbers else "meta")
    with torch.random.fork_rng(devices=[]), home:
        net: nn.Module = torchvision.models.get_model(name, weights=None, **options).eval()
    net = net if counts_on_numbers else net.to_empty(device="cpu")
    with torch.no_grad():
        for number in chain(net.parameters(), net.buffers()):
            number.zero_()
    return net


def spine(net: nn.Module, size: Size) -> list[Layer]:
    """The convolutions and pools that see a part of the picture."""
    layers = survey(net, (3, *size)).layers
    return [one for one in layers if one.kind in ("conv", "pool") and not one.field.whole]


def fields(net: nn.Module, size: Size) -> list[Field]:
    return [one.field.y for one in spine(net, size)]


VGG16 = [3, 5, 6, 10, 14, 16, 24, 32, 40, 44, 60, 76, 92, 100, 132, 164, 196, 212]
VGG19 = [3, 5, 6, 10, 14, 16, 24, 32, 40, 48, 52, 68, 84, 100, 116, 124, 156, 188, 220, 252, 268]


@pytest.mark.parametrize(("name", "sizes"), [("vgg16", VGG16), ("vgg19", VGG19)])
def test_the_fields_of_vgg_are_the_published_ones(name: str, sizes: list[int]) -> None:
    layers = spine(blank(name), (64, 64))
    pooled = [one.field.y for one in layers if one.kind == "pool"]
    assert [one.field.y.size for one in layers] == sizes
    assert [one.stride for one in pooled] == [2, 4, 8, 16, 32]
    assert [one.centre for one in pooled] == [0.5, 1.5, 3.5, 7.5, 15.5]


def caffes_alexnet() -> nn.Module:
    """BVLC AlexNet: groups, response norms, and pools that hang over the end."""
    pool, norm = partial(nn.MaxPool2d, 3, 2, ceil_mode=True), nn.LocalResponseNorm(5, 1e-4, 0.75)
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm, pool()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm, pool()),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), pool()),
    )


ALEXNET = [(11, 4), (19, 8), (51, 8), (67, 16), (99, 16), (131, 16), (163, 16), (195, 32)]


def test_the_fields_of_caffes_alexnet_are_the_published_ones() -> None:
    net = built(caffes_alexnet)
    found = fields(net, (227, 227))
    assert [(one.size, one.stride) for one in found] == ALEXNET
    assert [one.centre for one in found] == [5, 9, 9, 17, 17, 17, 17, 33]
    sizes = [one.size for one in spine(net, (227, 227))]
    assert list(dict.fromkeys(sizes)) == [(55, 55), (27, 27), (13, 13), (6, 6)]


def test_the_fields_of_torchvisions_alexnet_are_the_published_ones() -> None:
    found = fields(blank("alexnet"), (224, 224))[:-1]  # the last pool keeps its 6x6
    assert [(one.size, one.stride) for one in found] == ALEXNET
    assert [one.centre for one in found] == [3, 7, 7, 15, 15, 15, 15, 31]


def slims_resnet(*depths: int) -> nn.Module:
    """TF-slim's resnet_v1, one channel wide: the last unit of a block has the stride."""
    parts: list[nn.Module] = [nn.Conv2d(3, 1, 7, 2, 3), nn.MaxPool2d(3, 2, 1)]
    for depth, last in zip(depths, (2, 2, 2, 1), strict=True):
        for stride in (*[1] * (depth - 1), last):
            parts += [nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, stride, 1), nn.Conv2d(1, 1, 1)]
    return nn.Sequential(*parts)


def slims_mobilenet() -> nn.Module:
    """MobileNet v1, one channel wide: a convolution, then thirteen pairs of 3x3 and 1x1."""
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    pairs = [(nn.Conv2d(1, 1, 3, step, 1), nn.Conv2d(1, 1, 1)) for step in strides]
    return nn.Sequential(nn.Conv2d(3, 1, 3, 2, 1), *chain(*pairs))


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (partial(slims_resnet, 3, 4, 6, 3), 483),
        (partial(slims_resnet, 3, 4, 23, 3), 1027),
        (slims_mobilenet, 315),
        (partial(blank, "vgg16"), 212),
        (partial(blank, "resnet50"), 427),
        (partial(blank, "inception_v3"), 1311),
    ],
)
def test_the_last_field_is_that_of_the_published_table(
    make: Callable[[], nn.Module], size: int
) -> None:
    """Araujo, Norris & Sim, Distill 2019; torchvision's ResNet-50 strides on its 3x3."""
    local = [one for one in fields(built(make), (107, 107)) if one.stride]
    assert max(one.size for one in local) == size
    assert local[-1].stride == 32


# The definition: a pixel is in the field if changing it can change the unit


class Reach:
    """Runs a network on maps of 0 and 1, where 1 says: a changed pixel can change this number.

    Weights are ones, rectifiers and norms with kept statistics do nothing, so that nothing hides
    and nothing cancels. `gates`: whether a 1x1 map reaches all of the map that it scales.
    """

    def __init__(self, pictures: torch.Tensor, *, gates: bool) -> None:
        self.pictured = TensorMap[bool]()
        self.pictured[pictures] = True
        self.gates = gates

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        if not any(one in self.pictured for one in tensors_in(args, kwargs)):
            return function(*args, **kwargs)
        result = self._twin(function, args, kwargs)
        for one in tensors_in(result):
            self.pictured[one] = True
        return result

    def _twin(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        name = function.__name__.removesuffix("_")
        if name in SAME:
            return args[0]
        if name in ("add", "mul"):
            return self._met(name, [one for one in args if isinstance(one, torch.Tensor)])
        result = TWINS.get(name, function)(*args, **kwargs)
        assert name in TWINS or name in MOVES or not list(tensors_in(result)), f"no twin of {name}"
        return result.sign() if isinstance(result, torch.Tensor) else result

    def _met(self, name: str, operands: list[torch.Tensor]) -> torch.Tensor:
        spread = torch.broadcast_tensors(*operands)  # type: ignore[no-untyped-call]
        parts = [
            whole
            for one, whole in zip(operands, spread, strict=True)
            if one in self.pictured and not self._is_cut(name, one, whole)
        ]
        return torch.stack(parts).amax(0)

    def _is_cut(self, name: str, one: torch.Tensor, whole: torch.Tensor) -> bool:
        is_gate = name == "mul" and one.shape[2:] == (1, 1) != whole.shape[2:]
        return is_gate and not self.gates


def _conv(x: torch.Tensor, weight: torch.Tensor, _bias: object, *windows: Any) -> torch.Tensor:
    """All outputs of a group read the same, so that one of them tells of all."""
    groups = windows[-1]
    grouped = x.reshape(len(x), groups, -1, *x.shape[2:]).amax(2)
    convolve = F.conv2d if x.dim() == 4 else F.conv3d
    found = convolve(grouped, torch.ones(groups, 1, *weight.shape[2:]), None, *windows)
    each = weight.shape[0] // groups
    shape = len(x), each, *found.shape[2:]
    return found.repeat_interleave(each, 1) if groups > 1 else found.expand(shape)


def _linear(x: torch.Tensor, weight: torch.Tensor, _bias: object = None) -> torch.Tensor:
    return x.amax(-1, keepdim=True).expand(*x.shape[:-1], weight.shape[0])


def _layer_norm(x: torch.Tensor, shape: Sequence[int], **_options: object) -> torch.Tensor:
    return x.amax([-1 - n for n in range(len(shape))], keepdim=True).expand(x.shape)


TWINS: dict[str, Callable[..., Any]] = {
    "conv2d": _conv,
    "conv3d": _conv,
    "linear": _linear,
    "layer_norm": _layer_norm,
    "view": torch.Tensor.reshape,
}
SAME = {"relu", "relu6", "hardtanh", "silu", "hardswish", "gelu", "sigmoid", "hardsigmoid"} | {
    "batch_norm",
    "dropout",
}
MOVES = {"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean", "cat", "flatten", "chunk"} | {
    "max_pool3d",
    "avg_pool3d",
    "adaptive_avg_pool3d",
    "permute",
    "transpose",
    "contiguous",
}


class Finding:
    """Which layers' units are reached from which rows, and from which columns, of a picture."""

    def __init__(self, net: nn.Module, size: Size, rows: Sequence[int] = ()) -> None:
        self.net, self.size = net, size
        self.survey = survey(net, (3, *size))
        self.rows = list(rows or range(size[0]))
        self.columns = [] if rows else list(range(size[1]))

    def check(self) -> None:
        gated = any(one.field.global_context for one in self.survey.layers)
        for gates in (False, True)[not gated :]:
            reached = self._reached(gates=gates)
            for layer in self.survey.layers:
                scaled = gates and layer.field.global_context
                y, x = reached[layer.index]
                _check_axis(layer, layer.field.y, (self.rows, y, self.size[0]), whole=scaled)
                if self.columns:
                    _check_axis(layer, layer.field.x, (self.columns, x, self.size[1]), whole=scaled)

    def _reached(self, *, gates: bool) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        pictures = torch.zeros(len(self.rows) + len(self.columns), 3, *self.size)
        for number, row in enumerate(self.rows):
            pictures[number, :, row] = 1
        for number, column in enumerate(self.columns, len(self.rows)):
            pictures[number, :, :, column] = 1
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def keep(index: int, output: torch.Tensor) -> None:
            maps = output.amax(1) > 0
            found[index] = maps[: len(self.rows)].any(2), maps[len(self.rows) :].any(1)

        seen = {one.index: partial(keep, one.index) for one in self.survey.layers}
        with torch.no_grad():
            run_forward(self.net, self.survey, pictures, seen, execute=Reach(pictures, gates=gates))
        return found


def _check_axis(
    layer: Layer, field: Field, lines: tuple[list[int], torch.Tensor, int], *, whole: bool
) -> None:
    """Units are reached from the first and the last line of their interval and from none outside.

    A stride that does not fit leaves lines at the far border that nobody reads; they are no part
    of any interval.
    """
    places, found, length = lines
    field = Field.whole(length) if whole else field
    place = torch.tensor(places)[:, None]
    read = place[found.any(1)]
    starts, stops = torch.tensor([field.at(unit) for unit in range(found.shape[1])]).T
    starts, stops = starts.clamp(min=read.min()), stops.clamp(max=read.max() + 1)
    outside = (place < starts) | (place >= stops)
    assert not (found & outside).any(), f"{layer.name} sees more than {layer.field}"
    if layer.note:
        return
    edges = (starts < stops) & ((place == starts) | (place == stops - 1))
    assert (found | ~edges).all(), f"{layer.name} sees less than {layer.field}"


SMALL = ["alexnet", "vgg11", "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d"]
SMALL += ["wide_resnet50_2", "squeezenet1_0", "squeezenet1_1", "densenet121", "googlenet"]
SMALL += ["shufflenet_v2_x0_5", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"]
SMALL += ["mnasnet0_5", "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf"]
SMALL += ["regnet_x_400mf", "convnext_tiny"]


@pytest.mark.zoo
@pytest.mark.parametrize(
    ("name", "size"), [*((name, (65, 64)) for name in SMALL), ("inception_v3", (107, 90))]
)
def test_fields_are_what_perturbing_pixels_finds(name: str, size: Size) -> None:
    Finding(blank(name), size).check()


@pytest.mark.zoo
@pytest.mark.parametrize(
    ("name", "height"),
    [
        ("vgg16", 304),
        ("resnet50", 512),
        ("googlenet", 448),
        ("mobilenet_v3_small", 704),
        ("shufflenet_v2_x0_5", 608),
    ],
)
def test_the_fields_of_the_deepest_layers_are_what_perturbing_pixels_finds(
    name: str, height: int
) -> None:
    net = blank(name)
    local = [one for one in survey(net, (3, height, 32)).layers if not one.field.whole]
    middle = {one.field.y.at(one.size[0] // 2) for one in local}
    assert all(start > 0 and stop < height for start, stop in middle)
    edges = {place for start, stop in middle for place in (start - 1, start, stop - 1, stop)}
    Finding(net, (height, 32), sorted(edges)).check()


def test_every_family_of_torchvision_is_tried() -> None:
    family = torchvision.models.get_model_builder
    tried = {family(name).__module__ for name in [*SMALL, "inception_v3"]}
    tried |= {make.__module__ for make in TRANSFORMERS}
    every = torchvision.models.list_models(module=torchvision.models)
    assert tried == {family(name).__module__ for name in every}


TRANSFORMERS: list[Callable[..., nn.Module]] = [
    torchvision.models.vit_b_16,
    torchvision.models.swin_t,
    torchvision.models.swin_v2_t,
    MaxVit,
]
SETTINGS: dict[str, dict[str, object]] = {
    "vit_b_16": {"image_size": 64},
    "MaxVit": {
        "input_size": (64, 64),
        "stem_channels": 8,
        "partition_size": 2,
        "block_channels": [8, 16],
        "block_layers": [1, 1],
        "head_dim": 8,
        "stochastic_depth_prob": 0,
    },
}


@pytest.mark.zoo
@pytest.mark.parametrize("make", TRANSFORMERS)
def test_a_transformers_unit_changes_only_with_what_it_sees(make: Callable[..., nn.Module]) -> None:
    net = built(partial(make, **SETTINGS.get(make.__name__, {}))).double()
    program = survey(net, (3, 64, 64))
    corners = [Box(0, 0, 16, 16), Box(52, 36, 64, 48)]
    pictures = numbers(1, 3, 64, 64).repeat(3, 1, 1, 1)
    for picture, box in zip(pictures[1:], corners, strict=True):
        picture[:, box.top : box.bottom, box.left : box.right] *= -3
    changed: dict[int, torch.Tensor] = {}

    def keep(index: int, output: torch.Tensor) -> None:
        changed[index] = (output[1:] - output[0]).abs().amax(1) > 1e-9 * output.abs().max()

    seen = {one.index: partial(keep, one.index) for one in program.layers}
    with torch.no_grad():
        run_forward(net, program, pictures, seen)
    for layer in program.layers:
        for corner, places in zip(corners, changed[layer.index], strict=True):
            met = [meets(layer.field.box(y, x), corner) for y, x in places.nonzero().tolist()]
            assert all(met), f"{layer.name} sees more than {layer.field}"
    assert not program.layers[0].field.whole
    last = [one for one in program.layers if one.kind == "norm"][-1]
    assert last.field.whole
    assert changed[last.index].all()


def meets(one: Box, other: Box) -> bool:
    rows = one.top < other.bottom and other.top < one.bottom
    return rows and one.left < other.right and other.left < one.right
