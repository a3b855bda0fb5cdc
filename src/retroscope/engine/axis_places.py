"""Where units lie along an axis of which each sees the whole, as behind attention."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor

from retroscope.engine.axis_fields import NOTHING, AxisField
from retroscope.geometry import Field, Interval, simplest

_EXACT = Fraction(1, 2)
"""How far from its place the middle of a field may be, in pixels."""

Line = tuple[Fraction, Fraction]
"""The middle of the first unit, and the distance from one to the next."""


@dataclass(frozen=True)
class AxisPlaces:
    """What each of `length` positions would see of an axis of `pixels` if it read no other one.

    A position is in the middle of that.
    """

    seen: AxisField
    length: int
    pixels: int

    def all_seen_by(self, field: Field) -> bool:
        """Whether all units of a field see the places of all, and so the axis but for pixels at
        its ends that the network leaves out.
        """
        return sees_axis(field, self.length, self.pixels, margin=self.stride)

    def field_around(self, seen: AxisField) -> Field:
        """The smallest field that holds what each unit sees, with the unit's place in the middle.

        Two units of the first and the last 4 pixels see an axis of 8:

            image             [=======)
            unit 0      [===========)          its middle is that of the first 4 pixels
            unit 1          [===========)

        >>> AxisPlaces(Field(4, 4), 2, 8).field_around(Field.whole(8))
        Field(size=12, stride=4, start=-4)
        """
        size = 1 + int(2 * self.first % 2)
        middle = Field(size, simplest(self.stride), floor(self.first - Fraction(size - 1, 2)))
        more = max(self._reach(middle.at(index), seen.at(index)) for index in range(self.length))
        return Field(size + 2 * more, middle.stride, middle.start - more)

    def _reach(self, middle: Interval, seen: Interval) -> int:
        """How far what a unit sees of the axis goes beyond its middle."""
        start, stop = max(seen[0], 0), min(seen[1], self.pixels)
        return max(middle[0] - start, stop - middle[1], 0) if start < stop else 0

    @property
    def first(self) -> Fraction:
        """The middle of the first place."""
        return self._line[0]

    @property
    def stride(self) -> Fraction:
        """The distance from one place to the next."""
        return self._line[1]

    @cached_property
    def are_exact(self) -> bool:
        """Whether each place is on the line, to half a pixel."""
        has_own = len(self._middles) > 1 and self.stride > 0
        return self.length == 1 or (has_own and self._error(self._line) <= _EXACT)

    @cached_property
    def _line(self) -> Line:
        """The first place and the stride. A single unit is in the middle of the axis. Units that
        would all see the same get equal shares of it, and so do those on no line but near them.
        """
        stride = Fraction(self.pixels, self.length)
        shares = (stride - 1) / 2, stride
        middles, quarter = self._middles, len(self._middles) // 4
        if self.length == 1 or len(middles) < 2:
            return shares
        lines = (
            _line_through(middles[quarter], middles[-1 - quarter]),
            _line_through(middles[0], middles[-1]),
        )
        line = min(lines, key=self._error)
        is_near = self._error(shares) <= stride / 2
        return shares if is_near and self._error(line) > _EXACT else line

    def _error(self, line: Line) -> Fraction:
        """How far from a line the farthest place is."""
        first, stride = line
        return max(abs(middle - first - index * stride) for index, middle in self._middles)

    @cached_property
    def _middles(self) -> list[tuple[int, Fraction]]:
        """The index and the middle of places: of the ends, if a stride says where the others are.
        Empty if all places are one, or most are not known.
        """
        if isinstance(self.seen, Field):
            ends = (0, self.length - 1) if self.seen.stride else ()
            return [(index, _middle(self.seen.at(index))) for index in ends]
        intervals = enumerate(self.seen.intervals[: self.length])
        middles = [(index, _middle(seen)) for index, seen in intervals if seen != NOTHING]
        are_apart = len({middle for _, middle in middles}) > 1
        return middles if are_apart and 2 * len(middles) >= self.length else []


def _line_through(one: tuple[int, Fraction], other: tuple[int, Fraction]) -> Line:
    stride = (other[1] - one[1]) / max(other[0] - one[0], 1)
    return one[1] - one[0] * stride, stride


def _middle(interval: Interval) -> Fraction:
    return Fraction(sum(interval) - 1, 2)


def sees_axis(field: Field, length: int, pixels: int, margin: Fraction = Fraction(1)) -> bool:
    """Whether all units share one interval, and it is the axis but for less than a margin."""
    start, stop = field.at(0)
    is_shared = field.stride == 0 or length == 1
    return is_shared and start < margin and pixels - stop < margin
