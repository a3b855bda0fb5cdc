"""The maps of a layer."""

from collections.abc import Callable
from dataclasses import replace
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
from retroscope.results.projections import Activations
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


def random_image(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed).float()


@torch.no_grad()
def up_to(net: Network, last: int, image: Tensor) -> Tensor:
    assert isinstance(net.module, nn.Sequential)
    maps: Tensor = net.module[: last + 1](image[None].clone())[0]
    return maps


@pytest.mark.parametrize("last", [0, 1, 2, 3, 4])
def test_maps_are_those_that_the_network_computes(last: int) -> None:
    """Even if the next module changes them in place."""
    net = network()
    expected = up_to(net, last, random_image()).numpy()
    if last < 2:
        expected = built(small)[: last + 1](random_image()[None])[0].detach().numpy()  # type: ignore[index]
    result = activations(net, str(last), random_image())
    np.testing.assert_allclose(result.maps, expected, rtol=0, atol=1e-6)
    assert result.maps.dtype == np.float32


def test_a_vector_is_one_map_of_one_position_per_entry() -> None:
    net = network()
    result = activations(net, "linear1", random_image())
    assert result.maps.shape == (5, 1, 1)
    expected = up_to(net, 6, random_image()).numpy()
    np.testing.assert_allclose(result.maps[:, 0, 0], expected, atol=1e-6)


def test_tokens_are_at_positions_of_the_map_that_they_come_from() -> None:
    def tokens() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(2), ChannelsLast(), nn.LayerNorm(8))

    net = network(tokens)
    result = activations(net, "norm1", random_image())
    assert result.maps.shape == (8, 16, 13)
    expected = net.module(random_image()[None])[0].detach().numpy()
    np.testing.assert_allclose(result.maps, expected.T.reshape(8, 16, 13), atol=1e-6)


class ChannelsLast(nn.Module):
    """Swaps positions and channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def test_the_layer_is_resolved_to_its_module_path() -> None:
    net = network()
    result = activations(net, "conv2", random_image())
    assert result.layer == net.layer("4.0")
    assert (result.layer.channels, *result.layer.size) == result.maps.shape


def test_a_container_stands_for_its_last_layer() -> None:
    assert activations(network(), "4", random_image()).layer.name == "4.1"


def test_the_layer_is_that_of_the_image_size() -> None:
    net = network(lambda: nn.Conv2d(3, 4, 3))
    result = activations(net, "conv1", numbers(3, 21, 30))
    assert result.layer.size == (19, 28)
    assert result.maps.shape == (4, 19, 28)


def test_maps_do_not_change_when_the_network_runs_again() -> None:
    net = network()
    result = activations(net, "0", random_image())
    original = result.maps.copy()
    activations(net, "2", random_image(1))
    deconv(net, "4.0:1", random_image(2))
    assert np.array_equal(result.maps, original)


def test_maps_are_float32_for_any_network() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        net = network(lambda dtype=dtype: small().to(dtype))  # type: ignore[misc]
        assert activations(net, "0", random_image()).maps.dtype == np.float32


def test_an_image_may_come_in_any_form(tmp_path: Path) -> None:
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
        result = activations(net, "3", image)
        assert np.array_equal(result.maps, expected)
        assert result.source == source


def test_an_unknown_layer_gets_a_suggestion() -> None:
    with pytest.raises(UnitError, match="did you mean 'conv2'"):
        activations(network(), "convv2", random_image())


def test_a_tensor_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ImageError, match=r"\(3, height, width\)"):
        activations(network(), "0", torch.zeros(4, 18, 15))


# The strongest


def test_the_strongest_channels_come_first_at_their_strongest_positions() -> None:
    net = network()
    result = activations(net, "0", random_image())
    strongest = result.strongest(3)
    best = sorted(range(4), key=lambda channel: -result.maps[channel].max())[:3]
    assert [unit.channel for unit in strongest] == best
    for unit in strongest:
        assert unit.layer == "0"
        assert unit.position is not None
        assert unit.channel is not None
        assert result.maps[(unit.channel, *unit.position)] == result.maps[unit.channel].max()


def test_the_strongest_positions_are_those_of_projections() -> None:
    net = network()
    for unit in activations(net, "4.0", random_image()).strongest(6):
        assert deconv(net, Unit("4.0", unit.channel), random_image()).unit == unit


def test_a_count_above_the_channels_gives_all_channels() -> None:
    assert len(activations(network(), "0", random_image()).strongest(99)) == 4


def test_nan_is_never_the_strongest() -> None:
    image = random_image()
    image[:, 4, 4] = torch.nan
    result = activations(network(), "0", image)
    for unit in result.strongest(4):
        assert unit.position is not None
        assert unit.channel is not None
        assert np.isfinite(result.maps[(unit.channel, *unit.position)])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_channels_that_tie_with_the_last_one_are_counted(count: int) -> None:
    """Of six channels, two are at the limit of a rectifier, and three at a lower value."""
    peaks = [2.0, 6.0, 2.0, 1.0, 6.0, 2.0]
    layer = network()["0"]
    maps = np.zeros((6, *layer.size), np.float32)
    maps[:, 3, 2] = peaks
    result = Activations(replace(layer, name="act"), maps)
    weakest = sorted(peaks, reverse=True)[count - 1]
    left_out = sorted(peaks, reverse=True)[count:]
    says = result.describe_ties(count)
    assert bool(says) == (weakest in left_out)
    if says:
        listed = sorted(peaks, reverse=True)[:count].count(weakest)
        assert says.startswith(f"{peaks.count(weakest)} channels of act reach {weakest:g}; the ")
        assert ("one" if listed == 1 else f"{listed} with") in says
    chosen = [unit.channel for unit in result.strongest(count)]
    assert chosen == sorted(range(6), key=lambda channel: (-peaks[channel], channel))[:count]
