"""`draw(result)`: any result as a figure."""

from collections.abc import Callable
from inspect import signature
from typing import Unpack

from PIL import Image

from retroscope.argument_types import check_arguments
from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.render.activation_figures import draw_activations
from retroscope.render.comparison_figures import draw_comparison
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
from retroscope.render.strip_figures import HitSlices, draw_hit_slices
from retroscope.results.comparisons import AtlasComparison
from retroscope.results.display import DrawOptions, with_draw_options
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
    AtlasComparison: draw_comparison,
}
"""The function that draws each type of result. Its keywords are the options of `draw`."""

SHEETS: dict[type, Callable[..., Image.Image]] = {
    Projection: draw_projections,
    Patch: draw_patches,
    Plate: draw_plates,
    HitContext: draw_hit_contexts,
    HitSlices: draw_hit_slices,
    Layer: draw_layers,
    HeatMap: draw_heat_maps,
    Pattern: draw_patterns,
}
"""The function that draws a list of results of each type."""


@with_draw_options
def draw(result: object, **options: Unpack[DrawOptions]) -> Image.Image:
    """A result, or a list of results of one type, as a figure.

    Each type of result takes some of the keywords, and has defaults of its own for them. The others
    are refused.

        tone        how signed values become colours: robust, tile, percentile or gamma
        scale       pixels of the figure for each pixel of the result
        columns     tiles beside each other
        bare        the images without any text
        view        one image of each projection without any text: projection or lit
        lit         with or without the patches lit by their projections
        histogram   add the images by maximum activation
        colours     the colours of heat
        opacity     the opacity of heat over the image, from 0 to 1
        over        the image file to draw heat over, at its own size
        title, line_below, names    the texts of a sheet

    >>> import numpy as np
    >>> from retroscope.geometry import Field, ReceptiveField
    >>> field = ReceptiveField(Field(3), Field(3))
    >>> layer = Layer("features.0", "conv", channels=2, size=(8, 8), field=field)
    >>> draw(Activations(layer, np.ones((2, 8, 8), np.float32)), columns=1).mode
    'RGB'
    """
    kind, figure = _figure_of(result)
    chosen = {name: value for name, value in options.items() if value is not None}
    accepted = dict.fromkeys(list(signature(figure).parameters)[1:])
    for name in chosen:
        if name not in accepted:
            hint = did_you_mean(name, accepted) or f"it takes {', '.join(accepted)}"
            raise RetroscopeError(f"the figure of {kind} has no {name!r}; {hint}", parameter=name)
    return check_arguments(figure)(result, **chosen)


def _figure_of(result: object) -> tuple[str, Callable[..., Image.Image]]:
    """What a result or a list of results is called, and the function that draws it."""
    if not isinstance(result, list | tuple):
        kinds = [kind for kind in FIGURES if isinstance(result, kind)]
        if not kinds:
            raise RetroscopeError(f"cannot draw {type(result).__name__!r}; {_drawable_kinds()}")
        return kinds[0].__name__, FIGURES[kinds[0]]
    types = {type(entry) for entry in result}
    if len(types) != 1 or not types <= SHEETS.keys():
        kind_names = " and ".join(sorted(kind.__name__ for kind in types)) or "nothing"
        raise RetroscopeError(f"cannot draw a list of {kind_names}; {_drawable_kinds()}")
    (kind,) = types
    return f"a list of {kind.__name__}", SHEETS[kind]


def _drawable_kinds() -> str:
    figure_kinds, sheet_kinds = (
        ", ".join(kind.__name__ for kind in table) for table in (FIGURES, SHEETS)
    )
    return f"draw takes one of {figure_kinds}, or a list of one type of {sheet_kinds}"
