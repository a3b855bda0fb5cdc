"""Render patterns: those of one layer side by side, stage by stage (lucid's `render_vis`)."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
import torch.nn.functional as F

from retroscope.engine.batching import Size
from retroscope.engine.isolation import preserve_state
from retroscope.engine.memory import in_batches, is_out_of_memory, memory_budget
from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK
from retroscope.imaging.bands import select_bands
from retroscope.imaging.decoding import RGB
from retroscope.methods.axis_lengths import Lengths
from retroscope.methods.synthesis.canvas_cost import (
    batch_lengths,
    canvas_bytes,
    refuse_large_canvas,
    step_parts,
)
from retroscope.methods.synthesis.canvas_optimisation import (
    CanvasOptimisation,
    per_channel,
    standardise,
)
from retroscope.methods.synthesis.canvas_plan import CanvasPlan, plan_canvas
from retroscope.methods.synthesis.canvas_view import CanvasView, Position
from retroscope.methods.synthesis.objective_scorer import (
    ObjectiveScorer,
    label_classes,
    resolve_terms,
)
from retroscope.methods.synthesis.objectives import Objective
from retroscope.methods.synthesis.recipes import Opacity, Recipe
from retroscope.network import AnyImage, Network
from retroscope.progress import StagePart
from retroscope.results.layer_lookup import check_unit
from retroscope.results.patterns import Pattern
from retroscope.unit import Unit

_SEED_LIMIT = 10**18

CAVEATS = (
    "Natural patches explain a unit better than synthetic images (Borowski 2021): look at the "
    "patches first, then at this pattern.",
    "A pattern shows one thing that excites the unit strongly, not everything that does, and a "
    "network can be trained so that its patterns mislead (Geirhos 2024).",
)
"""What every reader of a pattern should know."""


@dataclass(frozen=True, eq=False)
class SynthesisStep:
    """The progress of a synthesis after one step of a batch.

    `done` and `total` count steps of single patterns over all batches. `step` counts the steps of
    the current batch from 1, `indices` are the positions of its patterns in the request, and
    `images()` renders them as they are now. `parts` are all steps by the size of their canvas, and
    `memory_bytes` is about what the largest needs.
    """

    done: int
    total: int
    step: int
    indices: Sequence[int]
    images: Callable[[], list[RGB]]
    parts: Sequence[StagePart] = ()
    memory_bytes: int = 0


StepListener = Callable[[SynthesisStep], object]


@dataclass(frozen=True, eq=False)
class SynthesisRequest:
    """An objective and a noise seed for each pattern, and one seed for the transforms.

    `joint`: the objectives depend on the other patterns, so all must run in one batch.
    """

    recipe: Recipe
    objectives: Sequence[Objective]
    seeds: Sequence[int]
    transform_seed: int
    joint: bool = False


def render_patterns(
    net: Network,
    request: SynthesisRequest,
    size: Lengths | None,
    *,
    seed_image: AnyImage | None,
    progress: StepListener | None,
) -> list[Pattern]:
    """Render the patterns in the order of the request."""
    recipe, patterns = request.recipe, dict[int, Pattern]()
    _check_seeds(request)
    seed_pixels = None if seed_image is None else _seed_pixels(net, seed_image)
    if seed_pixels is not None and size is None:
        size = tuple(seed_pixels.shape[2:])
    with preserve_state(net.module), _explain_out_of_memory():
        groups = _group_by_plan(net, request, size)
        counter = _StepCounter(len(request.objectives) * recipe.total_steps, progress)
        for plan, rows in groups.items():
            canvases = recipe.copies * (len(rows) if request.joint else 1)
            refuse_large_canvas(net, plan, canvases)
            counter.memory_bytes = max(counter.memory_bytes, canvas_bytes(net, plan, canvases))
        renderers = {
            plan: _PatternRenderer(net, request, plan, seed_pixels, counter) for plan in groups
        }
        sizes = {plan: renderers[plan].batch_size(len(rows)) for plan, rows in groups.items()}
        for plan, rows in groups.items():
            counter.parts += step_parts(net, plan, recipe, batch_lengths(len(rows), sizes[plan]))
        for plan, rows in groups.items():
            for batch in in_batches(rows, sizes[plan], renderers[plan].render):
                patterns.update(batch)
    return [patterns[row] for row in range(len(request.objectives))]


def _check_seeds(request: SynthesisRequest) -> None:
    for seed in request.seeds:
        if abs(seed) >= _SEED_LIMIT:
            raise RetroscopeError(f"no seed {seed}; give one of at most 18 digits")


@contextmanager
def _explain_out_of_memory() -> Iterator[None]:
    """For canvases so large that not even one fits."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RetroscopeError("out of memory on a single image; give a smaller size") from error


def _group_by_plan(
    net: Network, request: SynthesisRequest, size: Lengths | None
) -> dict[CanvasPlan, list[int]]:
    groups: dict[CanvasPlan, list[int]] = defaultdict(list)
    plans: dict[Objective, CanvasPlan] = {}
    for row, objective in enumerate(request.objectives):
        if objective not in plans:
            plans[objective] = plan_canvas(net, objective, request.recipe, size)
        groups[plans[objective]].append(row)
    return groups


def _seed_pixels(net: Network, seed_image: AnyImage) -> torch.Tensor:
    """The image to start from, as pixels from 0 to 1 (1, channels, height, width)."""
    network_input = net.prepare(seed_image).tensor.float()[None]
    mean, std = per_channel(net.preprocessing, net.rank)
    return (network_input.cpu() * std + mean).clamp(0, 1)


class _StepCounter:
    """Counts the steps of all patterns, and reports them to a listener."""

    def __init__(self, total: int, progress: StepListener | None) -> None:
        self._total, self._progress, self._done = total, progress, 0
        self.parts: list[StagePart] = []
        self.memory_bytes = 0

    def advance(self, step: int, rows: Sequence[int], images: Callable[[], list[RGB]]) -> None:
        """Count one step of the patterns at these rows."""
        self._done += len(rows)
        if self._progress is not None:
            report = SynthesisStep(
                self._done, self._total, step, rows, images, self.parts, self.memory_bytes
            )
            self._progress(report)


IndexedPatterns = list[tuple[int, Pattern]]


@dataclass(frozen=True, eq=False)
class _PatternRenderer:
    """Renders the patterns of a request that share a canvas plan."""

    net: Network
    request: SynthesisRequest
    plan: CanvasPlan
    seed_pixels: torch.Tensor | None
    counter: _StepCounter

    def batch_size(self, count: int) -> int:
        """How many of `count` patterns to run together."""
        if self.request.joint:
            return count
        view = self.plan.view(self.net, self.plan.size)
        max_bytes = memory_budget(self.net.device)
        canvases = min(view.max_batch_size(step, max_bytes) for step in self.plan.steps)
        return max(canvases // self.request.recipe.copies, 1)

    def render(self, rows: Sequence[int]) -> IndexedPatterns:
        """Render the patterns of these rows side by side."""
        recipe = self.request.recipe
        generator = torch.Generator().manual_seed(self.request.transform_seed)
        sizes = recipe.stage_sizes(*self.plan.size)
        start_size = sizes[0] if self.seed_pixels is None else self.plan.size
        stage = self._optimisation(rows, start_size, generator)
        parameters = self._initial_parameters(stage, rows)
        full_size = self._optimisation(rows, self.plan.size, generator)
        start_pixels = self._quantise(full_size, _resize_canvas(full_size, stage, parameters))[1]
        started_at = full_size.scorer(start_pixels)
        for index, size in enumerate(sizes):
            previous, stage = stage, self._optimisation(rows, size, generator, index)
            parameters = _resize_canvas(stage, previous, parameters)
            stage.run(parameters)
        return self._collect(rows, stage, parameters.detach(), started_at)

    def _optimisation(
        self, rows: Sequence[int], size: Size, generator: torch.Generator, stage: int = 0
    ) -> CanvasOptimisation:
        net, recipe = self.net, self.request.recipe
        channels = net.preprocessing.channels + (recipe.opacity is Opacity.ALPHA_CHANNEL)

        def on_step(step: int, parameters: torch.Tensor) -> None:
            batch_step = stage * recipe.ascent.steps + step
            self.counter.advance(
                batch_step, rows, lambda: self._quantise(optimisation, parameters)[0]
            )

        shape = len(rows), channels, *size
        scorer = self._scorer(self.plan.view(net, size), rows)
        optimisation = CanvasOptimisation(
            recipe, scorer, net.preprocessing, shape, generator, on_step
        )
        return optimisation

    def _scorer(self, view: CanvasView, rows: Sequence[int]) -> ObjectiveScorer:
        terms = [
            term
            for batch_row, row in enumerate(rows)
            for term in resolve_terms(
                self.net, view.survey.size, self.request.objectives[row], batch_row
            )
        ]
        return ObjectiveScorer.of_terms(view, terms, len(rows))

    def _initial_parameters(
        self, optimisation: CanvasOptimisation, rows: Sequence[int]
    ) -> torch.Tensor:
        canvas, shape = self.request.recipe.canvas, optimisation.shape
        single = (1, *shape[1:])
        generators = [torch.Generator().manual_seed(self.request.seeds[row]) for row in rows]
        parameters = torch.cat([canvas.initialise(single, generator) for generator in generators])
        if self.seed_pixels is not None:
            encoded = canvas.from_pixels(_resize_pixels(self.seed_pixels, shape[2:]))
            parameters[:, : encoded.shape[1]] = encoded
        return parameters.to(self.net.device)

    @torch.no_grad()
    def _quantise(
        self, optimisation: CanvasOptimisation, parameters: torch.Tensor
    ) -> tuple[list[RGB], torch.Tensor]:
        """The patterns rounded to 8 bits: as images, and the same as network input."""
        levels = (optimisation.composite_over_grey(parameters).clamp(0, 1) * 255).round()
        images = levels.movedim(1, -1).cpu().numpy().astype(np.uint8)
        network_input = standardise(levels / 255, self.net.preprocessing)
        bands = self.net.preprocessing.shown_bands
        return [_as_rgb(select_bands(image, bands, axis=-1)) for image in images], network_input

    def _collect(
        self,
        rows: Sequence[int],
        optimisation: CanvasOptimisation,
        parameters: torch.Tensor,
        started_at: torch.Tensor,
    ) -> IndexedPatterns:
        """The patterns as results, with their scores and notes."""
        images, network_input = self._quantise(optimisation, parameters)
        scores = optimisation.scorer(network_input).tolist()
        peaks = self._peak_activations(optimisation.scorer, network_input, rows)
        opacity = optimisation.opacity(parameters)
        pixels = network_input.movedim(1, -1).float().cpu().numpy()
        recipe = self.request.recipe
        return [
            (
                row,
                Pattern(
                    pixels=pixels[n].copy(),
                    objective=str(label_classes(self.net, self.request.objectives[row])),
                    activation=scores[n] if peaks[n] is None else float(peaks[n] or 0),
                    recipe=recipe.name,
                    seed=self.request.seeds[row],
                    steps=recipe.total_steps,
                    score=scores[n],
                    started_at=float(started_at[n]),
                    image=images[n],
                    unit=self._unit(row),
                    opacity=None if opacity is None else opacity[n].cpu().numpy(),
                    notes=self._notes(optimisation, n, scores[n]),
                    caveats=CAVEATS,
                ),
            )
            for n, row in enumerate(rows)
        ]

    def _unit(self, row: int) -> Unit | None:
        unit = self.request.objectives[row].unit
        return None if unit is None else check_unit(unit, self.net.layer(unit.layer))

    @torch.no_grad()
    def _peak_activations(
        self, scorer: ObjectiveScorer, network_input: torch.Tensor, rows: Sequence[int]
    ) -> list[float | None]:
        """The activation of each row's unit, or the maximum over its channel's positions."""
        units = [self._unit(row) for row in rows]
        if any(unit is None or unit.channel is None for unit in units):
            return [None] * len(rows)
        peaks: list[float | None] = []

        def read_peaks(maps: torch.Tensor, origin: Position) -> None:
            for unit_maps, unit in zip(maps, units, strict=True):
                assert unit is not None
                assert unit.channel is not None
                activations = _at_position(unit_maps[unit.channel], unit.position, origin)
                peaks.append(float(activations.amax()))

        (step,) = self.plan.steps
        scorer.view.run(network_input, {step: read_peaks})
        return peaks

    def _notes(self, optimisation: CanvasOptimisation, row: int, score: float) -> tuple[str, ...]:
        notes = [*self.net.remarks, *self.plan.notes(optimisation.scorer.view)]
        if not isfinite(score):
            notes.append(f"the activation is not finite ({score})")
        elif not optimisation.has_gradient[row]:
            notes.append(
                "this unit's gradient stayed zero, so the pattern is little more than the "
                "noise it started from"
            )
        elif optimisation.was_redirected[row]:
            notes.append(
                "no rectifier on the way to this unit was active at the start, so its first "
                "gradients were passed through inactive ones"
            )
        return tuple(notes)


def _at_position(
    unit_map: torch.Tensor, position: tuple[int, ...] | None, origin: Position
) -> torch.Tensor:
    if position is None:
        return unit_map
    return unit_map[tuple(place - start for place, start in zip(position, origin, strict=True))]


def _resize_canvas(
    target: CanvasOptimisation, source: CanvasOptimisation, parameters: torch.Tensor
) -> torch.Tensor:
    """Re-encode the source's patterns as parameters of the target's size."""
    parameters = parameters.detach()
    if target.shape == source.shape:
        return parameters
    with torch.no_grad():
        pixels, opacity = source.decode(parameters)
        channels = pixels if opacity is None else torch.cat([pixels, opacity], dim=1)
        return target.recipe.canvas.from_pixels(_resize_pixels(channels, target.shape[2:]))


def _resize_pixels(pixels: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if tuple(pixels.shape[2:]) == tuple(size):
        return pixels
    mode = "bicubic" if len(size) == IMAGE_RANK else "trilinear"
    resized = F.interpolate(pixels, tuple(size), mode=mode, align_corners=False)
    return resized.clamp(0, 1)


def _as_rgb(levels: RGB) -> RGB:
    """RGB unchanged; a single channel in grey."""
    if levels.shape[-1] == 3:
        return levels
    grey = np.rint(levels.mean(axis=-1, keepdims=True)).astype(np.uint8)
    return np.repeat(grey, 3, axis=-1)
