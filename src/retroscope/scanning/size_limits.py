"""How much a scan may accumulate: what a checkpoint can hold, and the memory there is."""

from collections.abc import Sequence
from math import prod

import torch

from retroscope.atlas.image_blobs import MAX_IMAGE_PIXELS
from retroscope.engine.memory import available_memory
from retroscope.errors import RetroscopeError
from retroscope.geometry import INPUTS, format_size
from retroscope.results.layers import Layer
from retroscope.results.slice_stacks import MAX_SHEET_SIDE, VOLUME_RANK, sheet_size
from retroscope.scanning.statistics.class_sums import CLASS_BYTES
from retroscope.scanning.statistics.image_sample import SAMPLE_BYTES, SAMPLE_IMAGES
from retroscope.scanning.statistics.topk import HIT_BYTES

BYTES_PER_HIT = 3 * HIT_BYTES
"""A hit in the rankings by maximum, by mean and by minimum."""
MAX_LAYER_BYTES = 900_000_000
"""Of a checkpoint, each layer is one piece; SQLite stores up to a gigabyte in one."""
_LABEL_BYTES = 8
_CLASS_RANKINGS_SHARE = 0.5
"""How much of a checkpoint, and of the memory that is available, rankings by class may take."""


def refuse_large_images(size: Sequence[int]) -> None:
    """Raises for images of which an atlas could not hold one; of a volume it holds all slices."""
    sheet = sheet_size(size) if len(size) == VOLUME_RANK else size
    if prod(sheet) > MAX_IMAGE_PIXELS or max(sheet) > MAX_SHEET_SIDE:
        raise RetroscopeError(
            f"{INPUTS[len(size)]}s of {format_size(size)} pixels are too large for an atlas, which "
            f"stores up to {MAX_IMAGE_PIXELS:,} pixels of each; give a smaller input_size",
            parameter="input_size",
        )


def refuse_too_many_hits(max_hits: int, layers: Sequence[Layer]) -> None:
    """Raises if the checkpoint of a layer would not fit into one piece."""
    widest = _widest(layers)
    limit = (MAX_LAYER_BYTES // widest.channels - SAMPLE_BYTES * SAMPLE_IMAGES) // BYTES_PER_HIT
    if max_hits > limit:
        raise RetroscopeError(
            f"{max_hits} hits per channel are too many for the {widest.channels} channels of "
            f"{widest.name}; give a top of {limit} or less",
            parameter="top",
        )


def refuse_too_many_classes(
    classes: int, layers: Sequence[Layer], *, max_hits: int, class_hits: int = 0
) -> None:
    """Raises if the checkpoint of a layer with class statistics would not fit into one piece.

    `class_hits` are the images that are ranked for each channel, of all classes together.
    """
    widest = _widest(layers)
    hit_bytes = BYTES_PER_HIT * max_hits + HIT_BYTES * class_hits + SAMPLE_BYTES * SAMPLE_IMAGES
    remaining = MAX_LAYER_BYTES - hit_bytes * widest.channels
    limit = max(remaining // (CLASS_BYTES * widest.channels + _LABEL_BYTES), 0)
    if classes > limit:
        raise RetroscopeError(
            f"{classes:,} classes are too many for the {widest.channels} channels of "
            f"{widest.name}, for which there may be {limit:,}; leave the statistics of classes out",
            parameter="classes",
        )


def refuse_large_class_rankings(
    per_class: int, classes: int, layers: Sequence[Layer], device: torch.device
) -> None:
    """Raises if the rankings of so many classes would not fit in memory, or in a checkpoint."""
    channels, widest = sum(layer.channels for layer in layers), _widest(layers).channels
    needed = per_class * classes * channels * HIT_BYTES
    available = int(available_memory(device) * _CLASS_RANKINGS_SHARE)
    limit = min(available, int(MAX_LAYER_BYTES * _CLASS_RANKINGS_SHARE) * channels // widest)
    if needed <= limit:
        return
    most = limit * per_class // needed
    fewer = f"rank {most} per class, or" if most else "rank"
    raise RetroscopeError(
        f"the {per_class} best images of {classes:,} classes for each of {channels:,} channels "
        f"take {needed / 1e9:.1f} GB, and may take {limit / 1e9:.1f} GB; {fewer} fewer classes, "
        "which ranked_classes names, or scan fewer layers",
        parameter="ranked_classes",
    )


def _widest(layers: Sequence[Layer]) -> Layer:
    return max(layers, key=lambda layer: layer.channels)
