"""What explains a picture, as JSON tells it."""

from typing import Any

from retroscope.results.heat_maps import Explanation, HeatMap, OcclusionMap, Unusual

Facts = dict[str, Any]


def _target_facts(target: object, probability: float | None) -> Facts:
    index = getattr(target, "index", None)
    return {"target": str(target), "class": index, "probability": probability}


def heat_facts(heat: HeatMap) -> Facts:
    """A heat map: its values too, where they are a layer's."""
    peak = divmod(int(heat.full().argmax()), heat.size[1])
    return {
        **_target_facts(heat.target, heat.probability),
        "score": heat.score,
        "method": heat.method,
        "layer": heat.layer,
        "peak": list(peak),
        "maximum": float(heat.values.max()),
        "values": heat.values.tolist() if heat.layer and heat.pixels is None else None,
        "source": heat.source,
        "notes": list(heat.notes),
        "caveats": list(heat.caveats),
    }


def occlusion_facts(shown: OcclusionMap) -> Facts:
    """An occlusion: a row of numbers for each row of positions."""
    activations = shown.activations
    return {
        **_target_facts(shown.target, shown.probability),
        "occluder": list(shown.occluder),
        "fill": shown.fill,
        "tops": list(shown.tops),
        "lefts": list(shown.lefts),
        "probabilities": shown.probabilities.tolist(),
        "classes": shown.classes.tolist(),
        "named": {str(one.index): str(one) for one in shown.named},
        "unit": None if shown.unit is None else str(shown.unit),
        "activation": shown.activation,
        "activations": None if activations is None else activations.tolist(),
        "source": shown.source,
        "notes": list(shown.notes),
        "caveats": list(shown.caveats),
    }


def explanation_facts(told: Explanation) -> Facts:
    """A page, without its pictures."""
    return {
        "predictions": [_target_facts(one.target, one.probability) for one in told.predictions],
        "heat": heat_facts(told.heat),
        "compared": told.compared,
        "layers": [
            {"layer": each.layer.name, "units": [_unit_facts(unit) for unit in each.units]}
            for each in told.findings
        ],
        "source": told.source,
        "caveats": list(told.caveats),
    }


def _unit_facts(unit: Unusual) -> Facts:
    box = unit.projection.box
    return {
        "unit": str(unit.unit),
        "activation": unit.activation,
        "contrast": unit.contrast,
        "rarity": unit.rarity,
        "box": [box.top, box.left, box.bottom, box.right],
    }
