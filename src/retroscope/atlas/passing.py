"""One pass over the pictures: the network runs once, every chosen layer is swept on the way."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch

from retroscope.engine import undisturbed
from retroscope.follow import follow
from retroscope.memory import budget, in_batches
from retroscope.network import Network, Prepared
from retroscope.results import Layer
from retroscope.sweep.summary import Scratch
from retroscope.sweep.sweep import Sweep

MOST_AT_ONCE = 64


def empty_sweeps(
    net: Network, layers: Sequence[Layer], *, top: int, classes: int
) -> dict[int, Sweep]:
    """A sweep that has seen nothing, for the step of each layer."""
    return {
        layer.index: Sweep.empty(layer.channels, top=top, classes=classes, device=net.device)
        for layer in layers
    }


def swept(
    net: Network,
    sweeps: Mapping[int, Sweep],
    images: Sequence[Prepared],
    *,
    numbers: Sequence[int],
    labels: Sequence[int],
    scratch: Scratch,
) -> dict[int, Sweep]:
    """The sweeps with one batch more. Where memory runs out the batch runs in parts."""
    found = dict(sweeps)

    def work(some: Sequence[int]) -> None:
        found.update(
            _with_batch(
                net,
                found,
                torch.stack([images[n].numbers for n in some]),
                numbers=torch.tensor([numbers[n] for n in some], device=net.device),
                labels=torch.tensor([labels[n] for n in some], device=net.device),
                scratch=scratch,
            )
        )

    size = 1 if net.survey().alone else len(images)
    for _ in in_batches(range(len(images)), size, work):
        pass
    return found


def _with_batch(
    net: Network,
    sweeps: Mapping[int, Sweep],
    batch: torch.Tensor,
    *,
    numbers: torch.Tensor,
    labels: torch.Tensor,
    scratch: Scratch,
) -> dict[int, Sweep]:
    found: dict[int, Sweep] = {}

    def seen(target: int, maps: torch.Tensor) -> None:
        found[target] = sweeps[target].add(maps, numbers, labels, scratch=scratch)

    if net.device.type == "cuda":
        batch = batch.pin_memory()
    survey = net.survey()
    layout = torch.channels_last if survey.channels_last else torch.contiguous_format
    batch = batch.to(net.device, non_blocking=True, memory_format=layout)
    with undisturbed(net.module), torch.no_grad():
        watched = {target: partial(seen, target) for target in sweeps}
        follow(net.module, survey, batch, watched)
    return found


def fitting_batch(net: Network, layers: Sequence[Layer]) -> int:
    """How many pictures run at once in the memory at hand."""
    survey = net.survey()
    last = max(layer.index for layer in layers)
    largest = max(
        (shape for step in survey.steps[: last + 1] for shape in step.shapes),
        key=lambda shape: torch.Size(shape).numel(),
    )
    bytes_each = 4 * 3 * torch.Size(largest).numel()
    return 1 if survey.alone else max(1, min(MOST_AT_ONCE, budget(net.device) // bytes_each))
