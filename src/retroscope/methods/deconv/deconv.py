"""Projections: what in an image made a unit fire (Zeiler & Fergus 2014, 2.1).

The unit's activation goes back through the network by a rule book, with all other units set to
zero. Only the pixels that the unit sees are computed; the result is that of the whole image.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import torch

from retroscope.argument_types import check_arguments, unpack_pair
from retroscope.engine.batching import ImageStack, NetworkInput, ProjectionRequest, Size
from retroscope.engine.isolation import preserve_state
from retroscope.engine.memory import memory_budget
from retroscope.engine.rule_choice import AUTO, choose_rules
from retroscope.engine.rules import RULE_BOOKS, RuleBook
from retroscope.errors import RetroscopeError, UnitError, choose
from retroscope.methods.deconv.projector import NumberedProjections, Projector
from retroscope.methods.deconv.shift_average import average_shifts, shift_images, shift_offsets
from retroscope.methods.image_lists import (
    AnImage,
    AnyImageList,
    ImageList,
    OneOrMany,
    is_image_list,
    prepare_list,
)
from retroscope.methods.positions import resolve_positions
from retroscope.network import (
    AnyArray,
    AnyImage,
    AnyNetwork,
    AnyUnit,
    Network,
    OneImage,
    as_network,
)
from retroscope.results.layer_lookup import check_unit
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from retroscope.unit import Unit

Request = tuple[AnyUnit, AnyImage]

MAX_SHIFTS = 16
"""The most shifts along each axis."""
_MAX_REQUESTS, _MAX_IMAGES = 4096, 128
"""How many are worked on together."""


@overload
def deconv(
    net: AnyNetwork,
    unit: AnyUnit,
    image: OneImage,
    *,
    rules: str | RuleBook = ...,
    shifts: int = ...,
) -> Projection: ...
@overload
def deconv(
    net: AnyNetwork,
    unit: AnyUnit,
    image: ImageList[AnImage],
    *,
    rules: str | RuleBook = ...,
    shifts: int = ...,
) -> list[Projection]: ...
@overload
def deconv(
    net: AnyNetwork,
    unit: AnyUnit,
    image: AnyArray,
    *,
    rules: str | RuleBook = ...,
    shifts: int = ...,
) -> OneOrMany: ...
def deconv(
    net: AnyNetwork,
    unit: AnyUnit,
    image: AnyImage | AnyImageList,
    *,
    rules: str | RuleBook = AUTO,
    shifts: int = 1,
) -> Projection | list[Projection]:
    """What in the image made a unit fire.

    `rules` is the way back: `deconvnet`, `relevance`, `contrast` (what the unit adds to what all
    channels at its position share), `guided` or `gradient`. `auto` is the deconvnet where max
    pooling makes its pictures depend on the image, and relevance elsewhere. `shifts` averages over
    so many shifts of the image along each axis, by a pixel each, which removes the grid of strided
    convolutions: 4 makes 16 projections of one, of a volume 64.

    A channel without a position stands for its strongest unit in this image; `@*` looks back from
    the whole map, and a layer without a channel from all of its maps at once. A list of images, a
    batch of them in one array, or a data set gives a list of projections.

    >>> net = Network(torch.nn.Conv2d(3, 8, 3), input_size=(32, 32))
    >>> deconv(net, "conv1:5@10,20", torch.ones(3, 32, 32)).box
    Box(top=10, left=20, bottom=13, right=23)
    """
    net = as_network(net)
    if is_image_list(image, net.rank):
        requests = ((unit, network_input) for network_input in prepare_list(net, image))
        return list(deconv_many(net, requests, rules=rules, shifts=shifts))
    return next(deconv_many(net, [(unit, image)], rules=rules, shifts=shifts))


@check_arguments
def deconv_many(
    net: AnyNetwork,
    requests: Iterable[Request],
    *,
    rules: str | RuleBook = AUTO,
    shifts: int = 1,
    max_bytes: int | None = None,
) -> Iterator[Projection]:
    """The projections of many units in many images, `(unit, image)`, in the order of the requests.

    `rules` and `shifts` are those of `deconv`. `max_bytes` limits the memory of a batch. Default:
    what the device has available.
    """
    net = as_network(net)
    if isinstance(rules, str):
        choose("rule book", rules, {AUTO: None, **RULE_BOOKS})
    if not 1 <= shifts <= MAX_SHIFTS:
        raise RetroscopeError(
            f"shifts is a number from 1 to {MAX_SHIFTS}, not {shifts}", parameter="shifts"
        )
    yield from project_requests(net, requests, rules=rules, shifts=shifts, max_bytes=max_bytes)


def project_requests(
    net: Network,
    requests: Iterable[Request],
    *,
    rules: str | RuleBook,
    shifts: int = 1,
    max_bytes: int | None = None,
    after_pass: Callable[[], object] = lambda: None,
) -> Iterator[Projection]:
    """As `deconv_many`; calls `after_pass` after each pass back, of which a batch may take many."""
    max_bytes = max_bytes or memory_budget(net.device)
    project = partial(_project, net, rules=rules, max_bytes=max_bytes, after_pass=after_pass)
    pending = iter(requests)
    while chunk := _next_chunk(net, pending):
        with preserve_state(net.module):
            projections = dict(project(chunk))
            if shifts > 1:
                projections = {
                    request.order: _average(project, request, projections[request.order], shifts)
                    for request in chunk
                }
        yield from (projections[order] for order in range(len(chunk)))


def numbered_projections(
    net: Network,
    requests: Iterable[Request],
    *,
    rules: str | RuleBook,
    after_pass: Callable[[], object] = lambda: None,
) -> NumberedProjections:
    """As `project_requests`, each as soon as it is computed, with the number of its request."""
    max_bytes, pending, start = memory_budget(net.device), iter(requests), 0
    while chunk := _next_chunk(net, pending):
        with preserve_state(net.module):
            for order, projection in _project(
                net, chunk, rules=rules, max_bytes=max_bytes, after_pass=after_pass
            ):
                yield start + order, projection
        start += len(chunk)


def _require_channels(requests: Iterable[ProjectionRequest]) -> None:
    for request in requests:
        if request.unit.channel is None:
            layer = request.unit.layer
            raise UnitError(
                f"contrast compares a channel with the others of its layer; give one, as in "
                f"'{layer}:0'"
            )


def _average(
    project: Callable[[Sequence[ProjectionRequest]], NumberedProjections],
    request: ProjectionRequest,
    projection: Projection,
    shifts: int,
) -> Projection:
    """A projection averaged over shifts of its image."""
    offsets = shift_offsets(shifts, request.image.size)
    shifted = [
        replace(request, order=order, unit=projection.unit, image=image)
        for order, image in enumerate(shift_images(request.image, offsets))
    ]
    by_order = dict(project(shifted))
    return average_shifts(projection, offsets, (by_order[order] for order in range(len(shifted))))


def _next_chunk(net: Network, requests: Iterator[Request]) -> list[ProjectionRequest]:
    """The next requests that are worked on together, each image prepared once."""
    images: dict[object, tuple[AnyImage, NetworkInput]] = {}
    resolved: dict[tuple[Unit, Size], tuple[Unit, Layer]] = {}
    chunk: list[ProjectionRequest] = []
    for request in islice(requests, _MAX_REQUESTS):
        address, image = unpack_pair(request, "unit, image")
        key = _image_key(image)
        if key not in images:
            images[key] = image, net.prepare(image)
        prepared = images[key][1]
        unit, size = net.unit(address), prepared.size
        if (unit, size) not in resolved:
            layer = net.layer(unit.layer, size)
            resolved[unit, size] = check_unit(unit, layer), layer
        chunk.append(ProjectionRequest(len(chunk), *resolved[unit, size], prepared))
        if len(images) == _MAX_IMAGES:
            break
    return chunk


def _image_key(image: AnyImage) -> object:
    """Equal only for what is certainly the same image, as long as both are alive."""
    if isinstance(image, torch.Tensor):
        return (
            image.data_ptr(),
            0 if image.is_inference() else image._version,
            image.shape,
            image.stride(),
            image.dtype,
            image.device,
        )
    if isinstance(image, np.ndarray):  # its owner may fill it with the next image
        return image.shape, image.dtype, image.tobytes()
    return str(image) if isinstance(image, str | Path) else id(image)


def _project(
    net: Network,
    requests: Sequence[ProjectionRequest],
    *,
    rules: str | RuleBook,
    max_bytes: int,
    after_pass: Callable[[], object],
) -> NumberedProjections:
    by_size: dict[Size, list[ProjectionRequest]] = defaultdict(list)
    for request in requests:
        by_size[request.image.size].append(request)
    for size, size_requests in by_size.items():
        survey = net.survey(size)
        images = ImageStack.from_images(
            (request.image for request in size_requests),
            net.device,
            channels_last=survey.channels_last,
        )
        choice = choose_rules(rules, survey)
        if choice.book.contrast:
            _require_channels(size_requests)
        projector = Projector(net, choice, max_bytes, survey, images, after_pass)
        positioned = resolve_positions(net, survey, images, size_requests, max_bytes=max_bytes)
        yield from projector.project(positioned)
