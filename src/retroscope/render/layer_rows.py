"""The table of layers as words: for a terminal, for JSON, and for the picture of it."""

from collections.abc import Sequence

from retroscope.geometry import ReceptiveField
from retroscope.results.values import Layer

LAYER_COLUMNS = ("layer", "also", "kind", "channels", "size", "field")
"""The heads of `layer_cells`."""
FIELD_KEY = "field: size/stride/start in pixels"


def layer_cells(layer: Layer) -> tuple[str, ...]:
    """One layer in words, a cell for each of `LAYER_COLUMNS`."""
    height, width = layer.size
    return (
        layer.name,
        ", ".join(layer.aliases),
        layer.kind,
        str(layer.channels),
        f"{height}x{width}",
        str(layer.field),
    )


def layer_rows(layers: Sequence[Layer]) -> list[dict[str, object]]:
    """The layers as JSON takes them; each pair is `[y, x]`."""
    return [
        {
            "name": layer.name,
            "aliases": list(layer.aliases),
            "kind": layer.kind,
            "channels": layer.channels,
            "size": list(layer.size),
            "field": _field_row(layer.field),
            "note": layer.note,
        }
        for layer in layers
    ]


def _field_row(field: ReceptiveField) -> dict[str, object]:
    return {
        "size": [field.y.size, field.x.size],
        "stride": [field.y.stride, field.x.stride],
        "start": [field.y.start, field.x.start],
        "whole": field.whole,
        "global_context": field.global_context,
    }
