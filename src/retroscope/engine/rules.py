"""Backward rules: what an operation does to the signal on the way back, by the operation's role.

An operation whose role has no rule in the book passes the plain gradient.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch

from retroscope.engine.call_rules import CallRule
from retroscope.engine.linear_rules import ByWeights, FoldedNorm, as_mask
from retroscope.engine.operations import Role
from retroscope.engine.relevance import (
    ConstantAttention,
    ConstantDeviation,
    ConstantGate,
    ConstantWeights,
    Epsilon,
    Gamma,
    MarkedGate,
    MarkedWeights,
    Secant,
)
from retroscope.errors import choose

Signal = torch.Tensor


@dataclass(frozen=True)
class Rule:
    """Turns the signal that arrives at an operation's output into the signal at its input.

    `active` is where the operation's output is above zero. It is passed only to a rule that
    `needs_active_mask`, so the others do not have to store it.
    """

    name: str
    back: Callable[[Signal, torch.Tensor | None], Signal]
    needs_active_mask: bool = False


def _rectify(signal: Signal, _active: torch.Tensor | None) -> Signal:
    return signal.clamp(min=0)


def _rectify_and_mask(signal: Signal, active: torch.Tensor | None) -> Signal:
    assert active is not None
    return signal.clamp(min=0).mul_(as_mask(active, signal))


def _pass_through(signal: Signal, _active: torch.Tensor | None) -> Signal:
    return signal


RECTIFY = Rule("rectify the signal", _rectify)
RECTIFY_AND_MASK = Rule("rectify and mask", _rectify_and_mask, needs_active_mask=True)
PASS = Rule("pass through", _pass_through)


AnyRule = Rule | CallRule


@dataclass(frozen=True)
class RuleBook:
    """The rules of one method, by the role of the operation.

    `contrast` subtracts from a projection what all channels at the unit's position share.
    """

    name: str
    rules: Mapping[Role, AnyRule] = field(default_factory=dict)
    contrast: bool = False

    @property
    def forward_cost(self) -> float:
        """About what a pass forward costs, with all that the rules compute once, in passes back.

        It is more than one, since a pass back computes only where the signal is not zero.
        """
        return 5 if Role.LINEAR in self.rules else 3


GRADIENT = RuleBook("gradient")
"""The plain gradient everywhere (Simonyan et al. 2014)."""

DECONVNET = RuleBook("deconvnet", {Role.RECTIFIER: RECTIFY, Role.RESPONSE_NORM: PASS})
"""A rectifier rectifies the signal itself, wherever it was active (Zeiler & Fergus 2014)."""

GUIDED = RuleBook("guided", {Role.RECTIFIER: RECTIFY_AND_MASK})
"""A rectifier rectifies the signal and passes it only where it was active (Springenberg 2015)."""

RELEVANCE = RuleBook(
    "relevance",
    {
        Role.LINEAR: ByWeights(Epsilon(), lower=Gamma()),
        Role.BATCH_NORM: FoldedNorm(),
        Role.RECTIFIER: Secant(),
        Role.RESPONSE_NORM: Secant(),
        Role.LAYER_NORM: ConstantDeviation(),
        Role.SQUASHER: MarkedGate(),
        Role.PRODUCT: ConstantGate(),
        Role.SOFTMAX: MarkedWeights(),
        Role.MATRIX_PRODUCT: ConstantWeights(),
        Role.ATTENTION: ConstantAttention(),
    },
)
"""Layer-wise relevance propagation, epsilon above and gamma below (Montavon 2019).

The upper layers decide which of the features below a unit uses: there no rule favours any. The
lower ones decide how it looks: there gamma keeps edges whole (`docs/decisions/0017`).
"""

CONTRAST = replace(RELEVANCE, name="contrast", contrast=True)
"""What a unit adds to what all channels at its position share, by the rules of relevance."""

RULE_BOOKS = {book.name: book for book in (DECONVNET, RELEVANCE, CONTRAST, GUIDED, GRADIENT)}


def rule_book(rules: str | RuleBook) -> RuleBook:
    """The rule book of this name."""
    return rules if isinstance(rules, RuleBook) else choose("rule book", rules, RULE_BOOKS)
