"""The lit patch: full light and none, and what does not change the light."""

from math import ceil, exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.results.lighting import contribution, light_patch
from retroscope.results.projections import Pixels, Projection
from retroscope.unit import Unit
from tests.render.specimens import projection, scene

VALUES = st.floats(-1000, 1000, width=32)
PROJECTIONS = arrays(
    np.float32, st.tuples(st.integers(1, 60), st.integers(1, 60), st.just(3)), elements=VALUES
)


def slow_contribution(pixels: Pixels) -> list[list[float]]:
    """The definition, pixel by pixel."""
    height, width = pixels.shape[:2]
    deviation = max(height, width) / 40
    reach = ceil(3 * deviation)

    def weights(at: int, length: int) -> dict[int, float]:
        near = range(max(at - reach, 0), min(at + reach + 1, length))
        within = [n for n in near if abs(n - at) <= 3 * deviation]
        total = sum(exp(-(((n - at) / deviation) ** 2) / 2) for n in within)
        return {n: exp(-(((n - at) / deviation) ** 2) / 2) / total for n in within}

    magnitudes = [[sum(float(v) ** 2 for v in pixel) ** 0.5 for pixel in row] for row in pixels]
    blurred = [
        [
            sum(
                down * across * magnitudes[n][m]
                for n, down in weights(y, height).items()
                for m, across in weights(x, width).items()
            )
            for x in range(width)
        ]
        for y in range(height)
    ]
    limit = float(np.percentile([v for row in blurred for v in row if v > 0], 95))
    return [[min(value / limit, 1) for value in row] for row in blurred]


@pytest.mark.parametrize("size", [(5, 9), (41, 30), (90, 4)])
def test_the_contribution_is_its_definition(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pixels = np.where(rng.random((*size, 1)) < 0.5, rng.standard_normal((*size, 3)), 0)
    pixels = pixels.astype(np.float32)
    np.testing.assert_allclose(contribution(pixels), slow_contribution(pixels), atol=1e-9)


@given(PROJECTIONS)
def test_a_contribution_is_a_share(pixels: Pixels) -> None:
    light = contribution(pixels)
    assert light.shape == pixels.shape[:2]
    assert light.min() >= 0
    assert light.max() == (1 if pixels.any() else 0)


@given(PROJECTIONS, st.sampled_from([-8, -1, -0.5, 0.25, 4]))
def test_neither_sign_nor_scale_changes_the_light(pixels: Pixels, factor: float) -> None:
    scaled = pixels.astype(np.float64) * factor
    np.testing.assert_allclose(contribution(scaled), contribution(pixels), atol=1e-9)  # type: ignore[arg-type]


@given(PROJECTIONS)
def test_a_mirrored_projection_has_the_mirrored_light(pixels: Pixels) -> None:
    for axis in (0, 1):
        mirrored = np.flip(contribution(np.flip(pixels, axis)), axis)
        np.testing.assert_allclose(mirrored, contribution(pixels), atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_projection_that_is_the_same_everywhere_changes_nothing(channels: int) -> None:
    patch = scene(60, 47)
    np.testing.assert_array_equal(light_patch(patch, np.full((60, 47, channels), -2.5)), patch)


def test_pixels_far_from_any_contribution_are_dark_grey() -> None:
    pixels = np.zeros((100, 100, 3), np.float32)
    pixels[:, :10] = 1
    patch = scene(100, 100)
    lit = light_patch(patch, pixels)
    np.testing.assert_array_equal(lit[:, :3], patch[:, :3])
    luma = patch[:, 30:] @ np.array([0.299, 0.587, 0.114])
    dark = np.rint(48 + (luma - 48) / 5)
    np.testing.assert_array_equal(lit[:, 30:], np.repeat(dark[..., None], 3, axis=2))
    assert lit[:, 30:].max() < 90


def test_one_strong_pixel_does_not_put_out_the_light_of_the_others() -> None:
    pixels = np.ones((100, 100, 1), np.float32)
    pixels[50, 50] = 1e4
    assert np.median(contribution(pixels)) > 0.99


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_counts_as_zero(broken: float) -> None:
    pixels = np.random.default_rng(0).standard_normal((20, 30, 3)).astype(np.float32)
    zeroed = pixels.copy()
    pixels[4, 5, 1], zeroed[4, 5, 1] = broken, 0
    np.testing.assert_array_equal(contribution(pixels), contribution(zeroed))


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_a_patch_without_pixels_stays_so(size: tuple[int, int]) -> None:
    patch: RGB = np.zeros((*size, 3), np.uint8)
    assert light_patch(patch, np.zeros((*size, 3), np.float32)).shape == patch.shape


def test_a_patch_of_another_size_is_refused() -> None:
    with pytest.raises(RetroscopeError, match="of 4x5 pixels cannot light a patch of 5x4"):
        light_patch(scene(5, 4), np.ones((4, 5, 3), np.float32))


def test_a_projection_lights_its_own_patch() -> None:
    example = projection(20, 30)
    assert example.patch is not None
    np.testing.assert_array_equal(example.lit(), light_patch(example.patch, example.pixels))
    np.testing.assert_array_equal(example.contribution(), contribution(example.pixels))
    with pytest.raises(RetroscopeError, match="has no patch to light"):
        projection(patch=False).lit()


def test_a_volume_lights_the_slices_that_contribute() -> None:
    """The blur along the depth is as narrow as the depth is short."""
    pixels = np.zeros((16, 112, 96, 1), np.float32)
    pixels[8, 40:60, 30:50] = 1
    light = contribution(pixels)
    assert light[8].max() == 1
    assert light[[*range(7), *range(10, 16)]].max() == 0


@given(PROJECTIONS)
def test_a_volume_of_equal_slices_has_the_light_of_the_image(pixels: Pixels) -> None:
    """The 95th percentile of repeated values is not quite that of the values."""
    np.testing.assert_allclose(contribution(pixels[None])[0], contribution(pixels), atol=1e-9)
    first, *others = contribution(np.repeat(pixels[None], 3, axis=0))
    for of_slice in others:
        np.testing.assert_allclose(of_slice, first, atol=1e-9)


def test_a_signal_is_lit_as_an_image_of_one_row() -> None:
    pixels = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    patch = scene(1, 50)
    signal = Projection(Unit("a", 0, (3,)), 1.0, Box(0, 0, 1, 50), pixels, "gradient", (50,), patch)
    np.testing.assert_array_equal(signal.contribution(), contribution(pixels[None])[0])
    np.testing.assert_array_equal(signal.lit(), light_patch(patch, pixels[None]))
