"""Where an objective is looked for: how large the canvas is, and how it lies under the network."""

from collections.abc import Sequence
from dataclasses import dataclass

from retroscope.engine.batching import Size
from retroscope.errors import RetroscopeError, UnitError
from retroscope.methods.synthesis.batch_objective import bind
from retroscope.methods.synthesis.objective import Diverse, Excite, Objective, Term
from retroscope.methods.synthesis.recipes import Recipe
from retroscope.methods.synthesis.view import CLASSES, View, at_position, is_local, piece
from retroscope.network import Network
from retroscope.results.values import Layer

TEXTURE = 128
"""The side of a canvas for a whole map, at most the network's input."""
Place = tuple[int, int]


@dataclass(frozen=True)
class Site:
    """A canvas of a size; the steps that its objectives read; the layer, where it is one.

    `inner`: only units whose fields lie wholly on the canvas count, not those that the network
    pads. Objectives of one site run as one batch.
    """

    size: Size
    steps: frozenset[int]
    layer: Layer | None
    position: Place | None = None
    inner: bool = False

    def view(self, net: Network, size: Size) -> View:
        """How a canvas of this size, which may be that of an earlier stage, lies here."""
        if self.layer is not None and self.position is not None:
            return at_position(net, self.layer, self.position)
        found = piece(net, self.layer, size) if self.inner and self.layer is not None else None
        return found or View.whole(net, size)

    def notes(self, view: View) -> tuple[str, ...]:
        """What a reader of these patterns should know of their size."""
        if self.layer is None or not self.inner or not is_local(self.layer):
            return ()
        field = self.layer.field
        if view.held is not None or (view.size[0] >= field.y.size and view.size[1] >= field.x.size):
            return ()
        return (
            f"the picture is smaller than what the unit sees ({field.y.size}x{field.x.size} "
            "pixels): the network pads the rest",
        )


def site_of(net: Network, objective: Objective, recipe: Recipe, size: int | None) -> Site:
    """Where an objective is looked for."""
    if size is not None and size < 1:
        raise RetroscopeError(f"cannot paint {size}x{size} pixels; give a size of 1 or more")
    bound = list(bind(net, net.input_size, objective, 0))
    steps = frozenset(one.step for one in bound)
    layer = _layer(net, steps)
    position = _position([one.term for one in bound], layer)
    if position is not None and size is not None:
        raise UnitError(f"a position decides what its unit sees; leave the size out of {objective}")
    inner = all(_is_one_unit(one.term) for one in bound)
    found = _size(net, layer, (size, recipe.size, position), inner=inner)
    return Site(found, steps, layer, position, inner)


def _layer(net: Network, steps: frozenset[int]) -> Layer | None:
    """The layer that all terms are about."""
    if len(steps) != 1 or CLASSES in steps:
        return None
    (step,) = steps
    return next(layer for layer in net.layers if layer.index == step)


def _position(terms: Sequence[Term], layer: Layer | None) -> Place | None:
    """The position that all units stand at."""
    found = {term.unit.position for term in terms if isinstance(term, Excite)}
    if not found - {None}:
        return None
    if len(found) > 1 or layer is None:
        raise UnitError("units at different positions or layers in one objective; leave them out")
    return found.pop()


def _size(
    net: Network,
    layer: Layer | None,
    asked: tuple[int | None, int | None, Place | None],
    *,
    inner: bool,
) -> Size:
    size, usual, position = asked
    if layer is not None and position is not None:
        return at_position(net, layer, position).size
    side = size or usual
    if side is not None:
        return side, side
    height, width = net.input_size
    if layer is None or layer.field.whole:
        return height, width
    if not inner:
        return min(TEXTURE, height), min(TEXTURE, width)
    if not is_local(layer):
        return height, width
    return min(layer.field.y.size, height), min(layer.field.x.size, width)


def _is_one_unit(term: Term) -> bool:
    if isinstance(term, Excite):
        return term.unit.channel is not None and not term.unit.whole_map
    return isinstance(term, Diverse)
