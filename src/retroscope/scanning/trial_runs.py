"""Small parts of a scan, run and timed: a few images read and swept, a few hits projected."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from math import log
from statistics import mean, median
from typing import TypeVar

import numpy as np

from retroscope.atlas.image_blobs import encode_image, encode_projection
from retroscope.atlas.writer import MissingProjection
from retroscope.engine.batching import NetworkInput
from retroscope.engine.isolation import preserve_state
from retroscope.errors import ImageError
from retroscope.methods.deconv.deconv import deconv_many
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.scanning.hit_order import HitOrder
from retroscope.scanning.image_files import read_input
from retroscope.scanning.one_pass import LayerSweeps, choose_batch_size, sweep_batch
from retroscope.scanning.sources import ImageList
from retroscope.scanning.statistics.batch_images import SweptImage
from retroscope.scanning.statistics.plain_summary import Scratch
from retroscope.scanning.table_sizes import stored_image_bytes, stored_projection_bytes
from retroscope.unit import Unit

Item = TypeVar("Item")
Clock = Callable[[], float]
"""Seconds since some moment."""

_IMAGES, _ENCODED_IMAGES = 8, 4
_BATCH_SECONDS, _FEW_IMAGES = 0.5, 2
"""A batch of the trial takes about so long, but holds at least so many images."""
_REPEATS = 3
_SAMPLE_SECONDS, _FEW_HITS = 3.0, 6
"""A sample of hits takes about so long, but holds at least so many."""
_WHOLE_SAMPLES, _CROPPED_SAMPLES = 16, 5


@dataclass(frozen=True, eq=False)
class ImageTrial:
    """A few images as the network takes them; what one takes to read, to encode, and on disk."""

    inputs: Sequence[NetworkInput]
    read_seconds: float
    encode_seconds: float
    stored_bytes: float


def try_images(net: Network, image_list: ImageList, *, clock: Clock) -> ImageTrial:
    """Reads some images from all over the list, and encodes a few of them."""
    count = len(image_list.keys)
    inputs, times = [], []
    for index in dict.fromkeys(np.linspace(0, count - 1, min(_IMAGES, count)).round().astype(int)):
        start = clock()
        try:
            inputs.append(read_input(net, image_list, int(index))[0])
        except ImageError:  # the scan counts it and reports why
            continue
        times.append(clock() - start)
    start = clock()
    sizes = [stored_image_bytes(len(encode_image(image.rgb))) for image in inputs[:_ENCODED_IMAGES]]
    encode_seconds = (clock() - start) / max(len(sizes), 1)
    return ImageTrial(
        [image for image in inputs if image.size == net.input_size],
        read_seconds=median(times) if times else 0.0,
        encode_seconds=encode_seconds,
        stored_bytes=sum(sizes) / max(len(sizes), 1),
    )


@dataclass(frozen=True, eq=False)
class SweepTrial:
    """What an image takes that enters all rankings, and one that enters none, in a batch.

    `sweeps` are those of the `images` trial images.
    """

    entering_seconds: float
    other_seconds: float
    batch_size: int
    sweeps: LayerSweeps
    images: int

    def mean_seconds(self, images: int) -> float:
        """The mean over a pass, in which image n enters the `top` of a channel by top / n.

        The first batch enters as a whole.
        """
        if images == 0:
            return 0.0
        top = self.sweeps.sweep.by_max.score.shape[1]
        first = min(max(top, self.batch_size), images)
        share = min((first + top * log(images / first)) / images, 1.0)
        return self.other_seconds + share * (self.entering_seconds - self.other_seconds)


def try_sweep(
    net: Network,
    layers: Sequence[Layer],
    inputs: Sequence[NetworkInput],
    *,
    top: int,
    track_positions: bool = True,
    clock: Clock,
) -> SweepTrial:
    """Runs several batches through the network: into empty sweeps, then into full ones."""
    empty = LayerSweeps.empty(net, layers, top=top, track_positions=track_positions)
    full_size = choose_batch_size(net, layers)
    if not inputs:
        return SweepTrial(0.0, 0.0, full_size, empty, 0)
    inputs = [replace(image, tensor=image.tensor.to(net.dtype)) for image in inputs]
    scratch = Scratch()

    def run(sweeps: LayerSweeps, images: Sequence[int]) -> tuple[LayerSweeps, float]:
        """With a batch of these images; how long an image of it took."""
        start = clock()
        batch = [inputs[number] for number in images]
        swept = [SweptImage(number, number) for number in images]
        sweeps = sweep_batch(net, sweeps, batch, swept=swept, scratch=scratch)
        return sweeps, (clock() - start) / len(images)

    with preserve_state(net.module):
        run(empty, [0])  # the first is slow
        seconds = max(run(empty, [0])[1], 1e-6)
        size = int(_BATCH_SECONDS / seconds)
        size = min(max(size, _FEW_IMAGES), full_size)
        batch = [number % len(inputs) for number in range(size)]
        full = empty
        for start in range(0, len(inputs), size):
            full = run(full, range(start, min(start + size, len(inputs))))[0]
        repeats = range(_REPEATS if size * seconds < _BATCH_SECONDS else 1)
        entering = median(run(empty, batch)[1] for _ in repeats)
        other = median(run(full, batch)[1] for _ in repeats)
    return SweepTrial(max(entering, other), other, full_size, full, len(inputs))


@dataclass(frozen=True)
class ProjectionCost:
    """What a projection takes, and its bytes on disk."""

    seconds: float
    size: float


def try_projections(
    net: Network,
    order: HitOrder,
    inputs: Sequence[NetworkInput],
    hits: Sequence[MissingProjection],
    *,
    images: int,
    max_seconds: float,
    clock: Clock,
) -> dict[str, ProjectionCost]:
    """What a projection of each layer with a hit costs, in the portions in which a scan runs them.

    Some portions are sampled, for about `max_seconds`. Layers of which none is sampled cost what
    others do that see as much of their images. `images` is over how many the hits are spread.
    """
    hits = order.sort(_spread(hits, len(inputs), images))
    alike = (list(group) for _, group in groupby(hits, key=order.cost))
    portions = [portion for group in alike for portion in order.portions(group)]
    required, others = _choose_samples(order, portions)
    sampler = _Sampler(net, inputs, clock)
    start = clock()
    for number, portion in enumerate([*required, *others]):
        if number >= len(required) and clock() - start > max_seconds:
            break
        sampler.measure(portion, cost=order.cost(portion[0]))
    return {hit.layer: sampler.interpolate(order.cost(hit)) for hit in hits}


Portion = Sequence[MissingProjection]


def _spread(
    hits: Sequence[MissingProjection], trial_images: int, images: int
) -> list[MissingProjection]:
    """The hits over as many images as a scan has: image n shows what n modulo the trial's does."""
    copies = max(images // trial_images, 1)
    copy_numbers = np.random.default_rng(0).integers(0, copies, len(hits)).tolist()
    return [
        replace(hit, image=hit.image + trial_images * number)
        for hit, number in zip(hits, copy_numbers, strict=True)
    ]


def _choose_samples(
    order: HitOrder, portions: Sequence[Portion]
) -> tuple[list[Portion], list[Portion]]:
    """The portions to measure, and those to measure as well if there is time.

    Of those from whole images some of every depth, shallow and deep in turn; of those from crops
    the dearest, the cheapest, and some between.
    """
    whole = [portion for portion in portions if order.sees_most(portion[0])]
    cropped = [portion for portion in portions if not order.sees_most(portion[0])]
    by_cost = {order.cost(portion[0]): portion for portion in sorted(cropped, key=len)}
    cropped = [by_cost[cost] for cost in sorted(by_cost)]
    by_depth = sorted(whole[:-1] or whole, key=order.mean_step)  # the last may be a short rest
    whole_samples = _low_discrepancy(by_depth, _WHOLE_SAMPLES)
    cropped_samples = _spaced(cropped, _CROPPED_SAMPLES)
    ends, middle = cropped_samples[:1] + cropped_samples[1:][-1:], cropped_samples[1:-1]
    turns = zip_longest(whole_samples[2:], middle)
    others = [portion for turn in turns for portion in turn if portion is not None]
    return whole_samples[:2] + ends, others


def _low_discrepancy(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items: two of which the middle is that of all, and more from all over."""
    golden_ratio = (5**0.5 - 1) / 2
    start = 0.5 - golden_ratio / 2
    shares = ((start + number * golden_ratio) % 1 for number in range(min(count, len(items))))
    return [items[int(share * len(items))] for share in shares]


def _spaced(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items: the first, the last, and some between."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places.tolist()]


def _middle(portion: Portion, count: int) -> Portion:
    """Hits that share batches as those of the whole portion do: not the shallowest alone."""
    start = max(len(portion) - count, 0) // 2
    return portion[start : start + count]


class _Sampler:
    """Projects and encodes hits, and remembers what they took by their cost."""

    def __init__(self, net: Network, inputs: Sequence[NetworkInput], clock: Clock) -> None:
        self._net, self._inputs, self._clock = net, inputs, clock
        self._copies: dict[int, NetworkInput] = {}
        self._samples: dict[float, list[ProjectionCost]] = {}

    def measure(self, portion: Portion, *, cost: float) -> None:
        """Measures a portion; of one that takes long, hits that follow each other amid the others.

        What two hits take more than the others is what they share: a forward pass, say.
        """
        if cost not in self._samples:
            self._project(_middle(portion, 2))  # the first of a kind is slow
        two = self._project(_middle(portion, 2))
        count = min(max(int(_SAMPLE_SECONDS / max(two.seconds, 1e-6)), _FEW_HITS), len(portion))
        sample = self._project(_middle(portion, count))
        if 2 < count < len(portion):
            marginal = max(count * sample.seconds - 2 * two.seconds, 0.0) / (count - 2)
            shared = count * (sample.seconds - marginal)
            sample = replace(sample, seconds=marginal + shared / len(portion))
        self._samples.setdefault(cost, []).append(sample)

    def interpolate(self, cost: float) -> ProjectionCost:
        """What a hit of this cost takes."""
        costs = sorted(self._samples)
        seconds, sizes = (
            [mean(getattr(sample, name) for sample in self._samples[place]) for place in costs]
            for name in ("seconds", "size")
        )
        return ProjectionCost(
            float(np.interp(cost, costs, seconds)), float(np.interp(cost, costs, sizes))
        )

    def _project(self, hits: Portion) -> ProjectionCost:
        """What one of the hits takes."""
        requests = [
            (Unit(hit.layer, hit.channel, hit.position), self._image(hit.image)) for hit in hits
        ]
        start = self._clock()
        blobs = [encode_projection(result.pixels)[0] for result in deconv_many(self._net, requests)]
        seconds = self._clock() - start
        size = sum(stored_projection_bytes(len(blob)) for blob in blobs)
        return ProjectionCost(seconds / len(hits), size / len(hits))

    def _image(self, number: int) -> NetworkInput:
        """A trial image as if it were one of its own."""
        if number not in self._copies:
            self._copies[number] = replace(self._inputs[number % len(self._inputs)])
        return self._copies[number]
