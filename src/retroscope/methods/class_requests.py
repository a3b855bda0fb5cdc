"""Requests of a class in pictures, sorted so that pictures of one size run together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from retroscope.engine.batching import Prepared, Size
from retroscope.imaging.image import Fit
from retroscope.methods.targets import Wanted
from retroscope.network import AnyImage, Network


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture, how it was fitted, and the classes asked of it with each request's turn."""

    image: Prepared
    fit: Fit | None
    wanted: list[tuple[int, Wanted]]


def by_size(net: Network, requests: Sequence[tuple[AnyImage, Wanted]]) -> dict[Size, list[Shown]]:
    """The pictures of each size, each prepared once, with what is asked of it."""
    known: dict[int, Shown] = {}
    sizes: dict[Size, list[Shown]] = defaultdict(list)
    for order, (image, wanted) in enumerate(requests):
        if id(image) not in known:
            one = Shown(net.prepare(image), fit_of(net, image), [])
            known[id(image)] = one
            sizes[one.image.size].append(one)
        known[id(image)].wanted.append((order, wanted))
    return sizes


def fit_of(net: Network, image: AnyImage) -> Fit | None:
    """How a picture gets to the network's size; None where it has that already."""
    taken = isinstance(image, torch.Tensor | Prepared)
    return None if taken else net.preprocessing.fit


def stack(net: Network, images: Sequence[Prepared], *, channels_last: bool) -> torch.Tensor:
    """Pictures of one size as one batch, stored as the network likes it."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    numbers = torch.stack([image.numbers for image in images])
    return numbers.to(net.device, memory_format=layout)
