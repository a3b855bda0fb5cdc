"""Many maps that differ from one clean map inside a box each, kept as the map and the boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from retroscope.engine.motion import Axes
from retroscope.geometry import Window


@dataclass(frozen=True, eq=False)
class Strip:
    """Along one axis of `full` positions, the part of each picture: `count` from its start.

    >>> Strip(torch.tensor([0, 4]), 3, 8).stop
    7
    """

    starts: torch.Tensor
    count: int
    full: int

    @property
    def stop(self) -> int:
        return int(self.starts.max()) + self.count

    def meets(self, window: Window) -> "Strip":
        """The outputs of a window operation that read any of these positions.

        All pictures get as many as the one that needs most; the spare ones are the clean map's.
        """
        full = window.outputs(self.full)
        over = self.starts + window.before
        first = torch.ceil((over - window.reach + 1) / window.stride).long().clamp(0, full - 1)
        stop = ((over + self.count - 1).div(window.stride, rounding_mode="floor") + 1).clamp(
            1, full
        )
        count = max(int((stop - first).max()), 1)
        return Strip(first.clamp(max=full - count), count, full)

    def read_by(self, window: Window, full: int) -> "Strip":
        """The inputs that these outputs of a window operation read, padding included."""
        count = (self.count - 1) * window.stride + window.reach
        return Strip(self.starts * window.stride - window.before, count, full)

    def union(self, other: "Strip") -> "Strip":
        """The smallest strip of one length for all pictures that covers both."""
        starts = torch.minimum(self.starts, other.starts)
        stops = torch.maximum(self.starts + self.count, other.starts + other.count)
        count = int((stops - starts).max())
        return Strip(starts.clamp(max=self.full - count), count, self.full)

    def same(self, other: "Strip") -> bool:
        """Whether both are the same positions."""
        return self.count == other.count and torch.equal(self.starts, other.starts)

    def indices(self, shift: int = 0) -> torch.Tensor:
        """The positions: pictures, count."""
        steps = torch.arange(self.count, device=self.starts.device)
        return self.starts[:, None] + steps + shift


@dataclass(frozen=True, eq=False)
class Patched:
    """A clean map (1, ...), and for each picture the patch where its own map may differ."""

    clean: torch.Tensor
    patch: torch.Tensor
    y: Strip
    x: Strip
    axes: Axes

    def fits(self) -> bool:
        """Whether the patch is as large as its strips say, and the clean map as theirs."""
        strips, axes = (self.y, self.x), self.axes
        return all(
            len(one.shape) > max(axes) and [one.shape[axis] for axis in axes] == sizes
            for one, sizes in (
                (self.patch, [strip.count for strip in strips]),
                (self.clean, [strip.full for strip in strips]),
            )
        )

    def whole(self) -> torch.Tensor:
        """All of each map, in memory of its own."""
        y, x = (Strip(torch.zeros_like(one.starts), one.full, one.full) for one in (self.y, self.x))
        whole = self.part(y, x)
        return whole.clone() if whole is self.patch else whole

    def channel(self, channel: int) -> torch.Tensor:
        """All of one channel of each map (pictures, 1, height, width)."""
        along = next(axis for axis in (1, 2, 3) if axis not in self.axes)
        clean, patch = (one.narrow(along, channel, 1) for one in (self.clean, self.patch))
        one = Patched(clean, patch, self.y, self.x, self.axes)
        return one.whole().movedim((along, *self.axes), (1, 2, 3))

    def part(self, y: Strip, x: Strip, *, fill: float = 0.0) -> torch.Tensor:
        """Another part of each map; what lies outside of the map is the fill."""
        if self.y.same(y) and self.x.same(x):
            return self.patch
        source, low = self._reaching(y, x, fill)
        rows, columns = y.indices(low[0]), x.indices(low[1])
        picked = source[rows[:, :, None], columns[:, None, :]]
        self._lay_over(picked, y, x)
        return picked.movedim((1, 2), self.axes)

    def _reaching(self, y: Strip, x: Strip, fill: float) -> tuple[torch.Tensor, tuple[int, int]]:
        """The clean map (height, width, ...), grown so far that both strips lie inside."""
        ends = [0] * (2 * (self.clean.dim() - min(self.axes)))
        lows = []
        for axis, strip in zip(self.axes, (y, x), strict=True):
            behind = 2 * (self.clean.dim() - 1 - axis)
            lows.append(max(-int(strip.starts.min()), 0))
            ends[behind : behind + 2] = lows[-1], max(strip.stop - strip.full, 0)
        grown = F.pad(self.clean, ends, value=fill) if any(ends) else self.clean
        return grown.movedim(self.axes, (1, 2))[0], (lows[0], lows[1])

    def _lay_over(self, picked: torch.Tensor, y: Strip, x: Strip) -> None:
        """Puts the patches at their places in what was picked of the clean map."""
        rows, columns = self.y.indices() - y.starts[:, None], self.x.indices() - x.starts[:, None]
        patch = self.patch.movedim(self.axes, (1, 2))
        inside = [
            (places >= 0) & (places < length)
            for places, length in zip((rows, columns), picked.shape[1:3], strict=True)
        ]
        if all(bool(one.all()) for one in inside):
            pictures = torch.arange(len(patch), device=patch.device)[:, None, None]
            picked[pictures, rows[:, :, None], columns[:, None, :]] = patch
            return
        both = inside[0][:, :, None] & inside[1][:, None, :]
        n, down, right = both.nonzero(as_tuple=True)
        picked[n, rows[n, down], columns[n, right]] = patch[n, down, right]


def union(parts: Sequence[Patched]) -> tuple[Strip, Strip]:
    """The strips that cover all patches."""
    y, x = parts[0].y, parts[0].x
    for part in parts[1:]:
        if not (part.y.same(y) and part.x.same(x)):
            y, x = y.union(part.y), x.union(part.x)
    return y, x
