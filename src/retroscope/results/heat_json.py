"""Heat maps, occlusion maps and their targets as JSON."""

from typing import Any

import numpy as np

from retroscope.results.heat_maps import HeatMap, OcclusionMap, Prediction, Target
from retroscope.results.json_numbers import nested_numbers, number_json
from retroscope.unit import Unit

_JsonObject = dict[str, Any]


def prediction_json(prediction: Prediction) -> _JsonObject:
    return _target_json(prediction.target, prediction.probability)


def _target_json(target: Target | Unit, probability: float | None) -> _JsonObject:
    """A class by name and number, or a box with its class; a unit has no number and no probability.

    `label`, `box` and `box_score` stand there for a detection or a segment only.
    """
    facts: _JsonObject = {
        "target": str(target),
        "index": target.index if isinstance(target, Target) else None,
        "probability": number_json(probability),
    }
    if isinstance(target, Target) and target.description:
        facts["label"] = target.label
    if isinstance(target, Target) and target.box is not None:
        facts |= {"box": list(target.box), "box_score": number_json(target.score)}
    return facts


def heat_map_json(heat: HeatMap) -> _JsonObject:
    """A heat map. Its `values` are included if they are a layer's, not one per pixel."""
    peak = [int(index) for index in np.unravel_index(int(heat.full().argmax()), heat.size)]
    return {
        **_target_json(heat.target, heat.probability),
        "score": number_json(heat.score),
        "method": heat.method,
        "layer": heat.layer,
        "peak": peak,
        "maximum": number_json(float(heat.values.max())),
        "values": nested_numbers(heat.values) if heat.layer and heat.pixels is None else None,
        "source": heat.source,
        "notes": list(heat.notes),
        "caveats": list(heat.caveats),
    }


def occlusion_json(occlusion: OcclusionMap) -> _JsonObject:
    """An occlusion: in each grid, a row for each of `tops` and a column for each of `lefts`.

    Of a volume, a plane for each of `fronts`, which others do not have.
    """
    activations = occlusion.activations
    return {
        **_target_json(occlusion.target, occlusion.probability),
        "occluder": list(occlusion.occluder),
        "fill": occlusion.fill,
        **({"fronts": list(occlusion.fronts)} if occlusion.fronts else {}),
        "tops": list(occlusion.tops),
        "lefts": list(occlusion.lefts),
        "measure": occlusion.measure,
        "probabilities": nested_numbers(occlusion.probabilities),
        "classes": None if occlusion.classes is None else occlusion.classes.tolist(),
        "class_names": {str(target.index): str(target) for target in occlusion.class_names},
        "unit": None if occlusion.unit is None else str(occlusion.unit),
        "activation": number_json(occlusion.activation),
        "activations": None if activations is None else nested_numbers(activations),
        "source": occlusion.source,
        "notes": list(occlusion.notes),
        "caveats": list(occlusion.caveats),
    }
