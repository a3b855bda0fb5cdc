"""A batch of maps that differ from one clean map inside a box, stored as the clean map and patches.

Patches of a batch have one size, since they are computed as one tensor, and a place per image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from retroscope.engine.motion import Axes
from retroscope.geometry import Window


@dataclass(frozen=True, eq=False)
class BatchSpan:
    """One interval per image along an axis of `full` positions: `count` positions from its start.

    >>> BatchSpan(torch.tensor([0, 4]), 3, 8).stop
    7
    """

    starts: torch.Tensor
    count: int
    full: int

    @property
    def stop(self) -> int:
        """The end of the last interval."""
        return int(self.starts.max()) + self.count

    def affected_outputs(self, window: Window) -> "BatchSpan":
        """The outputs of a window operation that read any of these positions.

        Output i reads the inputs i * stride - before ... i * stride - before + reach - 1. Every
        image gets as many outputs as the one that needs most; the extra ones equal the clean map.
        """
        full = window.outputs(self.full)
        padded_starts = self.starts + window.before
        padded_ends = padded_starts + self.count - 1
        first = torch.ceil((padded_starts - window.reach + 1) / window.stride).long()
        first = first.clamp(0, full - 1)
        stop = (padded_ends.div(window.stride, rounding_mode="floor") + 1).clamp(1, full)
        count = max(int((stop - first).max()), 1)
        return BatchSpan(first.clamp(max=full - count), count, full)

    def required_inputs(self, window: Window, full: int) -> "BatchSpan":
        """The inputs that these outputs of a window operation read, padding included."""
        count = (self.count - 1) * window.stride + window.reach
        return BatchSpan(self.starts * window.stride - window.before, count, full)

    def union(self, span: "BatchSpan") -> "BatchSpan":
        """The smallest intervals of one length that cover both."""
        starts = torch.minimum(self.starts, span.starts)
        stops = torch.maximum(self.starts + self.count, span.starts + span.count)
        count = int((stops - starts).max())
        return BatchSpan(starts.clamp(max=self.full - count), count, self.full)

    def equals(self, span: "BatchSpan") -> bool:
        """Whether both contain the same positions."""
        return self.count == span.count and torch.equal(self.starts, span.starts)

    def indices(self, shift: int = 0) -> torch.Tensor:
        """The positions of each image (images, count), shifted by a number of positions."""
        offsets = torch.arange(self.count, device=self.starts.device)
        return self.starts[:, None] + offsets + shift


@dataclass(frozen=True, eq=False)
class PatchedMaps:
    """A clean map (1, ...) and, for each image, the patch where its map may differ from it."""

    clean: torch.Tensor
    patch: torch.Tensor
    y: BatchSpan
    x: BatchSpan
    axes: Axes

    def is_consistent(self) -> bool:
        """Whether the sizes of the patch and of the clean map agree with the spans."""
        return all(
            len(tensor.shape) > max(self.axes)
            and tuple(tensor.shape[axis] for axis in self.axes) == sizes
            for tensor, sizes in (
                (self.patch, (self.y.count, self.x.count)),
                (self.clean, (self.y.full, self.x.full)),
            )
        )

    def full_maps(self) -> torch.Tensor:
        """The complete maps of all images, in new memory."""
        zeros = torch.zeros_like(self.y.starts)
        y = BatchSpan(zeros, self.y.full, self.y.full)
        x = BatchSpan(zeros, self.x.full, self.x.full)
        full_maps = self.crop(y, x)
        return full_maps.clone() if full_maps is self.patch else full_maps

    def full_channel(self, channel: int) -> torch.Tensor:
        """The complete map of one channel of each image (images, 1, height, width)."""
        channel_axis = next(axis for axis in (1, 2, 3) if axis not in self.axes)
        clean = self.clean.narrow(channel_axis, channel, 1)
        patch = self.patch.narrow(channel_axis, channel, 1)
        maps = PatchedMaps(clean, patch, self.y, self.x, self.axes).full_maps()
        return maps.movedim((channel_axis, *self.axes), (1, 2, 3))

    def crop(self, y: BatchSpan, x: BatchSpan, *, fill: float = 0.0) -> torch.Tensor:
        """These intervals of each map; positions outside of the map are `fill`."""
        if self.y.equals(y) and self.x.equals(x):
            return self.patch
        padded, (top, left) = self._pad_clean(y, x, fill)
        rows, columns = y.indices(shift=top), x.indices(shift=left)
        crops = padded[rows[:, :, None], columns[:, None, :]]
        self._paste_patches(crops, y, x)
        return crops.movedim((1, 2), self.axes)

    def _pad_clean(
        self, y: BatchSpan, x: BatchSpan, fill: float
    ) -> tuple[torch.Tensor, tuple[int, int]]:
        """The clean map (height, width, ...), padded to contain both spans, and its top and left
        padding.
        """
        padding = [0] * (2 * (self.clean.dim() - min(self.axes)))
        before = []
        for axis, span in zip(self.axes, (y, x), strict=True):
            pair = 2 * (self.clean.dim() - 1 - axis)  # F.pad counts dimensions from the last
            before.append(max(-int(span.starts.min()), 0))
            padding[pair : pair + 2] = before[-1], max(span.stop - span.full, 0)
        padded = F.pad(self.clean, padding, value=fill) if any(padding) else self.clean
        return padded.movedim(self.axes, (1, 2))[0], (before[0], before[1])

    def _paste_patches(self, crops: torch.Tensor, y: BatchSpan, x: BatchSpan) -> None:
        """Writes each image's patch over its crop of the clean map.

        map of one image
        +-----------------------+     rows and columns are the patch's positions in the
        |  crop                 |     coordinates of the crop, for each image:
        |  +---------+          |
        |  |      +==+-----+    |         rows = self.y.starts + (0 ... count-1) - y.starts
        |  |      |##|     |    |
        |  +------+==+     |    |     Where the patch is not inside the crop, only the
        |         |  patch |    |     overlap ## is written.
        |         +--------+    |
        +-----------------------+
        """
        rows, columns = self.y.indices() - y.starts[:, None], self.x.indices() - x.starts[:, None]
        patch = self.patch.movedim(self.axes, (1, 2))
        rows_inside = (rows >= 0) & (rows < crops.shape[1])
        columns_inside = (columns >= 0) & (columns < crops.shape[2])
        if bool(rows_inside.all()) and bool(columns_inside.all()):
            images = torch.arange(len(patch), device=patch.device)[:, None, None]
            crops[images, rows[:, :, None], columns[:, None, :]] = patch
            return
        overlap = rows_inside[:, :, None] & columns_inside[:, None, :]
        image, down, right = overlap.nonzero(as_tuple=True)
        crops[image, rows[image, down], columns[image, right]] = patch[image, down, right]


def covering_spans(maps: Sequence[PatchedMaps]) -> tuple[BatchSpan, BatchSpan]:
    """The spans that cover the patches of all operands."""
    y, x = maps[0].y, maps[0].x
    for operand in maps[1:]:
        if not (operand.y.equals(y) and operand.x.equals(x)):
            y, x = y.union(operand.y), x.union(operand.x)
    return y, x
