"""How a canvas lies under the network: as a piece of a larger picture, or as the picture itself.

As a piece, only units whose fields lie wholly on the canvas are computed, each with exactly the
number that it has in a whole picture; nothing is padded and nothing beyond the layer is run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from retroscope.engine.batching import Size, how_many
from retroscope.engine.forward import follow
from retroscope.engine.intercept import ruled
from retroscope.engine.map_regions import Held, Span
from retroscope.engine.region import look
from retroscope.engine.rules import GRADIENT, RuleBook
from retroscope.engine.survey import Survey
from retroscope.errors import ModelError
from retroscope.geometry import Field
from retroscope.methods.class_scores import judged
from retroscope.network import Network
from retroscope.results.values import Layer

CLASSES = -1
"""The step that stands for the network's scores of classes."""
Place = tuple[int, int]
Seen = Callable[[torch.Tensor, Place], object]
"""Is given a layer's maps, and which position of the full map their first one is."""


@dataclass(frozen=True, eq=False)
class View:
    """Pictures of one size under a network, up to the deepest layer that is asked for."""

    net: Network
    survey: Survey
    size: Size
    held: Held | None = None

    @classmethod
    def whole(cls, net: Network, size: Size) -> "View":
        """The canvas is the picture, and the network pads it."""
        return cls(net, net.survey(size), size)

    def run(
        self, pictures: torch.Tensor, watched: Mapping[int, Seen], book: RuleBook = GRADIENT
    ) -> None:
        """Shows the maps of the steps asked for, which later steps may change in place."""
        stored = self.stored(pictures)
        if self.held is None:
            self._run_whole(stored, watched, book)
            return
        ((target, show),) = watched.items()
        found = look(
            self.net.module,
            self.survey,
            stored,
            target=target,
            held=self.held,
            execute=ruled(book),
        )
        if found is None:
            raise ModelError(
                f"{self.net.name} does not run the same way twice; its layers have no fixed place"
            )
        show(found.output, (found.y.start, found.x.start))

    def _run_whole(
        self, pictures: torch.Tensor, watched: Mapping[int, Seen], book: RuleBook
    ) -> None:
        steps = {step: _at_origin(show) for step, show in watched.items() if step != CLASSES}
        if CLASSES not in watched:
            follow(self.net.module, self.survey, pictures, steps, execute=ruled(book))
            return
        verdict = judged(self.net, self.survey, pictures, seen=steps, execute=ruled(book))
        watched[CLASSES](verdict.scores[:, :, None, None], (0, 0))

    def stored(self, pictures: torch.Tensor) -> torch.Tensor:
        """A copy as the network likes it, which the network may write in."""
        layout = torch.channels_last if self.survey.channels_last else torch.contiguous_format
        return pictures.to(self.net.dtype).clone(memory_format=layout)

    def at_once(self, target: int, room: int) -> int:
        """How many pictures may run together."""
        last = len(self.survey.steps) - 1 if target == CLASSES else target
        return how_many(self.survey, last, self.size, room)


def _at_origin(show: Seen) -> Callable[[torch.Tensor], object]:
    return lambda maps: show(maps, (0, 0))


def is_local(layer: Layer) -> bool:
    """Whether the layer's units see less than the whole picture."""
    return not (layer.field.whole or layer.field.global_context)


def piece(net: Network, layer: Layer, size: Size) -> View | None:
    """The canvas as a piece from inside of a usual picture; None where it cannot be one."""
    if not is_local(layer):
        return None
    y = _inside(layer.field.y, size[0], net.input_size[0])
    x = _inside(layer.field.x, size[1], net.input_size[1])
    if y is None or x is None:
        return None
    return probed(View(net, net.survey(), size, Held(y, x)), layer)


def _inside(field: Field, length: int, full: int) -> Span | None:
    """A canvas away from the borders, with what is no multiple of the stride left at both ends."""
    if field.size > length:
        return None
    stride = max(field.stride, 1)
    first = field.start - (length - field.size) % stride // 2
    top = first + max(-(-(1 - first) // stride), 0) * stride
    return Span(top, length, full) if top + length < full else None


def at_position(net: Network, layer: Layer, position: Place) -> View:
    """The pixels that the unit at a position sees, which the border of the picture may cut."""
    height, width = net.input_size
    if is_local(layer):
        box = layer.field.box(*position).clipped(height, width)
        held = Held(Span(box.top, box.height, height), Span(box.left, box.width, width))
        found = probed(View(net, net.survey(), (box.height, box.width), held), layer)
        if found is not None:
            return found
    return View.whole(net, net.input_size)


def probed(view: View, layer: Layer) -> View | None:
    """The view, if a grey canvas shows that the layer can be told from it."""
    grey = torch.zeros(1, view.net.preprocessing.channels, *view.size, device=view.net.device)
    assert view.held is not None
    with torch.no_grad():
        found = look(
            view.net.module,
            view.survey,
            view.stored(grey),
            target=layer.index,
            held=view.held,
            execute=ruled(GRADIENT),
        )
    return None if found is None else view
