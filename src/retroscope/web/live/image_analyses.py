"""The analyses of an uploaded image. Each yields one JSON object after another."""

import re
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock

from PIL.Image import fromarray

from retroscope.engine.batching import NetworkInput
from retroscope.engine.convolution_outputs import layers_with_outputs
from retroscope.errors import ModelError, RetroscopeError, UnitError
from retroscope.imaging.encoding import png_url
from retroscope.imaging.image import crop
from retroscope.methods.activations import activations
from retroscope.methods.cam.cam import cam
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.explain import inspected_layers
from retroscope.methods.observation import Observation, observe, top_predictions
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.rarity import RankedUnit, most_unusual_units
from retroscope.network import Network
from retroscope.render.mosaics import ring_place
from retroscope.render.overlay import overlay
from retroscope.render.tone import apply_tone, colour_map
from retroscope.results.as_json import box_json, projection_json
from retroscope.results.heat_json import heat_map_json, prediction_json
from retroscope.results.heat_maps import HeatMap, Prediction
from retroscope.results.json_numbers import number_json
from retroscope.results.layers import Layer
from retroscope.results.lighting import light_patch
from retroscope.results.plates import HALF, place_in_image
from retroscope.unit import Unit
from retroscope.web.live.channel_stats_cache import ChannelStatsCache
from retroscope.web.live.input_facts import other_facts
from retroscope.web.live.scanned_images import ScannedImages
from retroscope.web.site.pages.page_facts import unit_facts
from retroscope.web.site.site import Facts, Params, Site
from retroscope.web.site.urls import url_for

_MAX_PREDICTIONS, _UNITS_PER_LAYER = 5, 6
_OCCLUDER_SIZE = 7
"""The image is this many times as large as the occluder."""
_OCCLUDER_STEPS = 24
"""Positions of the occluder along a side: the map takes seconds and is about as fine as the
occluder."""

Results = Generator[Facts, None, None]


@dataclass(frozen=True, eq=False)
class LiveSession:
    """A network beside its atlas.

    `lock` admits one analysis at a time, because the engine changes the network while it runs.
    `slots` limits how many requests hold an image in memory.
    """

    site: Site
    net: Network
    stats: ChannelStatsCache
    images: ScannedImages
    lock: Lock
    slots: BoundedSemaphore


Analysis = Callable[[LiveSession, NetworkInput, Params], Results]


def _overview(session: LiveSession, image: NetworkInput, _params: Params) -> Results:
    """The image as the network receives it, the predictions, and unusual units by layer."""
    yield {
        "image": png_url(image.rgb),
        "size": list(image.size),
        "notes": list(image.caveats),
        "others": other_facts(session.net, image),
    }
    layers = _layers_to_inspect(session, image)
    observation = observe(session.net, image, layers)
    yield from _predictions(observation)
    for maps in observation.activations:
        ranked_units = most_unusual_units(maps, _UNITS_PER_LAYER, session.stats, size=image.size)
        units = [
            _unusual_unit(session, ranked, layer=maps.layer, image=image) for ranked in ranked_units
        ]
        yield {"layer": maps.layer.name, "units": units}


def _classify(session: LiveSession, image: NetworkInput, _params: Params) -> Results:
    """The predictions only, for the images of a camera."""
    yield from _predictions(observe(session.net, image, []))


def _inputs(session: LiveSession, image: NetworkInput, _params: Params) -> Results:
    """The other inputs that come with an image, for a network that takes several."""
    yield {"others": other_facts(session.net, image)}


def _cam(session: LiveSession, image: NetworkInput, params: Params) -> Results:
    """The class activation map of a class."""
    heat = cam(session.net, image, target=_target(params))
    yield _heat_map_facts(heat, image, f"{heat.target}: {heat.method_title} of {heat.layer}")


def _occlusion(session: LiveSession, image: NetworkInput, params: Params) -> Results:
    """How much the probability of a class drops when a part of the image is covered."""
    side = max(min(image.size) // _OCCLUDER_SIZE, 1)
    stride = max(min(image.size) // _OCCLUDER_STEPS, 1)
    target = _target(params)
    result = occlusion(session.net, image, target=target, size=side, stride=stride)
    drop = f"drop in {result.measure} under a grey {side} px square, stride {stride}"
    yield _heat_map_facts(result.heat, image, f"{result.target}: {drop}")


def _unit(session: LiveSession, image: NetworkInput, params: Params) -> Results:
    """The map of a channel, the projection of one of its positions, and what the unit adds."""
    unit = Unit.parse(params.get("unit", ""))
    if unit.channel is None or unit.whole_map:
        raise UnitError(f"{unit} is not a single unit; use LAYER:CHANNEL or LAYER:CHANNEL@Y,X")
    layer = session.net.layer(unit.layer, image.size)
    if layer.name not in {scanned.name for scanned in session.site.atlas.layers}:
        raise UnitError(f"the atlas does not have {layer.name}; scan this layer")
    projection = deconv(session.net, unit, image)
    maps = activations(session.net, layer.name, image).maps[unit.channel]
    box = layer.field.box(*_position(projection.unit))
    window = box.clip(*image.size)
    pixels = crop(projection.full(), window, fill=0)
    shown = crop(projection.in_bands().full(), window, fill=0)
    contrast = deconv(session.net, projection.unit, image, rules="contrast").in_bands().full()
    yield projection_json(projection) | {
        "field": box_json(box),
        "middle": place_in_image(box, image.size, share=HALF),
        "href": url_for(session.site, "unit", layer=layer.name, channel=unit.channel),
        "map": png_url(colour_map(maps)),
        "map_size": list(maps.shape),
        "patch": png_url(ring_place(fromarray(crop(image.rgb, window)), box, image.size)),
        "projection": png_url(apply_tone(shown)),
        "lit": png_url(light_patch(crop(image.rgb, window), pixels)),
        "contrast": png_url(apply_tone(crop(contrast, window, fill=0))),
    }


ANALYSES: dict[str, Analysis] = {
    "overview": _overview,
    "classify": _classify,
    "inputs": _inputs,
    "cam": _cam,
    "occlusion": _occlusion,
    "unit": _unit,
}


def _layers_to_inspect(session: LiveSession, image: NetworkInput) -> list[Layer]:
    """The layers that `explain` would select from those of the atlas, deepest first."""
    names = {layer.name for layer in session.site.atlas.layers}
    survey = session.net.survey(image.size)
    layers = [layer for layer in layers_with_outputs(survey) if layer.name in names]
    return inspected_layers(session.net, layers, survey)[::-1]


def _predictions(observation: Observation) -> Results:
    """The predictions: classes, boxes or segments, if the network returns any of them."""
    with suppress(ModelError):
        best = top_predictions(observation.output, _MAX_PREDICTIONS)
        yield {"predictions": [_prediction_facts(*numbered) for numbered in enumerate(best, 1)]}


def _prediction_facts(rank: int, prediction: Prediction) -> Facts:
    """A prediction with the target that explains it."""
    target = prediction.target
    spec = target.index if target.box is None else f"box:{rank}"
    return prediction_json(prediction) | {"spec": spec}


def _heat_map_facts(heat: HeatMap, image: NetworkInput, title: str) -> Facts:
    return heat_map_json(heat) | {"image": png_url(overlay(image.rgb, heat)), "title": title}


def _unusual_unit(
    session: LiveSession, ranked: RankedUnit, *, layer: Layer, image: NetworkInput
) -> Facts:
    """A unit with the keys of `unusual_json`, as a link with its plate."""
    unit, activation, z_score, rarity = ranked
    assert unit.channel is not None
    box = layer.field.box(*_position(unit))
    return unit_facts(session.site, layer.name, unit.channel) | {
        "unit": str(unit),
        "activation": number_json(activation),
        "z_score": number_json(z_score),
        "rarity": rarity,
        "box": box_json(box.clip(*image.size)),
        "field": box_json(box),
        "middle": place_in_image(box, image.size, share=HALF),
    }


def _position(unit: Unit) -> tuple[int, ...]:
    assert unit.position is not None
    return unit.position


_TARGETS = re.compile(r"[^@]{1,200}(@[0-9 ]{1,9},[0-9 ]{1,9})?")
"""What `cam` takes, but for the mask of a segmenter: that names a file on this machine."""


def _target(params: Params) -> str | int | None:
    """What is explained; None stands for the most probable class or the most confident box."""
    text = params.get("target", "").strip(" ")
    if text and not (_TARGETS.fullmatch(text) and text.isprintable()):
        raise RetroscopeError(
            f"{text!r} is not a target here; give a class, box:N, CLASS@Y,X or output[...]; for "
            "the mask in a file, use retroscope cam"
        )
    return int(text) if text.isdecimal() else text or None
