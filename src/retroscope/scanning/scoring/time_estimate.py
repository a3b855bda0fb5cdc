"""How long numbers will take, measured on a few of them before they are computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from retroscope.scanning.scoring.image_numbers import (
    ScoredImages,
    dissect_layer,
    embed_images,
    summarise_layer,
)
from retroscope.scanning.scoring.request import DISSECTION, HIT_GROUPS, ScoreRequest
from retroscope.scanning.scoring.score import MissingNumbers, hit_scorer, score_channel

_TRIAL_IMAGES = 8


@dataclass(frozen=True)
class ScoreEstimate:
    """How many channels get numbers, and about how many seconds they take."""

    channels: int
    seconds: float


def estimate_score(request: ScoreRequest, work: Sequence[MissingNumbers]) -> ScoreEstimate:
    """One channel of each layer, and a few images, scaled up."""
    channels = {(entry.layer.name, channel) for entry in work for channel in entry.channels}
    hits = sum(_hit_seconds(request, entry) for entry in work if entry.group in HIT_GROUPS)
    rest = [entry for entry in work if entry.group not in HIT_GROUPS]
    return ScoreEstimate(len(channels), hits + (_image_seconds(request, rest) if rest else 0.0))


def _hit_seconds(request: ScoreRequest, entry: MissingNumbers) -> float:
    """The time of a channel in the middle of the layer, after one that reads and warms up."""
    scorer = hit_scorer(request, entry.layer)
    score_channel(request, scorer, entry, entry.channels[0])
    start = perf_counter()
    score_channel(request, scorer, entry, entry.channels[len(entry.channels) // 2])
    return (perf_counter() - start) * len(entry.channels)


def _image_seconds(request: ScoreRequest, work: Sequence[MissingNumbers]) -> float:
    images = request.images
    few = _first(images)
    scale = len(images.indices) / len(few.indices)
    layers = {entry.layer.name: entry.layer for entry in work}
    seconds = sum(_time_layer(request, few, layer.name) for layer in layers.values()) * scale
    if any(entry.group != DISSECTION for entry in work):
        seconds += _time_call(lambda: embed_images(_first(request.embedded_images))) * scale
    if request.masks is not None:
        masked = len(request.masked_images.indices) / len(_first(request.masked_images).indices)
        names = [entry.layer.name for entry in work if entry.group == DISSECTION]
        seconds += sum(_time_dissection(request, name) for name in names) * masked
    return seconds


def _time_layer(request: ScoreRequest, images: ScoredImages, layer: str) -> float:
    return _time_call(lambda: summarise_layer(images, request.net.layer(layer)))


def _time_dissection(request: ScoreRequest, name: str) -> float:
    layer, images, masks = request.net.layer(name), _first(request.masked_images), request.masks
    assert masks is not None
    thresholds = summarise_layer(images, layer).thresholds
    return _time_call(lambda: dissect_layer(images, layer, masks, thresholds))


def _first(images: ScoredImages) -> ScoredImages:
    return replace(images, indices=images.indices[:_TRIAL_IMAGES])


def _time_call(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start
