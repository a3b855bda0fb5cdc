"""The output of a convolution that goes on: on small networks, by what each of them computes."""

from collections.abc import Callable
from typing import cast
from warnings import catch_warnings, simplefilter

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import retroscope as rs
from retroscope.engine.convolution_outputs import convolution_outputs
from retroscope.results.layers import Layer
from tests.conftest import built, numbers

SIDE = 12
Forward = Callable[["Parts", torch.Tensor], torch.Tensor]


class Parts(nn.Module):
    """Two convolutions and a norm, and a forward pass to be tested."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.group_norm = nn.GroupNorm(2, 4)
        self.layer_norm = nn.LayerNorm(4)
        self.prelu = nn.PReLU(4)
        self._forward = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(self, x)


def outputs_of(forward: Forward) -> tuple[Layer, ...]:
    return convolution_outputs(network(forward).survey())


def network(forward: Forward) -> rs.Network:
    module = built(lambda: Parts(forward))
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(numbers(*buffer.shape).abs() + 0.5)
    return rs.Network(module.eval(), input_size=(SIDE, SIDE))


def convolution_of(layer: Layer) -> str:
    return layer.convolution[0] if layer.convolution else layer.name


FOLLOWED: dict[str, tuple[Forward, str, str]] = {
    "norm and module": (
        lambda net, x: F.relu(net.norm(net.conv(x))),
        "relu",
        "batch norm and ReLU",
    ),
    "in place": (lambda net, x: net.norm(net.conv(x)).relu_(), "relu", "batch norm and ReLU"),
    "rectifier alone": (lambda net, x: F.relu(net.conv(x), inplace=True), "relu", "ReLU"),
    "clamp": (lambda net, x: net.conv(x).clamp(min=0), "relu", "ReLU"),
    "leaky": (lambda net, x: F.leaky_relu(net.conv(x), 0.1), "leaky_relu", "leaky ReLU"),
    "weighted": (lambda net, x: net.prelu(net.conv(x)), "prelu", "PReLU"),
    "silu": (lambda net, x: F.silu(net.norm(net.conv(x))), "silu", "batch norm and SiLU"),
    "norm alone": (lambda net, x: net.last(net.norm(net.conv(x))), "norm", "batch norm"),
    "group norm": (
        lambda net, x: F.gelu(net.group_norm(net.conv(x))),
        "gelu",
        "group norm and GELU",
    ),
    "channels last": (
        lambda net, x: net.layer_norm(net.conv(x).permute(0, 2, 3, 1)),
        "layer_norm",
        "layer norm",
    ),
    "dropout and copies": (
        lambda net, x: F.relu(F.dropout2d(net.norm(net.conv(x).clone()), training=False)),
        "relu",
        "batch norm and ReLU",
    ),
    "rectifier before the norm": (lambda net, x: net.norm(net.conv(x).relu()), "relu", "ReLU"),
    "ceiling after the norm": (
        lambda net, x: F.relu6(net.norm(net.conv(x))),
        "norm",
        "batch norm",
    ),
    "a norm once": (lambda net, x: net.group_norm(net.norm(net.conv(x))), "norm", "batch norm"),
    "skip around": (
        lambda net, x: F.relu(net.norm(net.conv(x)) + x.mean(1, keepdim=True)),
        "norm",
        "batch norm",
    ),
    "read after in place": (
        lambda net, x: _rectify_and_add(net.conv(x)),
        "relu",
        "ReLU",
    ),
}
"""A forward pass, what computes the output of `conv`, and how it is described."""


def _rectify_and_add(maps: torch.Tensor) -> torch.Tensor:
    rectified = F.relu(maps, inplace=True)
    return maps + rectified


@pytest.mark.parametrize("case", FOLLOWED)
def test_the_output_is_after_the_norm_and_the_rectifier(case: str) -> None:
    forward, kind, title = FOLLOWED[case]
    output = next(layer for layer in outputs_of(forward) if "conv" in layer.convolution)
    names = {"leaky_relu": "relu", "prelu": "relu", "layer_norm": "norm"}
    assert output.kind == names.get(kind, kind)
    assert output.note.startswith(f"conv (conv1) after its {title}")
    assert (output.channels, output.size) == (4, (SIDE, SIDE))


def hidden_relu(x: torch.Tensor) -> torch.Tensor:
    """A function of which nothing is seen from outside."""
    with catch_warnings():
        simplefilter("ignore", FutureWarning)
        return cast(torch.Tensor, torch.jit.script(_plain_relu)(x))


def _plain_relu(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) + 1.0


def _read_twice(net: Parts, x: torch.Tensor) -> torch.Tensor:
    maps: torch.Tensor = net.conv(x)
    return F.relu(maps) * torch.sigmoid(maps)


def _squared(net: Parts, x: torch.Tensor) -> torch.Tensor:
    maps: torch.Tensor = net.conv(x)
    return maps * maps


def _read_by_a_skip(net: Parts, x: torch.Tensor) -> torch.Tensor:
    maps: torch.Tensor = net.conv(x)
    return maps + F.relu(net.norm(maps))


def _taken_out(net: Parts, x: torch.Tensor) -> torch.Tensor:
    maps: torch.Tensor = net.conv(x)
    return F.relu(maps) * maps.max().item()


def _rectified_in_part(net: Parts, x: torch.Tensor) -> torch.Tensor:
    maps: torch.Tensor = net.conv(x)
    maps[:, :2].relu_()
    return maps


BARE: dict[str, Forward] = {
    "read twice": _read_twice,
    "read by a skip": _read_by_a_skip,
    "squared": _squared,
    "multiplied": lambda net, x: net.conv(x) * net.conv(x),
    "value taken out": _taken_out,
    "rectified in part": _rectified_in_part,
    "pooled first": lambda net, x: F.relu(F.max_pool2d(net.conv(x), 2)),
    "added first": lambda net, x: F.relu(net.norm(net.conv(x) + x.mean(1, keepdim=True))),
    "joined first": lambda net, x: F.relu(torch.cat([net.conv(x), net.conv(x)], 1)),
    "ceiling": lambda net, x: F.relu6(net.conv(x)),
    "ceiling by clamp": lambda net, x: net.conv(x).clamp(0, 6),
    "ceiling by hardtanh": lambda net, x: F.hardtanh(net.conv(x), 0.0, 6.0),
    "clamped elsewhere": lambda net, x: net.conv(x).clamp(min=-1),
    "always above zero": lambda net, x: F.softplus(net.conv(x)),
    "tanh": lambda net, x: torch.tanh(net.conv(x)),
    "sigmoid": lambda net, x: torch.sigmoid(net.conv(x)),
    "another size": lambda net, x: F.interpolate(net.conv(x), scale_factor=2).relu(),
    "hidden code": lambda net, x: F.relu(net.norm(hidden_relu(net.conv(x)))),
    "hidden reader": lambda net, x: F.relu(maps := net.conv(x)) + hidden_relu(maps),
}


@pytest.mark.parametrize("case", BARE)
def test_a_convolution_stands_for_itself_where_another_map_goes_on(case: str) -> None:
    outputs = outputs_of(BARE[case])
    assert {layer.kind for layer in outputs} == {"conv"}
    assert not any(layer.convolution for layer in outputs)


def _block(net: Parts, x: torch.Tensor) -> torch.Tensor:
    inside = net.last(F.relu(net.norm(net.conv(x))))
    return F.relu(net.group_norm(inside) + x.mean(1, keepdim=True))


def _preactivated_block(net: Parts, x: torch.Tensor) -> torch.Tensor:
    inside: torch.Tensor = net.last(F.relu(net.norm(net.conv(F.relu(x)))))
    return inside + x.mean(1, keepdim=True)


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (_block, {"conv": "relu", "last": "group_norm"}),
        (_preactivated_block, {"conv": "relu~2", "last": "last"}),
    ],
)
def test_the_last_convolution_of_a_residual_block_ends_before_the_addition(
    forward: Forward, expected: dict[str, str]
) -> None:
    outputs = outputs_of(forward)
    assert {convolution_of(layer): layer.name for layer in outputs} == expected


def test_the_maps_of_an_output_are_those_that_the_network_computes() -> None:
    net = network(_block)
    image, parts = numbers(3, SIDE, SIDE).float(), net.module
    assert isinstance(parts, Parts)
    with torch.no_grad():
        first = F.relu(parts.norm(parts.conv(image[None])))
        expected = {"conv": first, "last": parts.group_norm(parts.last(first))}
    for layer in convolution_outputs(net.survey()):
        maps = torch.from_numpy(rs.activations(net, layer.name, image).maps)
        torch.testing.assert_close(maps, expected[convolution_of(layer)][0], rtol=1e-5, atol=1e-6)


RECTIFIERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "rrelu": lambda x: F.rrelu(x, training=False),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "softplus": F.softplus,
    "clamp": lambda x: x.clamp(min=0),
    "clamp to 6": lambda x: x.clamp(0, 6),
    "hardtanh": F.hardtanh,
    "sigmoid": torch.sigmoid,
}


@pytest.mark.parametrize("name", RECTIFIERS)
def test_a_rectifier_is_passed_if_it_keeps_what_fires_and_its_order(name: str) -> None:
    rectify = RECTIFIERS[name]
    values = torch.linspace(-20, 20, 401, dtype=torch.float64)
    results, fires = rectify(values.clone()), values > 0
    keeps_firing = bool(((results > 0) == fires).all())
    keeps_order = bool((results[fires].diff() > 0).all())
    (output,) = outputs_of(lambda net, x: rectify(net.conv(x)))
    assert (output.kind != "conv") == (keeps_firing and keeps_order)


NETWORKS = ("resnet18", "vgg11_bn", "densenet121", "mobilenet_v2", "convnext_tiny", "googlenet")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_convolution_has_one_output_and_no_name_is_ambiguous(name: str) -> None:
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    module = built(lambda: cast(nn.Module, getattr(torchvision.models, name)(**options)))
    net = rs.Network(module.eval(), input_size=(64, 64))
    outputs = convolution_outputs(net.survey())
    convolutions = [layer.name for layer in net.layers if layer.kind == "conv"]
    assert sorted(map(convolution_of, outputs)) == sorted(convolutions)
    names = [known for layer in outputs for known in layer.search_names]
    assert len(names) == len(set(names))
    for layer in outputs:
        assert all(net.layer(known).index == layer.index for known in (layer.name, *layer.aliases))


def test_resnet_is_ranked_after_its_norms() -> None:
    net = rs.Network(built(torchvision.models.resnet18).eval(), input_size=(64, 64))
    layer_of = {convolution_of(layer): layer for layer in convolution_outputs(net.survey())}
    assert layer_of["conv1"].name == "relu"
    assert layer_of["layer1.0.conv1"].name == "layer1.0.relu"
    assert layer_of["layer1.0.conv2"].name == "layer1.0.bn2"
    assert layer_of["layer2.0.downsample.0"].name == "layer2.0.downsample.1"
    for name, layer in layer_of.items():
        assert layer.field == net.layer(name).field
