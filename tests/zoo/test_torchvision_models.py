"""torchvision's networks: all of them, fed as torchvision feeds them."""

from typing import Any
from urllib.error import URLError

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from torch import nn

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.zoo import torchvision_models

SMALL = "squeezenet1_1"


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network is opened without drawing its millions of numbers."""
    monkeypatch.setattr(torchvision_models, "_build_untrained", lambda _: nn.Conv2d(3, 2, 3))


def downloads(monkeypatch: pytest.MonkeyPatch, answer: object) -> list[str]:
    """Has every download answer this, or raise it; the addresses asked for."""
    asked: list[str] = []

    def load(url: str, *_: object, **__: object) -> object:
        asked.append(url)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    return asked


def picture(height: int, width: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


def classifies(name: str) -> bool:
    """Whether the default weights of a name come with the transforms of classification."""
    prepare = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return type(prepare).__name__ == "ImageClassification"


@pytest.mark.parametrize(
    "name", [name for name in torchvision_models.names() if name.startswith("vit_")]
)
def test_transformers_with_random_weights_take_the_images_of_the_trained_ones(name: str) -> None:
    smallest = torchvision.models.get_model_weights(name).DEFAULT.meta["min_size"]
    with torch.device("meta"):
        module = torchvision_models._build_untrained(name)
    assert (module.image_size, module.image_size) == smallest


def test_a_transformer_for_other_images_is_given_those() -> None:
    with torchvision_models.leave_weights_zero():
        net = torchvision_models.open_named("vit_b_16?image_size=384", trained=False)
        assert net.input_size == (384, 384)
        assert torchvision_models.open_named("vit_b_16", trained=False).input_size == (224, 224)


def test_every_network_that_classifies_pictures_is_listed() -> None:
    everything = torchvision.models.list_models()
    expected = [name for name in everything if classifies(name) and "quantized" not in name]
    assert torchvision_models.names() == expected
    assert {"alexnet", "vgg16", "resnet50", "vit_b_16", "convnext_tiny"} <= set(expected)


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize("name", torchvision_models.names())
def test_every_network_brings_its_input_size_and_labels(name: str) -> None:
    net = rs.open_model(name, random_weights=0)
    prepare = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert list(net.input_size) == 2 * prepare.crop_size
    assert len(net.labels) == 1000
    assert net.labels[281] == "tabby"


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize("size", [(300, 451), (451, 300), (224, 224), (97, 61)])
@pytest.mark.parametrize("name", ["alexnet", "vgg16", "inception_v3", "efficientnet_b0"])
def test_a_picture_is_prepared_as_torchvision_prepares_it(name: str, size: tuple[int, int]) -> None:
    shown = picture(*size)
    prepare: Any = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    numbers = rs.open_model(name, random_weights=0).prepare(shown).tensor
    torch.testing.assert_close(numbers, prepare(shown), rtol=0, atol=1e-6)


def test_trained_weights_are_those_that_are_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = rs.open_model(SMALL, random_weights=7).module.state_dict()
    asked = downloads(monkeypatch, trained)
    loaded = rs.open_model(SMALL).module.state_dict()
    assert asked == [torchvision.models.get_model_weights(SMALL).DEFAULT.url]
    assert loaded.keys() == trained.keys()
    assert all(torch.equal(loaded[name], trained[name]) for name in trained)


@pytest.mark.parametrize(
    "error",
    [
        URLError("Name or service not known"),
        TimeoutError("timed out"),
        RuntimeError('invalid hash value (expected "b8a52dc0",\ngot "e3b0c442")'),
        PermissionError(13, "Permission denied", "/root/.cache/torch"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_weights_that_cannot_be_had_are_one_clear_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads(monkeypatch, error)
    with pytest.raises(ModelError, match=f"cannot get the trained weights of {SMALL}") as refused:
        rs.open_model(SMALL)
    assert refused.value.parameter == "random_weights"
    assert refused.value.__cause__ is error


def test_random_weights_ask_for_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = downloads(monkeypatch, URLError("nobody should ask"))
    assert rs.open_model(SMALL, random_weights=0).layers[-1].channels == 1000
    assert asked == []


@pytest.mark.parametrize(
    ("name", "near"), [("resnet-50", "resnet50"), ("VGG16", "vgg16"), ("mobilenet", "mobilenet_v2")]
)
def test_an_unknown_network_is_told_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=f"no torchvision model '{name}'; .*'{near}'"):
        rs.open_model(f"torchvision/{name}")
