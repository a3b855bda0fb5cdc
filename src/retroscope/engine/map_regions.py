"""The part of a map that a tensor holds, and what a window operation can compute from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from retroscope.engine.motion import Axes
from retroscope.geometry import Interval, Window


@dataclass(frozen=True)
class Span:
    """The part of one axis that a tensor holds: `count` positions from `start`, of `full`."""

    start: int
    count: int
    full: int

    @property
    def stop(self) -> int:
        return self.start + self.count

    def meet(self, other: "Span") -> "Span":
        """What both hold; nothing, if the count is 0 or less."""
        start = max(self.start, other.start)
        return Span(start, min(self.stop, other.stop) - start, self.full)


@dataclass(frozen=True)
class MapRegion:
    """The part of a map that a tensor holds along each axis, and the dimensions of the axes."""

    spans: tuple[Span, ...]
    axes: Axes

    @classmethod
    def of_input(cls, spans: Sequence[Span]) -> "MapRegion":
        """A part of a network's input (batch, channels, height, width)."""
        return cls(tuple(spans), tuple(range(2, len(spans) + 2)))

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape has the size of this region."""
        return len(shape) > max(self.axes) and all(
            shape[axis] == span.count for axis, span in zip(self.axes, self.spans, strict=True)
        )

    def meet(self, other: "MapRegion") -> "MapRegion | None":
        """What both hold; None if they share nothing or run along other dimensions."""
        pairs = list(zip(self.spans, other.spans, strict=True))
        if self.axes != other.axes or any(span.full != theirs.full for span, theirs in pairs):
            return None
        spans = tuple(span.meet(theirs) for span, theirs in pairs)
        return MapRegion(spans, self.axes) if all(span.count > 0 for span in spans) else None


@dataclass(frozen=True)
class Cut:
    """How a window operation runs on a part of an axis of `full` positions.

    It reads the positions `take` of the part, pads both ends by `pad`, and gives a span of outputs.
    """

    take: tuple[int, int]
    pad: tuple[int, int]
    gives: Span
    full: int


def cut(span: Span, window: Window) -> Cut | None:
    """The outputs whose windows are wholly known; None if there are none.

    A window of size 3 and padding 1, on the first four of eight positions:

        axis     0  1  2  3  4  5  6  7       full = 8
        span    [===========)                 what is known: start = 0, stop = 4
        padded 0[===========)                 one zero, since the axis really ends there
        outputs  0  1  2                      output 3 would read position 4, which is not known

    >>> cut(Span(0, 4, 8), Window(3, before=1, after=1))
    Cut(take=(0, 4), pad=(1, 0), gives=Span(start=0, count=3, full=8), full=8)
    """
    full = window.outputs(span.full)
    first = -(-(span.start + window.before) // window.stride) if span.start else 0
    beyond = (span.stop + window.before - window.reach) // window.stride + 1
    stop = min(beyond, full) if span.stop < span.full else full
    first = max(first, 0)
    if stop <= first:
        return None
    begin, end = window.reads(first)[0], window.reads(stop - 1)[1]
    take = max(begin, 0) - span.start, min(end, span.full) - span.start
    if take[1] <= take[0]:
        return None
    pad = max(-begin, 0), max(end - span.full, 0)
    return Cut(take, pad, Span(first, stop - first, full), span.full)


def known_outputs(span: Span, reads: Window | Sequence[Interval]) -> Span | None:
    """The longest run of outputs that read known positions alone; None if there is none.

    >>> known_outputs(Span(0, 2, 3), [(0, 1), (0, 2), (1, 2), (1, 3)])
    Span(start=0, count=3, full=4)
    """
    if isinstance(reads, Window):
        part = cut(span, reads)
        return None if part is None else part.gives
    known = [span.start <= first and stop <= span.stop for first, stop in reads]
    runs = [(key, len(list(run))) for key, run in groupby(known)]
    starts = accumulate((length for _, length in runs), initial=0)
    spans = [
        Span(start, length, len(known))
        for (key, length), start in zip(runs, starts, strict=False)
        if key
    ]
    return max(spans, key=lambda part: part.count, default=None)
