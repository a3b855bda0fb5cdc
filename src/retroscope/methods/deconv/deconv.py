"""The deconvnet: what in a picture made a unit fire (Zeiler & Fergus 2014, 2.1).

The unit's activation goes back through the network by a rule book, all other units being zero.
A unit's projection is computed from the pixels that it sees, and is that of the whole picture.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import cast

import numpy as np
import torch

from retroscope.engine.batching import (
    Crops,
    ImageStack,
    NetworkInput,
    ProjectionRequest,
    Size,
    group_into_batches,
    max_batch_size,
    worth_cropping,
)
from retroscope.engine.forward import run_forward
from retroscope.engine.gradients import apply_rules
from retroscope.engine.isolation import preserve_state
from retroscope.engine.memory import in_batches, is_out_of_memory, memory_budget
from retroscope.engine.program import Survey
from retroscope.engine.region import run_region
from retroscope.engine.rules import RuleBook, rule_book
from retroscope.errors import ModelError
from retroscope.geometry import Box
from retroscope.methods.positions import resolve_positions
from retroscope.network import AnyImage, Network, check_unit, require_network
from retroscope.results.layers import Layer
from retroscope.results.projections import Pixels, Projection
from retroscope.unit import Unit, as_unit

Request = tuple[str | Unit, AnyImage]
Back = tuple[torch.Tensor, torch.Tensor]
"""What units fired, and their signals at the pixels."""

_REQUESTS_AT_ONCE, _PICTURES_AT_ONCE = 4096, 128


def deconv(
    net: Network, unit: str | Unit, image: AnyImage, *, rules: str | RuleBook = "deconvnet"
) -> Projection:
    """What in the picture made a unit fire.

    Without a position the unit is the channel's strongest one in this picture; `@*` looks back
    from the whole map, and a layer without a channel from all its maps at once.

    >>> net = Network(torch.nn.Conv2d(3, 8, 3), input_size=(32, 32))
    >>> deconv(net, "conv1:5@10,20", torch.ones(3, 32, 32)).box
    Box(top=10, left=20, bottom=13, right=23)
    """
    return next(deconv_many(net, [(unit, image)], rules=rules))


def deconv_many(
    net: Network,
    requests: Iterable[Request],
    *,
    rules: str | RuleBook = "deconvnet",
    memory: int | None = None,
) -> Iterator[Projection]:
    """The projections of many units in many pictures, in the order asked.

    `memory` is how many bytes a batch may take; what the device has decides where it is not given.
    """
    require_network(net)
    book = rule_book(rules)
    room = memory or memory_budget(net.device)
    waiting = iter(requests)
    while chunk := _read(net, waiting):
        with preserve_state(net.module):
            found = dict(_projected(net, book, room, chunk))
        yield from (found[order] for order in range(len(chunk)))


def _read(net: Network, requests: Iterator[Request]) -> list[ProjectionRequest]:
    """The next requests that are worth doing together, each picture prepared once."""
    images: dict[object, tuple[AnyImage, NetworkInput]] = {}
    units: dict[tuple[Unit, Size], tuple[Unit, Layer]] = {}
    asked: list[ProjectionRequest] = []
    for wanted, image in islice(requests, _REQUESTS_AT_ONCE):
        key = _identity(image)
        if key not in images:
            images[key] = image, net.prepare(image)
        prepared = images[key][1]
        named = as_unit(wanted), prepared.size
        if named not in units:
            units[named] = _found(net, *named)
        asked.append(ProjectionRequest(len(asked), *units[named], prepared))
        if len(images) == _PICTURES_AT_ONCE:
            break
    return asked


def _identity(image: AnyImage) -> object:
    """The same for what is surely the same picture, while somebody holds on to it."""
    if isinstance(image, torch.Tensor):
        return (
            image.data_ptr(),
            0 if image.is_inference() else image._version,
            image.shape,
            image.stride(),
            image.dtype,
            image.device,
        )
    if isinstance(image, np.ndarray):  # which its owner may fill with the next picture
        return image.shape, image.dtype, image.tobytes()
    return str(image) if isinstance(image, str | Path) else id(image)


def _found(net: Network, unit: Unit, size: Size) -> tuple[Unit, Layer]:
    layer = net.layer(unit.layer, size)
    return check_unit(unit, layer), layer


Numbered = Iterator[tuple[int, Projection]]


def _projected(
    net: Network, book: RuleBook, room: int, asked: Sequence[ProjectionRequest]
) -> Numbered:
    by_size: dict[Size, list[ProjectionRequest]] = defaultdict(list)
    for one in asked:
        by_size[one.image.size].append(one)
    for size, ours in by_size.items():
        survey, gallery = (
            net.survey(size),
            ImageStack.from_images(
                (one.image for one in ours),
                net.device,
                channels_last=net.survey(size).channels_last,
            ),
        )
        job = _Job(net, book, room, survey, gallery)
        yield from job.run(resolve_positions(net, survey, gallery, ours, room=room))


@dataclass(frozen=True)
class _Job:
    """Looking back in pictures of one size."""

    net: Network
    book: RuleBook
    room: int
    survey: Survey
    gallery: ImageStack

    def run(self, asked: Sequence[ProjectionRequest]) -> Numbered:
        by_layer: dict[int, list[ProjectionRequest]] = defaultdict(list)
        for one in asked:
            by_layer[one.layer.index].append(one)
        for target, ours in by_layer.items():
            local = [one for one in ours if one.is_local]
            if local and not worth_cropping(local):
                local = []
            whole = [one for one in ours if not one.is_local or not local]
            for crops in group_into_batches(local, self.survey):
                for found, batch in self._in_batches(crops):
                    if found is None:
                        whole += batch.requests
                    else:
                        yield from self._shown(batch, *found)
            yield from self._from_whole_pictures(target, whole)

    def _in_batches(self, crops: Crops) -> Iterator[tuple[Back | None, Crops]]:
        frame, target = crops.frames[0], crops.requests[0].layer.index
        size = max_batch_size(self.survey, target, (frame.height, frame.width), self.room)
        work = partial(self._back_from_crops, crops, target)
        return in_batches(range(len(crops.requests)), size, work)

    def _back_from_crops(
        self, crops: Crops, target: int, some: Sequence[int]
    ) -> tuple[Back | None, Crops]:
        """The units' activations and signals at the pixels; None where crops do not tell."""
        batch = crops.subset(some)
        with torch.enable_grad():
            pixels = self.gallery.crop(batch).requires_grad_()
            seen = run_region(
                self.net.module,
                self.survey,
                pixels.clone(),
                target=target,
                region=batch.region,
                execute=apply_rules(self.book),
            )
            if seen is None:
                return None, batch
            rows, columns = batch.output_positions(seen.y, seen.x)
            channels = [one.unit.channel for one in batch.requests]
            fired = seen.output[range(len(some)), channels, rows, columns]
            return (fired.detach(), _looked_back(fired, pixels, fired.detach())), batch

    def _shown(self, batch: Crops, fired: torch.Tensor, signal: torch.Tensor) -> Numbered:
        """The signals under the frames as projections of the boxes."""
        pixels = _as_numpy(signal.permute(0, 2, 3, 1))
        frames = zip(batch.requests, batch.boxes, batch.frames, fired.tolist(), pixels, strict=True)
        for one, box, frame, value, seen in frames:
            own = seen if frame == box else _under(seen, box, frame)
            yield one.order, self._projection(one, box, value, own)

    def _projection(
        self, one: ProjectionRequest, box: Box, value: float, pixels: Pixels
    ) -> Projection:
        return Projection(
            unit=one.unit,
            activation=value,
            box=box,
            pixels=pixels,
            rules=self.book.name,
            size=one.image.size,
            patch=one.image.rgb[box.top : box.bottom, box.left : box.right],
            source=one.image.source,
            notes=(*self.net.remarks, *_notes(one, value)),
        )

    def _from_whole_pictures(self, target: int, asked: Sequence[ProjectionRequest]) -> Numbered:
        by_slot: dict[int, list[ProjectionRequest]] = defaultdict(list)
        for one in asked:
            by_slot[self.gallery.slot(one.image)].append(one)
        size = max_batch_size(self.survey, target, self.survey.size, self.room)
        work = partial(self._back_from_pictures, target, by_slot)
        for found in in_batches(list(by_slot), size, work):
            yield from found

    def _back_from_pictures(
        self, target: int, by_slot: dict[int, list[ProjectionRequest]], slots: Sequence[int]
    ) -> list[tuple[int, Projection]]:
        """One forward pass for all pictures, then one way back for the n-th unit of each."""
        turns = _turns([by_slot[slot] for slot in slots])
        shown: list[tuple[int, Projection]] = []
        with torch.enable_grad():
            pixels = self.gallery.images_at(slots).requires_grad_()
            maps = self._maps(target, pixels)
            for turn, picked in enumerate(turns, 1):
                start, fired = _start(maps.detach(), picked)
                signal = _looked_back(maps, pixels, start, again=turn < len(turns))
                batch = _whole([one for _, one in picked])
                shown += self._shown(batch, fired, signal[[n for n, _ in picked]])
        return shown

    def _maps(self, target: int, pixels: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        run_forward(
            self.net.module,
            self.survey,
            pixels.clone(),
            {target: kept.append},
            execute=apply_rules(self.book),
        )
        return kept[0]


def _turns(
    asked: Sequence[Sequence[ProjectionRequest]],
) -> list[list[tuple[int, ProjectionRequest]]]:
    """The n-th request of each picture, for each n: (picture, request)."""
    return [
        [(n, ours[turn]) for n, ours in enumerate(asked) if turn < len(ours)]
        for turn in range(max(map(len, asked)))
    ]


def _start(
    maps: torch.Tensor, picked: Sequence[tuple[int, ProjectionRequest]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The activations to look back from, all others zero, and the strongest of each request."""
    start = torch.zeros_like(maps)
    fired = []
    for n, one in picked:
        where = (n, *_index(one.unit))
        start[where] = maps[where]
        fired.append(maps[where].amax())
    return start, torch.stack(fired)


def _index(unit: Unit) -> tuple[int | slice, ...]:
    everywhere = slice(None)
    if unit.channel is None:
        return (everywhere,)
    return (unit.channel, *(unit.position or (everywhere, everywhere)))


def _looked_back(
    fired: torch.Tensor, pixels: torch.Tensor, start: torch.Tensor, *, again: bool = False
) -> torch.Tensor:
    """The signal at the pixels."""
    if not fired.requires_grad:
        raise ModelError(
            "nothing leads back from this layer to the picture: the network detaches it, or runs "
            "it with gradients switched off"
        )
    try:
        (signal,) = torch.autograd.grad(
            fired, pixels, start, retain_graph=again, materialize_grads=True
        )
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"torch cannot look back through this network: {error}") from error
    return signal


def _as_numpy(signal: torch.Tensor) -> Pixels:
    """In single precision, or in double where the network computes so."""
    kept = signal if signal.dtype == torch.float64 else signal.float()
    return cast("Pixels", kept.cpu().numpy())


def _under(pixels: Pixels, box: Box, frame: Box) -> Pixels:
    """The part of a frame's pixels that its unit sees; the rest is zero."""
    top, left = box.top - frame.top, box.left - frame.left
    return pixels[top : top + box.height, left : left + box.width]


def _whole(asked: Sequence[ProjectionRequest]) -> Crops:
    """Requests that are answered from whole pictures."""
    frames = [Box(0, 0, *one.image.size) for one in asked]
    return Crops(asked, [one.box for one in asked], frames)


def _notes(one: ProjectionRequest, value: float) -> tuple[str, ...]:
    """What a reader of this projection should know."""
    field, notes = one.layer.field, []
    if field.global_context:
        notes.append(f"the unit sees {field}")
    if not isfinite(value):
        notes.append(f"the activation is not finite ({value})")
    elif value <= 0 and one.unit.position is not None:
        notes.append("this unit is not excited here: its activation is not above zero")
    return tuple(notes)
