"""The maps of a layer, as a user gets them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

from retroscope.errors import ImageError, UnitError
from retroscope.imaging.image import read_image
from retroscope.methods.activations import activations
from retroscope.methods.deconv.deconv import deconv
from retroscope.network import AnyImage, Network
from retroscope.unit import Unit
from tests.conftest import built, numbers

SIZE = (18, 15)


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True)),
        nn.Flatten(),
        nn.Linear(6 * 6 * 4, 5),
    )


def network(make: Callable[[], nn.Module] = small) -> Network:
    return Network(built(make), input_size=SIZE, name="small")


def picture(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed).float()


@torch.no_grad()
def up_to(net: Network, last: int, image: Tensor) -> Tensor:
    assert isinstance(net.module, nn.Sequential)
    maps: Tensor = net.module[: last + 1](image[None].clone())[0]
    return maps


@pytest.mark.parametrize("last", [0, 1, 2, 3, 4])
def test_maps_are_what_the_network_computes_there(last: int) -> None:
    """Also where the next module changes them in place."""
    net = network()
    expected = up_to(net, last, picture()).numpy()
    if last < 2:
        expected = built(small)[: last + 1](picture()[None])[0].detach().numpy()  # type: ignore[index]
    found = activations(net, str(last), picture())
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=1e-6)
    assert found.maps.dtype == np.float32


def test_a_vector_is_as_many_maps_of_one_position() -> None:
    net = network()
    found = activations(net, "linear1", picture())
    assert found.maps.shape == (5, 1, 1)
    expected = up_to(net, 6, picture()).numpy()
    np.testing.assert_allclose(found.maps[:, 0, 0], expected, atol=1e-6)


def test_tokens_are_positions_and_their_numbers_are_channels() -> None:
    def tokens() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(2), Turned(), nn.LayerNorm(8))

    net = network(tokens)
    found = activations(net, "norm1", picture())
    assert found.maps.shape == (8, 16 * 13, 1)
    expected = net.module(picture()[None])[0].detach().numpy()
    np.testing.assert_allclose(found.maps[:, :, 0], expected.T, atol=1e-6)


class Turned(nn.Module):
    """Channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def test_the_layer_is_told_under_its_own_name() -> None:
    net = network()
    found = activations(net, "conv2", picture())
    assert found.layer == net.layer("4.0")
    assert (found.layer.channels, *found.layer.size) == found.maps.shape


def test_a_container_stands_for_the_layer_that_it_ends_with() -> None:
    assert activations(network(), "4", picture()).layer.name == "4.1"


def test_the_layer_is_that_of_the_pictures_own_size() -> None:
    net = network(lambda: nn.Conv2d(3, 4, 3))
    found = activations(net, "conv1", numbers(3, 21, 30))
    assert found.layer.size == (19, 28)
    assert found.maps.shape == (4, 19, 28)


def test_maps_stay_when_the_network_runs_again() -> None:
    net = network()
    found = activations(net, "0", picture())
    kept = found.maps.copy()
    activations(net, "2", picture(1))
    deconv(net, "4.0:1", picture(2))
    assert np.array_equal(found.maps, kept)


def test_maps_come_in_single_precision_from_any_network() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        net = network(lambda dtype=dtype: small().to(dtype))  # type: ignore[misc]
        assert activations(net, "0", picture()).maps.dtype == np.float32


def test_a_picture_may_come_in_any_form(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    net = network()
    forms: list[tuple[AnyImage, str]] = [
        (path, str(path)),
        (str(path), str(path)),
        (PIL.Image.open(path), "memory"),
        (read_image(path), str(path)),
        (net.prepare(path).tensor, ""),
    ]
    expected = activations(net, "3", path).maps
    for image, source in forms:
        found = activations(net, "3", image)
        assert np.array_equal(found.maps, expected)
        assert found.source == source


def test_an_unknown_layer_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnitError, match="did you mean 'conv2'"):
        activations(network(), "convv2", picture())


def test_a_picture_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ImageError, match=r"\(3, height, width\)"):
        activations(network(), "0", torch.zeros(1, 3, 18, 15))


# The strongest


def test_the_strongest_channels_come_first_at_their_strongest_positions() -> None:
    net = network()
    found = activations(net, "0", picture())
    strongest = found.strongest(3)
    best = sorted(range(4), key=lambda channel: -found.maps[channel].max())[:3]
    assert [unit.channel for unit in strongest] == best
    for unit in strongest:
        assert unit.layer == "0"
        assert unit.position is not None
        assert unit.channel is not None
        assert found.maps[(unit.channel, *unit.position)] == found.maps[unit.channel].max()


def test_the_strongest_are_where_a_projection_looks() -> None:
    net = network()
    for unit in activations(net, "4.0", picture()).strongest(6):
        assert deconv(net, Unit("4.0", unit.channel), picture()).unit == unit


def test_more_than_there_are_is_all_there_are() -> None:
    assert len(activations(network(), "0", picture()).strongest(99)) == 4


def test_what_is_no_number_is_never_the_strongest() -> None:
    image = picture()
    image[:, 4, 4] = torch.nan
    found = activations(network(), "0", image)
    for unit in found.strongest(4):
        assert unit.position is not None
        assert unit.channel is not None
        assert np.isfinite(found.maps[(unit.channel, *unit.position)])
