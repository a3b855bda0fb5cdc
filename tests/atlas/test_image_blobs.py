"""Images and projections come back from WebP."""

import numpy as np
import pytest

from retroscope.atlas.image_blobs import (
    MAX_PROJECTION_SIDE,
    decode_image,
    decode_projection,
    encode_image,
    encode_projection,
)
from retroscope.atlas.schema import AtlasError
from retroscope.results.projections import Pixels
from tests.atlas.small_atlas import smooth_image


def waves(height: int, width: int, depth: int = 3) -> Pixels:
    """Smooth and signed, with a different amplitude in each channel."""
    y, x = np.mgrid[:height, :width]
    wave = np.sin(y / 7) * np.cos(x / 5)
    pixels: Pixels = (wave[..., None] * np.linspace(3, 1, depth)).astype(np.float32)
    return pixels


def round_trip(pixels: Pixels) -> Pixels:
    blob, peak = encode_projection(pixels)
    return decode_projection(blob, peak, size=pixels.shape[:2], depth=pixels.shape[2])


@pytest.mark.parametrize("depth", [1, 3, 4])
@pytest.mark.parametrize("size", [(40, 60), (1, 7), (112, 112)])
def test_a_smooth_projection_comes_back_within_a_few_levels(
    size: tuple[int, int], depth: int
) -> None:
    pixels = waves(*size, depth)
    decoded = round_trip(pixels)
    assert decoded.shape == pixels.shape
    level = np.abs(pixels).max() / 127 if pixels.any() else 1.0
    assert np.abs(decoded - pixels).mean() < 3 * level
    assert np.abs(decoded - pixels).max() < 18 * level


@pytest.mark.parametrize("side", [3, 24, 64, 112])
def test_colours_are_stored_at_full_resolution(side: int) -> None:
    pixels = np.random.default_rng(side).normal(size=(side, side, 3)).astype(np.float32)
    decoded = round_trip(pixels)
    assert np.corrcoef(decoded.ravel(), pixels.ravel())[0, 1] > 0.95


def test_zero_stays_the_middle_grey() -> None:
    pixels = np.zeros((96, 96, 3), np.float32)
    assert not round_trip(pixels).any()
    pixels[40:56, 40:56] = waves(16, 16)
    blob, _ = encode_projection(pixels)
    assert (decode_image(blob).reshape(3, 96, 96, 3)[:, :24] == 128).all()
    assert not round_trip(pixels)[:24].any()


def test_a_large_projection_is_stored_small_and_decoded_at_its_size() -> None:
    pixels = waves(300, 150)
    blob, peak = encode_projection(pixels)
    assert decode_image(blob).shape == (3 * MAX_PROJECTION_SIDE, MAX_PROJECTION_SIDE // 2, 3)
    decoded = decode_projection(blob, peak, size=(300, 150), depth=3)
    assert decoded.shape == pixels.shape
    assert np.abs(decoded - pixels).mean() < 0.1 * np.abs(pixels).max()


def test_a_sliver_keeps_both_sides() -> None:
    assert round_trip(np.ones((1000, 1, 3), np.float32)).shape == (1000, 1, 3)


def test_the_scale_is_per_projection() -> None:
    faint = round_trip(waves(32, 32) * np.float32(1e-20))
    assert np.allclose(faint * 1e20, round_trip(waves(32, 32)), rtol=1e-4)


def test_an_empty_box_comes_back_empty() -> None:
    assert round_trip(np.zeros((0, 5, 3), np.float32)).shape == (0, 5, 3)


def test_non_finite_values_become_zero() -> None:
    pixels = np.ones((8, 8, 3), np.float32)
    pixels[:4] = np.nan
    pixels[6] = np.inf
    assert np.isfinite(round_trip(pixels)).all()


def test_an_image_is_stored_without_visible_loss() -> None:
    decoded = decode_image(encode_image(smooth_image(2)))
    assert np.abs(decoded.astype(int) - smooth_image(2)).mean() < 4


def test_a_damaged_image_is_reported() -> None:
    with pytest.raises(AtlasError, match="is damaged"):
        decode_image(encode_image(smooth_image(2))[:40])
