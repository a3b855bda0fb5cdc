"""What a scan will take, said before it starts: small pieces of it are run and counted up."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np
import torch

from retroscope.atlas.pictures import encode_projection
from retroscope.engine.batching import Prepared
from retroscope.engine.intercept import undisturbed
from retroscope.errors import ImageError
from retroscope.methods.deconv.deconv import deconv_many
from retroscope.network import Network
from retroscope.results.values import Layer
from retroscope.scanning.illustrate import PICTURES_KEPT, Ranks
from retroscope.scanning.loading import default_workers
from retroscope.scanning.one_pass import Gathered, swept
from retroscope.scanning.precision import candidates, narrowed
from retroscope.scanning.sources import Pictures
from retroscope.scanning.statistics.summary import Scratch
from retroscope.unit import Unit

PICTURE_BYTES, PROJECTION_BYTES = 20_000, 2_500
"""About what a winning picture and a projection take in the file."""
_PICTURES, _LAYERS, _FEW, _MANY = 4, 5, 2, 32
ALL = Ranks()
_QUICK = 0.1
"""Up to so many seconds a piece is run again, and more of it."""
_SOON = 1.0
_PASSES = 3
"""A projection from a whole picture takes about as long as so many forward passes."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of the pass and of the projections, bytes of memory for what is gathered and on disk.

    `projections` is how many there are at most: a hit of both rankings has one.
    """

    images: int
    channels: int
    seconds: float
    projecting: float
    memory: int
    disk: int
    projections: int


@dataclass(frozen=True)
class _Price:
    """Seconds and bytes of one projection."""

    seconds: float
    size: float


def estimate(
    net: Network,
    layers: Sequence[Layer],
    listed: Pictures,
    *,
    top: int = 9,
    ranks: Ranks = ALL,
    precision: str = "full",
    workers: int | None = None,
) -> Estimate:
    """About what a scan of the listed images takes, with these `ranks` of each channel projected.

    A few images are read and swept, and a few units of some layers projected.
    """
    images, channels = len(listed.keys), sum(layer.channels for layer in layers)
    hits = min(top, images)
    shown = (1 + ranks.by_mean) * min(hits if ranks.most is None else ranks.most, hits)
    threads = min(workers or default_workers(), _processors())
    some, reading = _read(net, listed)
    running = _seconds_of_picture(net, layers, some, top=hits) if some else 0.0
    beside, sweeping, again = partial(_beside, net, reading, threads), running, 0
    if precision != "full" and some:
        several = min(candidates(hits), images)
        sweeping = _seconds_of_picture(narrowed(net), layers, some, top=several)
        again = min(images, 2 * channels * several)
    prices = _prices(net, layers, some, at_most=_PASSES * running, count=channels * shown)
    counts = [shown * layer.channels for layer in layers]
    winners = min(images, 2 * channels * hits)
    kept = channels * (2 * hits * 24 + 64 * 8 + 64)
    return Estimate(
        images=images,
        channels=channels,
        seconds=images * beside(sweeping) + again * beside(running),
        projecting=_sum(counts, [price.seconds for price in prices])
        + _read_again(counts, images, winners) * reading / threads,
        memory=kept + channels * len(listed.names) * 24,
        disk=round(winners * PICTURE_BYTES + _sum(counts, [price.size for price in prices])) + kept,
        projections=channels * shown,
    )


def _sum(counts: Sequence[int], each: Sequence[float]) -> float:
    return sum(count * one for count, one in zip(counts, each, strict=True))


def _read_again(counts: Sequence[int], images: int, winners: int) -> int:
    """How many pictures the projections read: once to keep, and once or in every layer to show."""
    if winners <= PICTURES_KEPT:
        return 2 * winners
    return winners + sum(min(count, 2 * images) for count in counts)


def _processors() -> int:
    return os.cpu_count() or 1


def _read(net: Network, listed: Pictures) -> tuple[list[Prepared], float]:
    """A few of the images as the network takes them, and how long one takes to read."""
    step = max(len(listed.keys) // _PICTURES, 1)
    found, start = [], perf_counter()
    for number in range(0, len(listed.keys), step)[:_PICTURES]:
        try:
            found.append(net.prepare(listed.get(number)))
        except ImageError:  # the scan counts it, and says why
            continue
    seconds = (perf_counter() - start) / max(len(found), 1)
    return [one for one in found if one.size == net.input_size], seconds


def _seconds_of_picture(
    net: Network, layers: Sequence[Layer], images: Sequence[Prepared], *, top: int
) -> float:
    """One picture through the network and into the sweeps, once they are full."""
    gathered, scratch = Gathered.empty(net, layers, top=top, classes=0), Scratch()

    images = [replace(one, numbers=one.numbers.to(net.dtype)) for one in images]

    def sweep(some: Sequence[Prepared]) -> float:
        nonlocal gathered
        start, numbers = perf_counter(), range(len(some))
        gathered = swept(
            net, gathered, some, numbers=numbers, labels=[-1] * len(some), scratch=scratch
        )
        return (perf_counter() - start) / len(some)

    with undisturbed(net.module):
        first = sweep(images[:1])
        if first > _QUICK:
            return min(first, sweep(images[:1]))
        return min(sweep(images) for _ in range(3))


def _beside(net: Network, reading: float, threads: int, running: float) -> float:
    """Seconds for a picture, where reading goes on beside the network on the same processors."""
    if net.device.type != "cpu":
        return max(running, reading / threads)
    busy = running * min(torch.get_num_threads(), _processors())
    return max(running, (busy + reading) / _processors(), reading / threads)


def _prices(
    net: Network, layers: Sequence[Layer], images: Sequence[Prepared], *, at_most: float, count: int
) -> list[_Price]:
    """What a projection of each layer costs. A few layers are tried, the others lie between them.

    Where all together is soon done nothing is tried.
    """
    if not images or count * at_most < _SOON:
        return [_Price(at_most, PROJECTION_BYTES)] * len(layers)
    places = np.unique(np.linspace(0, len(layers) - 1, _LAYERS).round().astype(int)).tolist()
    tried = [_price(net, layers[place], images) for place in places]
    every = range(len(layers))
    seconds = np.interp(every, places, [one.seconds for one in tried]).tolist()
    sizes = np.interp(every, places, [one.size for one in tried]).tolist()
    return [_Price(*both) for both in zip(seconds, sizes, strict=True)]


def _price(net: Network, layer: Layer, images: Sequence[Prepared]) -> _Price:
    few = _projected(net, layer, images, _FEW)
    return few if few.seconds * _FEW > _QUICK else _projected(net, layer, images, _MANY)


def _projected(net: Network, layer: Layer, images: Sequence[Prepared], count: int) -> _Price:
    """Some units of a layer, anywhere in some pictures, projected and packed."""
    random, size = np.random.default_rng(0), (layer.channels, *layer.size)
    places = zip(*(random.integers(0, end, count).tolist() for end in size), strict=True)
    wanted = [
        (Unit(layer.name, channel, (y, x)), images[n % len(images)])
        for n, (channel, y, x) in enumerate(places)
    ]
    start = perf_counter()
    blobs = [encode_projection(one.pixels)[0] for one in deconv_many(net, wanted)]
    return _Price((perf_counter() - start) / count, sum(map(len, blobs)) / count)
