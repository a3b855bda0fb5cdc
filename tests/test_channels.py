"""Networks that take any number of channels: what they are fed, what is shown, and all methods."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import ImageError, ModelError
from retroscope.network import Network
from retroscope.render.explanation_figures import unit_images
from retroscope.render.tone import apply_tone
from tests.conftest import built
from tests.imaging.channel_files import (
    WRITERS,
    Numbers,
    numbers,
    write_chunky,
    write_npy_channels_first,
)
from tests.imaging.image_files import picture

SIDE = 16
COUNTS = (1, 2, 4, 5, 12)

BYTE_FILES = [
    (way, channels)
    for way in WRITERS
    for channels in (1, 3)
    if channels == 3 or not way.startswith("pages")  # of bytes each page is an image
]


class Bands(nn.Module):
    """A classifier of images with any number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.first(x).relu(), 2)
        scores: torch.Tensor = self.head(self.second(x).relu().mean((2, 3)))
        return scores


def statistics(channels: int) -> dict[str, tuple[float, ...]]:
    mean = tuple(0.3 + 0.02 * channel for channel in range(channels))
    return {"mean": mean, "std": tuple(0.2 + 0.01 * channel for channel in range(channels))}


def network(channels: int, **options: Any) -> Network:
    options = statistics(channels) | options
    return Network(built(lambda: Bands(channels)).double(), input_size=(SIDE, SIDE), **options)


def prepared(net: Network, image: Any) -> npt.NDArray[np.float64]:
    return net.prepare(image).tensor.numpy()


# What the network is fed


@pytest.mark.parametrize("channels", COUNTS)
@pytest.mark.parametrize(("dtype", "white"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_pixels_are_divided_by_white_and_normalised(
    tmp_path: Path, channels: int, dtype: str, white: float
) -> None:
    values = numbers(channels, SIDE, SIDE, dtype=dtype)
    if channels == 1:
        values = values[..., 0]
    np.save(tmp_path / "a.npy", values)
    mean, std = (np.array(row) for row in statistics(channels).values())
    expected = (values.reshape(SIDE, SIDE, channels) / np.float64(white) - mean) / std
    found = prepared(network(channels), tmp_path / "a.npy")
    np.testing.assert_allclose(found, np.moveaxis(expected, 2, 0), atol=2e-6)


def test_with_a_value_range_all_numbers_are_in_the_units_of_the_file(tmp_path: Path) -> None:
    values = numbers(4, SIDE, SIDE, dtype="int16")
    mean, std = np.array([-500.0, 40, 300, 0]), np.array([200.0, 300, 400, 1000])
    net = network(4, mean=mean, std=std, value_range=(-1024, 3071))
    expected = np.moveaxis((values - mean) / std, 2, 0)
    found = prepared(net, write_npy_channels_first(tmp_path / "a", values))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    again = net.with_module(net.module, net.preprocessing.fit)
    assert again.preprocessing == net.preprocessing
    black, white = (net.preprocessing.level(level)[:, 0, 0].numpy() for level in (0, 1))
    np.testing.assert_allclose(black, (-1024 - mean) / std, rtol=1e-5)
    np.testing.assert_allclose(white, (3071 - mean) / std, rtol=1e-5)


@pytest.mark.parametrize(("way", "channels"), BYTE_FILES)
@pytest.mark.parametrize("mode", ["network", "crop", "stretch"])
def test_bytes_in_any_file_are_what_a_png_of_them_is(
    tmp_path: Path, way: str, channels: int, mode: str
) -> None:
    pixels = picture(40, 31)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    net = network(channels, fit=rs.Fit((SIDE, SIDE), mode, shorter=20))
    photo, image = (
        net.prepare(path) for path in (tmp_path / "a.png", WRITERS[way](tmp_path / "b", pixels))
    )
    assert torch.equal(photo.tensor, image.tensor)
    np.testing.assert_array_equal(photo.rgb, image.rgb)
    assert photo.caveats == image.caveats == ()


@pytest.mark.parametrize("value_range", [None, (0, 30_000)])
def test_the_order_of_channels_changes_nothing(
    tmp_path: Path, value_range: tuple[float, float] | None
) -> None:
    values, order = numbers(5, 30, 40), [3, 1, 4, 0, 2]
    scale = 1 if value_range is None else 30_000
    mean, std = (np.array(row) * scale for row in statistics(5).values())
    net = network(5, mean=mean, std=std, value_range=value_range)
    permuted = network(5, mean=mean[order], std=std[order], value_range=value_range)
    weight = permuted.module.get_parameter("first.weight")
    with torch.no_grad():
        weight.copy_(weight[:, order].clone())
    path = write_chunky(tmp_path / "a", values)
    permuted_path = write_chunky(tmp_path / "b", values[..., order])
    np.testing.assert_array_equal(prepared(net, path)[order], prepared(permuted, permuted_path))
    for method in (rs.cam, rs.saliency):
        first: Numbers = np.asarray(method(net, path, target=1))
        second: Numbers = np.asarray(method(permuted, permuted_path, target=1))
        np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-9)
    plain = rs.deconv(net, "second:3", path).pixels
    other_pixels = rs.deconv(permuted, "second:3", permuted_path).pixels
    np.testing.assert_allclose(plain[..., order], other_pixels, rtol=1e-6, atol=1e-9)


def test_arrays_in_memory_are_as_their_files(tmp_path: Path) -> None:
    values = numbers(4, 30, 22)
    path = write_npy_channels_first(tmp_path / "a", values)
    net = network(4)
    for image in (values, np.moveaxis(values, 2, 0), path, str(path)):
        assert torch.equal(net.prepare(image).tensor, net.prepare(path).tensor)
    byte_tensor = torch.from_numpy(np.moveaxis(numbers(4, dtype="uint8"), 2, 0).copy())
    expected = net.prepare(np.moveaxis(byte_tensor.numpy(), 0, 2)).tensor
    assert torch.equal(net.prepare(byte_tensor).tensor, expected)


def test_grey_files_are_repeated_for_colour_and_colours_averaged_for_grey(tmp_path: Path) -> None:
    grey, colours = numbers(1, SIDE, SIDE), numbers(3, SIDE, SIDE)
    np.save(tmp_path / "grey.npy", grey[..., 0])
    colour_path = write_chunky(tmp_path / "colours", colours)
    mean, std = (np.array(row)[:, None, None] for row in statistics(3).values())
    found = prepared(network(3), tmp_path / "grey.npy")
    expected = (np.moveaxis(grey, 2, 0) / 65535 - mean) / std
    np.testing.assert_allclose(found, expected, atol=2e-6)
    found = prepared(network(1), colour_path)
    expected = (colours.mean(axis=2)[None] / 65535 - mean[:1]) / std[:1]
    np.testing.assert_allclose(found, expected, atol=2e-6)


# What is shown


def test_three_bands_are_shown_from_their_1st_to_their_99th_percentile(tmp_path: Path) -> None:
    values = numbers(12, SIDE, SIDE)
    net = network(12, bands=(4, 3, 2))
    image = net.prepare(write_chunky(tmp_path / "a", values))
    for colour, band in enumerate((4, 3, 2)):
        plane = values[..., band - 1].astype(np.float64)
        low, high = np.percentile(plane, (1, 99))
        expected = np.rint(((plane - low) / (high - low)).clip(0, 1) * 255)
        np.testing.assert_array_equal(image.rgb[..., colour], expected)
        assert f"{low:.5g} to {high:.5g}" in image.caveats[1]
    assert "bands 4, 3, 2 of 12 as red, green, blue" in image.caveats[1]
    assert "divided by 65535" in image.caveats[0]
    from_tensor = net.prepare(image.tensor)
    assert np.abs(from_tensor.rgb.astype(int) - image.rgb).max() <= 1


def test_bytes_are_shown_as_they_are(tmp_path: Path) -> None:
    values = numbers(4, SIDE, SIDE, dtype="uint8")
    image = network(4).prepare(write_chunky(tmp_path / "a", values))
    np.testing.assert_array_equal(image.rgb, values[..., :3])
    assert "bands 1, 2, 3 of 4" in image.caveats[1]
    assert "0 to 255" in image.caveats[1]


def test_two_bands_are_magenta_and_green_and_one_is_grey(tmp_path: Path) -> None:
    values = numbers(2, SIDE, SIDE, dtype="uint8")
    path = write_npy_channels_first(tmp_path / "a", values)
    np.testing.assert_array_equal(network(2).prepare(path).rgb, values[..., [0, 1, 0]])
    grey = network(2, bands=[2]).prepare(path).rgb
    np.testing.assert_array_equal(grey, values[..., [1, 1, 1]])


def test_a_flat_band_is_black() -> None:
    values = numbers(4, SIDE, SIDE)
    values[..., 1] = 700
    assert not network(4).prepare(values).rgb[..., 1].any()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"bands": (0, 1, 2)}, "count from 1"),
        ({"bands": (1, 2, 5)}, "no band 5"),
        ({"bands": (1, 2)}, "three"),
        ({"bands": "432"}, "numbers of three channels"),
        ({"value_range": (1, 1)}, "lower one first"),
        ({"value_range": (0, np.nan)}, "lower one first"),
        ({"value_range": 65535}, "two values"),
        ({"value_range": (0, 65535)}, "same units"),
    ],
)
def test_unusable_bands_and_ranges_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as refusal:
        network(4, **options)
    assert refusal.value.parameter


# What cannot be fed


def test_photographs_are_refused_by_networks_of_other_channels(tmp_path: Path) -> None:
    pixels = picture(20, 30)
    photo = PIL.Image.fromarray(pixels)
    photo.save(tmp_path / "a.png")
    for image in (tmp_path / "a.png", photo, pixels, rs.Image(pixels)):
        with pytest.raises(ImageError, match=r"3 channels|takes 12 channels") as refusal:
            network(12).prepare(image)
        assert "\n" not in str(refusal.value)


# All methods


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chunky(tmp_path_factory.mktemp("image") / "a", numbers(5, 20, 30))


def test_a_file_and_the_tensor_of_it_have_the_same_results(image: Path) -> None:
    net = network(5)
    tensor = net.prepare(image).tensor
    for method in (rs.cam, rs.saliency):
        first, second = (np.asarray(method(net, of, target=2)) for of in (image, tensor))
        np.testing.assert_array_equal(first, second)
    maps = rs.activations(net, "second", tensor).maps
    np.testing.assert_array_equal(rs.activations(net, "second", image).maps, maps)
    assert rs.explain(net, image).predictions == rs.explain(net, tensor).predictions


def test_projections_are_drawn_in_the_bands_that_are_shown(image: Path) -> None:
    projection = rs.deconv(network(5, bands=(5, 1, 3)), "second:2", image)
    assert projection.pixels.shape[2] == 5
    np.testing.assert_array_equal(projection.in_bands().pixels, projection.pixels[..., [4, 0, 2]])
    all_bands, three_bands = (
        np.asarray(rs.draw(shown, bare=True, view="projection"))
        for shown in (projection, projection.in_bands())
    )
    np.testing.assert_array_equal(all_bands, three_bands)
    assert any("bands 5, 1, 3 of 5" in note for note in projection.notes)


def test_everything_can_be_drawn(image: Path, tmp_path: Path) -> None:
    net = network(5)
    results = (
        rs.cam(net, image),
        rs.saliency(net, image),
        rs.occlusion(net, image, size=8, stride=8),
        rs.explain(net, image),
        rs.activations(net, "first", image),
        rs.filters(net),
        rs.deconv(net, "first:1", image),
    )
    for number, result in enumerate(results):
        assert result.save(tmp_path / f"{number}.png").stat().st_size > 0
    assert "bands 1, 2, 3 of 5" in " ".join(rs.cam(net, image).caveats)


def test_an_explanation_shows_projections_in_colours(image: Path) -> None:
    explanation = rs.explain(network(5, bands=(5, 1, 3)), image)
    unit = explanation.findings[0].units[0]
    projection, *others = unit_images(unit, "robust")
    expected = apply_tone(unit.projection.in_bands().pixels, "robust")
    np.testing.assert_array_equal(projection.pixels, expected)
    assert unit.contrast is not None
    np.testing.assert_array_equal(
        others[-1].pixels, apply_tone(unit.contrast.in_bands().pixels, "robust")
    )


def test_grey_bars_are_as_grey_in_numbers_as_in_a_photograph(tmp_path: Path) -> None:
    fit = rs.Fit((SIDE, SIDE), "letterbox")
    photo = Network(nn.Conv2d(3, 2, 3), fit=fit).prepare(picture(SIDE // 2, SIDE))
    values = numbers(5, SIDE // 2, SIDE)
    image = Network(nn.Conv2d(5, 2, 3), fit=fit).prepare(write_chunky(tmp_path / "a", values))
    assert photo.tensor[0, 0, 0] == image.tensor[4, 0, 0] == torch.tensor(114 / 255)
