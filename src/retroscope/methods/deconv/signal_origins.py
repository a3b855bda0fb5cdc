"""Where the signals of units start in one forward pass of whole images."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.autograd.graph import GradientEdge

from retroscope.engine.batching import ProjectionRequest
from retroscope.engine.forward import MapListener
from retroscope.engine.gradients import gradients, origin_of
from retroscope.unit import Unit

RowRequest = tuple[int, ProjectionRequest]
"""A request, and the row of its image in the batch."""


@dataclass(frozen=True, eq=False)
class _LayerOrigin:
    """Where signals start in the maps of a layer, and the activations of its units by request."""

    edge: GradientEdge
    empty: torch.Tensor
    """Like the maps, without memory."""
    activations: dict[int, torch.Tensor]

    def blank(self, device: torch.device) -> torch.Tensor:
        return torch.zeros_like(self.empty, device=device)


class SignalOrigins:
    """Listens to the layers of some requests in a forward pass, and looks back from their units.

    The network may change maps in place after the pass has left them, so that what is needed of
    them is copied as they come.
    """

    def __init__(self, requests: Sequence[RowRequest], pixels: torch.Tensor) -> None:
        self._pixels = pixels
        self._layers: dict[int, _LayerOrigin] = {}
        self._requests: dict[int, list[RowRequest]] = defaultdict(list)
        for row, request in requests:
            self._requests[request.layer.index].append((row, request))

    @property
    def listeners(self) -> dict[int, MapListener]:
        """For each layer what a forward pass calls with its maps."""
        return {layer: partial(self._listen, layer) for layer in self._requests}

    def _listen(self, layer: int, maps: torch.Tensor) -> None:
        values = maps.detach()
        activations = {
            request.order: values[(row, *_map_index(request.unit))].clone()
            for row, request in self._requests[layer]
        }
        empty = torch.empty_like(values, device="meta")
        self._layers[layer] = _LayerOrigin(origin_of(maps), empty, activations)

    def activations(self, requests: Sequence[RowRequest]) -> torch.Tensor:
        """The activation of each unit; of several, the strongest."""
        return torch.stack([self._activation(request).amax() for _, request in requests])

    def _activation(self, request: ProjectionRequest) -> torch.Tensor:
        return self._layers[request.layer.index].activations[request.order]

    def look_back(self, requests: Sequence[RowRequest], *, retain_graph: bool) -> torch.Tensor:
        """The signal at the pixels from the units, at most one of each row; all else is zero."""
        return self._look_back(requests, self._activation, _map_index, retain_graph=retain_graph)

    def look_back_from_all_channels(
        self, requests: Sequence[RowRequest], *, retain_graph: bool
    ) -> torch.Tensor:
        """The signal from one for every channel at the position of each unit."""

        def all_channels(unit: Unit) -> tuple[int | slice, ...]:
            return (slice(None), *_map_index(unit)[1:])

        return self._look_back(requests, lambda _: 1, all_channels, retain_graph=retain_graph)

    def _look_back(
        self,
        requests: Sequence[RowRequest],
        value: Callable[[ProjectionRequest], torch.Tensor | int],
        index: Callable[[Unit], tuple[int | slice, ...]],
        *,
        retain_graph: bool,
    ) -> torch.Tensor:
        starts: dict[int, torch.Tensor] = {}
        for row, request in requests:
            layer = request.layer.index
            if layer not in starts:
                starts[layer] = self._layers[layer].blank(self._pixels.device)
            starts[layer][(row, *index(request.unit))] = value(request)
        edges = [self._layers[layer].edge for layer in starts]
        return gradients(edges, self._pixels, list(starts.values()), retain_graph=retain_graph)


def _map_index(unit: Unit) -> tuple[int | slice, ...]:
    channel = slice(None) if unit.channel is None else unit.channel
    return (channel, *(unit.position or ()))
