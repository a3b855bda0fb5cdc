"""How patterns are made: those of one layer side by side, stage by stage, step by step."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
import torch.nn.functional as F

from retroscope.engine.batching import Size
from retroscope.engine.intercept import undisturbed
from retroscope.engine.memory import budget, in_batches, is_out_of_memory
from retroscope.errors import RetroscopeError
from retroscope.methods.synthesis.batch_objective import Scorer, bind, labelled
from retroscope.methods.synthesis.objective import Objective
from retroscope.methods.synthesis.optimisation import Climb, standardised
from retroscope.methods.synthesis.placement import Site, site_of
from retroscope.methods.synthesis.recipes import Recipe
from retroscope.methods.synthesis.view import Place, View
from retroscope.network import AnyImage, Network, checked
from retroscope.results.values import Pattern, Picture
from retroscope.unit import Unit

_SEEDS = 10**18

CAVEATS = (
    "Natural patches explain a unit better than synthetic pictures (Borowski 2021): look at the "
    "patches first, at this beside them.",
    "It shows one thing that excites the unit most, not all that excites it, and a network can be "
    "made so that its patterns mislead (Geirhos 2024).",
)
"""What a reader of every pattern should know."""


@dataclass(frozen=True, eq=False)
class Step:
    """How far the work is: steps of single patterns, of all that there are to do.

    The batch under way is at its `step`, counted from 1; `rows` are the places of its patterns
    among those asked for, and `pictures` tells what they look like just now.
    """

    done: int
    total: int
    step: int
    rows: Sequence[int]
    pictures: Callable[[], list[Picture]]


Watcher = Callable[[Step], object]


@dataclass(frozen=True, eq=False)
class Order:
    """What is asked for: an objective and a seed for each pattern, and a seed for the transforms.

    `together`: the patterns know of each other, so that they cannot be made in parts.
    """

    recipe: Recipe
    objectives: Sequence[Objective]
    seeds: Sequence[int]
    seed: int
    together: bool = False


def made_of(
    net: Network,
    order: Order,
    size: int | None,
    *,
    start: AnyImage | None,
    watch: Watcher | None,
) -> list[Pattern]:
    """The patterns in the order asked."""
    recipe, found = order.recipe, dict[int, Pattern]()
    _check_seeds(order)
    image = None if start is None else _image(net, start)
    with undisturbed(net.module), _memory_is_enough():
        groups = _grouped(net, order, size if image is None else size or max(image.shape[2:]))
        counter = _Counter(len(order.objectives) * recipe.ascent.steps * recipe.stages, watch)
        for site, rows in groups.items():
            job = _Job(net, order, site, image, counter)
            for patterns in in_batches(rows, job.at_once(len(rows)), job.patterns):
                found.update(patterns)
    return [found[n] for n in range(len(order.objectives))]


def _check_seeds(order: Order) -> None:
    for seed in order.seeds:
        if abs(seed) >= _SEEDS:
            raise RetroscopeError(f"no seed {seed}; give one of 18 digits or fewer")


@contextmanager
def _memory_is_enough() -> Iterator[None]:
    """For canvases so large that not even one can be tried."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RetroscopeError("memory ran out on one picture; give a smaller size") from error


def _grouped(net: Network, order: Order, size: int | None) -> dict[Site, list[int]]:
    groups: dict[Site, list[int]] = defaultdict(list)
    sites: dict[Objective, Site] = {}
    for row, objective in enumerate(order.objectives):
        if objective not in sites:
            sites[objective] = site_of(net, objective, order.recipe, size)
        groups[sites[objective]].append(row)
    return groups


def _image(net: Network, start: AnyImage) -> torch.Tensor:
    """A picture to begin with, from 0 to 1."""
    numbers = net.prepare(start).numbers.float()[None]
    mean, std = (
        torch.tensor(each)[:, None, None]
        for each in (net.preprocessing.mean, net.preprocessing.std)
    )
    return (numbers.cpu() * std + mean).clamp(0, 1)


class _Counter:
    """Tells a watcher how many steps of all patterns are done."""

    def __init__(self, total: int, watch: Watcher | None) -> None:
        self._total, self._watch, self.done = total, watch, 0

    def told(self, step: int, rows: Sequence[int], pictures: Callable[[], list[Picture]]) -> None:
        """The patterns of these rows are one step further."""
        self.done += len(rows)
        if self._watch is not None:
            self._watch(Step(self.done, self._total, step, rows, pictures))


Numbered = list[tuple[int, Pattern]]


@dataclass(frozen=True, eq=False)
class _Job:
    """Patterns that are looked for at one site."""

    net: Network
    order: Order
    site: Site
    image: torch.Tensor | None
    counter: _Counter

    def at_once(self, count: int) -> int:
        """How many patterns fit into one batch."""
        if self.order.together:
            return count
        view = self.site.view(self.net, self.site.size)
        room = budget(self.net.device)
        fits = min(view.at_once(step, room) for step in self.site.steps)
        return max(fits // self.order.recipe.copies, 1)

    def patterns(self, rows: Sequence[int]) -> Numbered:
        """The patterns of some requests, made side by side."""
        recipe = self.order.recipe
        generator = torch.Generator().manual_seed(self.order.seed)
        sizes = recipe.sizes(*self.site.size)
        begun = sizes[0] if self.image is None else self.site.size
        climb = self._climb(rows, begun, generator)
        numbers = self._start(climb, rows)
        first = self._climb(rows, self.site.size, generator)
        before = first.scorer(self._quantised(first, _regrown(first, climb, numbers))[1])
        for stage, size in enumerate(sizes):
            last, climb = climb, self._climb(rows, size, generator, stage)
            numbers = _regrown(climb, last, numbers)
            climb.run(numbers)
        return self._finished(rows, climb, numbers.detach(), before)

    def _climb(
        self, rows: Sequence[int], size: Size, generator: torch.Generator, stage: int = 0
    ) -> Climb:
        net, recipe = self.net, self.order.recipe
        channels = net.preprocessing.channels + (recipe.opacity == "alpha")
        climb: list[Climb] = []

        def told(step: int, numbers: torch.Tensor) -> None:
            at = stage * recipe.ascent.steps + step
            self.counter.told(at, rows, lambda: self._quantised(climb[0], numbers)[0])

        shape = len(rows), channels, *size
        scorer = self._scorer(self.site.view(net, size), rows)
        climb.append(Climb(recipe, scorer, net.preprocessing, shape, generator, told))
        return climb[0]

    def _scorer(self, view: View, rows: Sequence[int]) -> Scorer:
        bound = [
            one
            for place, row in enumerate(rows)
            for one in bind(self.net, view.survey.size, self.order.objectives[row], place)
        ]
        return Scorer.of(view, bound, len(rows))

    def _start(self, climb: Climb, rows: Sequence[int]) -> torch.Tensor:
        canvas, shape = self.order.recipe.canvas, climb.shape
        one = (1, *shape[1:])
        seeds = [torch.Generator().manual_seed(self.order.seeds[row]) for row in rows]
        numbers = torch.cat([canvas.start(one, seed) for seed in seeds])
        if self.image is not None:
            fitted = canvas.fitted(_resized(self.image, shape[2:]))
            numbers[:, : fitted.shape[1]] = fitted
        return numbers.to(self.net.device)

    @torch.no_grad()
    def _quantised(self, climb: Climb, numbers: torch.Tensor) -> tuple[list[Picture], torch.Tensor]:
        """The pictures as a screen shows them, and exactly those as the network takes them."""
        levels = (climb.composed(numbers).clamp(0, 1) * 255).round()
        shown = levels.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8)
        fed = standardised(levels / 255, self.net.preprocessing)
        return [_in_colour(each) for each in shown], fed

    def _finished(
        self, rows: Sequence[int], climb: Climb, numbers: torch.Tensor, before: torch.Tensor
    ) -> Numbered:
        pictures, fed = self._quantised(climb, numbers)
        scores, peaks = climb.scorer(fed).tolist(), self._peaks(climb.scorer, fed, rows)
        opacity = climb.opacity(numbers)
        pixels = fed.permute(0, 2, 3, 1).float().cpu().numpy()
        recipe = self.order.recipe
        return [
            (
                row,
                Pattern(
                    pixels=pixels[n].copy(),
                    objective=str(labelled(self.net, self.order.objectives[row])),
                    activation=scores[n] if peaks[n] is None else float(peaks[n] or 0),
                    recipe=recipe.name,
                    seed=self.order.seeds[row],
                    steps=recipe.ascent.steps * recipe.stages,
                    score=scores[n],
                    started_at=float(before[n]),
                    picture=pictures[n],
                    unit=self._unit(row),
                    opacity=None if opacity is None else opacity[n].cpu().numpy(),
                    notes=self._notes(climb, n, scores[n]),
                    caveats=CAVEATS,
                ),
            )
            for n, row in enumerate(rows)
        ]

    def _unit(self, row: int) -> Unit | None:
        unit = self.order.objectives[row].unit
        return None if unit is None else checked(unit, self.net.layer(unit.layer))

    @torch.no_grad()
    def _peaks(self, scorer: Scorer, fed: torch.Tensor, rows: Sequence[int]) -> list[float | None]:
        """What the channel of each row reaches at its strongest position."""
        units = [self._unit(row) for row in rows]
        if any(unit is None or unit.channel is None for unit in units):
            return [None] * len(rows)
        found: list[float | None] = []

        def show(maps: torch.Tensor, origin: Place) -> None:
            for own, unit in zip(maps, units, strict=True):
                assert unit is not None
                assert unit.channel is not None
                found.append(float(_where(own[unit.channel], unit.position, origin).amax()))

        (step,) = self.site.steps
        scorer.view.run(fed, {step: show})
        return found

    def _notes(self, climb: Climb, n: int, score: float) -> tuple[str, ...]:
        notes = [*self.net.remarks, *self.site.notes(climb.scorer.view)]
        if not isfinite(score):
            notes.append(f"the activation is not finite ({score})")
        elif not climb.alive[n]:
            notes.append(
                "nothing that was tried moves this unit: its gradient stayed zero, and the "
                "picture is little more than the noise that it began with"
            )
        elif climb.redirected[n]:
            notes.append(
                "every way to the unit was shut at the start, so that its first gradients were "
                "led through the shut rectifiers"
            )
        return tuple(notes)


def _where(own: torch.Tensor, position: Place | None, origin: Place) -> torch.Tensor:
    if position is None:
        return own
    return own[position[0] - origin[0], position[1] - origin[1]]


def _regrown(climb: Climb, last: Climb, numbers: torch.Tensor) -> torch.Tensor:
    """The same pictures on a canvas of another size."""
    numbers = numbers.detach()
    if climb.shape == last.shape:
        return numbers
    with torch.no_grad():
        planes, opacity = last.parted(numbers)
        shown = planes if opacity is None else torch.cat([planes, opacity], dim=1)
        return climb.recipe.canvas.fitted(_resized(shown, climb.shape[2:]))


def _resized(pictures: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if tuple(pictures.shape[2:]) == tuple(size):
        return pictures
    grown = F.interpolate(pictures, tuple(size), mode="bicubic", align_corners=False)
    return grown.clamp(0, 1)


def _in_colour(levels: Picture) -> Picture:
    """Red, green and blue; the mean of any other number of channels as grey."""
    if levels.shape[2] == 3:
        return levels
    grey = np.rint(levels.mean(axis=2, keepdims=True)).astype(np.uint8)
    return np.repeat(grey, 3, axis=2)
