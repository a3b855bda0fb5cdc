"""Filters of a first layer: noise and aliasing are found in filters made for it, and only there."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.auditing.filter_rules import chance_of_structure
from retroscope.auditing.image_spectrum import folded_share, image_spectrum, natural_spectrum
from retroscope.imaging.decoding import RGB
from retroscope.methods.convolution_weights import convolution_weights
from tests.auditing.planted import findings

Filter = npt.NDArray[np.float32]
SIDE = 7


def grating(cycles: float, angle: float = 0.6, *, side: int = SIDE, spread: float = 2.0) -> Filter:
    """A Gabor filter of so many cycles for each pixel."""
    ys, xs = np.indices((side, side)) - (side - 1) / 2
    along = xs * np.cos(angle) + ys * np.sin(angle)
    envelope = np.exp(-(xs**2 + ys**2) / (2 * spread**2))
    plane = envelope * np.cos(2 * np.pi * cycles * along)
    return np.repeat(plane[..., None], 3, axis=2).astype(np.float32)


def blob(side: int = SIDE) -> Filter:
    return grating(0, side=side)


def noise(seed: int, side: int = SIDE) -> Filter:
    return np.random.default_rng(seed).normal(size=(side, side, 3)).astype(np.float32)


def network(filters: list[Filter], *, stride: int = 1) -> rs.Network:
    """A convolution with these filters and a ReLU."""
    weights = torch.from_numpy(np.stack(filters)).permute(0, 3, 1, 2)
    side = weights.shape[2]
    conv = nn.Conv2d(3, len(filters), side, stride=stride, padding=side // 2, bias=False)
    conv.weight = nn.Parameter(weights.contiguous())
    return rs.Network(nn.Sequential(conv, nn.ReLU()), input_size=(32, 32), name="filters")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filters")
    for number in range(6):
        rs.Image(rs.scene(number, size=32).pixels).to_pil().save(folder / f"{number}.png")
    return folder


def audited(net: rs.Network, images: Path, path: Path, rule: str) -> list[rs.AuditFinding]:
    rs.scan(net, images, to=path, projections="none", workers=1).close()
    return findings(path, rule, net=net)


# Noise


@pytest.mark.parametrize("cycles", [0, 0.05, 0.1, 0.2, 0.25, 0.35, 0.5])
@pytest.mark.parametrize("angle", [0, 0.6, np.pi / 4])
def test_gratings_of_any_frequency_have_structure(cycles: float, angle: float) -> None:
    assert chance_of_structure(grating(cycles, angle)) <= 0.01
    assert chance_of_structure(grating(cycles, angle) + 0.1 * noise(0)) <= 0.05


def test_noise_passes_for_structure_as_often_as_the_rule_says() -> None:
    chances = np.array([chance_of_structure(noise(seed)) for seed in range(200)])
    assert (chances <= 0.05).mean() < 0.1
    assert 0.4 < chances.mean() < 0.6  # a test of size alpha for every alpha


def test_noise_among_trained_filters_is_found(images: Path, tmp_path: Path) -> None:
    net = network([grating(0.1), noise(3), blob(), noise(4)])
    (finding,) = audited(net, images, tmp_path / "a.atlas", "noise-filters")
    assert [unit.channel for unit in finding.units] == [1, 3]
    assert finding.units[0].layer == "1"  # the layer of the atlas, which ranks the ReLU
    assert str(finding).startswith("2 of 4 filters of 0 look like noise")


def test_small_filters_are_not_looked_at(images: Path, tmp_path: Path) -> None:
    net = network([noise(seed, 3) for seed in range(4)])
    rs.scan(net, images, to=tmp_path / "a.atlas", projections="none", workers=1).close()
    audit = rs.audit(tmp_path / "a.atlas", net=net)
    (check,) = (check for check in audit.checks if check.rule == "noise-filters")
    assert (check.channels, check.findings) == (0, 0)
    assert check.omissions == ("0: filters of 3x3 are too small to tell noise from structure",)


# Aliasing


def photograph(seed: int, side: int = 48) -> RGB:
    return rs.scene(seed, size=side).pixels


def folded_directly(weights: Filter, stride: int, image: RGB) -> float:
    """The share in the response to one image, which is windowed and repeats at its borders."""
    side = len(image)
    window = np.outer(np.hanning(side), np.hanning(side))[..., None]
    pixels = (image - image.mean(axis=(0, 1))) * window
    response = np.zeros((side, side))
    for y, x, colour in np.ndindex(*weights.shape):
        response += weights[y, x, colour] * np.roll(pixels[..., colour], (-y, -x), axis=(0, 1))
    power = np.abs(np.fft.fft2(response)) ** 2
    frequencies = np.abs(np.fft.fftfreq(side))
    is_coarse = np.logical_and.outer(frequencies <= 0.5 / stride, frequencies <= 0.5 / stride)
    return 1 - float(power[is_coarse].sum() / power.sum())


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("cycles", [0.0, 0.2, 0.4])
def test_the_folded_share_is_that_of_the_response_to_the_image(stride: int, cycles: float) -> None:
    image, weights = photograph(3), grating(cycles) + 0.2 * noise(1)
    spectrum = image_spectrum([image], [1, 1, 1])
    share = folded_share(weights, (stride, stride), spectrum)
    assert share == pytest.approx(folded_directly(weights, stride, image))


def test_the_spectrum_is_summed_over_images_and_tiles() -> None:
    images = [photograph(seed, 128) for seed in range(2)]
    tiles = [image[y : y + 64, x : x + 64] for image in images for y in (0, 64) for x in (0, 64)]
    expected = sum(image_spectrum([tile], [1, 2, 4]) for tile in tiles)
    np.testing.assert_allclose(image_spectrum(images, [1, 2, 4]), expected)


def test_a_grey_network_sees_the_mean_of_the_colours() -> None:
    image = photograph(3)
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    seen = image_spectrum([image], [0.5])
    in_colours = folded_share(grating(0.3), (2, 2), image_spectrum([grey], [1, 1, 1]))
    assert folded_share(grating(0.3)[..., :1], (2, 2), seen) == pytest.approx(in_colours)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_natural_images_have_less_to_fold_the_smaller_the_stride(stride: int) -> None:
    spectrum = natural_spectrum(3)
    assert folded_share(noise(0), (1, 1), spectrum) == 0
    shares = [folded_share(noise(0), (step, step), spectrum) for step in (stride, stride + 1)]
    assert 0 < shares[0] < shares[1] < 1


def test_fine_gratings_alias_at_a_stride_and_coarse_ones_do_not(
    images: Path, tmp_path: Path
) -> None:
    fine, coarse = grating(0.4, side=11), grating(0.06, side=11, spread=4)
    net = network([coarse, fine, blob(11)], stride=4)
    (finding,) = audited(net, images, tmp_path / "a.atlas", "aliased-filters")
    assert [unit.channel for unit in finding.units] == [1]
    assert finding.numbers["stride"] == 4.0
    assert not audited(network([coarse, fine]), images, tmp_path / "b.atlas", "aliased-filters")


# The network


def test_without_the_network_filters_are_not_looked_at(images: Path, tmp_path: Path) -> None:
    rs.scan(network([noise(0)]), images, to=tmp_path / "a.atlas", projections="none").close()
    audit = rs.audit(tmp_path / "a.atlas")
    assert not audit.with_weights
    for check in audit.checks:
        if check.rule in ("noise-filters", "aliased-filters"):
            assert check.omissions == (
                "an atlas has no weights; give the network of the scan as well",
            )


def test_another_network_is_refused(images: Path, tmp_path: Path) -> None:
    rs.scan(network([noise(0)]), images, to=tmp_path / "a.atlas", projections="none").close()
    with pytest.raises(rs.RetroscopeError, match="different weights than filters has now"):
        rs.audit(tmp_path / "a.atlas", net=network([noise(1)]))


def test_duplicates_are_compared_by_their_weights(images: Path, tmp_path: Path) -> None:
    net = network([blob(), grating(0.3), 2 * blob()])
    (finding,) = audited(net, images, tmp_path / "a.atlas", "duplicates")
    assert [unit.channel for unit in finding.units] == [0, 2]
    assert finding.numbers["lowest_weight_cosine"] == pytest.approx(1)
    assert "their weights are parallel" in str(finding)


def test_duplicates_whose_weights_differ_are_said_to(tmp_path: Path) -> None:
    """Filters that differ only in what no image of the scan has: blue, where all is red."""
    red = blob() * np.array([1, 0, 0], np.float32)
    red_and_blue = blob() * np.array([1, 0, 1], np.float32)
    net = network([red, grating(0.3), red_and_blue])
    (tmp_path / "red").mkdir()
    for number in range(6):
        pixels = rs.scene(number, size=32).pixels * np.array([1, 0, 0], np.uint8)
        rs.Image(pixels).to_pil().save(tmp_path / "red" / f"{number}.png")
    (finding,) = audited(net, tmp_path / "red", tmp_path / "a.atlas", "duplicates")
    assert [unit.channel for unit in finding.units] == [0, 2]
    assert "the weights of 1 of 1 copy differ (cosine 0.71 or more)" in str(finding)


def test_the_weights_are_those_that_conv2d_is_called_with() -> None:
    torch.manual_seed(0)
    first = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 5))
    module = nn.Sequential(
        first,
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Flatten(),
        nn.Linear(6 * 26 * 26, 2),
    )
    net = rs.Network(module, input_size=(32, 32))
    calls = convolution_weights(net, net.layers)
    assert [call.groups for call in calls.values()] == [1, 2]
    torch.testing.assert_close(
        [call.weights for call in calls.values()], [first.weight, module[2].weight]
    )
