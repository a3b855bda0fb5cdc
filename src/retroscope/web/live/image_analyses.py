"""What can be asked about an image of the reader's own: each answer is a picture or some facts."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from math import isfinite
from threading import BoundedSemaphore, Lock

import numpy as np
import PIL.Image
import torch

from retroscope.engine.batching import Prepared
from retroscope.engine.isolation import undisturbed
from retroscope.errors import ModelError, UnitError
from retroscope.imaging.image import Picture, crop
from retroscope.methods.activations import activations
from retroscope.methods.cam.cam import cam
from retroscope.methods.class_requests import stack
from retroscope.methods.class_scores import ClassScores, run_classifier
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.explain import ends_of_sizes
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.rarity import Ranked, most_unusual
from retroscope.methods.targets import target_at
from retroscope.network import Network
from retroscope.render.overlay import overlay
from retroscope.render.tone import apply_tone
from retroscope.render.tone import colour_map as heat_colours
from retroscope.results.layers import Layer
from retroscope.results.projections import Activations
from retroscope.unit import Unit
from retroscope.web.live.channel_memory import Remembered
from retroscope.web.site.pages.unit_pages import window
from retroscope.web.site.site import Facts, Params, Site, unit_facts, unit_path

_TOP, _UNITS = 5, 6
_STEPS = 24
"""Occluders along a side: the map comes in seconds, and is about as fine as the occluder."""

Answers = Iterator[Facts]


@dataclass(frozen=True, eq=False)
class Looking:
    """A network beside its atlas. One look at a time: the engine changes the network meanwhile."""

    site: Site
    net: Network
    known: Remembered
    turn: Lock
    room: BoundedSemaphore


Question = Callable[[Looking, Prepared, Params], Answers]


def _first(looking: Looking, prepared: Prepared, _params: Params) -> Answers:
    """The picture as the network takes it, what it is taken for, and what fires unusually."""
    height, width = prepared.size
    yield {"picture": _shown(prepared.picture), "size": [height, width]}
    layers = _layers(looking, prepared)
    verdict, seen = _looked_at(looking.net, prepared, layers)
    if verdict is not None:
        yield {"predictions": _predictions(looking.net, verdict)}
    for one in seen:
        ranked = most_unusual(one, _UNITS, looking.known)
        units = [_unusual(looking, one.layer, unit) for unit in ranked]
        yield {"layer": one.layer.name, "units": units}


def _live(looking: Looking, prepared: Prepared, _params: Params) -> Answers:
    """What a camera's picture is taken for, and no more: as often as the machine can."""
    verdict, _ = _looked_at(looking.net, prepared, [])
    if verdict is not None:
        yield {"predictions": _predictions(looking.net, verdict)}


def _class_map(looking: Looking, prepared: Prepared, params: Params) -> Answers:
    """Where a class is seen."""
    found = cam(looking.net, prepared, target=_target(params))
    covered = _shown(overlay(prepared.picture, found))
    title = f"{found.target}: {found.method} of {found.layer}"
    yield {"picture": covered, "title": title, "notes": list(found.caveats)}


def _occlusion(looking: Looking, prepared: Prepared, params: Params) -> Answers:
    """How much of a class's probability each place costs when it is covered."""
    side = max(min(prepared.size) // 7, 1)
    stride = max(min(prepared.size) // _STEPS, 1)
    found = occlusion(looking.net, prepared, target=_target(params), size=side, stride=stride).heat
    covered = _shown(overlay(prepared.picture, found))
    title = f"{found.target}: what a grey square of {side} px costs, moved by {stride}"
    yield {"picture": covered, "title": title, "notes": list(found.caveats)}


def _unit(looking: Looking, prepared: Prepared, params: Params) -> Answers:
    """The map of a channel, and the projection of one of its positions."""
    unit = Unit.parse(params.get("unit", ""))
    if unit.channel is None or unit.whole_map:
        raise UnitError(f"{unit} is no single unit; write LAYER:CHANNEL or LAYER:CHANNEL@Y,X")
    layer = looking.net.layer(unit.layer, prepared.size)
    shown = deconv(looking.net, unit, prepared)
    maps = activations(looking.net, layer.name, prepared).maps[unit.channel]
    box = layer.field.box(*_place(shown.unit))
    seen = window(box, prepared.size)
    yield {
        "unit": str(shown.unit),
        "activation": _finite(shown.activation),
        "href": unit_path(looking.site, layer.name, unit.channel),
        "map": _shown(heat_colours(maps)),
        "cells": list(maps.shape),
        "patch": _shown(crop(prepared.picture, seen)),
        "projection": _shown(apply_tone(crop(shown.full(), seen, fill=0))),
        "box": [box.top, box.left, box.bottom, box.right],
        "notes": list(shown.notes),
    }


QUESTIONS: dict[str, Question] = {
    "first": _first,
    "live": _live,
    "cam": _class_map,
    "occlusion": _occlusion,
    "unit": _unit,
}


def _layers(looking: Looking, prepared: Prepared) -> list[Layer]:
    """The layers that end a size of map, deepest first, among those of the atlas."""
    known = {layer.name for layer in looking.site.atlas.layers}
    here = [one for one in looking.net.survey(prepared.size).layers if one.name in known]
    return (ends_of_sizes(here) or here[-4:])[::-1]


def _looked_at(
    net: Network, prepared: Prepared, layers: Sequence[Layer]
) -> tuple[ClassScores | None, list[Activations]]:
    """The scores of the classes, if it tells classes apart, and the maps of layers, at once."""
    survey = net.survey(prepared.size)
    kept: dict[int, torch.Tensor] = {}

    def keep(index: int, maps: torch.Tensor) -> None:
        kept[index] = maps[0].float().cpu().clone()

    verdict = None
    with undisturbed(net.module), torch.no_grad():
        picture = stack(net, [prepared], channels_last=survey.channels_last)
        watched = {one.index: partial(keep, one.index) for one in layers}
        with suppress(ModelError):  # no classifier: its units can be looked at all the same
            verdict = run_classifier(net, survey, picture, hooks=watched)
    shown = [one for one in layers if one.index in kept]
    return verdict, [Activations(one, kept[one.index].numpy()) for one in shown]


def _predictions(net: Network, verdict: ClassScores) -> list[Facts]:
    shares = verdict.probabilities[0]
    best = shares.argsort(descending=True, stable=True)[:_TOP].tolist()
    return [
        {
            "index": index,
            "label": str(target_at(net, index, len(shares))),
            "probability": _finite(float(shares[index])),
        }
        for index in best
    ]


def _unusual(looking: Looking, layer: Layer, ranked: Ranked) -> Facts:
    unit, activation, _, rarity = ranked
    assert unit.channel is not None
    box = layer.field.box(*_place(unit))
    return unit_facts(looking.site, layer.name, unit.channel) | {
        "unit": str(unit),
        "activation": activation,
        "rarity": rarity,
        "box": [box.top, box.left, box.bottom, box.right],
    }


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if isfinite(value) else None


def _place(unit: Unit) -> tuple[int, int]:
    assert unit.position is not None
    return unit.position


def _target(params: Params) -> int | None:
    """The number of a class; the most probable one, if none is asked for."""
    text = params.get("target", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise UnitError(f"{text!r} is no number of a class")
    return int(text) if text else None


def _shown(picture: Picture) -> str:
    """A picture as a page takes it without asking again."""
    buffer = BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
