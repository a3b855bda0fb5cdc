"""The maps of a batch, reduced to a few numbers for each image and channel."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import torch

from retroscope.scanning.statistics.bin_lookup import Floats, bin_lookup
from retroscope.scanning.statistics.compiled_loops import compiled_loops


@dataclass(frozen=True, eq=False)
class BatchSummary:
    """What the maps of a batch reduce to: tensors of (images, channels).

    Values that are not finite are counted in `non_finite` and left out of everything else.
    """

    maximum: torch.Tensor
    minimum: torch.Tensor
    total: torch.Tensor
    squares: torch.Tensor
    fired_positions: torch.Tensor
    """How many positions are above zero."""
    non_finite: torch.Tensor
    positions: torch.Tensor
    """The size of each channel's map; of (channels)."""
    peaks: torch.Tensor | None = None
    """The first flat position of each maximum, where it was found on the way."""
    troughs: torch.Tensor | None = None
    """The same of each minimum."""

    @classmethod
    def empty(cls, channels: int, device: torch.device | None = None) -> Self:
        """One image whose maps have no positions."""
        count = torch.zeros(1, channels, dtype=torch.int64, device=device)
        total = torch.zeros(1, channels, dtype=torch.float64, device=device)
        return cls(total - torch.inf, total + torch.inf, total, total, count, count, count[0])

    @property
    def mean(self) -> torch.Tensor:
        """The mean over the finite positions; minus infinity if there are none."""
        if self.is_complete:
            return self.total.double() / self.positions
        finite = self.positions - self.non_finite
        return torch.where(finite > 0, self.total.double() / finite.clamp(min=1), -torch.inf)

    @property
    def depth(self) -> torch.Tensor:
        """Minus the minimum, so that the lowest is the highest; minus infinity if there is none."""
        return 0.0 - self.minimum  # and not -0.0

    @cached_property
    def has_finite(self) -> torch.Tensor:
        """Which maps have a finite value."""
        return self.maximum > -torch.inf

    @cached_property
    def finite_maximum(self) -> torch.Tensor:
        """The maximum in float64, and 0 where there is none."""
        maximum = self.maximum if self.is_complete else self.maximum.where(self.has_finite, 0)
        return maximum.double()

    @property
    def is_complete(self) -> bool:
        """Whether all maps are known to have positions, and no value that is not finite."""
        return self.is_finite and bool((self.positions > 0).all())

    @cached_property
    def is_finite(self) -> bool:
        """Whether all values are known to be finite, without waiting for a device."""
        return not (self.non_finite.is_cuda or bool(self.non_finite.any()))

    def histogram(self, edges: Floats) -> torch.Tensor:
        """The number of images whose maximum is in each bin between the edges: (channels, bins).

        Counts are int32, since the table is the largest of a sweep.
        """
        shape = self.maximum.shape[1], len(edges) + 1
        empty = torch.zeros(shape, dtype=torch.int32, device=self.maximum.device)
        return self.add_to_histogram(empty, edges)

    def add_to_histogram(self, counts: torch.Tensor, edges: Floats) -> torch.Tensor:
        """These counts with the images of the batch."""
        maximum, loops = self.maximum, compiled_loops()
        if loops is None or maximum.is_cuda or maximum.dtype != torch.float32:
            boundaries = device_tensor(torch.from_numpy(edges), maximum.device)
            bins = torch.bucketize(maximum.double(), boundaries).T.contiguous()
            return counts.scatter_add(1, bins, self.has_finite.T.to(counts.dtype).contiguous())
        lookup, result = bin_lookup(tuple(edges.tolist())), torch.empty_like(counts)
        loops.count_bins(
            *(tensor.contiguous().numpy() for tensor in (maximum, counts, result)),
            *(lookup.edges, lookup.starts, lookup.steps),
        )
        return result


_POSITIONS = ("peaks", "troughs")
_COLUMNS = [column.name for column in fields(BatchSummary) if column.name not in _POSITIONS]


def concatenate_channels(summaries: Sequence[BatchSummary]) -> BatchSummary:
    """The channels of several layers, for the same images, as one summary without positions."""
    return BatchSummary(
        **{
            name: torch.cat([vars(summary)[name] for summary in summaries], dim=-1)
            for name in _COLUMNS
        }
    )


def device_tensor(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A small tensor on a device; the processor does not wait for a GPU to take it."""
    is_cuda = device.type == "cuda"
    return (values.pin_memory() if is_cuda else values).to(device, non_blocking=is_cuda)


def map_sizes(maps: torch.Tensor) -> torch.Tensor:
    """The size of the map of each channel of (images, channels, height, width)."""
    return torch.full(maps.shape[1:2], maps.shape[2] * maps.shape[3], device=maps.device)
