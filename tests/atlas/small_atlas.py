"""A small atlas, written without a network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retroscope.atlas.row_encoding import Array
from retroscope.atlas.writer import AtlasWriter
from retroscope.geometry import Field, ReceptiveField
from retroscope.imaging.decoding import RGB
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from retroscope.results.statistics import stored_statistics
from retroscope.results.unit_numbers import UnitName, UnitNumber
from retroscope.unit import Unit

SIDE = 24
FIELD = ReceptiveField(Field(5, 4, -2), Field(7, 4, -3))
WHOLE = ReceptiveField(Field.whole(SIDE), Field.whole(SIDE), whole=True, global_context=True)
LAYERS = (
    Layer("features.0", "conv", 3, (6, 6), FIELD, ("conv1", "conv1_1"), 0, "a note"),
    Layer("head", "linear", 2, (1, 1), WHOLE, (), 7),
)
KEYS = ("katze/ä b.jpg", "katze/猫.png", "hund/\udcff.jpg", "hund/x.jpg", "alone.jpg")
NAMES = ("hund", "katze", "leer")
LABELS = (1, 1, 0, 0, -1)
NUMBERS = (
    UnitNumber(Unit("features.0", 0), "concept_iou", 0.25, 0.125, 0.5, 0.0625, "unit", "masks"),
    UnitNumber(Unit("features.0", 0), "mis", 0.75, 0.5, 1.0, 0.5, "unit", "maps"),
    UnitNumber(Unit("features.0", 2), "mis", nan, nan, nan, 0.5, "unit", "maps"),
)
UNIT_NAMES = (
    UnitName(Unit("features.0", 0), "Rad", 0.25, "dissection"),
    UnitName(Unit("features.0", 0), "räder", source="file"),
)


def smooth_image(seed: int) -> RGB:
    """An image that WebP stores with little loss."""
    y, x = np.mgrid[:SIDE, :SIDE]
    planes = [128 + 90 * np.sin((y * seed + x * (n + 1)) / 9) for n in range(3)]
    return np.stack(planes, axis=2).astype(np.uint8)


def zero_statistics(channels: int) -> dict[str, Array]:
    """Every statistic that there is, as zeros: what a test does not care about."""
    return {
        row.name: np.zeros((channels, 64) if row.is_array else channels, np.int64)
        for row in stored_statistics()
    }


def statistics(channels: int) -> dict[str, Array]:
    """Invented statistics; the last channel is dead."""
    number = np.arange(channels)[::-1]
    return {
        **zero_statistics(channels),
        "images": np.array(4),
        "positions": np.array(144),
        "mean": number / 3,
        "std": number / 7,
        "maximum": number.astype(np.float32),
        "fired_images": number,
        "fired_positions": number * 5,
        "non_finite": np.zeros(channels, np.int64),
        "dead": number == 0,
        "histogram": np.arange(channels * 64).reshape(channels, 64),
        "top_label": np.where(number > 0, 1, -1),
    }


def projection(unit: str, seed: int = 1) -> Projection:
    """A random projection for a unit of the first layer in the image `smooth_image(1)`."""
    address = Unit.parse(unit)
    assert address.position is not None
    box = FIELD.box(*address.position).clip(SIDE, SIDE)
    shape = (box.height, box.width, 3)
    pixels = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    notes = ("one", "two")
    return Projection(address, 1.25, box, pixels, "deconvnet", (SIDE, SIDE), notes=notes)


def put_hits(writer: AtlasWriter, layer: str, ranked_by: str, rows: list[list[float]]) -> None:
    """Hits of these scores in the images 0, 1, ...; every n-th channel has its hits at (n, n)."""
    ranks = max(map(len, rows))
    scores = np.array([row + [-np.inf] * (ranks - len(row)) for row in rows])
    numbers = np.broadcast_to(np.arange(ranks), scores.shape)
    positions = np.broadcast_to(np.arange(len(rows))[:, None], scores.shape)
    images: npt.NDArray[np.int64] = np.where(np.isinf(scores), -1, numbers)
    writer.put_hits(layer, ranked_by, scores, images=images, ys=positions, xs=positions)


def write(path: Path) -> None:
    """Writes the small atlas into a new file."""
    with AtlasWriter(path) as writer, writer.transaction():
        fill(writer)


def fill(writer: AtlasWriter) -> None:
    """Puts the small atlas into a transaction."""
    writer.put_meta({"model": "täst", "state": "scanned", "preprocessing": {"mean": [0.5, 1]}})
    writer.put_layers(LAYERS)
    writer.put_images(KEYS, LABELS, NAMES)
    writer.mark_read([0, 1, 2, 4])
    writer.mark_unreadable(3, "broken 'x'")
    for layer in LAYERS:
        writer.put_channels(layer.name, statistics(layer.channels))
    put_hits(writer, "features.0", "max", [[3.5, 2.0, 1.0], [4.0, 0.5], []])
    put_hits(writer, "features.0", "mean", [[0.5, 0.25], [0.125], []])
    put_hits(writer, "head", "max", [[-1.0], [-2.0, -3.0]])
    means = np.array([[1, 2, 0], [5, 1, 0], [np.nan] * 3])
    writer.put_class_stats("features.0", means, means / 10)
    for image in range(3):
        writer.put_image_pixels(image, smooth_image(image))
    writer.put_projection(1, projection("features.0:0@0,0"))
    writer.put_numbers(NUMBERS)
    writer.put_names(UNIT_NAMES)


SAMPLED_IMAGES, SAMPLE_HASHES = (2, 0, 4, 1), (7, -(2**63), 7, 2**63 - 1)
SAMPLE_ORDER = (0, 2, 4, 1)
"""The images of the sample by hash; of two with the same hash, the lower number first."""
SAMPLE_SCORES = np.array([[3.5, 1, 0, 2], [4, np.nan, 0.25, 0.5], [0, 0, 0, 0]], np.float32)
SAMPLE_PLACES = np.array([[0, 35, 7, 6], [7, -1, 5, 30], [0, 0, 0, 0]], np.int32)


def put_rankings(writer: AtlasWriter) -> None:
    """Adds to the first layer of the small atlas what a scan with `per_class` adds."""
    put_hits(writer, "features.0", "min", [[-3.5, -3.5, -1], [-4], []])
    images = np.array([[0, 1, 2, 4, 4, 0], [0, 1, 4, 4, 4, -1], [0] * 6])
    scores = np.array([[3.5, 2, 1, 0, 0, 3.5], [4, 0.5, 0.25, 0.25, 0.25, 0], [0] * 6])
    zeros = np.zeros((3, 6), np.int64)
    writer.put_hits("features.0", "sample", scores, images=images, ys=zeros, xs=zeros)
    writer.put_sample_images(SAMPLED_IMAGES, SAMPLE_HASHES)
    writer.put_sample("features.0", SAMPLE_SCORES, SAMPLE_PLACES)
    _put_class_hits(writer, 1, [[[3.5, 0], [2, 1]], [[0.5, 1]], []])
    _put_class_hits(writer, 0, [[[1, 2]], [], [[7, 2]]])


def _put_class_hits(writer: AtlasWriter, label: int, rows: list[list[list[float]]]) -> None:
    """Pairs of score and image for each channel, at the positions of `put_hits`."""
    scores, images = np.full((3, 2), -np.inf), np.full((3, 2), -1)
    for channel, hits in enumerate(rows):
        for rank, (score, image) in enumerate(hits):
            scores[channel, rank], images[channel, rank] = score, image
    places = np.broadcast_to(np.arange(3)[:, None], (3, 2))
    writer.put_class_hits("features.0", label, scores, images=images, ys=places, xs=places)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Without the rights of root, who may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
