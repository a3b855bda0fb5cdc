"""Pictures through WebP and back."""

import numpy as np
import pytest

from retroscope.atlas.pictures import (
    LONGEST,
    decode_picture,
    decode_projection,
    encode_picture,
    encode_projection,
)
from retroscope.atlas.schema import AtlasError
from retroscope.results.values import Pixels
from tests.atlas.making import picture


def waves(height: int, width: int, depth: int = 3) -> Pixels:
    """Smooth and signed, of another strength in each channel."""
    y, x = np.mgrid[:height, :width]
    wave = np.sin(y / 7) * np.cos(x / 5)
    pixels: Pixels = (wave[..., None] * np.linspace(3, 1, depth)).astype(np.float32)
    return pixels


def there_and_back(pixels: Pixels) -> Pixels:
    blob, peak = encode_projection(pixels)
    return decode_projection(blob, peak, (pixels.shape[0], pixels.shape[1]), pixels.shape[2])


@pytest.mark.parametrize("depth", [1, 3, 4])
@pytest.mark.parametrize("size", [(40, 60), (1, 7), (112, 112)])
def test_a_smooth_projection_comes_back_within_a_few_levels(
    size: tuple[int, int], depth: int
) -> None:
    pixels = waves(*size, depth)
    found = there_and_back(pixels)
    assert found.shape == pixels.shape
    level = np.abs(pixels).max() / 127 if pixels.any() else 1.0
    assert np.abs(found - pixels).mean() < 3 * level
    assert np.abs(found - pixels).max() < 18 * level


@pytest.mark.parametrize("side", [3, 24, 64, 112])
def test_colours_are_kept_as_sharp_as_shapes(side: int) -> None:
    pixels = np.random.default_rng(side).normal(size=(side, side, 3)).astype(np.float32)
    found = there_and_back(pixels)
    assert np.corrcoef(found.ravel(), pixels.ravel())[0, 1] > 0.95


def test_zero_stays_the_middle_grey() -> None:
    pixels = np.zeros((96, 96, 3), np.float32)
    assert not there_and_back(pixels).any()
    pixels[40:56, 40:56] = waves(16, 16)
    blob, _ = encode_projection(pixels)
    assert (decode_picture(blob).reshape(3, 96, 96, 3)[:, :24] == 128).all()
    assert not there_and_back(pixels)[:24].any()


def test_a_large_projection_is_kept_small_and_shown_at_its_size() -> None:
    pixels = waves(300, 150)
    blob, peak = encode_projection(pixels)
    assert decode_picture(blob).shape == (3 * LONGEST, LONGEST // 2, 3)
    found = decode_projection(blob, peak, (300, 150), 3)
    assert found.shape == pixels.shape
    assert np.abs(found - pixels).mean() < 0.1 * np.abs(pixels).max()


def test_a_sliver_keeps_both_sides() -> None:
    assert there_and_back(np.ones((1000, 1, 3), np.float32)).shape == (1000, 1, 3)


def test_the_scale_is_the_tiles_own() -> None:
    faint = there_and_back(waves(32, 32) * np.float32(1e-20))
    assert np.allclose(faint * 1e20, there_and_back(waves(32, 32)), rtol=1e-4)


def test_an_empty_box_comes_back_empty() -> None:
    assert there_and_back(np.zeros((0, 5, 3), np.float32)).shape == (0, 5, 3)


def test_what_is_no_number_becomes_zero() -> None:
    pixels = np.ones((8, 8, 3), np.float32)
    pixels[:4] = np.nan
    pixels[6] = np.inf
    assert np.isfinite(there_and_back(pixels)).all()


def test_a_picture_looks_the_same() -> None:
    shown = decode_picture(encode_picture(picture(2)))
    assert np.abs(shown.astype(int) - picture(2)).mean() < 4


def test_a_damaged_picture_is_an_error_that_says_so() -> None:
    with pytest.raises(AtlasError, match="is damaged"):
        decode_picture(encode_picture(picture(2))[:40])
