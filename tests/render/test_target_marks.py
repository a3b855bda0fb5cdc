"""The box of a detection and the outline of a mask, drawn on an image."""

import numpy as np
import pytest

from retroscope.geometry import Box
from retroscope.imaging.image import Fit
from retroscope.render.overlay import overlay, overlay_on
from retroscope.render.target_marks import LINES, mark_target
from retroscope.results.heat_maps import BoxEdges, HeatMap, Mask, Target

SIZE = (40, 60)
GREY = np.full((*SIZE, 3), 90, np.uint8)
WHOLE = Box(0, 0, *SIZE)


def heat_of(
    box: BoxEdges | None = None, mask: Mask | None = None, fit: Fit | None = None
) -> HeatMap:
    values = np.zeros((4, 6), np.float32)
    target = Target(1, "cat", box)
    return HeatMap(
        values, "conv", target, 0.5, 1.0, "gradcam", (), SIZE, image=GREY, fit=fit, mask=mask
    )


def places(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], colour: object) -> Mask:
    found: Mask = np.all(pixels == np.array(colour), axis=2)
    return found


def test_the_line_covers_the_edge_pixels_of_the_box() -> None:
    marked = mark_target(GREY, heat_of((10, 20, 30, 50)), WHOLE)
    expected = np.zeros(SIZE, bool)
    expected[10:30, 20:50] = True
    expected[11:29, 21:49] = False
    np.testing.assert_array_equal(places(marked, LINES[0]), expected)
    around = np.zeros(SIZE, bool)
    around[9:31, 19:51] = True
    around[10:30, 20:50] = False
    np.testing.assert_array_equal(places(marked, LINES[1]), around)


def test_a_box_that_leaves_the_image_is_drawn_as_far_as_it_is_inside() -> None:
    marked = mark_target(GREY, heat_of((-10, -10, 20, 30)), WHOLE)
    assert places(marked, LINES[0])[19, :30].all()
    assert places(marked, LINES[0])[:20, 29].all()


def test_a_mask_is_outlined_inside_and_set_off_outside() -> None:
    mask = np.zeros(SIZE, bool)
    mask[5:15, 8:20] = True
    marked = mark_target(GREY, heat_of(mask=mask), WHOLE)
    line = places(marked, LINES[0])
    assert (line <= mask).all()
    assert line[5, 8:20].all()
    assert not line[7:13, 10:18].any()
    assert (places(marked, LINES[1]) <= ~mask).all()


def test_a_single_pixel_has_a_ring_around_it() -> None:
    mask = np.zeros(SIZE, bool)
    mask[20, 30] = True
    marked = mark_target(GREY, heat_of(mask=mask), WHOLE)
    ys, xs = np.nonzero(places(marked, LINES[0]))
    assert (marked[20, 30] == 90).all()
    assert ys.mean() == pytest.approx(20, abs=0.5)
    assert xs.mean() == pytest.approx(30, abs=0.5)


def test_an_image_of_a_class_is_left_as_it_is() -> None:
    assert mark_target(GREY, heat_of(), WHOLE) is GREY


def test_the_box_is_where_the_object_is_in_the_original_too() -> None:
    """The network sees the middle of the original, at half its size."""
    original = np.full((80, 160, 3), 90, np.uint8)
    heat = heat_of((10, 20, 30, 50), fit=Fit(SIZE, "crop"))
    drawn = overlay_on_array(original, heat)
    line = places(drawn, LINES[0])
    rows, columns = np.flatnonzero(line.any(axis=1)), np.flatnonzero(line.any(axis=0))
    assert (rows[0], rows[-1] + 1) == (20, 60)
    assert (columns[0], columns[-1] + 1) == (20 + 40, 20 + 100)


def overlay_on_array(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], heat: HeatMap
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    from PIL import Image

    return overlay_on(Image.fromarray(pixels), heat)


def test_overlays_mark_the_box() -> None:
    assert places(overlay(GREY, heat_of((10, 20, 30, 50))), LINES[0])[10, 20:50].all()
