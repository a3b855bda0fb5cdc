"""Results as JSON, with the same keys on the command line, in the viewer and in notebooks.

A unit is its address, a box `[top, left, bottom, right]`, a position or a size `[y, x]`. A number
that is not finite is null. Pixels are left out; `draw` shows them.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK, Box
from retroscope.results.audit_json import AUDIT_CONVERSIONS
from retroscope.results.comparisons import AtlasComparison, LayerComparison, UnitComparison
from retroscope.results.explanations import Explanation, LayerFinding, OtherImage, UnusualUnit
from retroscope.results.heat_json import heat_map_json, occlusion_json, prediction_json
from retroscope.results.heat_maps import HeatMap, OcclusionMap, Prediction
from retroscope.results.json_numbers import nested_numbers, number_json
from retroscope.results.layers import Layer, UnlistedLayer
from retroscope.results.patterns import Pattern
from retroscope.results.plates import MaximaSample, Patch, Plate
from retroscope.results.projections import Activations, Filters, Projection
from retroscope.results.statistics import ChannelStats, ClassStats, StatisticValue
from retroscope.results.unit_numbers import UnitName, UnitNumber
from retroscope.unit import Unit

JsonObject = dict[str, Any]


def as_json(result: object) -> JsonObject | list[JsonObject]:
    """A result, or a list of results, as JSON.

    >>> from retroscope.geometry import Field, ReceptiveField
    >>> layer = Layer("conv1", "conv", 8, (32, 40), ReceptiveField(Field(3), Field(3)))
    >>> as_json([layer])[0]["size"]
    [32, 40]
    """
    if isinstance(result, list | tuple):
        return [_convert(entry) for entry in result]
    return _convert(result)


def _convert(result: object) -> JsonObject:
    for kind, convert in CONVERSIONS.items():
        if isinstance(result, kind):
            return convert(result)
    kinds = ", ".join(kind.__name__ for kind in CONVERSIONS)
    raise RetroscopeError(f"no JSON for {type(result).__name__!r}; there is JSON for {kinds}")


def _number(stride: int | Fraction) -> float:
    return float(stride) if isinstance(stride, Fraction) else stride


def box_json(box: Box, rank: int = IMAGE_RANK) -> list[int]:
    """The first position along each axis, then the ends: top, left, bottom, right."""
    starts, stops = zip(*box.intervals(rank), strict=True)
    return [*starts, *stops]


def layer_json(layer: Layer) -> JsonObject:
    field, axes = layer.field, layer.field.axes(len(layer.size))
    return {
        "name": layer.name,
        "aliases": list(layer.aliases),
        "convolution": list(layer.convolution),
        "kind": layer.kind,
        "channels": layer.channels,
        "size": list(layer.size),
        "extra_tokens": layer.extra_tokens,
        "field": {
            "size": [axis.size for axis in axes],
            "stride": [_number(axis.stride) for axis in axes],
            "start": [axis.start for axis in axes],
            "whole": field.whole,
            "global_context": field.global_context,
        },
        "note": layer.note,
    }


def unlisted_layer_json(layer: UnlistedLayer) -> JsonObject:
    return {"name": layer.name, "kind": layer.kind, "reason": layer.reason}


def activations_json(activations: Activations) -> JsonObject:
    """The maximum of each channel and its position, highest first, instead of whole maps."""
    maps = activations.maps
    return {
        "layer": activations.layer.name,
        "size": list(maps.shape[1:]),
        "units": [
            {"unit": str(unit), "activation": _activation(maps, unit)}
            for unit in activations.strongest(len(maps))
        ],
        "source": activations.source,
        "notes": list(activations.notes),
    }


def _activation(maps: npt.NDArray[np.float32], unit: Unit) -> float | None:
    assert unit.channel is not None
    assert unit.position is not None
    return number_json(float(maps[unit.channel][unit.position]))


def filters_json(filters: Filters) -> JsonObject:
    """The weights as nested lists: filter, y, x, channel; of volumes with z before y."""
    return {
        "layer": filters.layer.name,
        "weights": nested_numbers(filters.weights),
        "notes": list(filters.notes),
    }


def projection_json(projection: Projection) -> JsonObject:
    return {
        "unit": str(projection.unit),
        "activation": number_json(projection.activation),
        "box": box_json(projection.box, len(projection.size)),
        "size": list(projection.size),
        "rules": projection.rules,
        "source": projection.source,
        "notes": list(projection.notes),
    }


def plate_json(plate: Plate) -> JsonObject:
    """A channel with its statistics and its hits, in the order of their ranking."""
    return {
        "unit": str(plate.unit),
        "layer": plate.layer.name,
        "layer_note": plate.layer.note,
        "ranked_by": plate.ranked_by,
        "label": plate.label,
        "names": [unit_name_json(name) for name in plate.names],
        "numbers": [unit_number_json(number) for number in plate.numbers],
        "stats": stats_json(plate.stats),
        "hits": [patch_json(patch) for patch in plate.patches],
    }


def unit_number_json(number: UnitNumber) -> JsonObject:
    """A number of a channel; `interval` is null if there are too few samples for one."""
    return {
        "unit": str(number.unit),
        "number": number.name,
        "value": number_json(number.value),
        "interval": [number.low, number.high] if number.has_interval else None,
        "chance": number_json(number.chance),
        "subject": str(number.subject),
        "basis": number.basis,
    }


def unit_name_json(name: UnitName) -> JsonObject:
    return {
        "unit": str(name.unit),
        "name": name.name,
        "score": number_json(name.score),
        "source": str(name.source),
    }


def patch_json(patch: Patch) -> JsonObject:
    """One hit; `projected`: its projection is in the atlas; `quantile` is of a sample, or null."""
    projection = patch.projection
    return {
        "score": number_json(patch.score),
        "quantile": patch.quantile,
        "source": patch.source,
        "position": list(patch.position),
        "box": box_json(patch.box, len(patch.position)),
        "projected": projection is not None,
        "notes": [] if projection is None else list(projection.notes),
    }


def sample_json(sample: MaximaSample) -> JsonObject:
    """A sample as lists; of a layer, scores and positions have one for each channel."""
    return {
        "images": sample.images.tolist(),
        "scores": nested_numbers(sample.scores),
        "positions": sample.positions.tolist(),
    }


def stats_json(stats: ChannelStats) -> JsonObject:
    """Every statistic of a channel; `histogram` has a count for each bin of `HISTOGRAM_EDGES`."""
    return {
        **{name: _statistic_json(value) for name, value in stats.values.items()},
        "fired_image_share": number_json(stats.fired_image_share),
        "fired_position_share": number_json(stats.fired_position_share),
        "classes": [class_stats_json(class_stats) for class_stats in stats.classes],
    }


def _statistic_json(value: StatisticValue) -> int | float | list[int] | None:
    if isinstance(value, np.ndarray):
        counts: list[int] = value.tolist()
        return counts
    return number_json(value) if isinstance(value, float) else value


def class_stats_json(stats: ClassStats) -> JsonObject:
    return {
        "label": stats.label,
        "images": stats.images,
        "mean_maximum": number_json(stats.mean_maximum),
        "fired_share": number_json(stats.fired_share),
    }


def explanation_json(explanation: Explanation) -> JsonObject:
    return {
        "network": explanation.network,
        "predictions": [prediction_json(prediction) for prediction in explanation.predictions],
        "heat": heat_map_json(explanation.heat),
        "heats": [heat_map_json(heat) for heat in explanation.heats],
        "compared": explanation.compared,
        "layers": [finding_json(finding) for finding in explanation.findings],
        "source": explanation.source,
        "image_name": explanation.image_name,
        "others": [other_image_json(other) for other in explanation.others],
        "remarks": list(explanation.remarks),
        "caveats": list(explanation.caveats),
    }


def other_image_json(other: OtherImage) -> JsonObject:
    """Another image among the inputs: its name and its size, without the pixels."""
    return {"name": other.name, "size": list(other.pixels.shape[:-1])}


def finding_json(finding: LayerFinding) -> JsonObject:
    """The most unusual units of one layer."""
    return {
        "layer": finding.layer.name,
        "units": [unusual_json(unusual) for unusual in finding.units],
    }


def unusual_json(unusual: UnusualUnit) -> JsonObject:
    return {
        "unit": str(unusual.unit),
        "activation": number_json(unusual.activation),
        "z_score": number_json(unusual.z_score),
        "rarity": unusual.rarity,
        "box": box_json(unusual.projection.box, len(unusual.projection.size)),
        "rules": unusual.projection.rules,
        "notes": list(unusual.projection.notes),
        "contrast": _contrast_json(unusual),
        "names": [unit_name_json(name) for name in unusual.names],
    }


def _contrast_json(unusual: UnusualUnit) -> JsonObject | None:
    """What a unit adds; null if it was not computed."""
    if unusual.contrast is None:
        return None
    return {
        "rules": unusual.contrast.rules,
        "notes": list(unusual.contrast.notes),
        "added_share": number_json(unusual.added_share),
    }


def pattern_json(pattern: Pattern) -> JsonObject:
    return {
        "objective": pattern.objective,
        "unit": None if pattern.unit is None else str(pattern.unit),
        "activation": number_json(pattern.activation),
        "natural": number_json(pattern.natural),
        "score": number_json(pattern.score),
        "started_at": number_json(pattern.started_at),
        "size": list(pattern.size),
        "recipe": pattern.recipe,
        "steps": pattern.steps,
        "seed": pattern.seed,
        "notes": list(pattern.notes),
        "caveats": list(pattern.caveats),
    }


def comparison_json(comparison: AtlasComparison) -> JsonObject:
    """A comparison of atlases; `changed_most` lists units, without their plates."""
    return {
        "atlases": list(comparison.atlases),
        "layers": [layer_comparison_json(layer) for layer in comparison.layers],
        "changed_most": [str(unit.unit) for unit in comparison.units],
    }


def layer_comparison_json(comparison: LayerComparison) -> JsonObject:
    return {
        "layer": comparison.layer.name,
        "changes": list(comparison.changes),
        "units": [unit_comparison_json(unit) for unit in comparison.units],
    }


def unit_comparison_json(comparison: UnitComparison) -> JsonObject:
    """A unit with a value for each atlas that is compared with the first; `dead` for all."""
    return {
        "unit": str(comparison.unit),
        "change": comparison.change,
        "changes": list(comparison.changes),
        "shared_images": list(comparison.shared_images),
        "class_similarities": list(map(number_json, comparison.class_similarities)),
        "dead": list(comparison.dead),
    }


CONVERSIONS: dict[type, Callable[[Any], JsonObject]] = {
    Layer: layer_json,
    UnlistedLayer: unlisted_layer_json,
    Activations: activations_json,
    Filters: filters_json,
    Projection: projection_json,
    Plate: plate_json,
    Patch: patch_json,
    MaximaSample: sample_json,
    ChannelStats: stats_json,
    ClassStats: class_stats_json,
    UnitNumber: unit_number_json,
    UnitName: unit_name_json,
    Prediction: prediction_json,
    HeatMap: heat_map_json,
    OcclusionMap: occlusion_json,
    Explanation: explanation_json,
    LayerFinding: finding_json,
    OtherImage: other_image_json,
    UnusualUnit: unusual_json,
    Pattern: pattern_json,
    AtlasComparison: comparison_json,
    LayerComparison: layer_comparison_json,
    UnitComparison: unit_comparison_json,
    **AUDIT_CONVERSIONS,
}
"""The conversion of each kind of result; a new kind of result is a new row."""
