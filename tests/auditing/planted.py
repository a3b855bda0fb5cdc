"""Small atlases with something planted in them, written without a network.

A layer has hits in random images at random places, and unremarkable statistics; a test changes what
it is about.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import retroscope as rs
from retroscope.atlas.writer import AtlasWriter
from retroscope.imaging.decoding import RGB
from retroscope.results.layers import Layer
from retroscope.results.statistics import HISTOGRAM_EDGES, stored_statistics

Array = npt.NDArray[Any]

CHANNELS, SIDE, HITS = 40, 12, 9
CLASSES, IMAGES_PER_CLASS = 10, 20
IMAGES = CLASSES * IMAGES_PER_CLASS
"""Image n is of class n % CLASSES, and class n is called `class n`."""
PIXELS = 24
FIELD = rs.ReceptiveField(rs.Field(4, 2, -1), rs.Field(4, 2, -1))


def images_of(label: int, count: int = HITS, *, classes: int = CLASSES) -> Array:
    """The first images of a class."""
    return np.arange(count) * classes + label


@dataclass
class PlantedLayer:
    """What is written about a layer; arrays are (channels, ...)."""

    layer: Layer
    statistics: dict[str, Array]
    images: Array
    scores: Array
    ys: Array
    xs: Array
    class_means: Array
    class_fired_shares: Array = field(init=False)

    def __post_init__(self) -> None:
        self.class_fired_shares = np.ones_like(self.class_means)

    def put_hits(self, channel: int, images: Array, ys: object, xs: object) -> None:
        """Hits of a channel in these images at these positions."""
        self.images[channel] = images
        self.ys[channel], self.xs[channel] = ys, xs


def random_layer(
    name: str = "conv1", *, index: int = 0, channels: int = CHANNELS, side: int = SIDE
) -> PlantedLayer:
    """A layer in which nothing is remarkable."""
    random = np.random.default_rng(index)
    shape = channels, HITS
    scores = np.sort(random.gamma(2, 2, shape), axis=1)[:, ::-1].astype(np.float32)
    maximum = scores[:, 0]
    histogram = np.zeros((channels, len(HISTOGRAM_EDGES) + 1), np.int64)
    histogram[:, 32] = IMAGES
    columns = {
        row.name: np.zeros((channels, 64) if row.is_array else channels, np.int64)
        for row in stored_statistics()
    }
    statistics = {
        **columns,
        "images": np.full(channels, IMAGES),
        "positions": np.full(channels, IMAGES * side * side),
        "mean": random.gamma(2, 0.1, channels),
        "std": random.gamma(2, 0.5, channels),
        "maximum": maximum.copy(),
        "minimum": np.zeros(channels),
        "fired_images": random.integers(IMAGES // 2, IMAGES, channels),
        "fired_positions": random.integers(1000, 9000, channels),
        "histogram": histogram,
    }
    return PlantedLayer(
        Layer(name, "relu", channels, (side, side), FIELD, (), index),
        statistics,
        np.argsort(random.random((channels, IMAGES)), axis=1)[:, :HITS],
        scores,
        random.integers(0, side, shape),
        random.integers(0, side, shape),
        random.gamma(2, 1, (CLASSES, channels)),
    )


def write_atlas(
    path: Path,
    layers: Sequence[PlantedLayer],
    *,
    images: int = IMAGES,
    classes: int = CLASSES,
    state: str = "scanned",
    paint: Callable[[int], RGB] | None = None,
) -> Path:
    """Writes an atlas of these layers; `paint` makes the image of a number."""
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_meta({"model": "planted", "state": state})
        writer.put_meta({"preprocessing": {"size": [PIXELS, PIXELS]}})
        writer.put_layers([planted.layer for planted in layers])
        labels = [number % classes for number in range(images)] if classes else []
        names = [f"class {number}" for number in range(classes)]
        writer.put_images([f"{number}.png" for number in range(images)], labels, names)
        writer.mark_read(range(images))
        for planted in layers:
            _put_layer(writer, planted, classes)
        if paint is not None:
            for image in range(images):
                writer.put_image_pixels(image, paint(image))
    return path


def _put_layer(writer: AtlasWriter, planted: PlantedLayer, classes: int) -> None:
    name = planted.layer.name
    writer.put_channels(name, planted.statistics)
    writer.put_hits(
        name, "max", planted.scores, images=planted.images, ys=planted.ys, xs=planted.xs
    )
    if classes == CLASSES:
        writer.put_class_stats(name, planted.class_means, planted.class_fired_shares)


def findings(path: Path, rule: str, *, net: rs.Network | None = None) -> list["rs.AuditFinding"]:
    """The findings of one rule about an atlas."""
    return [finding for finding in rs.audit(path, net=net).findings if finding.rule == rule]
