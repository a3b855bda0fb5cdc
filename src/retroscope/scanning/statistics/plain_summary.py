"""The summary of a batch of maps, computed by torch alone."""

import torch

from retroscope.methods.positions import peak_indices
from retroscope.scanning.statistics.batch_summary import BatchSummary, map_sizes

SPATIAL = (2, 3)
_CACHE_ELEMENTS = 1 << 20
"""About how many map elements stay in a processor's cache: some megabytes."""


class Scratch:
    """Memory that is used again. Fresh pages would cost more than the sums computed in them."""

    def __init__(self) -> None:
        self._memory: dict[tuple[torch.device, torch.dtype], torch.Tensor] = {}

    def buffer_like(self, maps: torch.Tensor) -> torch.Tensor:
        """A tensor of this size and layout with arbitrary content; it reuses the last buffer."""
        key = maps.device, maps.dtype
        memory = self._memory.get(key)
        if memory is None or memory.numel() < maps.numel():
            memory = self._memory[key] = torch.empty_like(maps).flatten()
        return memory[: maps.numel()].as_strided(
            maps.shape, torch.empty_like(maps, device="meta").stride()
        )


def summarise_plainly(maps: torch.Tensor, scratch: Scratch) -> BatchSummary:
    """The summary of maps (images, channels, height, width); on a processor, without positions."""
    if maps.is_cuda:
        return summarise_finite_values(maps)
    chunks = torch.split(maps, _images_per_chunk(maps))
    columns = zip(*(_summarise_chunk(chunk, scratch) for chunk in chunks), strict=True)
    maximum, minimum, total, squares, fired, non_finite = map(torch.cat, columns)
    return BatchSummary(
        *(maximum, minimum),
        *(total, squares, fired, non_finite),
        positions=map_sizes(maps),
    )


def _images_per_chunk(maps: torch.Tensor) -> int:
    """How many images have maps that stay in the processor's cache while they are summed."""
    return max(1, _CACHE_ELEMENTS * len(maps) // maps.numel())


Columns = tuple[torch.Tensor, ...]
"""`maximum`, `minimum`, `total`, `squares`, `fired_positions`, `non_finite` of a summary."""


def _summarise_chunk(maps: torch.Tensor, scratch: Scratch) -> Columns:
    maps = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
    total = _sum_positions(maps)
    if not bool(total.isfinite().all()):
        return _columns(summarise_finite_values(maps))
    buffer = scratch.buffer_like(maps)
    squares = _sum_positions(torch.mul(maps, maps, out=buffer))
    fired = _sum_positions(torch.gt(maps, 0, out=buffer))
    non_finite = torch.zeros_like(total, dtype=torch.int64)
    return (
        *(maps.amax(SPATIAL), maps.amin(SPATIAL)),
        *(total, squares, fired.long(), non_finite),
    )


def _sum_positions(maps: torch.Tensor) -> torch.Tensor:
    """The sum over all positions; with channels stored last, a product with ones is fastest."""
    rows = maps.permute(0, 2, 3, 1)
    if not rows.is_contiguous():
        return maps.sum(SPATIAL)
    rows = rows.flatten(1, 2)
    return torch.bmm(rows.new_ones(len(rows), 1, rows.shape[1]), rows)[:, 0]


def _columns(summary: BatchSummary) -> Columns:
    return (
        *(summary.maximum, summary.minimum),
        *(summary.total, summary.squares, summary.fired_positions, summary.non_finite),
    )


def summarise_finite_values(maps: torch.Tensor) -> BatchSummary:
    """The summary, with positions, of maps with values that are not finite."""
    finite = maps.isfinite()
    values = torch.where(finite, maps, 0)
    values = values if values.dtype == torch.float64 else values.float()
    highest = torch.where(finite, values, -torch.inf)
    lowest = torch.where(finite, values, torch.inf)
    return BatchSummary(
        maximum=highest.amax(SPATIAL),
        minimum=lowest.amin(SPATIAL),
        total=values.sum(SPATIAL, dtype=torch.float64),
        squares=values.double().square().sum(SPATIAL),
        fired_positions=(values > 0).sum(SPATIAL),
        non_finite=(~finite).sum(SPATIAL),
        positions=map_sizes(maps),
        peaks=peak_indices(highest.flatten(2), finite=True),
        troughs=peak_indices(-lowest.flatten(2), finite=True),
    )
