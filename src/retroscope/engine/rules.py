"""How a signal passes an operation on its way back: one rule for each role, a book of them.

An operation whose role has no rule in the book passes the plain gradient.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from retroscope.engine.operations import Role
from retroscope.errors import RetroscopeError, did_you_mean

Signal = torch.Tensor


@dataclass(frozen=True)
class Rule:
    """What arrives from above, turned into what goes on below.

    `fires` is where the operation's output is above zero; only a rule that `asks_where_it_fires`
    is given it, so that the others need not keep it.
    """

    name: str
    back: Callable[[Signal, torch.Tensor | None], Signal]
    asks_where_it_fires: bool = False


def _positive(signal: Signal, _fires: torch.Tensor | None) -> Signal:
    return signal.clamp(min=0)


def _positive_where_it_fires(signal: Signal, fires: torch.Tensor | None) -> Signal:
    assert fires is not None
    return signal.clamp(min=0).mul_(fires)


def _unchanged(signal: Signal, _fires: torch.Tensor | None) -> Signal:
    return signal


RECTIFY = Rule("rectify the signal", _positive)
RECTIFY_AND_MASK = Rule("rectify and mask", _positive_where_it_fires, asks_where_it_fires=True)
PASS = Rule("pass through", _unchanged)


@dataclass(frozen=True)
class RuleBook:
    """The rules of one method, by the role of the operation."""

    name: str
    rules: Mapping[Role, Rule] = field(default_factory=dict)


GRADIENT = RuleBook("gradient")
"""The plain gradient everywhere (Simonyan et al. 2014)."""

DECONVNET = RuleBook("deconvnet", {Role.RECTIFIER: RECTIFY, Role.RESPONSE_NORM: PASS})
"""A rectifier rectifies the signal itself, wherever it fired (Zeiler & Fergus 2014)."""

GUIDED = RuleBook("guided", {Role.RECTIFIER: RECTIFY_AND_MASK})
"""A rectifier rectifies the signal, and lets it pass only where it fired (Springenberg 2015)."""

RULE_BOOKS = {book.name: book for book in (DECONVNET, GUIDED, GRADIENT)}


def rule_book(rules: str | RuleBook) -> RuleBook:
    """The rule book of this name."""
    if isinstance(rules, RuleBook):
        return rules
    if rules not in RULE_BOOKS:
        hint = did_you_mean(rules, RULE_BOOKS) or f"there are {', '.join(RULE_BOOKS)}"
        raise RetroscopeError(f"no rules {rules!r}; {hint}")
    return RULE_BOOKS[rules]
