"""A list of images, or a batch of them, gives a list of results: those of the single images."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from retroscope.errors import ImageError, RetroscopeError
from retroscope.imaging.image import Fit, read_image
from retroscope.methods.activations import activations
from retroscope.methods.cam.cam import cam
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.image_lists import is_image_list
from retroscope.methods.saliency import saliency
from retroscope.network import AnyImage, Network
from retroscope.results.heat_maps import HeatMap
from retroscope.results.projections import Activations, Projection

Result = Activations | HeatMap | Projection


@pytest.fixture
def net() -> Network:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(module, input_size=(16, 18), labels=("a", "b", "c", "d"))


@pytest.fixture
def mixed(tmp_path: Path) -> list[AnyImage]:
    """A path, text, a PIL image, an array, an image and tensors of two sizes."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), np.uint8)
    for number in range(3):
        PIL.Image.fromarray(pixels[number]).save(tmp_path / f"{number}.png")
    return [
        tmp_path / "0.png",
        str(tmp_path / "1.png"),
        torch.rand(3, 12, 20),
        read_image(tmp_path / "2.png"),
        PIL.Image.fromarray(pixels[3]),
        pixels[4],
        torch.rand(3, 16, 18),
    ]


def results(net: Network, images: list[AnyImage] | torch.Tensor) -> list[list[Result]]:
    """The results of each function for a list or a batch."""
    lists = [
        deconv(net, "3:1", images),
        cam(net, images, target="b"),
        saliency(net, images, target=1),
        activations(net, "3", images),
    ]
    assert all(isinstance(result, list) for result in lists)
    return lists  # type: ignore[return-value]


def assert_same(results_of_list: list[list[Result]], singles: list[list[Result]]) -> None:
    for in_list, single in zip(results_of_list, zip(*singles, strict=True), strict=True):
        for result, expected in zip(in_list, single, strict=True):
            assert type(result) is type(expected)
            assert result.source == expected.source
            assert getattr(result, "fit", None) == getattr(expected, "fit", None)
            np.testing.assert_allclose(np.asarray(result), np.asarray(expected), atol=1e-6)


def single_results(net: Network, image: AnyImage) -> list[Result]:
    return [
        deconv(net, "3:1", image),
        cam(net, image, target="b"),
        saliency(net, image, target=1),
        activations(net, "3", image),
    ]


def test_a_mixed_list_gives_what_its_images_give(net: Network, mixed: list[AnyImage]) -> None:
    assert_same(results(net, mixed), [single_results(net, image) for image in mixed])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_batch_gives_a_list_also_of_one(net: Network, count: int) -> None:
    batch = torch.rand(count, 3, 16, 18)
    lists = results(net, batch)
    assert [len(result) for result in lists] == [count] * 4
    if count:
        assert_same(lists, [single_results(net, image) for image in batch])


def test_an_array_with_a_dimension_for_images_is_a_batch(net: Network) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 18, 3), np.uint8)
    assert is_image_list(pixels)
    assert len(activations(net, "3", list(pixels))) == 2


def test_heat_maps_of_a_list_know_how_their_images_were_fitted(
    net: Network, mixed: list[AnyImage]
) -> None:
    fits = [heat.fit for heat in cam(net, mixed)]
    assert fits == [None if isinstance(x, torch.Tensor) else Fit((16, 18)) for x in mixed]


@pytest.mark.parametrize("bad", ["none.jpg", torch.zeros(1, 3, 16, 18), torch.zeros(4, 16, 18)])
def test_an_error_names_the_position_of_the_image(net: Network, bad: AnyImage) -> None:
    images = [torch.rand(3, 16, 18), torch.rand(3, 16, 18), bad]
    for run in (
        lambda: deconv(net, "3:1", images),
        lambda: cam(net, images),
        lambda: saliency(net, images),
        lambda: activations(net, "3", images),
    ):
        with pytest.raises(ImageError, match=r"^images\[2\]: "):
            run()


def test_the_error_of_a_single_image_has_no_position(net: Network) -> None:
    with pytest.raises(RetroscopeError, match=r"^cannot open 'none.jpg'"):
        activations(net, "3", "none.jpg")


def test_images_of_one_size_run_together(net: Network) -> None:
    sizes: list[int] = []
    hook = net.module[0].register_forward_pre_hook(  # type: ignore[index]
        lambda _module, inputs: sizes.append(len(inputs[0]))
    )
    activations(net, "3", torch.rand(2, 3, 16, 18))  # the first finds out that images are separate
    sizes.clear()
    activations(net, "3", torch.rand(5, 3, 16, 18))
    hook.remove()
    assert sizes == [5]


def test_networks_that_mix_the_images_of_a_batch_run_them_one_by_one() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.conv(images)
            return torch.relu(maps - maps.mean(dim=0, keepdim=True) + 0.1 * maps)

    mixing, batch = Network(Mixing(), input_size=(8, 8)), torch.rand(3, 3, 8, 8)
    name = mixing.layers[-1].name
    for result, image in zip(activations(mixing, name, list(batch)), batch, strict=True):
        np.testing.assert_array_equal(result.maps, activations(mixing, name, image).maps)
