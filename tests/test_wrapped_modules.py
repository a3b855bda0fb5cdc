"""A plain module where a network is expected: wrapped with what it states, and what is assumed is
said.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import ModelError, UnitError
from retroscope.network import as_network
from tests.conftest import built, no_trace

SIZE = (32, 32)


class Blocks(nn.Module):
    """Blocks in a row, each of several modules, and a head that takes images of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.layer1 = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU())
        self.drop = nn.Dropout()
        self.head = nn.Linear(8 * 8 * 8, 4)

    def forward(self, images: torch.Tensor) -> Any:
        maps = self.layer2(self.layer1(self.stem(images).relu()))
        return self.head(self.drop(maps).flatten(1))


@pytest.fixture
def module() -> Any:
    return built(Blocks)


def pixels(seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


CALLS: dict[str, Callable[[Any], Any]] = {
    "activations": lambda net: rs.activations(net, "stem", rs.Image(pixels())),
    "cam": lambda net: rs.cam(net, rs.Image(pixels())),
    "deconv": lambda net: rs.deconv(net, "layer1.0:3", rs.Image(pixels())),
    "filters": rs.filters,
    "occlusion": lambda net: rs.occlusion(net, rs.Image(pixels()), size=8).heat,
    "saliency": lambda net: rs.saliency(net, rs.Image(pixels())),
    "synthesize": lambda net: rs.synthesize(net, "stem:1", steps=2),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_module_gives_what_its_network_gives(call: str, module: nn.Module) -> None:
    with no_trace(module):
        result = CALLS[call](module)
    expected = CALLS[call](rs.Network(module, input_size=SIZE))
    np.testing.assert_array_equal(_numbers(result), _numbers(expected))


def _numbers(result: Any) -> npt.NDArray[np.generic]:
    return np.asarray(result.pixels if isinstance(result, rs.Pattern) else result)


@pytest.mark.parametrize(
    "call", [name for name in CALLS if name not in ("occlusion", "synthesize")]
)
def test_each_result_says_what_was_assumed(call: str, module: nn.Module) -> None:
    (note,) = (note for note in CALLS[call](module).notes if "assumed" in note)
    assert note == (
        "assumed of the module Blocks: 32x32 pixels, mean 0 and std 1 for pixels from 0 to 1, no "
        "labels; open it with rs.Network(module, input_size=..., mean=..., std=..., labels=...) to "
        "set them"
    )


def test_a_network_of_ones_own_assumes_nothing(module: nn.Module) -> None:
    assert not rs.cam(rs.Network(module, input_size=SIZE), rs.Image(pixels())).notes


def test_the_size_is_the_first_usual_one_that_runs(module: nn.Module) -> None:
    assert as_network(module).input_size == SIZE
    assert as_network(nn.Conv2d(3, 2, 3)).input_size == (224, 224)


def test_what_a_module_states_is_not_assumed(module: Any) -> None:
    module.input_size, module.labels = SIZE, ["a", "b", "c", "d"]
    net = as_network(module)
    assert net.labels == ("a", "b", "c", "d")
    (remark,) = net.remarks
    assert remark.startswith(
        "assumed of the module Blocks: mean 0 and std 1 for pixels from 0 to 1;"
    )
    module.mean, module.std = [0.4] * 3, [0.2] * 3
    assert as_network(module).preprocessing.std == (0.2,) * 3
    assert not as_network(module).remarks


def test_what_timm_states_is_not_assumed() -> None:
    timm = pytest.importorskip("timm")
    module = timm.create_model("test_resnet", pretrained=False).eval()
    configuration = module.pretrained_cfg
    net = as_network(module)
    assert net.input_size == tuple(configuration["input_size"][1:])
    assert net.preprocessing.mean == tuple(configuration["mean"])
    assert net.remarks[0].startswith(f"assumed of the module {type(module).__name__}: no labels;")


def test_a_module_can_be_scanned(module: nn.Module, tmp_path: Path) -> None:
    images = [rs.Image(pixels(seed)).to_pil() for seed in range(3)]
    with rs.scan(module, images, to=tmp_path / "a.atlas", layers=["stem"]) as atlas:
        patch = atlas["stem:0"].patches[0]
        assert patch.projection is not None
        assert any("assumed of the module Blocks" in note for note in patch.projection.notes)


# Layers as modules


def test_a_module_is_a_layer_by_its_path(module: Any) -> None:
    net = rs.Network(module, input_size=SIZE)
    for part, name in (
        (module.stem, "stem"),
        (module.layer1, "layer1.2"),
        (module.layer2[0], "layer2.0"),
    ):
        assert net[part].name == name
        assert net.layer(part) == net[name]
    assert net["relu2"].name == "layer1.2"
    assert net[net.layers[0]] is net.layers[0]


def test_a_module_that_computes_no_layer_is_named(module: Any) -> None:
    with pytest.raises(UnitError, match=r"^no layer 'drop' in Blocks; "):
        rs.cam(module, rs.Image(pixels()), layer=module.drop)


def test_layers_of_a_wrapped_module_are_its_own(module: Any) -> None:
    net, parallel = rs.Network(nn.DataParallel(module), input_size=SIZE), nn.DataParallel(module)
    assert net[parallel.module.layer1].name == "layer1.2"


def test_functions_take_modules_for_layers_and_units(module: Any) -> None:
    image = rs.Image(pixels())
    heat = rs.cam(module, image, layer=module.layer1)
    assert heat.layer == "layer1.2"
    np.testing.assert_array_equal(heat.values, rs.cam(module, image, layer="layer1.2").values)
    maps = rs.activations(module, module.layer2, image)
    assert maps.layer.name == "layer2.1"
    assert rs.filters(module, module.stem).layer.name == "stem"
    for unit in (module.layer1, rs.Network(module, input_size=SIZE)["layer1"]):
        assert str(rs.deconv(module, unit, image).unit) == "layer1.2"
        assert str(rs.saliency(module, image, unit=unit).target) == "layer1.2"


def test_a_module_that_is_no_part_of_the_network_is_refused(module: nn.Module) -> None:
    net, image = rs.Network(module, input_size=SIZE), rs.Image(pixels())
    with pytest.raises(UnitError, match=r"^this Conv2d is not a module of Blocks; give one of the"):
        rs.cam(net, image, layer=nn.Conv2d(6, 8, 3))
    with pytest.raises(
        UnitError, match="this Blocks is the network itself; give one of its layers"
    ):
        rs.cam(net, image, layer=module)
    targets: Any = [module]
    with pytest.raises(UnitError, match="a module of the network, not list; give one layer at a"):
        rs.cam(net, image, layer=targets)


def test_a_network_is_looked_into_by_name_and_not_looped_over(module: nn.Module) -> None:
    net: Any = rs.Network(module, input_size=SIZE)
    with pytest.raises(TypeError, match="not iterable"):
        list(net)
    with pytest.raises(TypeError, match="iterable"):
        assert "stem" in net
    with pytest.raises(UnitError, match="did you mean 'stem'"):
        net["stm"]


def test_an_attribute_that_cannot_be_read_is_named(module: Any) -> None:
    module.mean = 0.5
    with pytest.raises(ModelError, match=r"^mean of Blocks is 0\.5; it must be a number for each"):
        rs.cam(module, rs.Image(pixels()))


def test_what_was_assumed_stands_under_the_figure_of_the_maps(module: nn.Module) -> None:
    maps = rs.activations(module, "stem", rs.Image(pixels()))
    plain = rs.activations(rs.Network(module, input_size=SIZE), "stem", rs.Image(pixels()))
    as_json: Any = rs.as_json(maps)
    assert as_json["notes"] == list(maps.notes)
    assert rs.draw(maps).height > rs.draw(plain).height
