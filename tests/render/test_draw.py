"""`draw` knows each result, and says what it knows when it is asked for something else."""

import numpy as np
import pytest

from retroscope.errors import RetroscopeError
from retroscope.render.activation_figures import draw_activations
from retroscope.render.draw import FIGURES, SHEETS, draw
from retroscope.render.layer_table import draw_layers
from retroscope.render.projection_figures import draw_patch, draw_projection, draw_projections
from tests.render.specimens import activations, blobs, corner_patch, layers, projection


def test_each_result_is_drawn_by_its_own_mark() -> None:
    shown, maps, patch = projection(), activations(blobs(4, 5, 5)), corner_patch()
    assert draw(shown).tobytes() == draw_projection(shown).tobytes()
    assert draw(maps).tobytes() == draw_activations(maps).tobytes()
    assert draw(patch).tobytes() == draw_patch(patch).tobytes()
    assert draw(layers(3)).tobytes() == draw_layers(layers(3)).tobytes()


def test_options_reach_the_mark() -> None:
    shown = projection()
    expected = draw_projection(shown, tone="gamma", scale=3)
    assert draw(shown, tone="gamma", scale=3).tobytes() == expected.tobytes()


def test_lists_and_tuples_look_the_same() -> None:
    shown = [projection(channel=channel) for channel in range(3)]
    assert draw(shown).tobytes() == draw(tuple(shown)).tobytes()
    assert draw(shown).tobytes() == draw_projections(shown).tobytes()


def test_an_unknown_thing_is_refused_with_all_that_can_be_drawn() -> None:
    with pytest.raises(RetroscopeError, match="cannot draw 'ndarray'") as refusal:
        draw(np.zeros((3, 3)))
    assert all(kind.__name__ in str(refusal.value) for kind in [*FIGURES, *SHEETS])


@pytest.mark.parametrize(
    ("things", "held"),
    [
        ([], "nothing"),
        ([projection(), corner_patch()], "Patch and Projection"),
        ([activations(blobs(1, 2, 2))], "Activations"),
        ([3], "int"),
    ],
)
def test_a_list_that_is_no_sheet_is_refused(things: list[object], held: str) -> None:
    with pytest.raises(RetroscopeError, match=f"cannot draw a list of {held}; draw takes one of"):
        draw(things)


def test_drawing_leaves_the_result_as_it_was() -> None:
    maps = activations(blobs(4, 5, 5))
    maps.maps[0, 0, 0] = np.nan
    before = maps.maps.copy()
    draw(maps)
    assert np.array_equal(maps.maps, before, equal_nan=True)
