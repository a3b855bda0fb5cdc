"""Where in a picture a channel fires most."""

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


def resolve_positions(
    net: Network,
    survey: Survey,
    gallery: ImageStack,
    asked: Sequence[ProjectionRequest],
    *,
    room: int,
) -> list[ProjectionRequest]:
    """The same requests, each channel without a position given its strongest one."""
    open_ones: dict[int, list[ProjectionRequest]] = defaultdict(list)
    for one in asked:
        if one.unit.channel is not None and one.unit.position is None and not one.unit.whole_map:
            open_ones[gallery.slot(one.image)].append(one)
    if not open_ones:
        return list(asked)
    last = max(one.layer.index for ours in open_ones.values() for one in ours)
    size = max_batch_size(survey, last, survey.size, room)
    found: dict[int, tuple[int, int]] = {}

    def work(slots: Sequence[int]) -> None:
        found.update(_peaks(net, survey, gallery.images_at(slots), [open_ones[n] for n in slots]))

    for _ in in_batches(list(open_ones), size, work):
        pass
    return [
        replace(one, unit=replace(one.unit, position=found[one.order]))
        if one.order in found
        else one
        for one in asked
    ]


def _peaks(
    net: Network,
    survey: Survey,
    pictures: torch.Tensor,
    asked: Sequence[Sequence[ProjectionRequest]],
) -> dict[int, tuple[int, int]]:
    """The strongest position for each request; `asked` has one entry for each picture."""
    found: dict[int, tuple[int, int]] = {}
    by_layer: dict[int, list[tuple[int, ProjectionRequest]]] = defaultdict(list)
    for picture, ours in enumerate(asked):
        for one in ours:
            by_layer[one.layer.index].append((picture, one))

    def seen(target: int, maps: torch.Tensor) -> None:
        rows = [picture for picture, _ in by_layer[target]]
        channels = [one.unit.channel for _, one in by_layer[target]]
        places = strongest_positions(maps[rows, channels])
        found.update((one.order, at) for (_, one), at in zip(by_layer[target], places, strict=True))

    with torch.no_grad():
        watched = {target: partial(seen, target) for target in by_layer}
        run_forward(net.module, survey, pictures, watched)
    return found


def strongest_positions(maps: torch.Tensor) -> list[tuple[int, int]]:
    """The position of the maximum of each map (maps, height, width); what is no number loses."""
    best = maps.float().nan_to_num(nan=-torch.inf).flatten(1).argmax(dim=1)
    return [divmod(place, maps.shape[2]) for place in best.tolist()]
