"""What is not listed as a layer is named; names belong to the maps that a module returns."""

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from retroscope.errors import ModelError, UnitError
from retroscope.methods.activations import activations
from retroscope.methods.deconv.deconv import deconv
from retroscope.network import Network
from retroscope.results.layers import describe_unlisted
from tests.conftest import built, numbers
from tests.methods.localisers import mask_rcnn, network

SIZE = (8, 8)


class Windows(nn.Module):
    """As Swin has it: windows of 4x4 tokens, one beside the other in the batch dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Conv2d(3, 6, 1), nn.Linear(6, 6)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.embed(image).permute(0, 2, 3, 1)
        windows = maps.view(-1, 2, 4, 2, 4, 6).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 6)
        mixed = self.mix(windows).view(-1, 2, 2, 4, 4, 6).permute(0, 1, 3, 2, 4, 5)
        return F.relu(mixed.reshape(-1, 8, 8, 6).permute(0, 3, 1, 2))


class Volume(nn.Module):
    """A 1-D convolution over channels, and a 3-D one over channels and positions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.along, self.volume = nn.Conv1d(1, 1, 3, padding=1), nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.first(image)
        gate = self.along(maps.mean((2, 3))[:, None])[:, 0]
        result: torch.Tensor = F.relu(self.volume(maps[:, None])[:, 0] * gate[..., None, None])
        return result


def test_layers_whose_maps_are_not_those_of_one_image_are_named() -> None:
    net = Network(built(Windows), input_size=SIZE)
    assert [layer.name for layer in net.layers] == ["embed", "relu"]
    assert describe_unlisted(net.unlisted) == (
        "1 linear layer is not listed (maps stacked in the batch dimension): mix",
    )
    with pytest.raises(UnitError, match=r"mix; choose another layer"):
        net.layer("mix")


def test_heads_of_proposed_boxes_are_named_with_what_to_use_instead() -> None:
    net = network(mask_rcnn)
    heads = {
        name
        for name, part in net.module.named_modules()
        if name.startswith("roi_heads") and next(part.parameters(recurse=False), None) is not None
    }
    of_boxes = {
        layer.name for layer in net.unlisted if layer.reason.startswith("one map for each proposed")
    }
    assert of_boxes == heads
    assert not {layer.name for layer in net.layers} & heads
    with pytest.raises(UnitError, match=r"use a layer of the backbone, or the target box:N") as of:
        net.layer("roi_heads.box_head.fc6")
    assert "\n" not in str(of.value)


def test_modules_with_weights_that_the_table_does_not_know_are_named() -> None:
    net = Network(built(Volume), input_size=SIZE)
    assert "along" not in [layer.name for layer in net.layers]
    named = {layer.name: layer.kind for layer in net.unlisted}
    assert named == {"along": "Conv1d", "volume": "Conv3d"}
    assert net.layers[-1].field.whole


def test_a_network_all_of_whose_layers_are_listed_names_none() -> None:
    plain = built(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.PReLU(4))
    )
    assert Network(plain, input_size=SIZE).unlisted == ()


def test_a_transposed_convolution_is_a_layer() -> None:
    parts = built(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ConvTranspose2d(4, 2, 2, 2)))
    net = Network(parts.double(), input_size=(9, 9))
    assert [(layer.kind, layer.channels, layer.size) for layer in net.layers] == [
        ("conv", 4, (4, 4)),
        ("conv", 2, (8, 8)),
    ]


class Radix(nn.Module):
    """As ResNeSt has it: a softmax over groups, whose result is listed in another shape."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        groups = maps.view(1, 2, 3, *SIZE).softmax(1)
        return groups.reshape(1, 6, *SIZE)


class ChannelNorm(nn.LayerNorm):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_a_module_names_the_layer_whose_maps_it_returns() -> None:
    module = built(
        lambda: nn.Sequential(nn.Conv2d(3, 6, 1), Radix(), nn.Conv2d(6, 4, 1), ChannelNorm(4))
    )
    net, image = Network(module, input_size=SIZE), numbers(3, *SIZE).float()
    names = [name for layer in net.layers for name in (layer.name, *layer.aliases)]
    assert "1" not in names
    assert "3" in names
    with torch.no_grad():
        expected = module.eval()(image[None])[0]
    assert torch.allclose(torch.from_numpy(activations(net, "3", image).maps), expected, atol=1e-6)


def int8_module() -> nn.Module:
    """A convolution and a rectifier in int8, between the conversions from float and back."""
    quantization: Any = torch.ao.quantization
    parts = [quantization.QuantStub(), nn.Conv2d(3, 4, 3), nn.ReLU(), quantization.DeQuantStub()]
    module: Any = nn.Sequential(*parts).eval()
    module.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(module)
    prepared(numbers(8, 3, *SIZE).float())
    converted: nn.Module = quantization.convert(prepared)
    return converted


@pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="no int8 on this processor"
)
def test_an_int8_network_shows_its_maps_and_refuses_projections() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Network(built(int8_module), input_size=SIZE)
        image = numbers(3, *SIZE).float()
        assert {layer.name: layer.kind for layer in net.unlisted} == {"1": "Conv2d"}
        with torch.no_grad():
            expected = net.module(image[None])[0]
        maps = activations(net, "2", image).maps
        assert torch.allclose(torch.from_numpy(maps), expected)
        with pytest.raises(ModelError, match="computes in int8"):
            deconv(net, "2:0", image)


class Branches(nn.Module):
    """Takes one of two convolutions, by a value; lends the weights of a third to its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.dark, self.light = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.lent = nn.Linear(4, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.light(image) if bool(image.mean() > 0.5) else self.dark(image)
        return F.linear(maps.mean((2, 3)), self.lent.weight)


def test_a_module_that_does_not_run_for_a_black_image_is_named() -> None:
    net = Network(built(Branches), input_size=SIZE, mean=(0,) * 3, std=(1,) * 3)
    assert describe_unlisted(net.unlisted) == (
        "1 Conv2d layer is not listed (not run for a black image): light",
    )
    with pytest.raises(UnitError, match=r"light; choose another layer"):
        net.layer("light")
