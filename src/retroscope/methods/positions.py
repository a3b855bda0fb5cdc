"""Where in an image a channel is strongest."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from retroscope.engine.batching import ImageStack, ProjectionRequest, max_batch_size
from retroscope.engine.forward import run_forward
from retroscope.engine.memory import in_batches
from retroscope.engine.program import Survey
from retroscope.network import Network

Position = tuple[int, ...]


def resolve_positions(
    net: Network,
    survey: Survey,
    images: ImageStack,
    requests: Sequence[ProjectionRequest],
    *,
    max_bytes: int,
) -> list[ProjectionRequest]:
    """The same requests; each channel without a position gets that of its strongest unit."""
    open_requests: dict[int, list[ProjectionRequest]] = defaultdict(list)
    for request in requests:
        unit = request.unit
        if unit.channel is not None and unit.position is None and not unit.whole_map:
            open_requests[images.slot(request.image)].append(request)
    if not open_requests:
        return list(requests)
    last = max(request.layer.index for group in open_requests.values() for request in group)
    size = max_batch_size(survey, last, survey.size, max_bytes)
    positions: dict[int, Position] = {}

    def work(slots: Sequence[int]) -> None:
        groups = [open_requests[slot] for slot in slots]
        bound = net.for_images([images.inputs[slot] for slot in slots])
        positions.update(_request_positions(bound, survey, images.images_at(slots), groups))

    for _ in in_batches(list(open_requests), size, work):
        pass
    return [
        replace(request, unit=replace(request.unit, position=positions[request.order]))
        if request.order in positions
        else request
        for request in requests
    ]


def _request_positions(
    net: Network,
    survey: Survey,
    images: torch.Tensor,
    requests: Sequence[Sequence[ProjectionRequest]],
) -> dict[int, Position]:
    """The strongest position for each request; `requests` has one entry for each image."""
    positions: dict[int, Position] = {}
    by_layer: dict[int, list[tuple[int, ProjectionRequest]]] = defaultdict(list)
    for row, image_requests in enumerate(requests):
        for request in image_requests:
            by_layer[request.layer.index].append((row, request))

    def locate(target: int, maps: torch.Tensor) -> None:
        rows = [row for row, _ in by_layer[target]]
        channels = [request.unit.channel for _, request in by_layer[target]]
        strongest = strongest_positions(maps[rows, channels])
        orders = (request.order for _, request in by_layer[target])
        positions.update(zip(orders, strongest, strict=True))

    with torch.no_grad():
        listeners = {target: partial(locate, target) for target in by_layer}
        run_forward(net.module, survey, images, listeners)
    return positions


def strongest_positions(maps: torch.Tensor) -> list[Position]:
    """The position of the maximum of each map (maps, height, width)."""
    flat = peak_indices(maps.flatten(1))
    indices = torch.unravel_index(flat, maps.shape[1:])
    return [tuple(position) for position in torch.stack(indices, 1).tolist()]


def peak_indices(values: torch.Tensor, *, finite: bool = False) -> torch.Tensor:
    """The index of the first maximum along the last dimension. NaN and infinity do not count.

    `finite` says that all values are known to be finite, which saves a pass over them.

    >>> peak_indices(torch.tensor([1.0, float("inf"), 3.0, float("nan")])).item()
    2
    """
    values = values if finite else torch.where(values.isfinite(), values, -torch.inf)
    return values.argmax(dim=-1)
