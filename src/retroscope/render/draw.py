"""How each result looks: `draw(result)` is a picture."""

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

from PIL import Image

from retroscope.errors import RetroscopeError
from retroscope.render.context import Context, draw_context
from retroscope.render.filter_grid import draw_filters
from retroscope.render.heat_figures import draw_heat, draw_heats
from retroscope.render.layer_table import draw_layers
from retroscope.render.maps import draw_activations
from retroscope.render.occlusion_figures import draw_occlusion
from retroscope.render.pattern_sheets import draw_pattern, draw_patterns
from retroscope.render.plate_figures import draw_plate, draw_plates
from retroscope.render.projection_figures import (
    draw_patch,
    draw_patches,
    draw_projection,
    draw_projections,
)
from retroscope.render.report import draw_explanation
from retroscope.results.heat_maps import Explanation, HeatMap, OcclusionMap
from retroscope.results.values import Activations, Filters, Layer, Patch, Pattern, Plate, Projection

MARKS: dict[type, Callable[..., Image.Image]] = {
    Projection: draw_projection,
    Patch: draw_patch,
    Plate: draw_plate,
    Activations: draw_activations,
    HeatMap: draw_heat,
    OcclusionMap: draw_occlusion,
    Explanation: draw_explanation,
    Pattern: draw_pattern,
    Filters: draw_filters,
}
"""What draws one result. A mark's options are its keywords."""

SHEETS: dict[type, Callable[..., Image.Image]] = {
    Projection: draw_projections,
    Patch: draw_patches,
    Plate: draw_plates,
    Context: draw_context,
    Layer: draw_layers,
    HeatMap: draw_heats,
    Pattern: draw_patterns,
}
"""What draws a list of results of one type."""


@singledispatch
def draw(thing: object, **options: object) -> Image.Image:
    """A result, or a list of results of one type, as a picture to look at or to save.

    >>> import numpy as np
    >>> from retroscope.geometry import Field, ReceptiveField
    >>> field = ReceptiveField(Field(3), Field(3))
    >>> layer = Layer("features.0", "conv", channels=2, size=(8, 8), field=field)
    >>> draw(Activations(layer, np.ones((2, 8, 8), np.float32))).mode
    'RGB'
    """
    del options
    raise RetroscopeError(f"cannot draw {type(thing).__name__!r}; {_known()}")


def _draw_sheet(things: Sequence[object], **options: Any) -> Image.Image:
    kinds = {type(thing) for thing in things}
    if len(kinds) != 1 or not kinds <= SHEETS.keys():
        held = " and ".join(sorted(kind.__name__ for kind in kinds)) or "nothing"
        raise RetroscopeError(f"cannot draw a list of {held}; {_known()}")
    return SHEETS[kinds.pop()](things, **options)


def _known() -> str:
    one, many = (", ".join(kind.__name__ for kind in table) for table in (MARKS, SHEETS))
    return f"there are pictures of {one}, and of lists that hold only {many}"


for _kind, _mark in MARKS.items():
    draw.register(_kind, _mark)
draw.register(list, _draw_sheet)
draw.register(tuple, _draw_sheet)
