"""What a scan will take, said before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import torch

from retroscope.engine import undisturbed
from retroscope.follow import follow
from retroscope.network import Network
from retroscope.results import Layer

PICTURE_BYTES, PROJECTION_BYTES = 20_000, 2_500
"""About what a winning picture and a projection take in the file."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of the pass, bytes of memory for what it gathers, bytes of the finished file."""

    images: int
    channels: int
    seconds: float
    memory: int
    disk: int
    projections: int


def estimate(
    net: Network, layers: Sequence[Layer], images: int, *, top: int = 9, classes: int = 0
) -> Estimate:
    """About what a scan of so many images takes; one picture is run for it."""
    channels = sum(layer.channels for layer in layers)
    kept = channels * (2 * top * 24 + 64 * 8 + 64)
    hits = channels * min(top, images)
    pictures = min(images, 2 * hits)
    return Estimate(
        images=images,
        channels=channels,
        seconds=images * _seconds_each(net, layers),
        memory=kept + channels * classes * 24,
        disk=pictures * PICTURE_BYTES + 2 * hits * PROJECTION_BYTES + kept,
        projections=2 * hits,
    )


def _seconds_each(net: Network, layers: Sequence[Layer]) -> float:
    last = max(layer.index for layer in layers)
    picture = torch.zeros(1, net.preprocessing.channels, *net.input_size, device=net.device)
    survey = net.survey()
    times = []
    with undisturbed(net.module), torch.no_grad():
        for _ in range(2):
            start = perf_counter()
            follow(net.module, survey, picture.to(net.dtype), {last: lambda _: None})
            times.append(perf_counter() - start)
    return min(times)
