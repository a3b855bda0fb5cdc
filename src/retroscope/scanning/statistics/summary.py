"""The maps of a batch, reduced to a few numbers for each image and channel."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

SPATIAL = (2, 3)
_CACHE_ELEMENTS = 1 << 20
"""About how many map elements stay in a processor's cache: some megabytes."""


@dataclass(frozen=True, eq=False)
class BatchSummary:
    """What the maps of a batch reduce to: tensors of (images, channels).

    Values that are not finite are counted in `non_finite` and left out of everything else.
    """

    maximum: torch.Tensor
    total: torch.Tensor
    squares: torch.Tensor
    fired_positions: torch.Tensor
    """How many positions are above zero."""
    non_finite: torch.Tensor
    positions: torch.Tensor
    """The size of each channel's map; of (channels)."""

    @classmethod
    def empty(cls, channels: int, device: torch.device | None = None) -> Self:
        """One image whose maps have no positions."""
        count = torch.zeros(1, channels, dtype=torch.int64, device=device)
        total = torch.zeros(1, channels, dtype=torch.float64, device=device)
        return cls(total - torch.inf, total, total, count, count, count[0])

    @property
    def mean(self) -> torch.Tensor:
        """The mean over the finite positions; minus infinity if there are none."""
        finite = self.positions - self.non_finite
        return torch.where(finite > 0, self.total / finite.clamp(min=1), -torch.inf)

    @cached_property
    def has_finite(self) -> torch.Tensor:
        """Which maps have a finite value."""
        return self.maximum > -torch.inf

    @property
    def is_finite(self) -> bool:
        """Whether all values are known to be finite, without waiting for a device."""
        return not (self.non_finite.is_cuda or bool(self.non_finite.any()))

    def histogram(self, edges: npt.NDArray[np.float64]) -> torch.Tensor:
        """The number of images whose maximum is in each bin: (channels, bins)."""
        boundaries = torch.from_numpy(edges).to(self.maximum.device)
        bins = torch.bucketize(self.maximum.double(), boundaries).T.contiguous()
        counts = torch.zeros(len(bins), len(edges) + 1, dtype=torch.int64, device=bins.device)
        return counts.scatter_add_(1, bins, self.has_finite.T.to(torch.int64).contiguous())


def concatenate_channels(summaries: Sequence[BatchSummary]) -> BatchSummary:
    """The channels of several layers, for the same images, as one summary."""
    return BatchSummary(
        **{
            column.name: torch.cat([vars(summary)[column.name] for summary in summaries], dim=-1)
            for column in fields(BatchSummary)
        }
    )


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


def summarise(maps: torch.Tensor, scratch: Scratch | None = None) -> BatchSummary:
    """The summary of a batch of maps (images, channels, height, width)."""
    if maps.is_cuda:
        return _summarise_finite_values(maps)
    scratch = scratch or Scratch()
    chunks = torch.split(maps, _images_per_chunk(maps))
    columns = zip(*(_summarise_chunk(chunk, scratch) for chunk in chunks), strict=True)
    maximum, total, squares, fired, non_finite = map(torch.cat, columns)
    return BatchSummary(maximum, total, squares, fired, non_finite, _map_size(maps))


Columns = tuple[torch.Tensor, ...]
"""`maximum`, `total`, `squares`, `fired_positions` and `non_finite` of a `BatchSummary`."""


def _map_size(maps: torch.Tensor) -> torch.Tensor:
    return torch.full(maps.shape[1:2], maps.shape[2] * maps.shape[3], device=maps.device)


def _images_per_chunk(maps: torch.Tensor) -> int:
    """How many images have maps that stay in the processor's cache while they are summed."""
    return max(1, _CACHE_ELEMENTS * len(maps) // maps.numel())


def _summarise_chunk(maps: torch.Tensor, scratch: Scratch) -> Columns:
    maps = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
    total = _sum_positions(maps)
    if not bool(total.isfinite().all()):
        return _columns(_summarise_finite_values(maps))
    buffer = scratch.buffer_like(maps)
    squares = _sum_positions(torch.mul(maps, maps, out=buffer))
    fired = _sum_positions(torch.gt(maps, 0, out=buffer))
    non_finite = torch.zeros_like(total, dtype=torch.int64)
    return maps.amax(SPATIAL), total, squares, fired.long(), non_finite


def _sum_positions(maps: torch.Tensor) -> torch.Tensor:
    """The sum over all positions; with channels stored last, a product with ones is fastest."""
    rows = maps.permute(0, 2, 3, 1)
    if not rows.is_contiguous():
        return maps.sum(SPATIAL)
    rows = rows.flatten(1, 2)
    return torch.bmm(rows.new_ones(len(rows), 1, rows.shape[1]), rows)[:, 0]


def _columns(summary: BatchSummary) -> Columns:
    return (
        *(summary.maximum, summary.total, summary.squares),
        *(summary.fired_positions, summary.non_finite),
    )


def _summarise_finite_values(maps: torch.Tensor) -> BatchSummary:
    finite = maps.isfinite()
    values = torch.where(finite, maps, 0)
    values = values if values.dtype == torch.float64 else values.float()
    return BatchSummary(
        maximum=torch.where(finite, values, -torch.inf).amax(SPATIAL),
        total=values.sum(SPATIAL),
        squares=values.square().sum(SPATIAL),
        fired_positions=(values > 0).sum(SPATIAL),
        non_finite=(~finite).sum(SPATIAL),
        positions=_map_size(maps),
    )
