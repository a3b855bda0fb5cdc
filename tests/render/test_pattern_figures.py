"""Patterns: what is shown, how a sheet of them is called, what fades."""

from dataclasses import replace

import numpy as np
import pytest

from retroscope.errors import RetroscopeError
from retroscope.imaging.image import GREY
from retroscope.render.draw import draw
from retroscope.render.layout import enlarge, enlargement_factor
from retroscope.render.pattern_figures import draw_pattern, draw_patterns, fade_by_opacity
from retroscope.render.text import BODY, HEADING, line
from retroscope.results.patterns import Pattern
from retroscope.unit import Unit
from tests.render.figure_search import find_block, margin_is_empty, pixels_of


def pattern(channel: int = 3, *, side: int = 9, objective: str = "", seed: int = 0) -> Pattern:
    """Noise, as if it were made for a channel of a layer that its author calls `early`."""
    return Pattern(
        image=np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8),
        objective=objective or f"early:{channel}",
        activation=12.34,
        recipe="olah",
        seed=seed,
        steps=5,
        score=4.0,
        started_at=1.0,
        unit=Unit("features.8", channel),
        caveats=("A caveat.",),
    )


def shows_text(drawn: object, text: str, size: int) -> bool:
    return len(find_block(draw(drawn), line(text, size=size))) > 0


def test_a_pattern_is_shown_pixel_for_pixel_under_its_name() -> None:
    example = pattern(side=9)
    figure = draw(example)
    assert (
        len(find_block(figure, enlarge(example.image, enlargement_factor(9, 9, visible=192)))) == 1
    )
    assert shows_text(example, "early:3", HEADING)
    assert margin_is_empty(figure)


def test_a_bare_pattern_is_its_image() -> None:
    example = pattern()
    np.testing.assert_array_equal(pixels_of(draw_pattern(example, bare=True)), example.image)
    assert draw_pattern(example, bare=True, scale=3).size == (27, 27)


def test_a_sheet_of_one_layer_is_called_as_it_was_asked_for() -> None:
    examples = [pattern(3), pattern(11, seed=1)]
    assert shows_text(examples, "2 patterns of early", HEADING)
    assert all(shows_text(examples, number, BODY) for number in ("3", "11"))
    assert not shows_text(examples, "early:3", BODY)


def test_a_sheet_of_one_unit_tells_its_patterns_apart_by_their_seeds() -> None:
    examples = [pattern(seed=seed, objective="early:3 + diversity of early") for seed in (4, 5)]
    assert shows_text(examples, "2 patterns of early:3 + diversity of early", HEADING)
    assert all(shows_text(examples, f"seed {seed}", BODY) for seed in (4, 5))


def test_a_sheet_of_several_things_names_each() -> None:
    examples = [pattern(3), pattern(objective="late:1"), pattern(objective="2 x early:3 - early:4")]
    examples.append(replace(pattern(objective="class tabby"), unit=None))
    assert shows_text(examples, "4 patterns", HEADING)
    assert all(shows_text(examples, entry.objective, BODY) for entry in examples)


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_a_sheet_shows_every_pattern_in_reading_order(columns: int) -> None:
    examples = [pattern(n, seed=n, side=64) for n in range(5)]
    figure = draw_patterns(examples, columns=columns)
    factor = enlargement_factor(64, 64, visible=152)
    positions = [find_block(figure, enlarge(entry.image, factor)) for entry in examples]
    assert [len(matches) for matches in positions] == [1] * 5
    tops = [matches[0][0] for matches in positions]
    assert positions == sorted(positions)
    assert max(map(tops.count, tops)) == columns
    assert margin_is_empty(figure)


def test_a_sheet_without_columns_is_refused() -> None:
    with pytest.raises(RetroscopeError, match="sheet of 0 columns; give 1 or more"):
        draw_patterns([pattern()], columns=0)


def test_what_does_not_matter_fades_to_grey() -> None:
    opacity = np.zeros((9, 9), np.float32)
    opacity[4:], opacity[2:4] = 1, 0.5
    example = replace(pattern(), opacity=opacity)
    blended, image = fade_by_opacity(example).astype(float), example.image.astype(float)
    assert (blended[:2] == GREY).all()
    np.testing.assert_array_equal(blended[4:], image[4:])
    np.testing.assert_allclose(blended[2:4], (image[2:4] + GREY) / 2, atol=0.5)
