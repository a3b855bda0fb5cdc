"""Sample atlases for the viewer: a small one with edge cases, a minimal one and a large one."""

import sqlite3
from contextlib import closing
from functools import cache
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from retroscope.atlas.image_blobs import encode_image
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.geometry import Field, ReceptiveField
from retroscope.imaging.decoding import RGB
from retroscope.results.layers import FROM_IMAGE, GraphStep, Layer
from retroscope.results.projections import Projection
from retroscope.results.unit_numbers import UnitName, UnitNumber
from retroscope.unit import Unit
from tests.atlas.small_atlas import write, zero_statistics

SIDE = 32
FIELD = ReceptiveField(Field(9, 4, -2), Field(9, 4, -2))
LARGE = ReceptiveField(Field(50, 8, -20), Field(50, 8, -20))
"""Fields that leave the image at every position and cover most of it."""
WHOLE = ReceptiveField(Field.whole(SIDE), Field.whole(SIDE), whole=True)
NAMES = ("cats", "dogs & <i>wolves</i>", "Cats", "../up")
"""Class names unsafe in URLs: no two may share a file name, and none may leave its folder."""
LAYERS = (
    Layer("features.0", "conv", 12, (8, 8), FIELD, ("conv1", "conv1_1"), 0),
    Layer("Features.0", "relu", 3, (8, 8), FIELD, ("relu1",), 1),
    Layer("add#2/é<b>", "add", 244, (4, 4), LARGE, (), 2, "an <b>odd</b> name"),
    Layer("head", "linear", 4, (1, 1), WHOLE, ("fc1",), 3),
)
GRAPH = (
    GraphStep(0, "conv", (FROM_IMAGE,)),
    GraphStep(1, "relu", (0,)),
    GraphStep(2, "add", (0, 1)),
    GraphStep(3, "linear", (2,)),
)
IMAGES = 242
NUMBERS = (
    *(
        UnitNumber(Unit("features.0", channel), "mis", value, value - 0.1, value + 0.05, 0.5)
        for channel, value in enumerate([0.55, 0.9, 0.45, 0.8, 0.6])
    ),
    UnitNumber(
        Unit("features.0", 3), "faithfulness", -0.25, -0.5, 0.125, 0.0, "projection", "nine"
    ),
    UnitNumber(Unit("features.0", 5), "mis", nan, nan, nan, 0.5),
    UnitNumber(Unit("features.0", 5), "of tomorrow", 1.0),
)
UNIT_NAMES = (
    UnitName(Unit("features.0", 3), "wheel & <i>rim</i>", 0.25, "dissection"),
    UnitName(Unit("features.0", 5), "sea"),
)
PATTERNS = """
    CREATE TABLE IF NOT EXISTS patterns (
        layer INTEGER, channel INTEGER, recipe TEXT, seed INTEGER, steps INTEGER, activation REAL,
        score REAL, started_at REAL, blob BLOB, opacity BLOB, note TEXT, caveat TEXT)"""


FIRING = 16
"""Channels of a layer of the small atlas that fire. The others make a long list, and no plates."""


def odd_atlas(path: Path, *, seed: int = 0) -> Atlas:
    """Odd layer names, dead channels, one with non-finite values, two pages of channels.

    Tests may change it: each gets a copy.
    """
    path.write_bytes(_odd_atlas_file(seed))
    return open_atlas(path)


@cache
def _odd_atlas_file(seed: int) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "odd.atlas"
        _write_odd_atlas(path, seed)
        return path.read_bytes()


def _write_odd_atlas(path: Path, seed: int) -> None:
    with AtlasWriter(path) as writer, writer.transaction():
        _fill(writer, LAYERS, seed, firing=FIRING)
        writer.put_graph(GRAPH)
        writer.put_numbers(NUMBERS)
        writer.put_names(UNIT_NAMES)
        for hit in list(writer.missing_projections(ranks=9, rules="deconvnet")):
            if hit.layer != "head":
                writer.put_projection(
                    hit.image, _projection(hit.layer, hit.channel, (hit.y, hit.x))
                )
    _put_patterns(path)


def _put_patterns(path: Path) -> None:
    """Patterns of the first three channels, as `retroscope synthesize` stores them."""
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(PATTERNS)
        for channel in range(3):
            file.execute(
                "INSERT INTO patterns (layer, channel, recipe, seed, steps, activation, score, "
                "started_at, blob, note, caveat) "
                "VALUES (0, ?, 'olah', 0, 8, 4.5, 1, 0, ?, '', 'synthetic')",
                (channel, encode_image(disc_image(100 + channel))),
            )


def bare_atlas(path: Path) -> Atlas:
    """The atlas of the reader's tests: one projection, layers without statistics."""
    write(path)
    return open_atlas(path)


def large_atlas(path: Path, *, layers: int = 15, channels: int = 2000, images: int = 400) -> Atlas:
    """As many channels as a common network."""
    layer_list = [
        Layer(f"layer.{n}", "conv", channels, (8, 8), FIELD, (f"conv{n + 1}",), n)
        for n in range(layers)
    ]
    with AtlasWriter(path) as writer, writer.transaction():
        _fill(writer, layer_list, 0, images=images)
    return open_atlas(path)


def _fill(
    writer: AtlasWriter,
    layers: "tuple[Layer, ...] | list[Layer]",
    seed: int,
    *,
    images: int = IMAGES,
    firing: int | None = None,
) -> None:
    """Without `firing`, all channels but one fire."""
    rng = np.random.default_rng(seed)
    writer.put_meta({"model": "täst", "state": "illustrated", "top": 9, "version": "0"})
    writer.put_layers(layers)
    keys = [f"{n % len(NAMES)}/bild {n}.png" for n in range(images)]
    writer.put_images(keys, [n % len(NAMES) for n in range(images)], NAMES)
    writer.mark_read(range(images))
    for image in range(images):
        writer.put_image_pixels(image, disc_image(image))
    for layer in layers:
        _put_layer(writer, layer, rng, images=images, firing=firing)


def _put_layer(
    writer: AtlasWriter, layer: Layer, rng: np.random.Generator, *, images: int, firing: int | None
) -> None:
    count, ranks = layer.channels, 9
    fired = rng.integers(1, images, count)
    fired[1] = 0
    silent = slice(firing or count, -1)
    fired[silent] = 0
    non_finite = np.zeros(count, np.int64)
    non_finite[-1] = 7
    means = rng.gamma(1, 2, (len(NAMES), count))
    writer.put_channels(
        layer.name,
        {
            **zero_statistics(count),
            "images": np.array(images),
            "positions": np.array(images * layer.size[0] * layer.size[1]),
            "mean": rng.normal(size=count),
            "std": rng.gamma(1, 1, count),
            "maximum": rng.gamma(2, 2, count),
            "fired_images": fired,
            "fired_positions": fired * 3,
            "dead": fired == 0,
            "non_finite": non_finite,
            "histogram": rng.integers(0, 9, (count, 64)),
            "top_label": np.where(fired > 0, means.argmax(axis=0), -1),
        },
    )
    for ranked_by in ("max", "mean"):
        images_of = np.argsort(rng.random((count, images)), axis=1)[:, :ranks]
        images_of[-1] = -1
        images_of[silent] = -1
        writer.put_hits(
            layer.name,
            ranked_by,
            np.sort(rng.gamma(2, 2, (count, ranks)), axis=1)[:, ::-1],
            images=images_of,
            ys=rng.integers(0, layer.size[0], (count, ranks)),
            xs=rng.integers(0, layer.size[1], (count, ranks)),
        )
    writer.put_class_stats(layer.name, means, means.clip(0, 1))


def disc_image(seed: int) -> RGB:
    """A disc on a background, at a different position for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    background, disc = rng.integers(0, 256, (2, 3))
    inside = np.hypot(y - rng.integers(SIDE), x - rng.integers(SIDE)) < 8
    image: RGB = np.where(inside[..., None], disc, background).astype(np.uint8)
    return image


def _projection(layer: str, channel: int, position: tuple[int, int]) -> Projection:
    field = {entry.name: entry.field for entry in LAYERS}[layer]
    box = field.box(*position).clip(SIDE, SIDE)
    y, x = np.mgrid[: box.height, : box.width]
    wave = np.sin(y * 0.7 + channel) * np.cos(x * 0.9)
    pixels = np.repeat(wave[..., None], 3, axis=2).astype(np.float32)
    return Projection(
        Unit(layer, channel, position),
        1.0,
        box,
        pixels,
        "deconvnet",
        (SIDE, SIDE),
        notes=("a note",),
    )
