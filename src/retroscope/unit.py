"""The address of a unit: one text in Python, on the command line, in a URL and in an atlas."""

import re
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import Self

from retroscope.errors import UnitError

_LAYER, _NUMBER = r"[^:@\s]+", r"\d{1,18}"
_ADDRESS = re.compile(
    rf"(?P<layer>{_LAYER})"
    rf"(:(?P<channel>{_NUMBER})(@(?P<place>\*|{_NUMBER}(,{_NUMBER}){{0,2}}))?)?"
)
_FORMS = "write LAYER, LAYER:CHANNEL, LAYER:CHANNEL@Y,X or LAYER:CHANNEL@*"


@dataclass(frozen=True)
class Unit:
    """A place to look back from: a layer, a channel of it, or one position of that channel.

    Positions are `(y, x)` in the layer's map; of a volume `(z, y, x)`, of a signal `(x,)`. Without
    a position, a channel stands for its strongest one; `whole_map` stands for all of them at once.

    >>> Unit.parse("features.28:42@6,7")
    Unit(layer='features.28', channel=42, position=(6, 7), whole_map=False)
    >>> str(Unit("conv5_3", 42, whole_map=True))
    'conv5_3:42@*'
    """

    layer: str
    channel: int | None = None
    position: tuple[int, ...] | None = None
    whole_map: bool = False

    def __post_init__(self) -> None:
        if self.channel is None and (self.position is not None or self.whole_map):
            raise UnitError(f"a position in {self.layer!r} needs a channel, as in 'conv5_3:42@6,7'")
        if self.position is not None and self.whole_map:
            raise UnitError(
                f"{self.layer}:{self.channel} is one position or the whole map, not both"
            )
        if (
            not re.fullmatch(_LAYER, self.layer)
            or min(self.channel or 0, *self.position or (0,)) < 0
        ):
            raise UnitError(f"{str(self)!r} is not a unit address; {_FORMS}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The unit of an address."""
        match = _ADDRESS.fullmatch(text.strip())
        if match is None:
            raise UnitError(f"cannot parse the unit {text!r}; {_FORMS}")
        channel = None if match["channel"] is None else int(match["channel"])
        if match["place"] is None or match["place"] == "*":
            return cls(match["layer"], channel, whole_map=match["place"] == "*")
        return cls(match["layer"], channel, tuple(map(int, match["place"].split(","))))

    def __str__(self) -> str:
        if self.channel is None:
            return self.layer
        place = "@*" if self.whole_map else ""
        if self.position is not None:
            place = "@" + ",".join(map(str, self.position))
        return f"{self.layer}:{self.channel}{place}"

    def __lt__(self, other: "Unit") -> bool:
        return self._rank() < other._rank()

    def _rank(self) -> tuple[tuple[int | str, ...], int, bool, tuple[int, ...]]:
        pieces = re.split(r"(\d+)", self.layer)
        natural = tuple(int(piece) if n % 2 else piece for n, piece in enumerate(pieces))
        channel = -1 if self.channel is None else self.channel
        return natural, channel, self.whole_map, self.position or (-1, -1)


def as_unit(unit: object) -> Unit:
    """The unit of an address, or the unit itself.

    >>> as_unit(("conv5", 36))
    Traceback (most recent call last):
    retroscope.errors.UnitError: ('conv5', 36) is not a unit; write 'conv5:36'
    """
    match unit:
        case Unit():
            return unit
        case str():
            return Unit.parse(unit)
        case (str() as layer, int() as channel):
            raise UnitError(f"{unit!r} is not a unit; write {f'{layer}:{channel}'!r}")
    text = " ".join(short_repr(unit).split())
    raise UnitError(f"{text} is not a unit; give its address, such as 'conv5_3:42'")
