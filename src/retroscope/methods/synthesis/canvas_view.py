"""How the network sees a canvas: as a patch inside a larger image, or as the whole image.

As a patch, only the units whose fields lie wholly on the canvas are computed. Each gets exactly the
value it has in a whole image, nothing is padded, and the network stops at the layer.

    whole image                        patch inside an image
    +-----------------+                + - - - - - - - - +
    | 0 0 0 0 0 0 0 0 |  the network   .   +-------+     .  no padding: the canvas
    | 0 +---------+ 0 |  pads the      .   | canvas|     .  is surrounded by image
    | 0 | canvas  | 0 |  canvas        .   +-------+     .
    | 0 +---------+ 0 |                .                 .
    +-----------------+                + - - - - - - - - +
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil

import torch

from retroscope.engine.batching import Size, depends_on_position, max_batch_size
from retroscope.engine.forward import run_forward
from retroscope.engine.gradients import RuleHandler
from retroscope.engine.map_regions import MapRegion, Span
from retroscope.engine.program import Survey
from retroscope.engine.region import run_region
from retroscope.engine.rules import GRADIENT, RuleBook
from retroscope.errors import ModelError
from retroscope.geometry import Field
from retroscope.methods.class_scores import NetworkOutput, run_network
from retroscope.network import Network
from retroscope.results.layers import Layer

CLASS_SCORES, OUTPUTS = -1, -2
"""The steps that stand for the class scores of the network, at each pixel for a segmenter, and for
whatever it returns.
"""
Position = tuple[int, ...]
MapsListener = Callable[[torch.Tensor, Position], object]
"""Called with the maps of a step, and the position in the full map of their first value."""


@dataclass(frozen=True, eq=False)
class CanvasView:
    """A canvas of one size under a network.

    `region` is the part of an image that the canvas covers, or None if it is the whole image.
    """

    net: Network
    survey: Survey
    size: Size
    region: MapRegion | None = None

    @classmethod
    def of_whole_image(cls, net: Network, size: Size) -> "CanvasView":
        """The canvas is the image, and the network pads it."""
        return cls(net, net.survey(size), size)

    def run(
        self,
        pixels: torch.Tensor,
        listeners: Mapping[int, MapsListener],
        book: RuleBook = GRADIENT,
    ) -> None:
        """Run the network up to the last listener's step, and call each listener with its maps.

        Later steps may change the maps in place.
        """
        batch = self.copy_as_input(pixels)
        if self.region is None:
            self._run_whole_image(batch, listeners, book)
            return
        ((step, listener),) = listeners.items()
        output = run_region(
            self.net.module,
            self.survey,
            batch,
            target=step,
            region=self.region,
            execute=RuleHandler(book),
        )
        if output is None:
            raise ModelError(
                f"{self.net.name} does not run the same operations twice; its layers cannot be "
                "identified"
            )
        listener(output.output, tuple(span.start for span in output.spans))

    def _run_whole_image(
        self, batch: torch.Tensor, listeners: Mapping[int, MapsListener], book: RuleBook
    ) -> None:
        origin = (0,) * len(self.size)
        hooks = {
            step: _from_origin(listener, origin)
            for step, listener in listeners.items()
            if step != CLASS_SCORES
        }
        if CLASS_SCORES not in listeners:
            run_forward(self.net.module, self.survey, batch, hooks, execute=RuleHandler(book))
            return
        output = run_network(
            self.net, self.survey, batch, listeners=hooks, execute=RuleHandler(book)
        )
        listeners[CLASS_SCORES](_class_maps(output), origin)

    def run_each(self, pixels: torch.Tensor, book: RuleBook = GRADIENT) -> list[NetworkOutput]:
        """What the network returns for each canvas alone, as functions of outputs expect it."""
        batch = self.copy_as_input(pixels)
        return [
            run_network(self.net, self.survey, batch[row : row + 1], execute=RuleHandler(book))
            for row in range(len(batch))
        ]

    def copy_as_input(self, pixels: torch.Tensor) -> torch.Tensor:
        """A copy in the network's dtype and memory format, which the network may overwrite."""
        layout = torch.channels_last if self.survey.channels_last else torch.contiguous_format
        return pixels.to(self.net.dtype).clone(memory_format=layout)

    def max_batch_size(self, step: int, max_bytes: int) -> int:
        """How many canvases can run to a step together in this much memory."""
        last = last_step(self.survey, [step])
        return max_batch_size(self.survey, last, self.size, max_bytes)


def last_step(survey: Survey, steps: Iterable[int]) -> int:
    """The last of these steps in the survey; of the outputs, its very last."""
    return max(len(survey.steps) - 1 if step in (CLASS_SCORES, OUTPUTS) else step for step in steps)


def _class_maps(output: NetworkOutput) -> torch.Tensor:
    """The scores of classes as maps: of one position, or a segmenter's logits at all pixels."""
    if output.detections is not None:
        raise ModelError(
            f"{output.net.name} is a detector, which scores a class only where it finds a box; "
            "give a unit, or a number among its outputs as output[...], instead of a class"
        )
    logits = None if output.has_class_scores else output.logits
    if logits is not None:
        return logits
    scores = output.class_scores.scores
    return scores.view(*scores.shape, *[1] * len(output.size))


def _from_origin(listener: MapsListener, origin: Position) -> Callable[[torch.Tensor], object]:
    return lambda maps: listener(maps, origin)


def is_local(layer: Layer) -> bool:
    """Whether the layer's units see less than the whole image."""
    return not (layer.field.whole or layer.field.global_context)


def _runs_on_patches(net: Network, layer: Layer) -> bool:
    """Whether a patch has the same maps wherever in the image it lies."""
    return is_local(layer) and not depends_on_position(net.survey(), layer.index)


def view_as_patch(net: Network, layer: Layer, size: Size) -> CanvasView | None:
    """The canvas as a patch inside an image of the usual size; None if it does not fit."""
    if not _runs_on_patches(net, layer):
        return None
    axes = zip(layer.field.axes(net.rank), size, net.input_size, strict=True)
    spans = [_interior_span(field, length, full) for field, length, full in axes]
    known = [span for span in spans if span is not None]
    if len(known) < len(spans):
        return None
    return _validate(CanvasView(net, net.survey(), size, MapRegion.of_input(known)), layer)


def _interior_span(field: Field, length: int, full: int) -> Span | None:
    """A span away from the borders that starts where a unit's field does.

    If the length leaves a remainder after whole strides, half of it lies at either end.
    """
    if field.size > length:
        return None
    stride = max(ceil(field.stride), 1)
    first = field.start - (length - field.size) % stride // 2
    top = first + max(-(-(1 - first) // stride), 0) * stride
    return Span(top, length, full) if top + length < full else None


def view_at_position(net: Network, layer: Layer, position: Position) -> CanvasView:
    """The pixels that the unit at a position sees, clipped at the border of the image."""
    if _runs_on_patches(net, layer):
        box = layer.field.box(*position).clip_to(net.input_size)
        intervals = zip(box.intervals(net.rank), net.input_size, strict=True)
        region = MapRegion.of_input(
            [Span(start, stop - start, full) for (start, stop), full in intervals]
        )
        patch_view = CanvasView(net, net.survey(), box.size(net.rank), region)
        view = _validate(patch_view, layer)
        if view is not None:
            return view
    return CanvasView.of_whole_image(net, net.input_size)


def _validate(view: CanvasView, layer: Layer) -> CanvasView | None:
    """The view, if a trial run on a blank canvas can compute the layer from the patch alone."""
    blank = torch.zeros(1, view.net.preprocessing.channels, *view.size, device=view.net.device)
    assert view.region is not None
    with torch.no_grad():
        output = run_region(
            view.net.module,
            view.survey,
            view.copy_as_input(blank),
            target=layer.index,
            region=view.region,
            execute=RuleHandler(GRADIENT),
        )
    return None if output is None else view
