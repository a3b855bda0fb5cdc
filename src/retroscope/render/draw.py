"""`draw(result)`: any result as a figure."""

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

from PIL import Image

from retroscope.errors import RetroscopeError
from retroscope.render.activation_figures import draw_activations
from retroscope.render.context_figures import HitContext, draw_hit_contexts
from retroscope.render.explanation_figures import draw_explanation
from retroscope.render.filter_figures import draw_filters
from retroscope.render.heat_figures import draw_heat_map, draw_heat_maps
from retroscope.render.layer_table import draw_layers
from retroscope.render.occlusion_figures import draw_occlusion
from retroscope.render.pattern_figures import draw_pattern, draw_patterns
from retroscope.render.plate_figures import draw_plate, draw_plates
from retroscope.render.projection_figures import (
    draw_patch,
    draw_patches,
    draw_projection,
    draw_projections,
)
from retroscope.results.explanations import Explanation
from retroscope.results.heat_maps import HeatMap, OcclusionMap
from retroscope.results.layers import Layer
from retroscope.results.patterns import Pattern
from retroscope.results.plates import Patch, Plate
from retroscope.results.projections import Activations, Filters, Projection

FIGURES: dict[type, Callable[..., Image.Image]] = {
    Projection: draw_projection,
    Patch: draw_patch,
    Plate: draw_plate,
    Activations: draw_activations,
    HeatMap: draw_heat_map,
    OcclusionMap: draw_occlusion,
    Explanation: draw_explanation,
    Pattern: draw_pattern,
    Filters: draw_filters,
}
"""The function that draws each type of result. Its keywords are the options of `draw`."""

SHEETS: dict[type, Callable[..., Image.Image]] = {
    Projection: draw_projections,
    Patch: draw_patches,
    Plate: draw_plates,
    HitContext: draw_hit_contexts,
    Layer: draw_layers,
    HeatMap: draw_heat_maps,
    Pattern: draw_patterns,
}
"""The function that draws a list of results of each type."""


@singledispatch
def draw(result: object, **options: object) -> Image.Image:
    """A result, or a list of results of one type, as a figure.

    >>> import numpy as np
    >>> from retroscope.geometry import Field, ReceptiveField
    >>> field = ReceptiveField(Field(3), Field(3))
    >>> layer = Layer("features.0", "conv", channels=2, size=(8, 8), field=field)
    >>> draw(Activations(layer, np.ones((2, 8, 8), np.float32))).mode
    'RGB'
    """
    del options
    raise RetroscopeError(f"cannot draw {type(result).__name__!r}; {_drawable_kinds()}")


def _draw_sheet(results: Sequence[object], **options: Any) -> Image.Image:
    kinds = {type(result) for result in results}
    if len(kinds) != 1 or not kinds <= SHEETS.keys():
        kind_names = " and ".join(sorted(kind.__name__ for kind in kinds)) or "nothing"
        raise RetroscopeError(f"cannot draw a list of {kind_names}; {_drawable_kinds()}")
    return SHEETS[kinds.pop()](results, **options)


def _drawable_kinds() -> str:
    figure_kinds, sheet_kinds = (
        ", ".join(kind.__name__ for kind in table) for table in (FIGURES, SHEETS)
    )
    return f"draw takes one of {figure_kinds}, or a list of one type of {sheet_kinds}"


for _kind, _draw_figure in FIGURES.items():
    draw.register(_kind, _draw_figure)
draw.register(list, _draw_sheet)
draw.register(tuple, _draw_sheet)
