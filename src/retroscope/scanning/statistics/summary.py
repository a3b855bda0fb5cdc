"""The maps of a batch, reduced to a few numbers for each picture and channel."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

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
    positions: torch.Tensor
    """In a map of each channel."""

    @property
    def mean(self) -> torch.Tensor:
        """Over the finite positions; minus infinity where there is none."""
        finite = self.positions - self.non_finite
        return torch.where(finite > 0, self.total / finite.clamp(min=1), -torch.inf)

    @property
    def finite(self) -> bool:
        """Whether all values are known to be finite, without waiting for a device."""
        return not (self.non_finite.is_cuda or bool(self.non_finite.any()))


def side_by_side(summaries: Sequence[Summary]) -> Summary:
    """The channels of several layers, of the same pictures, as one."""
    return Summary(
        **{
            one.name: torch.cat([getattr(summary, one.name) for summary in summaries], dim=-1)
            for one in fields(Summary)
        }
    )


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
        maximum, total, squares, fired, non_finite = map(torch.cat, zip(*parts, strict=True))
        return Summary(maximum, total, squares, fired, non_finite, _positions(maps))
    return _finite_only(maps)


Part = tuple[torch.Tensor, ...]
"""Maximum, total, squares, fired and non-finite, as `Summary` has them."""


def _positions(maps: torch.Tensor) -> torch.Tensor:
    return torch.full(maps.shape[1:2], maps.shape[2] * maps.shape[3], device=maps.device)


def _cached_together(maps: torch.Tensor) -> int:
    """Of how many pictures the maps stay in the processor's cache while they are summed up."""
    return max(1, _CACHED * len(maps) // maps.numel())


def _summarised(maps: torch.Tensor, scratch: Scratch) -> Part:
    maps = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
    total = _sums(maps)
    if not bool(total.isfinite().all()):
        return _parts(_finite_only(maps))
    room = scratch.like(maps)
    squares = _sums(torch.mul(maps, maps, out=room))
    fired = _sums(torch.gt(maps, 0, out=room))
    none = torch.zeros_like(total, dtype=torch.int64)
    return maps.amax(SPACE), total, squares, fired.long(), none


def _sums(maps: torch.Tensor) -> torch.Tensor:
    """Over all positions; where channels lie side by side, a product with ones is fastest."""
    rows = maps.permute(0, 2, 3, 1)
    if not rows.is_contiguous():
        return maps.sum(SPACE)
    rows = rows.flatten(1, 2)
    return torch.bmm(rows.new_ones(len(rows), 1, rows.shape[1]), rows)[:, 0]


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
        positions=_positions(maps),
    )
