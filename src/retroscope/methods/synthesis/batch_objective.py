"""Objectives of a batch as one calculation on the maps of the layers that they name."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from sys import maxsize
from typing import Self

import torch

from retroscope.engine.batching import Size
from retroscope.engine.rules import GRADIENT, RuleBook
from retroscope.errors import RetroscopeError
from retroscope.methods.synthesis.objective import (
    ClassScore,
    Excite,
    Objective,
    Term,
    Towards,
)
from retroscope.methods.synthesis.view import CLASSES, Place, View
from retroscope.methods.targets import target_of
from retroscope.network import Network, checked
from retroscope.results.values import Layer


@dataclass(frozen=True)
class Bound:
    """A term of one picture's objective, its names resolved in a network."""

    row: int
    weight: float
    term: Term
    step: int
    kind: str


@dataclass(frozen=True)
class Part:
    """The terms of one kind at one step, as rows, weights and what each picks."""

    rows: torch.Tensor
    weights: torch.Tensor
    terms: Sequence[Term]


Maps = torch.Tensor
"""(pictures, copies of each, channels, height, width)"""


def bind(net: Network, size: Size, objective: Objective, row: int) -> Iterator[Bound]:
    """An objective's terms at the steps of a network that runs pictures of this size."""
    for weight, term in objective.terms:
        if isinstance(term, ClassScore):
            yield Bound(row, weight, term, CLASSES, "class")
            continue
        layer = net.layer(term.unit.layer if isinstance(term, Excite) else term.layer, size)
        yield Bound(row, weight, _checked(term, layer), layer.index, _kind(term))


def _kind(term: Term) -> str:
    if not isinstance(term, Excite):
        return "towards" if isinstance(term, Towards) else "diverse"
    if term.unit.channel is None:
        return "layer"
    return "channel" if term.unit.position is None else "position"


def _checked(term: Term, layer: Layer) -> Term:
    if isinstance(term, Excite):
        return Excite(checked(term.unit, layer))
    if isinstance(term, Towards) and len(term.direction) != layer.channels:
        raise RetroscopeError(
            f"a direction of {len(term.direction)} numbers in {layer.name}; it has "
            f"{layer.channels} channels, give a number for each"
        )
    return term


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores `count` pictures under a view, each the mean over its copies, which stand together."""

    view: View
    count: int
    parts: Mapping[int, Sequence[tuple[str, Part]]]

    @classmethod
    def of(cls, view: View, bound: Sequence[Bound], count: int) -> Self:
        """A scorer of so many pictures' bound terms."""
        by_step: dict[int, list[Bound]] = defaultdict(list)
        for one in bound:
            by_step[one.step].append(one)
        device = view.net.device
        return cls(
            view, count, {step: list(_parts(ours, device)) for step, ours in by_step.items()}
        )

    def __call__(self, pictures: torch.Tensor, book: RuleBook = GRADIENT) -> torch.Tensor:
        """The score of each picture; diversity counts in units of it."""
        found: dict[bool, list[torch.Tensor]] = {True: [], False: []}

        def seen(parts: Sequence[tuple[str, Part]], maps: torch.Tensor, origin: Place) -> None:
            shown = maps.reshape(self.count, -1, *maps.shape[1:])
            for kind, part in parts:
                values = KINDS[kind](self.view.net, shown, part, origin).float()
                found[kind == "diverse"].append(self._by_row(part, values))

        self.view.run(
            pictures, {step: partial(seen, ours) for step, ours in self.parts.items()}, book
        )
        plain = _total(found[False], self.count, pictures)
        return plain + plain.detach().abs() * _total(found[True], self.count, pictures)

    def _by_row(self, part: Part, values: torch.Tensor) -> torch.Tensor:
        nothing = torch.zeros(self.count, device=values.device)
        return nothing.index_add(0, part.rows, part.weights * values)


def _total(found: Sequence[torch.Tensor], count: int, like: torch.Tensor) -> torch.Tensor:
    return torch.stack(list(found)).sum(0) if found else torch.zeros(count, device=like.device)


def _parts(bound: Sequence[Bound], device: torch.device) -> Iterator[tuple[str, Part]]:
    kinds: dict[str, list[Bound]] = defaultdict(list)
    for one in bound:
        kinds[one.kind].append(one)
    for kind, ours in kinds.items():
        rows = torch.tensor([one.row for one in ours], device=device)
        weights = torch.tensor([one.weight for one in ours], device=device)
        yield kind, Part(rows, weights, [one.term for one in ours])


def channels_of(part: Part) -> list[int]:
    """Which channel each term is about."""
    found = [term.unit.channel for term in part.terms if isinstance(term, Excite)]
    return [channel for channel in found if channel is not None]


def _channel(net: Network, maps: Maps, part: Part, origin: Place) -> torch.Tensor:
    del net, origin
    return maps[part.rows, :, channels_of(part)].mean((1, 2, 3))


def _position(net: Network, maps: Maps, part: Part, origin: Place) -> torch.Tensor:
    del net
    places = [term.unit.position for term in part.terms if isinstance(term, Excite)]
    rows = [place[0] - origin[0] for place in places if place is not None]
    columns = [place[1] - origin[1] for place in places if place is not None]
    return maps[part.rows, :, channels_of(part), rows, columns].mean(1)


def _layer(net: Network, maps: Maps, part: Part, origin: Place) -> torch.Tensor:
    del net, origin
    return maps[part.rows].square().mean((1, 2, 3, 4))


def _towards(net: Network, maps: Maps, part: Part, origin: Place) -> torch.Tensor:
    del net, origin
    directions = [term.direction for term in part.terms if isinstance(term, Towards)]
    wanted = torch.tensor(directions, dtype=maps.dtype, device=maps.device)
    return torch.einsum("nkchw,nc->nkhw", maps[part.rows], wanted).mean((1, 2, 3))


def _class(net: Network, maps: Maps, part: Part, origin: Place) -> torch.Tensor:
    del origin
    asked = [term.target for term in part.terms if isinstance(term, ClassScore)]
    classes = [target_of(net, target, maps.shape[2]).index for target in asked]
    return maps[part.rows, :, classes].mean((1, 2, 3))


def labelled(net: Network, objective: Objective) -> Objective:
    """The objective of classes that the network has, called by their labels where it has some."""
    return Objective(tuple((weight, _labelled(net, term)) for weight, term in objective.terms))


def _labelled(net: Network, term: Term) -> Term:
    if not isinstance(term, ClassScore):
        return term
    target = target_of(net, term.target, maxsize)
    return ClassScore(target.label or target.index)


def _diverse(net: Network, maps: Maps, part: Part, origin: Place) -> torch.Tensor:
    """Minus the mean cosine of each picture's matrix with those of the others."""
    del net, origin
    flat = maps[part.rows].flatten(3).transpose(1, 2).flatten(2)
    matrices = torch.einsum("ncp,ndp->ncd", flat, flat).flatten(1)
    unit = matrices / matrices.norm(dim=1, keepdim=True).clamp(min=1e-12)
    alike = unit @ unit.T
    others = max(len(alike) - 1, 1)
    found: torch.Tensor = (alike.diagonal() - alike.sum(1)) / others
    return found


KINDS: dict[str, Callable[[Network, Maps, Part, Place], torch.Tensor]] = {
    "channel": _channel,
    "position": _position,
    "layer": _layer,
    "towards": _towards,
    "class": _class,
    "diverse": _diverse,
}
"""What each kind of term makes of the maps: a number for each row."""
