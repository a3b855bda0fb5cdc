"""Score a batch of patterns by their objectives, in one forward pass for all terms."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch

from retroscope.engine.batching import Size
from retroscope.engine.rules import GRADIENT, RuleBook
from retroscope.errors import RetroscopeError
from retroscope.methods.class_scores import NetworkOutput
from retroscope.methods.output_targets import read_number
from retroscope.methods.segment_targets import class_and_pixel, split_place
from retroscope.methods.synthesis.canvas_view import (
    CLASS_SCORES,
    OUTPUTS,
    CanvasView,
    Position,
)
from retroscope.methods.synthesis.objectives import (
    ClassTerm,
    DirectionTerm,
    Objective,
    OutputTerm,
    Term,
    UnitTerm,
)
from retroscope.methods.targets import resolve_target
from retroscope.network import Network
from retroscope.results.layer_lookup import check_unit
from retroscope.results.layers import Layer


@dataclass(frozen=True)
class ResolvedTerm:
    """A term of the pattern at `row` of a batch, with the step whose maps it reads."""

    row: int
    weight: float
    term: Term
    step: int
    kind: str


@dataclass(frozen=True)
class TermGroup:
    """Terms of one kind at one step, stacked so they are computed together."""

    rows: torch.Tensor
    weights: torch.Tensor
    terms: Sequence[Term]

    @classmethod
    def stack(cls, terms: Sequence[ResolvedTerm], device: torch.device) -> Self:
        rows = torch.tensor([term.row for term in terms], device=device)
        weights = torch.tensor([term.weight for term in terms], device=device)
        return cls(rows, weights, [term.term for term in terms])

    @property
    def channels(self) -> list[int]:
        """The channel of each unit term."""
        channels = [term.unit.channel for term in self.terms if isinstance(term, UnitTerm)]
        return [channel for channel in channels if channel is not None]


BatchMaps = torch.Tensor
"""(patterns, copies of each pattern, channels, height, width)"""


def resolve_terms(
    net: Network, size: Size, objective: Objective, row: int
) -> Iterator[ResolvedTerm]:
    """Resolve an objective's names in a network, for inputs of this size."""
    for weight, term in objective.terms:
        if isinstance(term, ClassTerm):
            _refuse_detections(net, term)
            yield ResolvedTerm(row, weight, term, CLASS_SCORES, "class")
            continue
        if isinstance(term, OutputTerm):
            yield ResolvedTerm(row, weight, term, OUTPUTS, "output")
            continue
        layer = net.layer(term.unit.layer if isinstance(term, UnitTerm) else term.layer, size)
        yield ResolvedTerm(row, weight, _check_term(term, layer), layer.index, _kind(term))


def _refuse_detections(net: Network, term: ClassTerm) -> None:
    target = str(term.target)
    if target.startswith(("box:", "mask:")) and target not in net.labels:
        raise RetroscopeError(
            f"{target!r} is what a detector finds in an image, and a pattern begins as noise; give "
            "a unit, or a number among the outputs as output[...]"
        )


def _kind(term: Term) -> str:
    if not isinstance(term, UnitTerm):
        return "direction" if isinstance(term, DirectionTerm) else "diversity"
    if term.unit.channel is None:
        return "layer"
    return "channel" if term.unit.position is None else "position"


def _check_term(term: Term, layer: Layer) -> Term:
    if isinstance(term, UnitTerm):
        return UnitTerm(check_unit(term.unit, layer))
    if isinstance(term, DirectionTerm) and len(term.direction) != layer.channels:
        raise RetroscopeError(
            f"a direction of {len(term.direction)} numbers in {layer.name}, which has "
            f"{layer.channels} channels; give one number per channel"
        )
    return term


@dataclass(frozen=True, eq=False)
class ObjectiveScorer:
    """Scores `count` patterns under a view, each by the mean over its adjacent copies."""

    view: CanvasView
    count: int
    groups: Mapping[int, Sequence[tuple[str, TermGroup]]]

    @classmethod
    def of_terms(cls, view: CanvasView, terms: Sequence[ResolvedTerm], count: int) -> Self:
        """A scorer for the terms of `count` patterns."""
        by_step: dict[int, dict[str, list[ResolvedTerm]]] = defaultdict(lambda: defaultdict(list))
        for term in terms:
            by_step[term.step][term.kind].append(term)
        groups = {
            step: [
                (kind, TermGroup.stack(kind_terms, view.net.device))
                for kind, kind_terms in by_kind.items()
            ]
            for step, by_kind in by_step.items()
        }
        return cls(view, count, groups)

    def __call__(self, pixels: torch.Tensor, book: RuleBook = GRADIENT) -> torch.Tensor:
        """The score of each pattern, shape (count,); `book` decides the backward pass."""
        plain: list[torch.Tensor] = []
        diversity: list[torch.Tensor] = []

        def read_maps(
            groups: Sequence[tuple[str, TermGroup]], maps: torch.Tensor, origin: Position
        ) -> None:
            batch_maps = maps.reshape(self.count, -1, *maps.shape[1:])
            for kind, group in groups:
                values = KINDS[kind](self.view.net, batch_maps, group, origin).float()
                (diversity if kind == "diversity" else plain).append(self._add_rows(group, values))

        listeners = {
            step: partial(read_maps, groups)
            for step, groups in self.groups.items()
            if step != OUTPUTS
        }
        if listeners:
            self.view.run(pixels, listeners, book)
        if OUTPUTS in self.groups:
            outputs = self.view.run_each(pixels, book)
            for _, group in self.groups[OUTPUTS]:
                plain.append(self._add_rows(group, self._score_outputs(group, outputs)))
        score = _sum(plain, self.count, pixels)
        return score + score.detach().abs() * _sum(diversity, self.count, pixels)

    def _score_outputs(self, group: TermGroup, outputs: Sequence[NetworkOutput]) -> torch.Tensor:
        """The number of each term, as the mean over the copies of its pattern."""
        copies = len(outputs) // self.count
        values = []
        for row, term in zip(group.rows.tolist(), group.terms, strict=True):
            assert isinstance(term, OutputTerm)
            of_row = outputs[row * copies : (row + 1) * copies]
            numbers = [read_number(output, term.output).float() for output in of_row]
            values.append(torch.stack(numbers).mean())
        return torch.stack(values)

    def _add_rows(self, group: TermGroup, values: torch.Tensor) -> torch.Tensor:
        zeros = torch.zeros(self.count, device=values.device)
        return zeros.index_add(0, group.rows, group.weights * values)


def _sum(scores: Sequence[torch.Tensor], count: int, like: torch.Tensor) -> torch.Tensor:
    return torch.stack(list(scores)).sum(0) if scores else torch.zeros(count, device=like.device)


def _mean_per_row(values: torch.Tensor) -> torch.Tensor:
    return values.mean(tuple(range(1, values.dim())))


def _score_channels(
    net: Network, maps: BatchMaps, group: TermGroup, origin: Position
) -> torch.Tensor:
    del net, origin
    return _mean_per_row(maps[group.rows, :, group.channels])


def _score_positions(
    net: Network, maps: BatchMaps, group: TermGroup, origin: Position
) -> torch.Tensor:
    del net
    positions = [term.unit.position for term in group.terms if isinstance(term, UnitTerm)]
    places = [
        [position[axis] - start for position in positions if position is not None]
        for axis, start in enumerate(origin)
    ]
    units: tuple[list[int], ...] = (group.rows.tolist(), group.channels, *places)
    return maps.movedim(1, -1)[units].mean(1)


def _score_layers(
    net: Network, maps: BatchMaps, group: TermGroup, origin: Position
) -> torch.Tensor:
    del net, origin
    return _mean_per_row(maps[group.rows].square())


def _score_directions(
    net: Network, maps: BatchMaps, group: TermGroup, origin: Position
) -> torch.Tensor:
    del net, origin
    vectors = [term.direction for term in group.terms if isinstance(term, DirectionTerm)]
    directions = torch.tensor(vectors, dtype=maps.dtype, device=maps.device)
    return _mean_per_row(torch.einsum("nkc...,nc->nk...", maps[group.rows], directions))


def _score_classes(
    net: Network, maps: BatchMaps, group: TermGroup, origin: Position
) -> torch.Tensor:
    del origin
    targets = [term.target for term in group.terms if isinstance(term, ClassTerm)]
    scores = maps[0, 0].flatten(1)[:, 0]
    if maps[0, 0, 0].numel() != 1:
        return torch.stack(
            [
                _score_class_in_maps(net, maps[row], target)
                for row, target in zip(group.rows.tolist(), targets, strict=True)
            ]
        )
    classes = [resolve_target(net, target, scores).index for target in targets]
    return _mean_per_row(maps[group.rows, :, classes])


def _score_class_in_maps(net: Network, maps: torch.Tensor, target: str | int) -> torch.Tensor:
    """The mean logit of a segmenter's class over all pixels, or that at one pixel.

    `maps` are those of the copies of one pattern (copies, classes, height, width).
    """
    size = tuple(maps.shape[2:])
    index, pixel = class_and_pixel(net, target, maps[0].flatten(1)[:, 0], size)
    chosen = maps[:, index]
    place: tuple[slice | int, ...] = (slice(None), *(pixel or ()))
    return chosen[place].mean()


def _score_diversity(
    net: Network, maps: BatchMaps, group: TermGroup, origin: Position
) -> torch.Tensor:
    """Minus the mean cosine of each pattern's Gram matrix with those of the others."""
    del net, origin
    features = maps[group.rows].flatten(3).transpose(1, 2).flatten(2)
    gram_matrices = torch.einsum("ncp,ndp->ncd", features, features).flatten(1)
    normalised = gram_matrices / gram_matrices.norm(dim=1, keepdim=True).clamp(min=1e-12)
    cosines = normalised @ normalised.T
    pairs = max(len(cosines) - 1, 1)
    scores: torch.Tensor = (cosines.diagonal() - cosines.sum(1)) / pairs
    return scores


KINDS: dict[str, Callable[[Network, BatchMaps, TermGroup, Position], torch.Tensor]] = {
    "channel": _score_channels,
    "position": _score_positions,
    "layer": _score_layers,
    "direction": _score_directions,
    "class": _score_classes,
    "diversity": _score_diversity,
}
"""How each kind of term is computed from the maps: one score for each row of the group."""


def label_classes(net: Network, objective: Objective) -> Objective:
    """The objective with each class called by its label, if the network has labels."""
    return Objective(tuple((weight, _label_class(net, term)) for weight, term in objective.terms))


def _label_class(net: Network, term: Term) -> Term:
    if not isinstance(term, ClassTerm):
        return term
    if not net.labels:
        return term if "@" in str(term.target) else ClassTerm(int(term.target))
    spec, place = split_place(net, term.target)
    target = resolve_target(net, spec, torch.zeros(len(net.labels), device="cpu"))
    name = target.label or target.index
    assert name is not None
    return ClassTerm(f"{name}@{place}" if place else name)
