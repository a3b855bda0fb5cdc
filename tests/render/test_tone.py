"""Numbers to colours: zero, sign, order and scale survive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retroscope.errors import RetroscopeError
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import GREY
from retroscope.render.theme import ALARM, DIVERGING, SEQUENTIAL, Ramp, interpolate_ramp
from retroscope.render.tone import TONES, FloatArray, apply_tone, colour_map, has_negatives
from retroscope.results.projections import Pixels
from tests.render.specimens import float32

VALUES = st.floats(-1000, 1000, width=32)
TILES = arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)), elements=VALUES
)
MAPS = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=VALUES)
EVERY_TONE = st.sampled_from(sorted(TONES))


@given(TILES, EVERY_TONE)
def test_zero_is_mid_grey(pixels: Pixels, tone: str) -> None:
    assert (apply_tone(pixels, tone)[pixels == 0] == GREY).all()


@given(TILES, EVERY_TONE)
def test_flipping_every_sign_mirrors_around_mid_grey(pixels: Pixels, tone: str) -> None:
    plus, minus = apply_tone(pixels, tone).astype(int), apply_tone(-pixels, tone).astype(int)
    assert (plus + minus == 2 * GREY).all()


@given(TILES, EVERY_TONE, st.floats(0.125, 8, width=32))
def test_a_positive_factor_changes_nothing(pixels: Pixels, tone: str, factor: float) -> None:
    before = apply_tone(pixels, tone).astype(int)
    after = apply_tone(pixels.astype(np.float64) * factor, tone).astype(int)  # type: ignore[arg-type]
    assert np.abs(before - after).max() <= 1


@given(TILES, EVERY_TONE)
def test_more_is_never_darker(pixels: Pixels, tone: str) -> None:
    order = np.argsort(pixels, axis=None, kind="stable")
    assert (np.diff(apply_tone(pixels, tone).ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("tone", TONES)
def test_a_tile_of_zeros_is_flat_grey(tone: str) -> None:
    assert (apply_tone(np.zeros((4, 5, 3), np.float32), tone) == GREY).all()


@pytest.mark.parametrize("tone", TONES)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_counts_as_zero(tone: str, broken: float) -> None:
    pixels = np.linspace(-1, 1, 48, dtype=np.float32).reshape(4, 4, 3)
    zeroed = pixels.copy()
    pixels[1, 2, 0], zeroed[1, 2, 0] = broken, 0
    assert (apply_tone(pixels, tone) == apply_tone(zeroed, tone)).all()


@pytest.mark.parametrize("tone", TONES)
def test_a_tile_without_pixels_is_an_image_without_pixels(tone: str) -> None:
    assert apply_tone(np.zeros((0, 3, 3), np.float32), tone).shape == (0, 3, 3)


def test_the_largest_absolute_value_of_a_tile_reaches_an_end() -> None:
    assert apply_tone(float32([[[-4.0], [2.0], [1.0]]]), "tile")[0, :, 0].tolist() == [1, 192, 160]


def test_percentile_lets_a_lone_spike_hide_nothing() -> None:
    pixels = np.tile(float32([-1, 1]), 5000).reshape(100, 100, 1)
    pixels[0, 0] = 1e6
    assert np.ptp(apply_tone(pixels, "tile")[1:]) == 0
    assert np.ptp(apply_tone(pixels, "percentile")[1:]) == 254


def test_robust_lets_a_lone_spike_hide_nothing() -> None:
    pixels = np.tile(float32([-1, 1]), 5000).reshape(100, 100, 1)
    pixels[0, 0] = 1e6
    assert np.ptp(apply_tone(pixels, "robust")[1:]) == 254


def test_robust_is_the_power_of_the_share_of_the_99th_percentile_of_what_is_not_zero() -> None:
    rng = np.random.default_rng(0)
    pixels = np.where(rng.random((40, 40, 3)) < 0.2, rng.standard_normal((40, 40, 3)), 0)
    ranked = sorted(np.abs(pixels[pixels != 0]).tolist())
    place = 0.99 * (len(ranked) - 1)
    below, above = ranked[int(place)], ranked[int(place) + 1]
    limit = below + (place - int(place)) * (above - below)
    expected = [
        GREY + round(127 * np.sign(value) * min(abs(value) / limit, 1) ** 0.8)
        for value in pixels.ravel()
    ]
    assert apply_tone(pixels, "robust").ravel().tolist() == expected


@given(TILES, st.integers(1, 30))
def test_robust_does_not_mind_a_border_of_zeros(pixels: Pixels, width: int) -> None:
    border = ((width, width), (width, width), (0, 0))
    framed = apply_tone(np.pad(pixels, border), "robust")
    inside = framed[width:-width, width:-width]
    assert (inside == apply_tone(pixels, "robust")).all()


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 1])
def test_robust_shows_sparse_lines_as_strong_as_dense_ones(share: float) -> None:
    pixels = np.zeros((100, 100, 1), np.float32)
    pixels.ravel()[: int(share * 10_000)] = 1
    assert apply_tone(pixels, "robust").max() == 255


def test_robust_brings_faint_structure_forward() -> None:
    pixels = np.linspace(-1, 1, 101, dtype=np.float32).reshape(1, -1, 1)
    plain, lifted = (
        np.abs(apply_tone(pixels, tone).astype(int) - GREY) for tone in ("tile", "robust")
    )
    assert (lifted >= plain).all()
    assert lifted.sum() > 1.05 * plain.sum()


def test_gamma_brings_faint_structure_forward() -> None:
    pixels = np.linspace(-1, 1, 101, dtype=np.float32).reshape(1, -1, 1)
    plain, lifted = (
        np.abs(apply_tone(pixels, tone).astype(int) - GREY) for tone in ("tile", "gamma")
    )
    assert (lifted >= plain).all()
    assert lifted.sum() > 1.2 * plain.sum()


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_other_channel_counts_are_shown_as_their_sum_in_greys(channels: int) -> None:
    pixels = np.random.default_rng(0).standard_normal((4, 4, channels)).astype(np.float32)
    total = pixels.astype(np.float64).sum(axis=2, keepdims=True)
    assert (apply_tone(pixels) == apply_tone(total)).all()


def test_one_channel_is_shown_in_greys() -> None:
    pixels_in_colour = apply_tone(
        np.random.default_rng(0).standard_normal((4, 4, 1)).astype(np.float32)
    )
    assert (pixels_in_colour == pixels_in_colour[..., :1]).all()


@pytest.mark.parametrize(
    ("tone", "message"),
    [
        ("gama", r"'gama'; did you mean 'gamma'\?$"),
        ("x", "'x'; choose from robust, tile, percentile, gamma$"),
    ],
)
def test_an_unknown_tone_is_refused_with_the_known_ones(tone: str, message: str) -> None:
    with pytest.raises(RetroscopeError, match=message):
        apply_tone(np.zeros((1, 1, 3), np.float32), tone)


@given(MAPS)
def test_zero_is_black_on_a_map_without_negatives(values: Pixels) -> None:
    pixels_in_colour = colour_map(np.abs(values))
    assert (pixels_in_colour[values == 0] == SEQUENTIAL[0]).all()


@given(MAPS)
def test_zero_is_light_grey_on_a_map_with_negatives(values: Pixels) -> None:
    pixels_in_colour = colour_map(values, signed=True)
    assert (pixels_in_colour[values == 0] == DIVERGING[len(DIVERGING) // 2]).all()


@given(MAPS)
def test_a_map_chooses_its_scale_by_its_signs(values: Pixels) -> None:
    assert (colour_map(values) == colour_map(values, signed=bool((values < 0).any()))).all()


@given(MAPS)
def test_more_heat_is_never_darker(values: Pixels) -> None:
    pixels_in_colour = _brightness(colour_map(np.abs(values))).ravel()
    order = np.argsort(np.abs(values), axis=None, kind="stable")
    assert (np.diff(pixels_in_colour[order]) >= -1).all()


def test_both_scales_of_heat_change_evenly_to_the_eye() -> None:
    ramp = _brightness(colour_map(np.linspace(0, 1, 101)[None]))[0]
    assert (np.diff(ramp) >= 0).all()
    assert ramp[-1] > 240
    two_ended = _brightness(colour_map(np.linspace(-1, 1, 101)[None]))[0]
    assert (np.diff(two_ended[:51]) > 0).all()
    assert (np.diff(two_ended[50:]) < 0).all()


@pytest.mark.parametrize("ramp", [SEQUENTIAL, DIVERGING])
def test_the_colour_of_alarm_is_on_no_scale(ramp: Ramp) -> None:
    pixels_in_colour = interpolate_ramp(np.linspace(0, 1, 256), ramp).astype(int)
    assert np.abs(pixels_in_colour - ALARM).max(axis=1).min() > 60


def test_a_broken_value_does_not_make_a_map_signed() -> None:
    assert not has_negatives(float32([[np.nan, -np.inf, 3]]))


def _brightness(image: RGB) -> FloatArray:
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    brightness: FloatArray = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return brightness
