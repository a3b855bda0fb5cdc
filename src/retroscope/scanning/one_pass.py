"""One pass over the pictures: the network runs once, every chosen layer is swept on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import torch

from retroscope.engine.batching import Prepared
from retroscope.engine.forward import follow
from retroscope.engine.memory import budget, in_batches
from retroscope.network import Network
from retroscope.results.values import Layer
from retroscope.scanning.statistics.summary import Scratch
from retroscope.scanning.statistics.sweep import Seen, Sweep

MOST_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Gathered:
    """The sweep of all layers, which of its channels are those of each step, and whether the
    places of maxima are looked up.
    """

    sweep: Sweep
    rows: Mapping[int, range]
    places: bool = True

    @classmethod
    def empty(
        cls,
        net: Network,
        layers: Sequence[Layer],
        *,
        top: int,
        classes: int,
        places: bool = True,
    ) -> Self:
        """No picture yet."""
        rows, start = {}, 0
        for layer in layers:
            rows[layer.index] = range(start, start + layer.channels)
            start += layer.channels
        sweep = Sweep.empty(start, top=top, classes=classes, device=net.device)
        return cls(sweep, rows, places)

    def of(self, step: int) -> Sweep:
        """What is gathered of one layer."""
        return self.sweep.part(self.rows[step])

    def with_sweep(self, sweep: Sweep) -> "Gathered":
        """The same channels with other numbers."""
        return replace(self, sweep=sweep)


def swept(
    net: Network,
    gathered: Gathered,
    images: Sequence[Prepared],
    *,
    numbers: Sequence[int],
    labels: Sequence[int],
    scratch: Scratch,
) -> Gathered:
    """With one batch more, inside `undisturbed`. Where memory runs out the batch runs in parts."""

    def work(some: Sequence[int]) -> None:
        nonlocal gathered
        own = torch.tensor([numbers[n] for n in some], device=net.device)
        batch = torch.stack([images[n].numbers for n in some])
        seen = _seen(net, gathered, batch, numbers=own, scratch=scratch)
        sweep = gathered.sweep.take(seen, own, [labels[n] for n in some])
        gathered = gathered.with_sweep(sweep)

    size = 1 if net.survey().alone else len(images)
    for _ in in_batches(range(len(images)), size, work):
        pass
    return gathered


def _seen(
    net: Network,
    gathered: Gathered,
    batch: torch.Tensor,
    *,
    numbers: torch.Tensor,
    scratch: Scratch,
) -> Seen:
    found: dict[int, Seen] = {}

    def see(step: int, maps: torch.Tensor) -> None:
        own = gathered.of(step)
        found[step] = own.look(maps, numbers, scratch=scratch, places=gathered.places)

    if net.device.type == "cuda":
        batch = batch.pin_memory()
    survey = net.survey()
    layout = torch.channels_last if survey.channels_last else torch.contiguous_format
    batch = batch.to(net.device, non_blocking=True, memory_format=layout)
    with torch.no_grad():
        follow(net.module, survey, batch, {step: partial(see, step) for step in gathered.rows})
    return Seen.together([found[step] for step in gathered.rows])


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
