"""What a scan will take, estimated before it starts: small parts of it are run and scaled up."""

import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from math import inf
from time import perf_counter

import numpy as np
import torch

from retroscope.atlas.image_blobs import encode_projection
from retroscope.engine.batching import NetworkInput, crop_cost
from retroscope.engine.isolation import preserve_state
from retroscope.errors import ImageError
from retroscope.methods.deconv.deconv import deconv_many
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.scanning.illustrate import (
    ALL_RANKS,
    CACHED_IMAGES,
    Ranks,
    time_for_projections,
)
from retroscope.scanning.loading import default_workers
from retroscope.scanning.one_pass import LayerSweeps, sweep_batch
from retroscope.scanning.precision import Precision, candidate_count, to_bfloat16
from retroscope.scanning.sources import ImageList
from retroscope.scanning.statistics.summary import Scratch
from retroscope.unit import Unit

IMAGE_BYTES, PROJECTION_BYTES = 20_000, 2_500
"""About what an image and a projection take on disk."""
_HIT_BYTES, _CHANNEL_BYTES, _CLASS_BYTES = 24, 64 * 8 + 64, 24
_TRIAL_IMAGES, _TRIAL_LAYERS = 4, 5
_TRIAL_PROJECTIONS = (2, 8, 32, 128)
_SHORT_SWEEP, _SHORT_TRIAL = 0.1, 0.5
"""A sweep, or a trial of projections, below so many seconds is repeated, or run on more."""
_NEGLIGIBLE = 1.0
"""Projections that take less than so many seconds altogether are not timed."""
_PASSES_PER_PROJECTION = 3
"""A projection from a whole image takes about as long as so many forward passes."""


@dataclass(frozen=True)
class ScanEstimate:
    """The time of the pass and of the projections, and the memory and disk space of the scan.

    `projections` is an upper limit: a hit of both rankings has only one. `max_projection_seconds`
    is when the scan stops projecting, perhaps before all of them are there.
    """

    images: int
    channels: int
    pass_seconds: float
    projection_seconds: float
    memory_bytes: int
    disk_bytes: int
    projections: int
    max_projection_seconds: float = inf


@dataclass(frozen=True)
class _ProjectionCost:
    """Seconds, bytes on disk, and the seconds of the forward pass of an image, if there is one."""

    seconds: float
    size: float
    forward_seconds: float = 0.0


def estimate_scan(
    net: Network,
    layers: Sequence[Layer],
    image_list: ImageList,
    *,
    top: int = 9,
    ranks: Ranks = ALL_RANKS,
    precision: str = "full",
    workers: int | None = None,
) -> ScanEstimate:
    """About what a scan of the images takes, with the hits of these `ranks` projected.

    A few images are read and swept, and a few units of some layers are projected.
    """
    images, channels = len(image_list.keys), sum(layer.channels for layer in layers)
    hits = min(top, images)
    per_channel = (1 + ranks.by_mean) * min(hits if ranks.limit is None else ranks.limit, hits)
    counts = [per_channel * layer.channels for layer in layers]
    winners = min(images, 2 * channels * hits)
    threads = min(workers or default_workers(), _cpu_count())
    inputs, read_seconds = _read_inputs(net, image_list)
    full = _time_sweep(net, layers, inputs, top=hits)
    overlap = partial(_overlap_reading, net, read_seconds=read_seconds, threads=threads)
    pass_seconds = images * overlap(full)
    if Precision.parse(precision) == Precision.BF16 and inputs:
        candidates = min(candidate_count(hits), images)
        narrow = _time_sweep(to_bfloat16(net), layers, inputs, top=candidates)
        again = min(images, 2 * channels * candidates)
        pass_seconds = images * overlap(narrow) + again * overlap(full)
    total, limit = channels * per_channel, _PASSES_PER_PROJECTION * full
    costs = _projection_costs(net, layers, inputs, max_seconds=limit, count=total)
    forwards = min(per_channel * images, total)
    forward_seconds = forwards * max((cost.forward_seconds for cost in costs), default=0.0)
    reread_seconds = (
        _repeated_reads(counts, images, winners, ranks=per_channel) * read_seconds / threads
    )
    projection_seconds = _weighted_sum(counts, [cost.seconds for cost in costs]) + reread_seconds
    projection_seconds += forward_seconds
    max_seconds = time_for_projections(pass_seconds) if ranks.is_timed else inf
    share = 1.0 if projection_seconds <= max_seconds else max_seconds / projection_seconds
    memory = channels * (2 * hits * _HIT_BYTES + _CHANNEL_BYTES)
    projection_bytes = _weighted_sum(counts, [cost.size for cost in costs])
    return ScanEstimate(
        images=images,
        channels=channels,
        pass_seconds=pass_seconds,
        projection_seconds=projection_seconds,
        memory_bytes=memory + channels * len(image_list.class_names) * _CLASS_BYTES,
        disk_bytes=memory + round(winners * IMAGE_BYTES + share * projection_bytes),
        projections=total,
        max_projection_seconds=max_seconds,
    )


def _weighted_sum(counts: Sequence[int], values: Sequence[float]) -> float:
    return sum(count * value for count, value in zip(counts, values, strict=True))


def _repeated_reads(counts: Sequence[int], images: int, winners: int, *, ranks: int) -> int:
    """How often images are read after the pass: once to store them, then to project their hits.

    If they do not all stay in the cache, each layer reads them again for each of the ranks.
    """
    if winners <= CACHED_IMAGES:
        return 2 * winners
    return winners + sum(min(count, ranks * images) for count in counts)


def _cpu_count() -> int:
    return os.cpu_count() or 1


def _read_inputs(net: Network, image_list: ImageList) -> tuple[list[NetworkInput], float]:
    """A few of the images as the network takes them, and how long one takes to read."""
    step = max(len(image_list.keys) // _TRIAL_IMAGES, 1)
    inputs, start = [], perf_counter()
    for index in range(0, len(image_list.keys), step)[:_TRIAL_IMAGES]:
        try:
            inputs.append(net.prepare(image_list.load(index)))
        except ImageError:  # the scan counts it and reports why
            continue
    seconds = (perf_counter() - start) / max(len(inputs), 1)
    return [image for image in inputs if image.size == net.input_size], seconds


def _time_sweep(
    net: Network, layers: Sequence[Layer], inputs: Sequence[NetworkInput], *, top: int
) -> float:
    """The seconds that one image takes through the network and into full sweeps."""
    if not inputs:
        return 0.0
    sweeps, scratch = LayerSweeps.empty(net, layers, top=top, classes=0), Scratch()
    inputs = [replace(image, tensor=image.tensor.to(net.dtype)) for image in inputs]

    def time_batch(batch: Sequence[NetworkInput]) -> float:
        nonlocal sweeps
        start, indices = perf_counter(), range(len(batch))
        sweeps = sweep_batch(
            net, sweeps, batch, indices=indices, labels=[-1] * len(batch), scratch=scratch
        )
        return (perf_counter() - start) / len(batch)

    with preserve_state(net.module):
        first = time_batch(inputs[:1])
        if first > _SHORT_SWEEP:
            return min(first, time_batch(inputs[:1]))
        return min(time_batch(inputs) for _ in range(3))


def _overlap_reading(net: Network, seconds: float, *, read_seconds: float, threads: int) -> float:
    """The time of an image whose forward pass takes `seconds` while threads read other images."""
    if net.device.type != "cpu":
        return max(seconds, read_seconds / threads)
    cpu_seconds = seconds * min(torch.get_num_threads(), _cpu_count()) + read_seconds
    return max(seconds, cpu_seconds / _cpu_count(), read_seconds / threads)


def _projection_costs(
    net: Network,
    layers: Sequence[Layer],
    inputs: Sequence[NetworkInput],
    *,
    max_seconds: float,
    count: int,
) -> list[_ProjectionCost]:
    """What a projection of each layer costs: measured for a few layers, and interpolated.

    `max_seconds` bounds one projection; if all of them take little time, none is measured.
    """
    if not inputs or count * max_seconds < _NEGLIGIBLE:
        return [_ProjectionCost(max_seconds, PROJECTION_BYTES)] * len(layers)
    steps = np.linspace(0, len(layers) - 1, _TRIAL_LAYERS).round().astype(int)
    trials = np.unique(steps).tolist()
    costs = [_layer_cost(net, layers[trial], inputs) for trial in trials]
    columns = (
        np.interp(range(len(layers)), trials, column).tolist()
        for column in zip(*(astuple(cost) for cost in costs), strict=True)
    )
    return [_ProjectionCost(*cost) for cost in zip(*columns, strict=True)]


def _layer_cost(net: Network, layer: Layer, inputs: Sequence[NetworkInput]) -> _ProjectionCost:
    """Measured on more and more units of one image until it takes long enough.

    What a first unit costs more than the others is what the forward pass of an image costs, which
    a scan shares among the units of all layers.
    """
    image = inputs[0]
    _measure_projections(net, layer, image, count=1)  # the first of a layer is slow
    first = _measure_projections(net, layer, image, count=1)
    for count in _TRIAL_PROJECTIONS:
        all_of_them = _measure_projections(net, layer, image, count=1 + count)
        seconds = all_of_them.seconds - first.seconds
        if seconds > _SHORT_TRIAL:
            break
    each = max(seconds / count, 0.0)
    forward = max(first.seconds - each, 0.0) if _sees_most(net, layer) else 0.0
    return _ProjectionCost(each, all_of_them.size / (1 + count), forward)


def _sees_most(net: Network, layer: Layer) -> bool:
    """Whether the units of a layer are projected from whole images."""
    return crop_cost(layer, net.input_size, forward_cost=1) > 1


def _measure_projections(
    net: Network, layer: Layer, image: NetworkInput, *, count: int
) -> _ProjectionCost:
    """Projects and encodes random units of a layer: the seconds and bytes of all of them."""
    random, size = np.random.default_rng(0), (layer.channels, *layer.size)
    coordinates = zip(*(random.integers(0, end, count).tolist() for end in size), strict=True)
    requests = [(Unit(layer.name, channel, (y, x)), image) for channel, y, x in coordinates]
    start = perf_counter()
    blobs = [encode_projection(result.pixels)[0] for result in deconv_many(net, requests)]
    return _ProjectionCost(perf_counter() - start, sum(map(len, blobs)))
