"""Target classes by number or name, and requests for targets grouped by image size."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from reprlib import repr as short_repr
from typing import Any, SupportsIndex

import numpy as np
import torch

from retroscope.argument_types import unpack_pair
from retroscope.engine.batching import NetworkInput, Size
from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.network import AnyImage, AnyUnit, Network
from retroscope.results.class_names import classes_named
from retroscope.results.heat_maps import Target

ClassSpec = str | SupportsIndex | None
"""A class by name or number, also in a tensor; None for the most probable class."""

TargetSpec = ClassSpec | Callable[[Any], torch.Tensor]
"""A class, a box (`box:1`, `box:12,30,80,99:cat`), its mask (`mask:1`), a class at a place
(`cat@120,80`, `cat@mask.png`, in a volume `cat@7,120,80`), a number among the outputs
(`output[0][3]`), or a function of the outputs; None for the most probable class, the most confident
box or the largest segment. Boxes count from 1, classes from 0.
"""


def resolve_target(net: Network, target: ClassSpec, scores: torch.Tensor) -> Target:
    """The class of this name or number, or the one with the highest score.

    `scores` are those of one image (classes). A name is a label or one of its comma-separated
    synonyms, in any case.
    """
    if target is None:
        return target_at(net, int(scores.argmax()), len(scores))
    number = _single_number(target)
    if number is not None:
        return target_at(net, number, len(scores))
    if not isinstance(target, str):
        text = " ".join(short_repr(target).split())
        raise RetroscopeError(f"a class is a name or a number, not {text}; give one at a time")
    name = target.strip()
    matches = classes_named(net.labels, name)
    if len(matches) > 1:
        raise RetroscopeError(
            f"{len(matches)} classes of {net.name} are called {target!r}; give the number, "
            f"{' or '.join(map(str, matches))}"
        )
    if matches:
        return target_at(net, matches[0], len(scores))
    if name.lstrip("-").isdecimal():
        return target_at(net, int(name), len(scores))
    raise RetroscopeError(f"no class {target!r} in {net.name}; {_hint(net, name, len(scores))}")


def _single_number(target: object) -> int | None:
    """The number of a class, also in a tensor or an array of one."""
    if isinstance(target, torch.Tensor | np.ndarray) and target.shape in ((), (1,)):
        target = target.item()
    return int(target) if isinstance(target, Integral) else None


def target_at(net: Network, index: int, class_count: int) -> Target:
    """The class at this index of the network's output."""
    if not 0 <= index < class_count:
        raise RetroscopeError(
            f"no class {index} in {net.name}; it has {class_count}, 0 to {class_count - 1}"
        )
    return Target(index, net.labels[index] if index < len(net.labels) else "")


def check_target_or_unit(target: TargetSpec, unit: AnyUnit | None) -> None:
    """A heat map explains a target or a unit, not both."""
    if target is not None and unit is not None:
        raise RetroscopeError(
            f"got both the target {target!r} and the unit {str(unit)!r}; give one"
        )


def _hint(net: Network, name: str, class_count: int) -> str:
    if not net.labels:
        return f"it has no labels; give a number from 0 to {class_count - 1}"
    suggestion = did_you_mean(name, net.labels)
    return suggestion or f"it has {class_count} classes, {net.labels[0]!r} to {net.labels[-1]!r}"


@dataclass(frozen=True, eq=False)
class ImageTargets:
    """An image and all targets requested for it, each with the index of its request."""

    image: NetworkInput
    targets: list[tuple[int, TargetSpec]]


def group_by_size(
    net: Network, requests: Sequence[tuple[TargetSpec, AnyImage]]
) -> dict[Size, list[ImageTargets]]:
    """The requests for each image size; each image is prepared once."""
    by_id: dict[int, ImageTargets] = {}
    by_size: dict[Size, list[ImageTargets]] = defaultdict(list)
    for index, request in enumerate(requests):
        target, image = unpack_pair(request, "target, image")
        if id(image) not in by_id:
            image_targets = ImageTargets(net.prepare(image), [])
            by_id[id(image)] = image_targets
            by_size[image_targets.image.size].append(image_targets)
        by_id[id(image)].targets.append((index, target))
    return by_size


def stack_inputs(
    net: Network, images: Sequence[NetworkInput], *, channels_last: bool
) -> torch.Tensor:
    """Images of one size as one batch, in the memory format that the network prefers."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    batch = torch.stack([image.tensor for image in images])
    return batch.to(net.device, memory_format=memory_format)
