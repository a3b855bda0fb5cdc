"""Projections beside patches: at one scale, each at its place, nothing clipped."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.render.draw import draw
from retroscope.render.layout import CLEARLY_VISIBLE, MARGIN, enlarge, enlargement_factor
from retroscope.render.projection_figures import VIEWS
from retroscope.render.theme import PAPER
from retroscope.render.tone import TONES, apply_tone
from tests.render.figure_search import count_colour, find_block, margin_is_empty, pixels_of
from tests.render.specimens import corner_patch, patch, projection

SIDES = st.integers(1, 120)


def alone(height: int, width: int) -> int:
    """How much an image is enlarged that has a figure to itself."""
    return enlargement_factor(height, width, visible=CLEARLY_VISIBLE)


@pytest.mark.parametrize("side", [1, 5, 40, 150])
def test_a_projection_stands_between_its_patch_and_the_lit_patch_at_one_scale(side: int) -> None:
    example = projection(side, side)
    assert example.patch is not None
    factor, figure = alone(side, side), draw(example)
    images = (example.patch, apply_tone(example.pixels), example.lit())
    places = [find_block(figure, enlarge(pixels, factor)) for pixels in images]
    (patch_top, patch_left), (top, left), (lit_top, lit_left) = (
        places[0][0],
        places[1][0],
        places[2][-1],
    )
    assert patch_top == top == lit_top
    assert patch_left + side * factor < left < lit_left - side * factor


def test_without_a_patch_the_projection_stands_alone() -> None:
    example = projection(patch=False)
    [(_, left)] = find_block(draw(example), enlarge(apply_tone(example.pixels), alone(40, 40)))
    assert left == MARGIN + 1


@pytest.mark.parametrize("tone", TONES)
def test_a_bare_projection_is_its_toned_pixels(tone: str) -> None:
    example = projection()
    assert (
        pixels_of(draw(example, bare=True, tone=tone)) == apply_tone(example.pixels, tone)
    ).all()


def test_a_view_is_that_image_alone() -> None:
    example = projection()
    views = {"projection": apply_tone(example.pixels), "lit": example.lit()}
    assert views.keys() == VIEWS.keys()
    for view, pixels in views.items():
        assert (pixels_of(draw(example, view=view)) == pixels).all()
        assert find_block(draw([example, example], view=view, scale=2), enlarge(pixels, 2))


def test_an_unknown_view_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RetroscopeError, match="no view 'light'; did you mean 'lit'"):
        draw(projection(), view="light")


def test_a_projection_without_a_patch_lights_nothing() -> None:
    with pytest.raises(RetroscopeError, match="has no patch to light"):
        draw(projection(patch=False), view="lit")


def test_a_bare_projection_is_enlarged_as_asked() -> None:
    assert draw(projection(5, 7), bare=True, scale=3).size == (21, 15)


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, st.text(max_size=200), st.text(max_size=400))
def test_every_tile_and_every_caption_fits_the_figure(
    height: int, width: int, source: str, note: str
) -> None:
    example = projection(height, width, source=source, notes=(note,))
    figure = draw(example)
    assert margin_is_empty(figure)
    assert find_block(figure, enlarge(apply_tone(example.pixels), alone(height, width)))


def test_each_note_adds_to_the_figure() -> None:
    plain, noted = draw(projection()), draw(projection(notes=("The switches are guessed.",)))
    assert noted.height > plain.height


def test_a_unit_that_sees_only_padding_has_a_figure() -> None:
    nothing = replace(
        projection(patch=False), box=Box(0, 0, 0, 3), pixels=np.zeros((0, 3, 3), np.float32)
    )
    assert margin_is_empty(draw(nothing))


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_a_sheet_shows_every_projection_once(count: int) -> None:
    examples = [projection(20 + channel, 30, channel=channel) for channel in range(count)]
    figure, factor = draw(examples), enlargement_factor(20 + count - 1, 30)
    positions = [
        find_block(figure, enlarge(apply_tone(entry.pixels), factor)) for entry in examples
    ]
    assert [len(matches) for matches in positions] == [1] * count
    assert len({position for entry in positions for position in entry}) == count
    assert margin_is_empty(figure)


def test_a_sheet_says_a_shared_source_only_once() -> None:
    shared = [projection(channel=channel) for channel in range(3)]
    differing = [replace(entry, source=f"{entry.unit.channel}.jpg") for entry in shared]
    assert draw(shared).height < draw(differing).height


def test_a_sheet_says_a_shared_note_only_once() -> None:
    shared = [projection(channel=channel, notes=("Signed.",)) for channel in range(3)]
    differing = [replace(entry, notes=(f"Signed {entry.unit.channel}.",)) for entry in shared]
    assert draw(shared).height < draw(differing).height


def test_a_sheet_has_the_columns_that_were_asked_for() -> None:
    examples = [projection(channel=channel) for channel in range(6)]
    narrow, wide = draw(examples, columns=1), draw(examples, columns=6)
    assert narrow.width < wide.width
    assert narrow.height > wide.height


def test_a_bare_sheet_is_a_grid_of_toned_pixels() -> None:
    examples = [projection(10, 10, channel=channel) for channel in range(6)]
    figure = draw(examples, bare=True, columns=3, scale=2)
    assert figure.size == (3 * 20 + 2 * 8, 2 * 20 + 8)
    assert all(find_block(figure, enlarge(apply_tone(entry.pixels), 2)) for entry in examples)


def test_the_projection_of_a_patch_lies_where_its_box_does() -> None:
    example = corner_patch()
    assert example.projection is not None
    factor, figure = alone(40, 30), draw(example)
    [(patch_top, patch_left)] = find_block(figure, enlarge(example.pixels, factor))
    [(top, left)] = find_block(figure, enlarge(apply_tone(example.projection.pixels), factor))
    assert top == patch_top
    tile_width = 30 * factor + 2
    assert (left - patch_left - tile_width) in range(1, 20)


def test_a_patch_without_a_projection_is_drawn_alone() -> None:
    patch = replace(corner_patch(), projection=None)
    [(_, left)] = find_block(draw(patch), enlarge(patch.pixels, alone(40, 30)))
    assert left == MARGIN + 1


def test_a_sheet_of_patches_shows_each_of_them() -> None:
    patch = corner_patch()
    assert (
        len(find_block(draw([patch] * 9), enlarge(patch.pixels, enlargement_factor(40, 30)))) == 9
    )


def test_a_sheet_of_patches_says_whose_they_are() -> None:
    examples = [patch(40, 20, 20, seed=n, illustrated=False) for n in range(3)]
    names = ["features.28:1@1,1", "features.28:2@1,1", "features.28:3@1,1"]
    plain, titled = draw(examples), draw(examples, names=names, line_below="the best of all")
    assert margin_is_empty(titled)
    assert plain.height < titled.height, "where the score stood is the name now"
    for entry in examples:
        assert len(find_block(titled, enlarge(entry.pixels, 3))) == 1


def test_a_note_of_some_on_a_sheet_says_of_which() -> None:
    several = [projection(channel=n, notes=("a note",)) for n in range(3)]
    plain = projection(channel=3)
    shared, partly = draw(several), draw([*several[:2], plain])
    assert shared.height == partly.height
    captions = [
        figure.crop((0, figure.height - 40, 400, figure.height)) for figure in (shared, partly)
    ]
    assert count_colour(captions[0], PAPER) > count_colour(captions[1], PAPER), (
        "the names take their room"
    )
