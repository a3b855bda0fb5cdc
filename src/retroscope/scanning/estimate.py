"""What a scan will take, estimated before it starts: small parts of it are run and scaled up."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf, prod
from time import perf_counter

import numpy as np
import torch

from retroscope.atlas.writer import MissingProjection
from retroscope.engine.rule_choice import AUTO, choose_rules
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.hit_order import HitOrder
from retroscope.scanning.hit_trial import HitTrial, find_hits
from retroscope.scanning.illustrate import (
    ALL_RANKS,
    CACHED_IMAGES,
    Ranks,
    time_for_projections,
)
from retroscope.scanning.loading import default_workers
from retroscope.scanning.precision import Precision, candidate_count, to_bfloat16
from retroscope.scanning.sources import ImageList
from retroscope.scanning.table_sizes import TableSizes, stored_projection_bytes, table_sizes
from retroscope.scanning.trial_runs import (
    Clock,
    ImageTrial,
    ProjectionCost,
    SweepTrial,
    try_images,
    try_projections,
    try_sweep,
)

IMAGE_BYTES, PROJECTION_BYTES = 20_000, 2_500
_LEAST_BLOB, _BYTES_PER_PIXEL = 50, 2.7
"""Of an encoded projection of a unit that sees little."""
"""About what an image and a projection take on disk, where none can be tried."""
_ROW_SECONDS = 7e-6
"""To write a hit or the statistics of a channel."""
_NEGLIGIBLE = 1.0
"""Projections that take less than so many seconds altogether are not tried."""
_PASSES_PER_PROJECTION = 3
"""A projection from a whole image takes at most about as long as so many forward passes."""
_TRIAL_SHARE, _LONGEST_TRIAL = 0.01, 15.0
"""The trial of projections takes about this share of their time, and at most so many seconds."""


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
    sizes: TableSizes = field(default_factory=TableSizes)
    """What `memory_bytes` consists of."""


def estimate_scan(
    net: Network,
    layers: Sequence[Layer],
    image_list: ImageList,
    *,
    top: int = 9,
    ranks: Ranks = ALL_RANKS,
    precision: str = "full",
    classes: bool = True,
    class_rankings: ClassRankingRequest | None = None,
    workers: int | None = None,
    processes: int = 1,
    images: int | None = None,
    clock: Clock = perf_counter,
) -> ScanEstimate:
    """About what a scan of the images takes, with the hits of these `ranks` projected.

    A few images are read, swept and stored, and a few of their hits are projected. `processes` of
    this machine share the work; all their threads that load images are `workers`. The list may be
    the first of so many `images`.
    """
    images = images or len(image_list.keys)
    trial = try_images(net, image_list, clock=clock)
    sizes = table_sizes(
        layers,
        image_list,
        images=images,
        top=top,
        classes=classes,
        class_rankings=class_rankings,
    )
    sweep = try_sweep(net, layers, trial.inputs, top=sizes.hits, clock=clock)
    threads = min(workers or default_workers(), _cpu_count())
    job = _Job(net, layers, images, sizes, threads, trial, sweep, clock, processes)
    is_full = Precision.parse(precision) == Precision.FULL
    pass_seconds = job.pass_seconds() if is_full else job.narrow_pass_seconds()
    max_seconds = time_for_projections(pass_seconds) if ranks.is_timed else inf
    limit = sizes.hits if ranks.limit is None else min(ranks.limit, sizes.hits)
    projections = job.projections(limit, by_mean=ranks.by_mean, max_seconds=max_seconds)
    projection_seconds = projections.seconds / processes
    share = min(max_seconds / projection_seconds, 1.0) if projection_seconds else 1.0
    stored_bytes = job.stored_images * (trial.stored_bytes or IMAGE_BYTES)
    return ScanEstimate(
        images=images,
        channels=sizes.channels,
        pass_seconds=pass_seconds,
        projection_seconds=projection_seconds,
        memory_bytes=sizes.memory_bytes,
        disk_bytes=round(sizes.disk_bytes + stored_bytes + share * projections.size),
        projections=sizes.channels * limit * (1 + ranks.by_mean),
        max_projection_seconds=max_seconds,
        sizes=sizes,
    )


@dataclass(frozen=True, eq=False)
class _Job:
    """A scan, and what small parts of it took."""

    net: Network
    layers: Sequence[Layer]
    images: int
    sizes: TableSizes
    threads: int
    trial: ImageTrial
    sweep: SweepTrial
    clock: Clock
    processes: int

    @property
    def stored_images(self) -> float:
        """How many different images are among the hits."""
        return _distinct(self._draws(self.sizes.hits) + self.sizes.sampled, self.images)

    def _draws(self, ranks: int) -> float:
        """How many hits there are in all rankings, if each has so many ranks."""
        return replace(self.sizes, hits=ranks).ranked_hits + self.sizes.stored_class_hits * (
            self.sizes.channels
        )

    def pass_seconds(self) -> float:
        """The time of a pass over all images, and of writing what it found."""
        seconds = self._image_seconds(self.sweep, self.trial.encode_seconds * self._encoded_share)
        return self.images * seconds + self.sizes.rows * _ROW_SECONDS

    def narrow_pass_seconds(self) -> float:
        """The same for a pass in bfloat16, after which the candidates run again in full."""
        candidates = min(candidate_count(self.sizes.hits), self.images)
        narrow = try_sweep(
            to_bfloat16(self.net),
            self.layers,
            self.trial.inputs,
            top=candidates,
            track_positions=False,
            clock=self.clock,
        )
        draws = self._draws(candidates) + self.sizes.sampled
        again = _distinct(draws, self.images) / max(self.images, 1)
        return self.images * self._image_seconds(narrow) + again * self.pass_seconds()

    def _image_seconds(self, sweep: SweepTrial, encode_seconds: float = 0.0) -> float:
        """The time of an image through the network, while threads read and encode others."""
        seconds = sweep.mean_seconds(self.images)
        beside = self.trial.read_seconds + encode_seconds
        if self.net.device.type != "cpu":
            return max(seconds / self.processes, beside / self.threads)
        cpu_seconds = seconds * min(torch.get_num_threads(), _cpu_count()) + beside
        return max(seconds / self.processes, cpu_seconds / _cpu_count(), beside / self.threads)

    @property
    def _encoded_share(self) -> float:
        """The share of the images that are in a ranking, if only until better ones come."""
        numbers = np.linspace(1, max(self.images, 1), 1000)
        return float(np.mean(1 - np.exp(-self._draws(self.sizes.hits) / numbers)))

    def projections(self, limit: int, *, by_mean: bool, max_seconds: float) -> ProjectionCost:
        """What the projections take, of the first `limit` hits of each ranking."""
        found = find_hits(self.layers, self.sweep)
        hits = self._expected_hits(found, limit, by_mean=by_mean)
        count, forward = sum(hits.values()), self.sweep.other_seconds
        longest = count * _PASSES_PER_PROJECTION * forward
        if longest < _NEGLIGIBLE:
            return ProjectionCost(longest, self._untried_bytes(hits))
        order = HitOrder(self.net, choose_rules(AUTO, self.net.survey(self.net.input_size)).book)
        ranks = count / len(found.hits)  # those by mean alone are fewer, but of as many images
        costs = try_projections(
            self.net,
            order,
            self.trial.inputs,
            found.hits,
            images=round(self.images * limit * (1 + by_mean) / ranks),
            max_seconds=min(_TRIAL_SHARE * min(count * forward, max_seconds), _LONGEST_TRIAL),
            clock=self.clock,
        )
        rereading = self._images_to_read(order, found.hits) * self.trial.read_seconds
        return ProjectionCost(
            sum(hits[name] * cost.seconds for name, cost in costs.items())
            + ranks * rereading / self.threads,
            sum(hits[name] * cost.size for name, cost in costs.items()),
        )

    def _expected_hits(self, found: HitTrial, limit: int, *, by_mean: bool) -> Mapping[str, float]:
        """How many projections each layer has; without a trial, as many as there can be."""
        if not self.trial.inputs:
            return {layer.name: limit * (1.0 + by_mean) * layer.channels for layer in self.layers}
        return {
            name: layer_hits.expected(
                self.images, trial_images=self.sweep.images, ranks=limit, by_mean=by_mean
            )
            for name, layer_hits in found.layers.items()
        }

    def _untried_bytes(self, hits: Mapping[str, float]) -> float:
        """What projections take on disk, by the pixels that their units see."""
        size = self.net.input_size
        total = 0.0
        for layer in self.layers:
            sides = zip(layer.field.axes(len(size)), size, strict=True)
            pixels = prod(min(axis.size, length) for axis, length in sides)
            blob = min(_LEAST_BLOB + _BYTES_PER_PIXEL * pixels, PROJECTION_BYTES)
            total += hits[layer.name] * stored_projection_bytes(blob)
        return total

    def _images_to_read(self, order: HitOrder, hits: Sequence[MissingProjection]) -> float:
        """How many images the hits of a rank need that are not in the cache."""
        if self.stored_images <= CACHED_IMAGES:
            return 0.0
        return sum(_distinct(part.items, self.images) for part in order.parts(order.sort(hits)))


def _distinct(draws: float, images: int) -> float:
    """How many different images so many hits are expected to be of.

    >>> round(_distinct(10, 10_000)), round(_distinct(10_000, 10))
    (10, 10)
    """
    return images * (1 - exp(-draws / images)) if images else 0.0


def _cpu_count() -> int:
    return os.cpu_count() or 1
