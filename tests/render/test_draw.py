"""`draw` dispatches on the type of a result, and lists the types when it knows none."""

import numpy as np
import pytest

from retroscope.errors import RetroscopeError
from retroscope.render.activation_figures import draw_activations
from retroscope.render.draw import FIGURES, SHEETS, draw
from retroscope.render.layer_table import draw_layers
from retroscope.render.projection_figures import draw_patch, draw_projection, draw_projections
from tests.render.specimens import activations, blobs, corner_patch, layers, projection


def test_each_result_is_drawn_by_its_own_function() -> None:
    example, maps, patch = projection(), activations(blobs(4, 5, 5)), corner_patch()
    assert draw(example).tobytes() == draw_projection(example).tobytes()
    assert draw(maps).tobytes() == draw_activations(maps).tobytes()
    assert draw(patch).tobytes() == draw_patch(patch).tobytes()
    assert draw(layers(3)).tobytes() == draw_layers(layers(3)).tobytes()


def test_options_reach_the_function() -> None:
    example = projection()
    expected = draw_projection(example, tone="gamma", scale=3)
    assert draw(example, tone="gamma", scale=3).tobytes() == expected.tobytes()


def test_lists_and_tuples_look_the_same() -> None:
    examples = [projection(channel=channel) for channel in range(3)]
    assert draw(examples).tobytes() == draw(tuple(examples)).tobytes()
    assert draw(examples).tobytes() == draw_projections(examples).tobytes()


def test_an_unknown_type_is_refused_with_all_that_can_be_drawn() -> None:
    with pytest.raises(RetroscopeError, match="cannot draw 'ndarray'") as refusal:
        draw(np.zeros((3, 3)))
    assert all(kind.__name__ in str(refusal.value) for kind in [*FIGURES, *SHEETS])


@pytest.mark.parametrize(
    ("results", "kinds"),
    [
        ([], "nothing"),
        ([projection(), corner_patch()], "Patch and Projection"),
        ([activations(blobs(1, 2, 2))], "Activations"),
        ([3], "int"),
    ],
)
def test_a_list_that_is_no_sheet_is_refused(results: list[object], kinds: str) -> None:
    with pytest.raises(RetroscopeError, match=f"cannot draw a list of {kinds}; draw takes one of"):
        draw(results)


def test_drawing_leaves_the_result_as_it_was() -> None:
    maps = activations(blobs(4, 5, 5))
    maps.maps[0, 0, 0] = np.nan
    before = maps.maps.copy()
    draw(maps)
    assert np.array_equal(maps.maps, before, equal_nan=True)
