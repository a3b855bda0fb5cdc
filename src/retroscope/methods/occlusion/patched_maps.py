"""A batch of maps that differ from one clean map inside a box, stored as the clean map and patches.

Patches of a batch have one size, since they are computed as one tensor, and a place per image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

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

    def whole(self) -> "BatchSpan":
        """The whole axis, for each image."""
        return BatchSpan(torch.zeros_like(self.starts), self.full, self.full)

    def equals(self, span: "BatchSpan") -> bool:
        """Whether both contain the same positions."""
        return self.count == span.count and torch.equal(self.starts, span.starts)

    def indices(self, shift: int = 0) -> torch.Tensor:
        """The positions of each image (images, count), shifted by a number of positions."""
        offsets = torch.arange(self.count, device=self.starts.device)
        return self.starts[:, None] + offsets + shift


Spans = tuple[BatchSpan, ...]
"""The intervals of the images of a batch along each axis."""


@dataclass(frozen=True, eq=False)
class PatchedMaps:
    """A clean map (1, ...) and, for each image, the patch where its map may differ from it.

    `spans` are the patches along the axes, `axes` the dimensions of the maps that hold these.
    """

    clean: torch.Tensor
    patch: torch.Tensor
    spans: Spans
    axes: Axes

    def is_consistent(self) -> bool:
        """Whether the sizes of the patch and of the clean map agree with the spans."""
        return all(
            len(tensor.shape) > max(self.axes)
            and tuple(tensor.shape[axis] for axis in self.axes) == sizes
            for tensor, sizes in (
                (self.patch, tuple(span.count for span in self.spans)),
                (self.clean, tuple(span.full for span in self.spans)),
            )
        )

    def full_maps(self) -> torch.Tensor:
        """The complete maps of all images, in new memory."""
        full_maps = self.crop([span.whole() for span in self.spans])
        return full_maps.clone() if full_maps is self.patch else full_maps

    def full_channel(self, channel: int) -> torch.Tensor:
        """The complete map of one channel of each image (images, 1, height, width)."""
        channel_axis = next(
            (axis for axis in range(1, self.clean.dim()) if axis not in self.axes), None
        )
        if channel_axis is None:  # as of a mean over the channels
            return self.full_maps().movedim(self.axes, self._first_dimensions)[:, None]
        clean = self.clean.narrow(channel_axis, channel, 1)
        patch = self.patch.narrow(channel_axis, channel, 1)
        maps = PatchedMaps(clean, patch, self.spans, self.axes).full_maps()
        return maps.movedim((channel_axis, *self.axes), tuple(range(1, len(self.axes) + 2)))

    def crop(self, spans: Sequence[BatchSpan], *, fill: float = 0.0) -> torch.Tensor:
        """These intervals of each map; positions outside of the map are `fill`."""
        if all(map(BatchSpan.equals, self.spans, spans)):
            return self.patch
        padded, before = self._pad_clean(spans, fill)
        indices = [span.indices(shift=shift) for span, shift in zip(spans, before, strict=True)]
        crops = padded[_outer(indices)[1:]]
        self._paste_patches(crops, spans)
        return crops.movedim(self._first_dimensions, self.axes)

    @property
    def _first_dimensions(self) -> Axes:
        """The dimensions right behind that of the batch, one for each axis."""
        return tuple(range(1, len(self.axes) + 1))

    def _pad_clean(
        self, spans: Sequence[BatchSpan], fill: float
    ) -> tuple[torch.Tensor, Sequence[int]]:
        """The clean map (height, width, ...), padded to contain all spans, and the padding in
        front of each axis.
        """
        padding = [0] * (2 * (self.clean.dim() - min(self.axes)))
        before = []
        for axis, span in zip(self.axes, spans, strict=True):
            pair = 2 * (self.clean.dim() - 1 - axis)  # F.pad counts dimensions from the last
            before.append(max(-int(span.starts.min()), 0))
            padding[pair : pair + 2] = before[-1], max(span.stop - span.full, 0)
        padded = F.pad(self.clean, padding, value=fill) if any(padding) else self.clean
        return padded.movedim(self.axes, self._first_dimensions)[0], before

    def _paste_patches(self, crops: torch.Tensor, spans: Sequence[BatchSpan]) -> None:
        """Writes each image's patch over its crop of the clean map.

        map of one image
        +-----------------------+     `places` are the patch's positions in the coordinates of the
        |  crop                 |     crop, along each axis and for each image:
        |  +---------+          |
        |  |      +==+-----+    |         own.starts + (0 ... count-1) - span.starts
        |  |      |##|     |    |
        |  +------+==+     |    |     Where the patch is not inside the crop, only the
        |         |  patch |    |     overlap ## is written.
        |         +--------+    |
        +-----------------------+
        """
        places = [
            own.indices() - span.starts[:, None]
            for own, span in zip(self.spans, spans, strict=True)
        ]
        patch = self.patch.movedim(self.axes, self._first_dimensions)
        inside = [
            (place >= 0) & (place < length)
            for place, length in zip(places, crops.shape[1:], strict=False)
        ]
        if all(bool(places_inside.all()) for places_inside in inside):
            crops[_outer(places)] = patch
            return
        _, *shaped = _outer(inside)
        image, *within = reduce(and_, shaped).nonzero(as_tuple=True)
        target = [place[image, index] for place, index in zip(places, within, strict=True)]
        crops[(image, *target)] = patch[(image, *within)]


def _outer(along: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """For positions of each image along each axis (images, count), the index of all their products:
    first the images, then each axis along a dimension of its own.

    >>> [tuple(index.shape) for index in _outer([torch.ones(2, 3), torch.ones(2, 4)])]
    [(2, 1, 1), (2, 3, 1), (2, 1, 4)]
    """
    rank, count = len(along), len(along[0])
    images = torch.arange(count, device=along[0].device).view(count, *[1] * rank)
    shaped = [
        values.view(count, *[values.shape[1] if other == axis else 1 for other in range(rank)])
        for axis, values in enumerate(along)
    ]
    return images, *shaped


def covering_spans(maps: Sequence[PatchedMaps]) -> Spans:
    """The spans that cover the patches of all operands."""
    spans = maps[0].spans
    for operand in maps[1:]:
        if not all(map(BatchSpan.equals, operand.spans, spans)):
            spans = tuple(map(BatchSpan.union, spans, operand.spans))
    return spans
