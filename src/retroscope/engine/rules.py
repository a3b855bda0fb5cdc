"""Backward rules: what an operation does to the signal on the way back, by the operation's role.

An operation whose role has no rule in the book passes the plain gradient.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from retroscope.engine.operations import Role
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
    return signal.clamp(min=0).mul_(active)


def _pass_through(signal: Signal, _active: torch.Tensor | None) -> Signal:
    return signal


RECTIFY = Rule("rectify the signal", _rectify)
RECTIFY_AND_MASK = Rule("rectify and mask", _rectify_and_mask, needs_active_mask=True)
PASS = Rule("pass through", _pass_through)


@dataclass(frozen=True)
class RuleBook:
    """The rules of one method, by the role of the operation."""

    name: str
    rules: Mapping[Role, Rule] = field(default_factory=dict)


GRADIENT = RuleBook("gradient")
"""The plain gradient everywhere (Simonyan et al. 2014)."""

DECONVNET = RuleBook("deconvnet", {Role.RECTIFIER: RECTIFY, Role.RESPONSE_NORM: PASS})
"""A rectifier rectifies the signal itself, wherever it was active (Zeiler & Fergus 2014)."""

GUIDED = RuleBook("guided", {Role.RECTIFIER: RECTIFY_AND_MASK})
"""A rectifier rectifies the signal and passes it only where it was active (Springenberg 2015)."""

RULE_BOOKS = {book.name: book for book in (DECONVNET, GUIDED, GRADIENT)}


def rule_book(rules: str | RuleBook) -> RuleBook:
    """The rule book of this name."""
    return rules if isinstance(rules, RuleBook) else choose("rule book", rules, RULE_BOOKS)
