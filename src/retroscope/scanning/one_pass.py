"""One pass over the images: the network runs once and every chosen layer is swept on the way."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Self

import torch

from retroscope.engine.batching import NetworkInput
from retroscope.engine.forward import run_forward
from retroscope.engine.memory import in_batches, memory_budget
from retroscope.input_binding import name_failing_inputs
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.scanning.statistics.batch_images import BatchImages, SweptImage
from retroscope.scanning.statistics.compiled_loops import compiled_loops
from retroscope.scanning.statistics.fused_summary import SummaryTable, can_fuse
from retroscope.scanning.statistics.plain_summary import Scratch
from retroscope.scanning.statistics.sweep import Sweep, SweepBatch

MAX_BATCH_SIZE = 64
_LIVE_MAPS = 3
_IMAGE_DIMENSIONS = 4
"""Of a batch of images, or of their maps."""


@dataclass(frozen=True, eq=False)
class LayerSweeps:
    """The sweep of all layers, and which of its channels belong to each step of the network.

    Without `track_positions`, the positions of maxima are not looked up.
    """

    sweep: Sweep
    channel_ranges: Mapping[int, range]
    track_positions: bool = True

    @classmethod
    def empty(
        cls,
        net: Network,
        layers: Sequence[Layer],
        *,
        top: int,
        per_class: int = 0,
        track_positions: bool = True,
    ) -> Self:
        """No image yet."""
        channels = sum(layer.channels for layer in layers)
        sweep = Sweep.empty(channels, top=top, per_class=per_class, device=net.device)
        return cls(sweep, channel_ranges(layers), track_positions)

    def layer_sweep(self, step: int) -> Sweep:
        """The sweep of one layer."""
        return self.sweep.select_channels(self.channel_ranges[step])

    def with_sweep(self, sweep: Sweep) -> "LayerSweeps":
        """The same layers with another sweep."""
        return replace(self, sweep=sweep)


def channel_ranges(layers: Sequence[Layer]) -> dict[int, range]:
    """The channels of the layers, by their steps, where one layer follows the other."""
    stops = list(accumulate(layer.channels for layer in layers))
    return {
        layer.index: range(stop - layer.channels, stop)
        for layer, stop in zip(layers, stops, strict=True)
    }


def sweep_batch(
    net: Network,
    sweeps: LayerSweeps,
    images: Sequence[NetworkInput],
    *,
    swept: Sequence[SweptImage],
    scratch: Scratch,
) -> LayerSweeps:
    """The sweeps with one more batch, in parts if it does not fit in memory.

    `swept` says which images these are.

    Call it inside `preserve_state`.
    """

    def add_part(part: Sequence[int]) -> None:
        nonlocal sweeps
        part_images = BatchImages.of([swept[n] for n in part], net.device)
        batch = torch.stack([images[n].tensor for n in part])
        bound = net.for_images([images[n] for n in part])
        with name_failing_inputs(net, images[part[0]]) if len(part) == 1 else nullcontext():
            summary = _summarise_layers(bound, sweeps, batch, swept=part_images, scratch=scratch)
        sweep = sweeps.sweep.add(summary, part_images)
        sweeps = sweeps.with_sweep(sweep)

    size = 1 if net.survey().needs_single_images else len(images)
    for _ in in_batches(range(len(images)), size, add_part):
        pass
    return sweeps


def _summarise_layers(
    net: Network,
    sweeps: LayerSweeps,
    batch: torch.Tensor,
    *,
    swept: BatchImages,
    scratch: Scratch,
) -> SweepBatch:
    """Runs the network, and summarises the maps of each layer while they are in memory."""
    summaries = _LayerSummaries(sweeps, swept, scratch, is_double=net.dtype == torch.float64)
    if net.device.type == "cuda":
        batch = batch.pin_memory()
    survey = net.survey()
    is_last = survey.channels_last and batch.dim() == _IMAGE_DIMENSIONS
    layout = torch.channels_last if is_last else torch.contiguous_format
    batch = batch.to(net.device, non_blocking=True, memory_format=layout)
    listeners = {step: partial(summaries.add, step) for step in sweeps.channel_ranges}
    with torch.no_grad():
        run_forward(net.module, survey, batch, listeners)
    return summaries.join()


class _LayerSummaries:
    """The summaries of the layers of a batch, which become one.

    Where compiled loops write them, they go into one table from the start; but not those in double
    precision, since the table is in single.
    """

    def __init__(
        self, sweeps: LayerSweeps, images: BatchImages, scratch: Scratch, *, is_double: bool
    ) -> None:
        self._sweeps, self._images, self._scratch = sweeps, images, scratch
        self._by_step: dict[int, SweepBatch] = {}
        self._table: SummaryTable | None = None
        is_on_cpu = not images.numbers.is_cuda
        if is_on_cpu and not is_double and compiled_loops() is not None:
            channels = sum(map(len, sweeps.channel_ranges.values()))
            self._table = SummaryTable.empty(len(images.images), channels)

    def add(self, step: int, maps: torch.Tensor) -> None:
        """Summarises the maps of a layer."""
        maps, channels = stack_maps(maps), self._sweeps.channel_ranges[step]
        table = self._table
        if table is not None and can_fuse(maps) and table.summarise(maps, channels):
            return
        batch = self._sweeps.sweep.summarise(
            maps,
            self._images,
            channels=channels,
            scratch=self._scratch,
            track_positions=self._sweeps.track_positions,
        )
        if table is None:
            self._by_step[step] = batch
        else:
            table.store(batch.summary, batch.peaks, batch.troughs, channels)

    def join(self) -> SweepBatch:
        """All channels, when all layers are added."""
        if self._table is None:
            return SweepBatch.concatenate([self._by_step[n] for n in self._sweeps.channel_ranges])
        return SweepBatch.of_summary(
            self._table.read(), track_positions=self._sweeps.track_positions
        )


def stack_maps(maps: torch.Tensor) -> torch.Tensor:
    """Maps of volumes (images, channels, slices, height, width) with their slices above each other.

    Those of images stay as they are; those of signals get one row.

    >>> stack_maps(torch.zeros(2, 3, 4, 5, 6)).shape, stack_maps(torch.zeros(2, 3, 9)).shape
    (torch.Size([2, 3, 20, 6]), torch.Size([2, 3, 1, 9]))
    """
    if maps.dim() == _IMAGE_DIMENSIONS:
        return maps
    return maps[:, :, None] if maps.dim() < _IMAGE_DIMENSIONS else maps.flatten(2, 3)


def choose_batch_size(net: Network, layers: Sequence[Layer]) -> int:
    """How many images run at once in the memory that is available."""
    survey = net.survey()
    if survey.needs_single_images:
        return 1
    last = max(layer.index for layer in layers)
    shapes = (shape for step in survey.steps[: last + 1] for shape in step.shapes)
    largest = max(torch.Size(shape).numel() for shape in shapes)
    bytes_per_image = net.dtype.itemsize * _LIVE_MAPS * largest
    size = memory_budget(net.device) // bytes_per_image
    threads = torch.get_num_threads() if net.device.type == "cpu" else 1
    if size > threads:  # as many images for each thread
        size = -(-size // threads) * threads
    return max(1, min(MAX_BATCH_SIZE, size))
