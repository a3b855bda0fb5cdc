"""Contexts: the field framed in its whole image, none of its pixels covered."""

from dataclasses import replace

import numpy as np
import pytest

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.image import GREY
from retroscope.render import context_figures
from retroscope.render.context_figures import RED, HitContext
from retroscope.render.draw import draw
from retroscope.render.layout import enlarge
from retroscope.render.text import paragraphs
from retroscope.render.theme import Colour
from retroscope.render.tone import apply_tone
from retroscope.results.lighting import light_patch
from retroscope.results.projections import NOT_ACTIVE
from retroscope.unit import Unit
from tests.render.figure_search import count_colour, find_block, margin_is_empty, pixels_of
from tests.render.snapshot import assert_looks_like
from tests.render.specimens import hit_contexts

WHITE: Colour = (255, 255, 255)


@pytest.mark.parametrize("side", [5, 40, 196])
def test_no_pixel_of_the_field_is_covered(side: int) -> None:
    [hit] = hit_contexts(side, count=1)
    box = hit.box.clip(224, 224)
    seen = hit.image[box.top : box.bottom, box.left : box.right]
    [(top, left)] = find_block(draw([hit]), enlarge(seen, 1))
    frame = pixels_of(draw([hit]))
    assert (frame[top - 1, left : left + side] == RED).all()
    assert (frame[top + side, left : left + side] == RED).all()
    assert (frame[top : top + side, left - 1] == RED).all()
    assert (frame[top : top + side, left + side] == RED).all()


@pytest.mark.parametrize("colour", [(0, 0, 0), WHITE, RED, (226, 20, 120)])
def test_a_frame_is_seen_on_any_image(colour: Colour) -> None:
    figure = draw([_plain(colour, Box(40, 50, 60, 80))])
    contrast = RED if colour != RED else WHITE
    assert count_colour(figure, contrast) >= 2 * (20 + 30)


def test_the_same_frame_is_around_the_projection() -> None:
    [hit] = hit_contexts(40, count=1)
    assert hit.projection is not None
    example = enlarge(apply_tone(hit.projection.pixels), 1)
    figure = draw([hit])
    [(top, left)] = find_block(figure, example)
    assert (pixels_of(figure)[top - 1, left : left + 40] == RED).all()
    alone = draw([replace(hit, projection=None)])
    assert count_colour(figure, RED) == 3 * count_colour(alone, RED)
    assert count_colour(draw([hit], lit=False), RED) == 2 * count_colour(alone, RED)


@pytest.mark.parametrize("side", [20, 80])
def test_the_image_is_lit_by_the_projection_within_its_box_and_dark_outside(side: int) -> None:
    [hit] = hit_contexts(side, count=1)
    assert hit.projection is not None
    box = hit.projection.box
    patch = hit.image[box.top : box.bottom, box.left : box.right]
    lit = light_patch(patch, hit.projection.pixels)
    figure = pixels_of(draw([hit]))
    places = find_block(draw([hit]), enlarge(lit, 1))
    assert places
    top, left = places[0]
    outside = figure[top - box.top : top - box.top + 224, left - box.left : left - box.left + 224]
    colourless = outside.max(axis=2) - outside.min(axis=2) == 0
    margin = 6
    grey = colourless.copy()
    grey[
        max(box.top - margin, 0) : box.bottom + margin,
        max(box.left - margin, 0) : box.right + margin,
    ] = True
    assert grey.all()
    assert not find_block(draw([hit], lit=False), enlarge(lit, 1))


def test_the_projection_is_grey_outside_the_field() -> None:
    [hit] = hit_contexts(40, count=1)
    drawn = pixels_of(draw([hit]))
    assert (drawn == GREY).all(axis=2).sum() > 224 * 224 - 50 * 50


def test_a_frame_follows_its_field_out_of_the_image() -> None:
    inside, outside = _plain(WHITE, Box(0, 40, 40, 80)), _plain(WHITE, Box(-5, 40, 35, 80))
    near, far = draw([inside]), draw([outside])
    assert far.height == near.height + 2 * 5
    assert count_colour(far, RED) == count_colour(near, RED)


def test_a_frame_that_leaves_the_margin_stays_open() -> None:
    whole = _plain(WHITE, Box(-500, -500, 600, 600))
    figure = draw([whole])
    assert count_colour(figure, RED) == 0
    assert margin_is_empty(figure)
    assert figure.height < 2 * 240


def test_every_hit_has_a_row_of_its_own() -> None:
    hits = hit_contexts(40, count=3)
    figure = draw(hits)
    positions = [find_block(figure, enlarge(hit.image[-20:], 1)) for hit in hits]
    assert [len(matches) for matches in positions] == [1, 1, 1]
    assert sorted(positions) == positions


def test_small_images_grow_and_large_ones_shrink() -> None:
    small = draw([_plain(WHITE, Box(1, 1, 4, 4), side=28)])
    large = draw([_plain(WHITE, Box(1, 1, 4, 4), side=2000)])
    assert abs(small.height - large.height) < 50


def test_a_missing_projection_is_a_pale_place() -> None:
    mixed, unprojected = hit_contexts(40, illustrated=2), hit_contexts(40, illustrated=0)
    assert draw(mixed).width > draw(unprojected).width
    assert margin_is_empty(draw(mixed))


def test_a_projection_of_another_image_is_refused() -> None:
    [hit] = hit_contexts(40, count=1)
    with pytest.raises(RetroscopeError, match=r"size \(224, 224\), this image has size \(9, 9\)"):
        draw([replace(hit, image=hit.image[:9, :9])])


@pytest.mark.parametrize("side", [5, 20, 40, 60, 196])
def test_a_field_that_is_tiny_in_its_image_is_shown_enlarged(side: int) -> None:
    [hit] = hit_contexts(side, count=1)
    assert hit.projection is not None
    figure, box = draw([hit]), hit.box
    patch = hit.image[box.top : box.bottom, box.left : box.right]
    signed = hit.projection.full()[box.top : box.bottom, box.left : box.right]
    for pixels in (patch, apply_tone(signed)):
        largest = figure.height // side
        times = [n for n in range(2, largest + 1) if find_block(figure, enlarge(pixels, n))]
        assert len(times) == (side < 224 / 5)


def test_many_hits_come_in_reading_order_in_three_columns() -> None:
    colours: list[Colour] = [(10 * n, 200 - 10 * n, 77) for n in range(9)]
    sheet = pixels_of(draw([_plain(colour, Box(20, 20, 60, 60)) for colour in colours]))
    corners = [np.argwhere((sheet == colour).all(axis=2)).min(axis=0) for colour in colours]
    tops, lefts = np.array(corners).T.reshape(2, 3, 3)
    assert (tops == tops[:, :1]).all()
    assert (lefts == lefts[:1]).all()
    assert (np.diff(tops[:, 0]) > 0).all()
    assert (np.diff(lefts[0]) > 0).all()


@pytest.mark.parametrize("side", [5, 92, 300])
@pytest.mark.parametrize("illustrated", [0, 2, 9])
def test_every_sheet_fits_its_figure(side: int, illustrated: int) -> None:
    assert margin_is_empty(draw(hit_contexts(side, count=9, illustrated=illustrated)))


@pytest.mark.parametrize(
    ("score", "quantile", "texts"),
    [
        (1.5, 0.95, ["score 1.5 · quantile 0.95"]),
        (1.5, None, ["score 1.5 · random image"]),
        (0.0, None, ["score 0 · random image", NOT_ACTIVE]),
    ],
)
def test_a_hit_of_a_sample_says_which_it_is_and_if_the_unit_is_silent(
    score: float, quantile: float | None, texts: list[str]
) -> None:
    best = replace(_plain(WHITE, Box(40, 50, 60, 80)), score=score)
    sampled = replace(best, quantile=quantile, is_sampled=True)
    lines = paragraphs(texts, width=context_figures._CAPTION_WIDTH)
    assert all(find_block(draw([sampled]), text) for text in lines)
    assert not any(find_block(draw([best]), text) for text in lines)


def test_notes_of_a_projection_are_in_the_caption() -> None:
    [hit] = hit_contexts(40, count=1)
    assert hit.projection is not None
    noted = replace(hit, projection=replace(hit.projection, notes=("an odd note",)))
    [text] = paragraphs(["an odd note"], width=context_figures._CAPTION_WIDTH)
    assert find_block(draw([noted]), text)
    assert not find_block(draw([hit]), text)


def test_contexts_look_as_approved() -> None:
    assert_looks_like(draw(hit_contexts(92)), "context")


def test_a_sheet_of_tiny_fields_looks_as_approved() -> None:
    assert_looks_like(draw(hit_contexts(11, count=4, illustrated=3)), "context_sheet")


def _plain(colour: Colour, box: Box, *, side: int = 100) -> HitContext:
    image = np.full((side, side, 3), colour, np.uint8)
    return HitContext(image, None, box, 1.5, "plain.png", Unit("features.28", 42, (3, 4)))
