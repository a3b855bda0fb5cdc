"""Choose the canvas for an objective: its size, and how the network sees it."""

from collections.abc import Sequence
from dataclasses import dataclass

from retroscope.engine.batching import Size
from retroscope.errors import RetroscopeError, UnitError
from retroscope.geometry import IMAGE_RANK, INPUTS, format_size
from retroscope.methods.axis_lengths import Lengths, along_axes
from retroscope.methods.synthesis.canvas_view import (
    CLASS_SCORES,
    OUTPUTS,
    CanvasView,
    Position,
    is_local,
    view_as_patch,
    view_at_position,
)
from retroscope.methods.synthesis.objective_scorer import resolve_terms
from retroscope.methods.synthesis.objectives import DiversityTerm, Objective, Term, UnitTerm
from retroscope.methods.synthesis.recipes import Recipe
from retroscope.network import Network
from retroscope.results.layers import Layer

WHOLE_MAP_SIDE = 128
"""The canvas side for a whole map, unless the network's input is smaller."""


@dataclass(frozen=True)
class CanvasPlan:
    """A canvas size, the steps that the objective reads, and the layer if there is only one.

    `interior`: only the units whose fields lie wholly on the canvas count, not those that see
    padding. Objectives of one plan run as one batch.
    """

    size: Size
    steps: frozenset[int]
    layer: Layer | None
    position: Position | None = None
    interior: bool = False

    def view(self, net: Network, size: Size) -> CanvasView:
        """The view of a canvas of this size, which may be that of an earlier stage."""
        if self.layer is None:
            return CanvasView.of_whole_image(net, size)
        if self.position is not None:
            return view_at_position(net, self.layer, self.position)
        patch = view_as_patch(net, self.layer, size) if self.interior else None
        return patch or CanvasView.of_whole_image(net, size)

    def notes(self, view: CanvasView) -> tuple[str, ...]:
        """What to know about the size of these patterns."""
        if self.layer is None or not self.interior or not is_local(self.layer):
            return ()
        seen = [field.size for field in self.layer.field.axes(len(view.size))]
        covers_field = all(length >= reach for length, reach in zip(view.size, seen, strict=True))
        if view.region is not None or covers_field:
            return ()
        return (
            f"the pattern is smaller than what the unit sees ({format_size(seen)} pixels), so the "
            "network pads the rest",
        )


def plan_canvas(
    net: Network, objective: Objective, recipe: Recipe, size: Lengths | None
) -> CanvasPlan:
    """Plan the canvas for an objective; `size` overrides the recipe's side."""
    canvas_size = _stated_size(net, recipe, size)
    terms = list(resolve_terms(net, net.input_size, objective, 0))
    steps = frozenset(term.step for term in terms)
    layer = _common_layer(net, steps)
    position = _common_position([term.term for term in terms], layer)
    interior = all(_is_single_unit(term.term) for term in terms)
    if layer is not None and position is not None:
        if size is not None:
            raise UnitError(
                f"a size for {objective}, whose position decides what it sees; leave out the size, "
                "or the image to start from"
            )
        position_size = view_at_position(net, layer, position).size
        return CanvasPlan(position_size, steps, layer, position, interior)
    if canvas_size is None:
        canvas_size = _default_size(net, layer, interior=interior)
    return CanvasPlan(canvas_size, steps, layer, None, interior)


def _stated_size(net: Network, recipe: Recipe, size: Lengths | None) -> Size | None:
    """The canvas of this size, or of that of the recipe; None if the objective decides."""
    lengths = recipe.size if size is None else size
    if lengths is None:
        return None
    if size is None and net.rank != IMAGE_RANK:
        raise RetroscopeError(
            f"the recipe {recipe.name!r} makes images of {recipe.size} pixels, and {net.name} "
            f"takes {INPUTS[net.rank]}s; give a size, or another recipe"
        )
    canvas_size = along_axes("size", lengths, net.rank)
    if min(canvas_size) < 1:
        raise RetroscopeError(
            f"cannot synthesize {format_size(canvas_size)} pixels; give a size of 1 or more"
        )
    return canvas_size


def _common_layer(net: Network, steps: frozenset[int]) -> Layer | None:
    """The layer, if all terms read the same one."""
    if len(steps) != 1 or steps & {CLASS_SCORES, OUTPUTS}:
        return None
    (step,) = steps
    return next(layer for layer in net.layers if layer.index == step)


def _common_position(terms: Sequence[Term], layer: Layer | None) -> Position | None:
    """The position, if the units have one; refuse several positions or layers."""
    positions = {term.unit.position for term in terms if isinstance(term, UnitTerm)}
    if not positions - {None}:
        return None
    if len(positions) > 1 or layer is None:
        raise UnitError(
            "units at different positions or layers in one objective; leave out the positions"
        )
    return positions.pop()


def _default_size(net: Network, layer: Layer | None, *, interior: bool) -> Size:
    size, is_fixed = net.input_size, net.inputs is not None and net.inputs.holds_maps
    if layer is None or layer.field.whole or is_fixed:
        return size
    if not interior:
        return tuple(min(WHOLE_MAP_SIDE, length) for length in size)
    if not is_local(layer):
        return size
    fields = layer.field.axes(net.rank)
    return tuple(min(field.size, length) for field, length in zip(fields, size, strict=True))


def _is_single_unit(term: Term) -> bool:
    if isinstance(term, UnitTerm):
        return term.unit.channel is not None and not term.unit.whole_map
    return isinstance(term, DiversityTerm)
