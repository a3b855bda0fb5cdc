"""An atlas of the size of a real one, written without running a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from retroscope.atlas.writer import AtlasWriter
from retroscope.imaging.decoding import RGB
from retroscope.results.layers import Layer
from retroscope.results.plates import SAMPLE_QUANTILES
from retroscope.results.projections import Projection
from retroscope.results.statistics import stored_statistics
from retroscope.unit import Unit

CLASSES = 10
_PIXEL_SETS = 64
"""Different projections; each is used for many channels."""
_BINS = 64


def write_atlas(
    path: Path,
    layers: Sequence[Layer],
    *,
    images: int = 500,
    pixels: int = 224,
    top: int = 9,
    projected_ranks: int = 1,
    per_class: int = 0,
) -> None:
    """Writes an atlas with invented statistics, hits, images and projections of these layers.

    With `per_class`, there are also hits by minimum, a sample, and the best images of each class.
    """
    random = np.random.default_rng(0)
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_meta({"model": "synthetic", "state": "illustrated", "top": top, "version": "0"})
        writer.put_meta({"rules": "relevance", "rules_reason": "synthetic"})
        writer.put_layers(layers)
        labels = [number % CLASSES for number in range(images)]
        names = [f"class {label}" for label in range(CLASSES)]
        writer.put_images([f"{n % CLASSES}/{n}.jpg" for n in range(images)], labels, names)
        writer.mark_read(range(images))
        for image in range(images):
            writer.put_image_pixels(image, _smooth_image(random, pixels))
        for layer in layers:
            _put_layer(writer, layer, random, images=images, top=top)
            if per_class:
                _put_more_rankings(
                    writer, layer, random, images=images, top=top, per_class=per_class
                )
        _put_projections(writer, layers, random, pixels=pixels, ranks=projected_ranks)


def _put_layer(
    writer: AtlasWriter, layer: Layer, random: np.random.Generator, *, images: int, top: int
) -> None:
    channels, size = layer.channels, layer.size[0] * layer.size[1]
    fired = random.integers(images // 2, images, channels, endpoint=True)
    means = random.gamma(1, 2, (CLASSES, channels))
    columns = {
        row.name: np.zeros((channels, _BINS) if row.is_array else channels, np.int64)
        for row in stored_statistics()
    }
    invented = {
        "images": np.array(images),
        "positions": np.array(images * size),
        "mean": random.normal(size=channels),
        "std": random.gamma(1, 1, channels),
        "maximum": random.gamma(2, 2, channels),
        "fired_images": fired,
        "fired_positions": fired * size // 2,
        "histogram": random.integers(0, images, (channels, _BINS)),
        "top_label": means.argmax(axis=0),
    }
    writer.put_channels(layer.name, {**columns, **invented})
    for ranked_by in ("max", "mean"):
        hits = _draw_hits(layer, random, range(images), ranks=top)
        writer.put_hits(layer.name, ranked_by, **hits)
    writer.put_class_stats(layer.name, means, means.clip(0, 1))


def _put_more_rankings(
    writer: AtlasWriter,
    layer: Layer,
    random: np.random.Generator,
    *,
    images: int,
    top: int,
    per_class: int,
) -> None:
    lowest = _draw_hits(layer, random, range(images), ranks=top)
    writer.put_hits(layer.name, "min", **(lowest | {"scores": -lowest["scores"]}))
    sample = _draw_hits(layer, random, range(images), ranks=len(SAMPLE_QUANTILES) + 1)
    writer.put_hits(layer.name, "sample", **sample)
    for label in range(CLASSES):
        of_class = range(label, images, CLASSES)
        hits = _draw_hits(layer, random, of_class, ranks=per_class)
        writer.put_class_hits(layer.name, label, **hits)


def _draw_hits(
    layer: Layer, random: np.random.Generator, images: range, *, ranks: int
) -> dict[str, npt.NDArray[Any]]:
    """So many of these images for each channel, each once, with scores and positions."""
    channels, ranks = layer.channels, min(ranks, len(images))
    chosen = np.argsort(random.random((channels, len(images))), axis=1)[:, :ranks]
    return {
        "scores": np.sort(random.gamma(2, 2, (channels, ranks)), axis=1)[:, ::-1],
        "images": np.array(images)[chosen],
        "ys": random.integers(0, layer.size[0], (channels, ranks)),
        "xs": random.integers(0, layer.size[1], (channels, ranks)),
    }


def _put_projections(
    writer: AtlasWriter,
    layers: Sequence[Layer],
    random: np.random.Generator,
    *,
    pixels: int,
    ranks: int,
) -> None:
    """A projection of the best hits of every channel, in the box that the unit sees."""
    fields = {layer.name: layer.field for layer in layers}
    signals = [_smooth_noise(random, pixels) for _ in range(_PIXEL_SETS)]
    for number, hit in enumerate(writer.missing_projections(ranks=ranks, rules="relevance")):
        box = fields[hit.layer].box(hit.y, hit.x).clip(pixels, pixels)
        signal = signals[number % _PIXEL_SETS][: box.height, : box.width]
        unit = Unit(hit.layer, hit.channel, (hit.y, hit.x))
        projection = Projection(unit, 1.0, box, signal, "relevance", (pixels, pixels))
        writer.put_projection(hit.image, projection)


def _smooth_image(random: np.random.Generator, pixels: int) -> RGB:
    """Like a photograph to a codec: large shapes, and some detail."""
    levels = 128 + 60 * _smooth_noise(random, pixels) + random.normal(0, 4, (pixels, pixels, 3))
    return levels.clip(0, 255).astype(np.uint8)


def _smooth_noise(random: np.random.Generator, pixels: int) -> npt.NDArray[np.float32]:
    side = max(pixels // 16, 2)
    planes = [
        PIL.Image.fromarray(random.normal(size=(side, side)).astype(np.float32)).resize(
            (pixels, pixels), PIL.Image.Resampling.BICUBIC
        )
        for _ in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)
