"""torchvision's detectors and segmenters: fed as torchvision feeds them."""

from collections.abc import Iterator

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.network import as_network
from retroscope.zoo import torchvision_models

DETECTOR, SEGMENTER = "fasterrcnn_mobilenet_v3_large_320_fpn", "lraspp_mobilenet_v3_large"


@pytest.fixture(autouse=True)
def _without_drawing_weights() -> Iterator[None]:
    with torchvision_models.leave_weights_zero():
        yield


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is downloaded for random weights")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)


def photo(height: int, width: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


def transform_of(name: str) -> str:
    return type(torchvision.models.get_model_weights(name).DEFAULT.transforms()).__name__


def test_every_detector_and_segmenter_is_listed() -> None:
    kinds = {"ObjectDetection", "SemanticSegmentation"}
    expected = {name for name in torchvision.models.list_models() if _has_transform(name, kinds)}
    assert set(torchvision_models.localiser_names()) == expected
    assert {DETECTOR, SEGMENTER, "maskrcnn_resnet50_fpn", "ssd300_vgg16"} <= expected


def _has_transform(name: str, kinds: set[str]) -> bool:
    return transform_of(name) in kinds


@pytest.mark.usefixtures("_offline")
def test_a_detector_takes_the_original_pixels_from_0_to_1() -> None:
    net, image = torchvision_models.open_named(DETECTOR, trained=False), photo(70, 110)
    expected = torchvision.models.get_model_weights(DETECTOR).DEFAULT.transforms()(image)
    assert torch.equal(net.prepare(image).tensor, expected)
    assert (net.input_size, len(net.labels), net.labels[17]) == ((320, 320), 91, "cat")


@pytest.mark.usefixtures("_offline")
def test_a_segmenter_takes_images_as_its_transform_resizes_them() -> None:
    net, image = torchvision_models.open_named(SEGMENTER, trained=False), photo(70, 111)
    expected = torchvision.models.get_model_weights(SEGMENTER).DEFAULT.transforms()(image)
    tensor = net.prepare(image).tensor
    assert tensor.shape == expected.shape == (3, 520, 824)
    torch.testing.assert_close(tensor, expected, atol=2 / 255 / 0.22, rtol=0)
    assert (len(net.labels), net.labels[8]) == (21, "cat")


def test_a_module_of_the_users_takes_images_whole_too() -> None:
    module = torchvision_models._build_zero(DETECTOR).eval()
    for net in (rs.Network(module), as_network(module)):
        assert net.prepare(photo(70, 110)).size == (70, 110)
    assert rs.Network(module, input_size=(64, 64)).prepare(photo(70, 110)).size == (64, 64)


def test_images_that_run_as_a_batch_have_one_size() -> None:
    net = torchvision_models.open_named(DETECTOR, trained=False)
    assert net.for_batches.prepare(photo(400, 500)).size == (320, 320)
    classifier = torchvision_models.open_named("squeezenet1_1", trained=False)
    assert classifier.for_batches is classifier


def test_an_input_size_is_that_of_the_shorter_side() -> None:
    net = rs.open_model(DETECTOR, random_weights=0, device="cpu", input_size=64)
    assert net.prepare(photo(128, 192)).size == (64, 96)


def test_other_tasks_are_refused() -> None:
    with pytest.raises(ModelError, match="for pairs of images; retroscope looks at single images"):
        torchvision_models.open_named("raft_small", trained=False)


def test_another_number_of_classes_has_no_labels() -> None:
    net = torchvision_models.open_named(f"{DETECTOR}?num_classes=3", trained=False)
    assert net.labels == ()
