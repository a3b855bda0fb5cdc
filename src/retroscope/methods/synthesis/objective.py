"""What a picture is to be changed for: a weighted sum of terms, each about a layer or a class.

Olah et al. 2017 for units, channels, layers, directions and diversity.
"""

from dataclasses import dataclass, replace
from typing import Self

from retroscope.errors import RetroscopeError
from retroscope.unit import Unit, as_unit


@dataclass(frozen=True)
class Excite:
    """How much a unit fires: the mean over its channel's positions, or one of them.

    A layer without a channel counts the squares of all its maps (DeepDream).
    """

    unit: Unit

    def __str__(self) -> str:
        return str(self.unit)


@dataclass(frozen=True)
class Towards:
    """How far a layer's channels point in a direction: the mean over positions of the product."""

    layer: str
    direction: tuple[float, ...]

    def __str__(self) -> str:
        return f"a direction of {self.layer}"


@dataclass(frozen=True)
class ClassScore:
    """The score of a class, before a softmax or a sigmoid that the network ends in."""

    target: str | int

    def __str__(self) -> str:
        return f"class {self.target}"


@dataclass(frozen=True)
class Diverse:
    """How unlike the other pictures of the batch this one is, as the layer's texture tells.

    Minus the mean cosine between the pictures' matrices of products of channels, in units of the
    picture's own score, so that one weight fits every network.
    """

    layer: str

    def __str__(self) -> str:
        return f"diversity of {self.layer}"


Term = Excite | Towards | ClassScore | Diverse


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms; objectives can be added, subtracted and weighted.

    >>> str(excite("conv5_3:42") - 0.5 * excite("conv5_3:7"))
    'conv5_3:42 - 0.5 x conv5_3:7'
    """

    terms: tuple[tuple[float, Term], ...]

    def __add__(self, other: "Objective") -> Self:
        return replace(self, terms=(*self.terms, *other.terms))

    def __mul__(self, weight: float) -> Self:
        return replace(self, terms=tuple((weight * own, term) for own, term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> Self:
        return self * -1

    def __sub__(self, other: "Objective") -> Self:
        return self + -other

    def __str__(self) -> str:
        return "".join(_signed(n, *each) for n, each in enumerate(self.terms))

    @property
    def unit(self) -> Unit | None:
        """The unit that this is all about; None where it is about more, or a class."""
        about = [each for each in self.terms if not isinstance(each[1], Diverse)]
        alone = about[0] if len(about) == 1 else (0.0, None)
        return alone[1].unit if isinstance(alone[1], Excite) and alone[0] > 0 else None


def _signed(place: int, weight: float, term: Term) -> str:
    sign = ("" if weight >= 0 else "-") if place == 0 else (" + " if weight >= 0 else " - ")
    size = "" if abs(weight) == 1 else f"{abs(weight):g} x "
    return f"{sign}{size}{term}"


def excite(unit: str | Unit) -> Objective:
    """A unit, a channel, or a layer: what synthesis does where it is only given an address."""
    return _alone(Excite(as_unit(unit)))


def towards(layer: str, direction: tuple[float, ...]) -> Objective:
    """A direction in the space of a layer's channels, a number for each of them."""
    return _alone(Towards(layer, tuple(direction)))


def of_class(target: str | int) -> Objective:
    """The score of a class, by its name or number."""
    return _alone(ClassScore(target))


def diverse(layer: str) -> Objective:
    """Pictures of one batch that differ from each other."""
    return _alone(Diverse(layer))


def _alone(term: Term) -> Objective:
    return Objective(((1.0, term),))


def as_objective(wanted: "str | Unit | Objective") -> Objective:
    """An objective, or that of an address."""
    if isinstance(wanted, Objective):
        if not wanted.terms:
            raise RetroscopeError("an objective without terms; excite('conv1:0') makes one")
        return wanted
    return excite(wanted)
