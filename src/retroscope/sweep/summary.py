"""The maps of a batch, reduced to a few numbers for each picture and channel."""

from dataclasses import dataclass

import torch

SPACE = (2, 3)
_CACHED = 1 << 20
"""Numbers; some megabytes."""


@dataclass(frozen=True, eq=False)
class Summary:
    """For each picture and channel (pictures, channels): what its map comes to.

    Values that are not finite are counted and left out of everything else.
    """

    maximum: torch.Tensor
    total: torch.Tensor
    squares: torch.Tensor
    fired: torch.Tensor
    non_finite: torch.Tensor
    positions: int

    @property
    def mean(self) -> torch.Tensor:
        """Over the finite positions; minus infinity where there is none."""
        finite = self.positions - self.non_finite
        return torch.where(finite > 0, self.total / finite.clamp(min=1), -torch.inf)


class Scratch:
    """Memory that is used again: fresh pages would cost more than the sums made in them."""

    def __init__(self) -> None:
        self._memory: dict[tuple[torch.device, torch.dtype], torch.Tensor] = {}

    def like(self, maps: torch.Tensor) -> torch.Tensor:
        """Room for a tensor of this size and layout; what was there before is lost."""
        kind = maps.device, maps.dtype
        kept = self._memory.get(kind)
        if kept is None or kept.numel() < maps.numel():
            kept = self._memory[kind] = torch.empty_like(maps).flatten()
        return kept[: maps.numel()].as_strided(
            maps.shape, torch.empty_like(maps, device="meta").stride()
        )


def summarise(maps: torch.Tensor, scratch: Scratch | None = None) -> Summary:
    """The summary of a batch of maps (pictures, channels, height, width)."""
    if not maps.is_cuda:
        room = scratch or Scratch()
        parts = [_summarised(some, room) for some in torch.split(maps, _cached_together(maps))]
        return _joined(parts, maps.shape[2] * maps.shape[3])
    return _finite_only(maps)


Part = tuple[torch.Tensor, ...]
"""Maximum, total, squares, fired and non-finite, as `Summary` has them."""


def _joined(parts: list[Part], positions: int) -> Summary:
    maximum, total, squares, fired, non_finite = map(torch.cat, zip(*parts, strict=True))
    return Summary(maximum, total, squares, fired, non_finite, positions)


def _cached_together(maps: torch.Tensor) -> int:
    """Of how many pictures the maps stay in the processor's cache while they are summed up."""
    return max(1, _CACHED * len(maps) // maps.numel())


def _summarised(maps: torch.Tensor, scratch: Scratch) -> Part:
    maps = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
    total = maps.sum(SPACE)
    if not bool(total.isfinite().all()):
        return _parts(_finite_only(maps))
    room = scratch.like(maps)
    squares = torch.mul(maps, maps, out=room).sum(SPACE)
    fired = torch.gt(maps, 0, out=room).sum(SPACE)
    none = torch.zeros_like(total, dtype=torch.int64)
    return maps.amax(SPACE), total, squares, fired.long(), none


def _parts(summary: Summary) -> Part:
    return summary.maximum, summary.total, summary.squares, summary.fired, summary.non_finite


def _finite_only(maps: torch.Tensor) -> Summary:
    finite = maps.isfinite()
    kept = torch.where(finite, maps, 0)
    kept = kept if kept.dtype == torch.float64 else kept.float()
    return Summary(
        maximum=torch.where(finite, kept, -torch.inf).amax(SPACE),
        total=kept.sum(SPACE),
        squares=kept.square().sum(SPACE),
        fired=(kept > 0).sum(SPACE),
        non_finite=(~finite).sum(SPACE),
        positions=maps.shape[2] * maps.shape[3],
    )
