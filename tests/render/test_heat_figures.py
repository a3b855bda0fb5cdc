"""Heat maps as figures: uniform scales, overlays at the size of the image, captions."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
from torch.nn import functional as F

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Fit, Image, fit_image, resize_array
from retroscope.render.colours import UNIFORM_SCALES, apply_scale
from retroscope.render.draw import draw
from retroscope.render.layout import enlarge
from retroscope.render.overlay import overlay, overlay_on, smooth, visible_box
from retroscope.results.heat_maps import HeatMap, OcclusionMap, Target
from retroscope.unit import Unit
from tests.render.figure_search import find_block, margin_is_empty, pixels_of
from tests.render.snapshot import assert_looks_like
from tests.render.specimens import blobs, float32, photo, stripes

SIZE = (96, 96)
CAVEATS = ("Grad-CAM can light places that the class score does not use.",)


def heat_map(values: npt.NDArray[np.float32] | None = None, *, layer: str = "conv5_3") -> HeatMap:
    """A made-up heat map over a made-up photograph."""
    return HeatMap(
        values=blobs(1, 7, 7)[0] if values is None else values,
        layer=layer,
        target=Target(281, "tabby"),
        probability=0.8312,
        score=11.5,
        method="gradcam",
        caveats=CAVEATS,
        size=SIZE,
        image=photo(*SIZE),
        source="photos/cat.jpg",
    )


def occlusion_map(classes: int = 3) -> OcclusionMap:
    """A made-up occlusion."""
    shares = 1 - blobs(1, 9, 9)[0] / 2
    class_map = np.minimum((blobs(1, 9, 9)[0] * classes).astype(np.int64), classes - 1)
    return OcclusionMap(
        probabilities=shares,
        classes=class_map,
        activations=4 * shares,
        tops=tuple(range(0, 72, 8)),
        lefts=tuple(range(0, 72, 8)),
        occluder=(32, 32),
        fill="grey",
        target=Target(0, "tabby"),
        probability=0.9,
        unit=Unit("features.28", 7, whole_map=True),
        activation=4.1,
        class_names=tuple(Target(int(n), f"kind {n}") for n in np.unique(class_map)),
        caveats=CAVEATS,
        size=SIZE,
        image=photo(*SIZE),
        source="photos/cat.jpg",
    )


def heat_in_colours(height: int, width: int) -> RGB:
    """The made-up heat in colours, the last of them for its largest value."""
    return apply_scale(smooth(heat_map(), (height, width)), limit=float(heat_map().values.max()))


def hottest(height: int, width: int) -> npt.NDArray[np.bool_]:
    """Where the made-up heat is in the upper half of its scale."""
    return np.asarray(smooth(heat_map(), (height, width)) > heat_map().values.max() / 2)


# Sizes


@pytest.mark.parametrize("size", [(14, 14), (96, 80), (7, 20), (3, 3), (1, 1), (7, 7)])
def test_a_map_is_resized_as_torch_interpolates(size: tuple[int, int]) -> None:
    values = blobs(1, 7, 7)[0]
    maps = torch.from_numpy(values)[None, None]
    expected = F.interpolate(maps, size=size, mode="bilinear", antialias=True)[0, 0]
    np.testing.assert_allclose(resize_array(values, size), expected.numpy(), rtol=0, atol=1e-6)


def test_a_map_of_one_position_is_the_same_everywhere() -> None:
    np.testing.assert_array_equal(resize_array(float32([[2.5]]), (3, 4)), np.full((3, 4), 2.5))


# Colours


def lightness(colours: str) -> npt.NDArray[np.float64]:
    """CIE L* along a scale."""
    scale = apply_scale(np.linspace(0, 1, 65, dtype=np.float32), colours) / 255
    linear = np.where(scale <= 0.04045, scale / 12.92, ((scale + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.asarray(np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y))


@pytest.mark.parametrize("colours", UNIFORM_SCALES)
def test_more_heat_is_lighter_by_even_steps(colours: str) -> None:
    steps = np.diff(lightness(colours))
    assert steps.min() > 0
    assert steps.max() < 2 * steps.mean()


def test_jet_is_not_even_and_has_to_be_asked_for() -> None:
    assert np.diff(lightness("jet")).min() < 0
    assert "jet" not in UNIFORM_SCALES
    assert not np.array_equal(apply_scale(heat_map().values), apply_scale(heat_map().values, "jet"))


def test_an_unknown_scale_is_refused_with_a_suggestion() -> None:
    with pytest.raises(RetroscopeError, match="no colour scale 'virids'; did you mean 'viridis'"):
        draw(heat_map(), colours="virids")


def test_two_signs_have_two_colours_and_zero_is_grey() -> None:
    pixels = apply_scale(float32([[-1, 0, 1]])).astype(int)
    assert pixels[0, 0, 2] > pixels[0, 0, 0]
    assert len(set(pixels[0, 1])) == 1
    assert pixels[0, 2, 0] > pixels[0, 2, 2]


def test_what_is_not_finite_counts_as_zero() -> None:
    broken = float32([[np.nan, np.inf, 1.0]])
    np.testing.assert_array_equal(apply_scale(broken), apply_scale(float32([[0, 0, 1]])))


# Over the image


def test_heat_without_opacity_is_the_image() -> None:
    np.testing.assert_array_equal(overlay(photo(*SIZE), heat_map(), opacity=0), photo(*SIZE))


def test_the_image_keeps_its_colours_where_there_is_no_heat() -> None:
    values = np.zeros((3, 3), np.float32)
    values[2, 2] = 1
    overlaid = overlay(photo(*SIZE), heat_map(values))
    np.testing.assert_array_equal(overlaid[:16, :16], photo(*SIZE)[:16, :16])
    assert (overlaid[80, 80] != photo(*SIZE)[80, 80]).any()


def test_heat_of_full_opacity_is_the_heat_in_the_upper_half_of_the_scale() -> None:
    overlaid, hot = overlay(photo(*SIZE), heat_map(), opacity=1), hottest(*SIZE)
    assert 0 < hot.mean() < 1
    np.testing.assert_array_equal(overlaid[hot], heat_in_colours(*SIZE)[hot])


def test_under_full_heat_the_image_lends_light_and_shade_alone() -> None:
    image = photo(*SIZE)
    grey = np.repeat(np.rint(image @ np.array([0.299, 0.587, 0.114]))[..., None], 3, axis=2)
    hot = hottest(*SIZE)
    difference = np.abs(
        overlay(image, heat_map()).astype(int) - overlay(grey.astype(np.uint8), heat_map())
    )[hot]
    faded = np.abs(image - grey)[hot] * 0.4 * 0.4
    assert (difference <= faded + 2).all()


@pytest.mark.parametrize("signs", [(0, 1), (-1, 1)])
def test_smooth_heat_keeps_the_values_and_their_range(signs: tuple[int, int]) -> None:
    values = np.random.default_rng(0).uniform(*signs, (7, 7)).astype(np.float32)
    resized = smooth(heat_map(values), (7 * 9, 7 * 9))
    np.testing.assert_allclose(resized[4::9, 4::9], values, atol=1e-6)
    assert resized.min() >= min(values.min(), 0)
    assert resized.max() <= values.max()


def test_smooth_heat_has_no_creases() -> None:
    """At the centre of a position bilinear interpolation has a corner, which shows as a cross."""
    values = np.zeros((7, 7), np.float32)
    values[3, 3] = 1
    heat, size = heat_map(values), (7 * 31, 7 * 31)
    middle = 3 * 31 + 15
    creases = [
        np.abs(np.diff(resized[middle, middle - 10 : middle + 11], 2)).max()
        for resized in (smooth(heat, size), heat.resize(*size))
    ]
    assert creases[0] < creases[1] / 5


def test_values_that_are_not_finite_do_not_spread() -> None:
    broken, zeroed = (np.ones((7, 7), np.float32) for _ in range(2))
    broken[3, 3], zeroed[3, 3] = np.nan, 0
    np.testing.assert_array_equal(smooth(heat_map(broken), SIZE), smooth(heat_map(zeroed), SIZE))


def test_an_opacity_outside_0_to_1_is_refused() -> None:
    with pytest.raises(RetroscopeError, match=r"opacity 1.5; give 0 to 1"):
        draw(heat_map(), opacity=1.5)


FITS = [
    Fit((48, 48), "network", shorter=64),
    Fit((48, 64), "crop"),
    Fit((30, 70), "stretch"),
    Fit((48, 48), "network"),
]


def test_the_frame_of_a_letterbox_is_the_image_and_its_bars() -> None:
    fit = Fit((50, 50), "letterbox")
    assert visible_box((100, 200), fit) == Box(-50, 0, 150, 200)
    assert visible_box((30, 10), fit) == Box(0, -10, 30, 20)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(120, 200), (200, 90)])
def test_the_frame_is_what_the_network_is_shown(fit: Fit, size: tuple[int, int]) -> None:
    """A ramp along each axis shows where each pixel of the fitted image comes from."""
    ramps = np.zeros((*size, 3), np.uint8)
    ramps[..., 0], ramps[..., 1] = np.arange(size[0])[:, None], np.arange(size[1])
    seen = fit_image(Image(ramps), fit).pixels.astype(float)
    frame = visible_box(size, fit)
    for band, start, stop in ((0, frame.top, frame.bottom), (1, frame.left, frame.right)):
        step = (stop - start) / seen.shape[band]
        line = seen[:, 0, 0] if band == 0 else seen[0, :, 1]
        middles = start + (np.arange(len(line)) + 0.5) * step - 0.5
        inner = slice(3, -3)
        np.testing.assert_allclose(line[inner], middles[inner], atol=1.5)


def test_heat_over_the_original_lies_where_the_network_looked() -> None:
    original = photo(120, 200)
    overlaid = overlay_on(Image(original), replace(heat_map(), fit=Fit((96, 96))), opacity=1)
    assert overlaid.shape == original.shape
    frame = visible_box((120, 200), Fit((96, 96)))
    inside = overlaid[:, frame.left : frame.right]
    hot = hottest(120, 120)
    np.testing.assert_array_equal(inside[hot], heat_in_colours(120, 120)[hot])
    outside = overlaid[:, : frame.left].astype(int)
    assert (outside.min(axis=2) == outside.max(axis=2)).all()


def test_a_frame_larger_than_the_image_is_cut() -> None:
    fit = Fit((100, 100), "network", shorter=50)
    overlaid = overlay_on(Image(photo(60, 60)), replace(heat_map(), fit=fit), opacity=1)
    assert overlaid.shape == (60, 60, 3)


# Figures


def test_a_figure_shows_image_heat_and_both() -> None:
    figure = draw(heat_map())
    for block in (photo(*SIZE), heat_in_colours(*SIZE), overlay(photo(*SIZE), heat_map())):
        assert find_block(figure, enlarge(block, 2))
    assert margin_is_empty(figure)


def test_a_bare_figure_is_the_heat_over_the_image_at_its_size() -> None:
    np.testing.assert_array_equal(
        pixels_of(draw(heat_map(), bare=True)), overlay(photo(*SIZE), heat_map())
    )
    over = draw(heat_map(), bare=True, over=PIL.Image.fromarray(photo(120, 200)))
    assert over.size == (200, 120)


def test_caveats_are_part_of_the_figure() -> None:
    silent = draw(replace(heat_map(), caveats=()))
    assert draw(heat_map()).height > silent.height


def test_a_heat_map_without_its_image_is_drawn_on_grey() -> None:
    assert draw(replace(heat_map(), image=None)).size == draw(heat_map()).size


def test_signed_pixels_are_shown_where_the_method_finds_them() -> None:
    values = stripes(*SIZE)
    fine = replace(heat_map(values.sum(axis=2), layer=""), pixels=values)
    assert draw(fine).width > draw(heat_map()).width


def test_a_heat_map_looks_as_approved() -> None:
    assert_looks_like(draw(heat_map()), "heat")


def test_heat_maps_side_by_side_look_as_approved() -> None:
    examples = [
        replace(heat_map(), target=Target(n, name)) for n, name in enumerate(("tabby", "lynx"))
    ]
    assert_looks_like(draw(examples, colours="viridis"), "heats")


def test_an_occlusion_looks_as_approved() -> None:
    assert_looks_like(draw(occlusion_map()), "occlusion")


def test_many_classes_under_an_occluder_fit_the_legend() -> None:
    figure = draw(occlusion_map(classes=40))
    assert margin_is_empty(figure)
    assert figure.height < draw(occlusion_map()).height + 200


def test_an_occlusion_without_maps_is_drawn() -> None:
    bare = replace(occlusion_map(), unit=None, activations=None)
    assert draw(bare).width < draw(occlusion_map()).width
