"""Heat maps as pictures: even colours, over the picture at its size, and what is said below."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
from torch.nn import functional as F

from retroscope.errors import RetroscopeError
from retroscope.imaging.image import Fit, Image, fitted
from retroscope.render.colours import EVEN, coloured
from retroscope.render.draw import draw
from retroscope.render.layout import enlarged
from retroscope.render.overlay import frame_in, overlay, overlay_on
from retroscope.results.heat_maps import HeatMap, OcclusionMap, Target, resized
from retroscope.results.values import Picture
from retroscope.unit import Unit
from tests.render.looking import margin_is_empty, pixels_of, places
from tests.render.snapshot import assert_looks_like
from tests.render.specimens import blobs, numbers, photo, stripes

SIZE = (96, 96)
CAVEATS = ("Grad-CAM can light places that the class score does not use.",)


def heat(values: npt.NDArray[np.float32] | None = None, *, layer: str = "conv5_3") -> HeatMap:
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
        picture=photo(*SIZE),
        source="photos/cat.jpg",
    )


def occluded(classes: int = 3) -> OcclusionMap:
    """A made-up occlusion."""
    shares = 1 - blobs(1, 9, 9)[0] / 2
    found = np.minimum((blobs(1, 9, 9)[0] * classes).astype(np.int64), classes - 1)
    return OcclusionMap(
        probabilities=shares,
        classes=found,
        activations=4 * shares,
        tops=tuple(range(0, 72, 8)),
        lefts=tuple(range(0, 72, 8)),
        occluder=(32, 32),
        fill="grey",
        target=Target(0, "tabby"),
        probability=0.9,
        unit=Unit("features.28", 7, whole_map=True),
        activation=4.1,
        named=tuple(Target(int(n), f"kind {n}") for n in np.unique(found)),
        caveats=CAVEATS,
        size=SIZE,
        picture=photo(*SIZE),
        source="photos/cat.jpg",
    )


def in_colours(height: int, width: int) -> Picture:
    """The made-up heat in colours, the last of them for its largest value."""
    return coloured(heat().resized(height, width), most=float(heat().values.max()))


# Sizes


@pytest.mark.parametrize("size", [(14, 14), (96, 80), (7, 20), (3, 3), (1, 1), (7, 7)])
def test_a_map_is_resized_as_torch_interpolates(size: tuple[int, int]) -> None:
    values = blobs(1, 7, 7)[0]
    expected = F.interpolate(torch.from_numpy(values)[None, None], size=size, mode="bilinear")[0, 0]
    np.testing.assert_allclose(resized(values, *size), expected.numpy(), rtol=0, atol=1e-6)


def test_a_map_of_one_position_is_the_same_everywhere() -> None:
    np.testing.assert_array_equal(resized(numbers([[2.5]]), 3, 4), np.full((3, 4), 2.5))


# Colours


def lightness(colours: str) -> npt.NDArray[np.float64]:
    """CIE L* along a scale."""
    shown = coloured(np.linspace(0, 1, 65, dtype=np.float32), colours) / 255
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.asarray(np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y))


@pytest.mark.parametrize("colours", EVEN)
def test_more_heat_is_lighter_by_even_steps(colours: str) -> None:
    steps = np.diff(lightness(colours))
    assert steps.min() > 0
    assert steps.max() < 2 * steps.mean()


def test_jet_is_not_even_and_has_to_be_asked_for() -> None:
    assert np.diff(lightness("jet")).min() < 0
    assert "jet" not in EVEN
    assert not np.array_equal(coloured(heat().values), coloured(heat().values, "jet"))


def test_an_unknown_scale_is_answered() -> None:
    with pytest.raises(RetroscopeError, match="no colours 'virids'; did you mean 'viridis'"):
        draw(heat(), colours="virids")


def test_two_signs_have_two_colours_and_zero_is_grey() -> None:
    shown = coloured(numbers([[-1, 0, 1]])).astype(int)
    assert shown[0, 0, 2] > shown[0, 0, 0]
    assert len(set(shown[0, 1])) == 1
    assert shown[0, 2, 0] > shown[0, 2, 2]


def test_what_is_not_finite_counts_as_zero() -> None:
    broken = numbers([[np.nan, np.inf, 1.0]])
    np.testing.assert_array_equal(coloured(broken), coloured(numbers([[0, 0, 1]])))


# Over the picture


def test_heat_without_opacity_is_the_picture_in_greys() -> None:
    shown = overlay(photo(*SIZE), heat(), opacity=0)
    grey = np.rint(photo(*SIZE) @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(shown, np.repeat(grey[..., None], 3, axis=2))


def test_heat_of_full_opacity_is_the_heat() -> None:
    shown = overlay(photo(*SIZE), heat(), opacity=1)
    np.testing.assert_array_equal(shown, in_colours(*SIZE))


def test_an_opacity_that_is_none_is_refused() -> None:
    with pytest.raises(RetroscopeError, match=r"opacity 1.5; give a share from 0 to 1"):
        draw(heat(), opacity=1.5)


FITS = [
    Fit((48, 48), "network", shorter=64),
    Fit((48, 64), "crop"),
    Fit((30, 70), "stretch"),
    Fit((48, 48), "network"),
]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(120, 200), (200, 90)])
def test_the_frame_is_what_the_network_is_shown(fit: Fit, size: tuple[int, int]) -> None:
    """A ramp along each axis tells where each pixel of the fitted picture comes from."""
    ramps = np.zeros((*size, 3), np.uint8)
    ramps[..., 0], ramps[..., 1] = np.arange(size[0])[:, None], np.arange(size[1])
    seen = fitted(Image(ramps), fit).pixels.astype(float)
    frame = frame_in(size, fit)
    for band, start, stop in ((0, frame.top, frame.bottom), (1, frame.left, frame.right)):
        step = (stop - start) / seen.shape[band]
        line = seen[:, 0, 0] if band == 0 else seen[0, :, 1]
        middles = start + (np.arange(len(line)) + 0.5) * step - 0.5
        inner = slice(3, -3)
        np.testing.assert_allclose(line[inner], middles[inner], atol=1.5)


def test_heat_over_the_original_lies_where_the_network_looked() -> None:
    original = photo(120, 200)
    shown = overlay_on(Image(original), replace(heat(), fit=Fit((96, 96))), opacity=1)
    assert shown.shape == original.shape
    frame = frame_in((120, 200), Fit((96, 96)))
    inside = shown[:, frame.left : frame.right]
    np.testing.assert_array_equal(inside, in_colours(120, 120))
    outside = shown[:, : frame.left].astype(int)
    assert (outside.min(axis=2) == outside.max(axis=2)).all()


def test_a_frame_larger_than_the_picture_is_cut() -> None:
    fit = Fit((100, 100), "network", shorter=50)
    shown = overlay_on(Image(photo(60, 60)), replace(heat(), fit=fit), opacity=1)
    assert shown.shape == (60, 60, 3)


# Figures


def test_a_figure_shows_picture_heat_and_both() -> None:
    figure = draw(heat())
    for block in (photo(*SIZE), in_colours(*SIZE), overlay(photo(*SIZE), heat())):
        assert places(figure, enlarged(block, 2))
    assert margin_is_empty(figure)


def test_a_bare_figure_is_the_heat_over_the_picture_at_its_size() -> None:
    np.testing.assert_array_equal(pixels_of(draw(heat(), bare=True)), overlay(photo(*SIZE), heat()))
    over = draw(heat(), bare=True, over=PIL.Image.fromarray(photo(120, 200)))
    assert over.size == (200, 120)


def test_caveats_are_part_of_the_figure() -> None:
    silent = draw(replace(heat(), caveats=()))
    assert draw(heat()).height > silent.height


def test_a_heat_map_without_its_picture_is_drawn_on_grey() -> None:
    assert draw(replace(heat(), picture=None)).size == draw(heat()).size


def test_signed_pixels_are_shown_where_the_method_finds_them() -> None:
    values = stripes(*SIZE)
    fine = replace(heat(values.sum(axis=2), layer=""), pixels=values)
    assert draw(fine).width > draw(heat()).width


def test_a_heat_map_looks_as_approved() -> None:
    assert_looks_like(draw(heat()), "heat")


def test_heat_maps_side_by_side_look_as_approved() -> None:
    several = [replace(heat(), target=Target(n, name)) for n, name in enumerate(("tabby", "lynx"))]
    assert_looks_like(draw(several, colours="viridis"), "heats")


def test_an_occlusion_looks_as_approved() -> None:
    assert_looks_like(draw(occluded()), "occlusion")


def test_many_classes_under_an_occluder_fit_the_legend() -> None:
    figure = draw(occluded(classes=40))
    assert margin_is_empty(figure)
    assert figure.height < draw(occluded()).height + 200


def test_an_occlusion_without_maps_is_drawn() -> None:
    bare = replace(occluded(), unit=None, activations=None)
    assert draw(bare).width < draw(occluded()).width
