"""Objectives: what a pattern is optimised for, as a weighted sum of terms (lucid's `objectives`).

Olah et al. 2017 for neurons, channels, layers, directions and diversity.
"""

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Self

from retroscope.argument_types import check_arguments
from retroscope.errors import RetroscopeError
from retroscope.methods.output_targets import OutputFunction, function_name, is_path, parse_path
from retroscope.unit import Unit, as_unit


@dataclass(frozen=True)
class UnitTerm:
    """The mean activation of a channel, or the activation at one position.

    For a whole layer, the mean of its squared maps (DeepDream).
    """

    unit: Unit

    def __str__(self) -> str:
        return str(self.unit)


@dataclass(frozen=True)
class DirectionTerm:
    """The mean over positions of the dot product of a layer's channels with a direction."""

    layer: str
    direction: tuple[float, ...]

    def __str__(self) -> str:
        return f"a direction of {self.layer}"


@dataclass(frozen=True)
class ClassTerm:
    """The score of a class, before a final softmax or sigmoid."""

    target: str | int

    def __str__(self) -> str:
        return f"class {self.target}"


@dataclass(frozen=True, eq=False)
class OutputTerm:
    """A number among the outputs by its path, or what a function computes from the outputs."""

    output: str | OutputFunction

    def __str__(self) -> str:
        if isinstance(self.output, str):
            return self.output
        return f"{function_name(self.output)} of the outputs"


@dataclass(frozen=True)
class DiversityTerm:
    """How much a pattern differs from the others of its batch in the texture of a layer.

    Minus the mean cosine between the patterns' Gram matrices, multiplied by the absolute score of
    the pattern's other terms, so one weight fits every network.
    """

    layer: str

    def __str__(self) -> str:
        return f"diversity of {self.layer}"


Term = UnitTerm | DirectionTerm | ClassTerm | OutputTerm | DiversityTerm


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms. Objectives can be added, subtracted and multiplied by a number.

    >>> str(excite("conv5_3:42") - 0.5 * excite("conv5_3:7"))
    'conv5_3:42 - 0.5 x conv5_3:7'
    """

    terms: tuple[tuple[float, Term], ...]

    def __add__(self, other: "Objective") -> Self:
        return replace(self, terms=(*self.terms, *other.terms))

    def __mul__(self, factor: float) -> Self:
        return replace(self, terms=tuple((factor * weight, term) for weight, term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> Self:
        return self * -1

    def __sub__(self, subtrahend: "Objective") -> Self:
        return self + -subtrahend

    def __str__(self) -> str:
        return "".join(
            _format_term(index, weight, term) for index, (weight, term) in enumerate(self.terms)
        )

    @property
    def unit(self) -> Unit | None:
        """The unit, if the objective excites a single one; diversity terms do not count."""
        main = [
            (weight, term) for weight, term in self.terms if not isinstance(term, DiversityTerm)
        ]
        if len(main) != 1:
            return None
        weight, term = main[0]
        return term.unit if isinstance(term, UnitTerm) and weight > 0 else None


def _format_term(index: int, weight: float, term: Term) -> str:
    minus = weight < 0
    sign = ("-" if minus else "") if index == 0 else (" - " if minus else " + ")
    factor = "" if abs(weight) == 1 else f"{abs(weight):g} x "
    return f"{sign}{factor}{term}"


def excite(unit: str | Unit) -> Objective:
    """The activation of a unit, channel or layer; a bare address stands for this objective."""
    return _single_term(UnitTerm(as_unit(unit)))


@check_arguments
def excite_direction(layer: str, direction: tuple[float, ...]) -> Objective:
    """A direction in a layer's activation space: one number per channel."""
    return _single_term(DirectionTerm(layer, tuple(direction)))


def excite_class(target: str | int) -> Objective:
    """The score of a class, by name or number.

    Of a segmenter, the mean logit of the class over all pixels, or that at one: `cat@120,80`.
    """
    if not isinstance(target, str | Integral):
        raise RetroscopeError(f"a class is a name or a number, not {target!r}; give one at a time")
    return _single_term(ClassTerm(target))


def excite_output(output: str | OutputFunction) -> Objective:
    """A number among what the network returns for one image.

    `output` is its path, such as `output[0]["scores"][3]`, or a function of the outputs that
    computes it in a tensor.

    >>> str(excite_output("output[logits][0, 3]") - excite_output("output[logits][0, 7]"))
    'output[logits][0, 3] - output[logits][0, 7]'
    """
    if callable(output):
        return _single_term(OutputTerm(output))
    if not is_path(output):
        raise RetroscopeError(
            f"{output!r} is not a number among the outputs; give a path such as output[0][3], or a "
            "function of the outputs"
        )
    parse_path(output.strip())
    return _single_term(OutputTerm(output.strip()))


def diversity(layer: str) -> Objective:
    """How much the patterns of a batch differ from each other in a layer."""
    return _single_term(DiversityTerm(layer))


def _single_term(term: Term) -> Objective:
    return Objective(((1.0, term),))


ObjectiveLike = str | Unit | Objective
"""An objective, or the address of a unit to excite."""


def as_objective(objective: ObjectiveLike) -> Objective:
    """Convert an address to the objective of exciting it; refuse an objective without terms."""
    if not isinstance(objective, Objective):
        return excite(objective)
    if not objective.terms:
        raise RetroscopeError("an objective without terms; create one with excite('conv1:0')")
    return objective
