"""One row of each table that is read or written whole, with its columns in the table's order."""

from typing import NamedTuple


class LayerRow(NamedTuple):
    """A row of `layers`. The last four columns are None for images; of a signal, depth is 0."""

    id: int
    name: str
    kind: str
    channels: int
    height: int
    width: int
    field_y_size: int
    field_y_stride: float
    field_y_start: int
    field_x_size: int
    field_x_stride: float
    field_x_start: int
    whole: bool
    global_context: bool
    aliases: str
    note: str
    step: int
    convolution: str | None
    depth: int | None
    field_z_size: int | None
    field_z_stride: float | None
    field_z_start: int | None


class GraphRow(NamedTuple):
    """A row of `graph`; `inputs` is a JSON list."""

    step: int
    operation: str
    inputs: str


class RankedHitRow(NamedTuple):
    """A row of `hits`."""

    layer: int
    ranked_by: str
    channel: int
    rank: int
    score: float
    image: int
    y: int
    x: int


class ClassHitRow(NamedTuple):
    """A row of `class_hits`."""

    layer: int
    label: int
    channel: int
    rank: int
    score: float
    image: int
    y: int
    x: int


class SampleImageRow(NamedTuple):
    """A row of `sample_images`. The hash is a signed number of 64 bits."""

    image: int
    hash: int


class SampleRow(NamedTuple):
    """A row of `samples`: a float32 and an int32 for each image of the sample."""

    layer: int
    channel: int
    scores: bytes
    positions: bytes


class ClassStatsRow(NamedTuple):
    """A row of `class_stats`: two float32 blobs with a number for each class."""

    layer: int
    channel: int
    mean_maximum: bytes
    fired_share: bytes


class StoredImageRow(NamedTuple):
    """A row of `winner_pictures`: a WebP."""

    image: int
    blob: bytes


class ProjectionRow(NamedTuple):
    """A row of `projections`."""

    layer: int
    channel: int
    image: int
    y: int
    x: int
    rules: str
    activation: float
    blob: bytes
    peak: float
    height: int
    width: int
    depth: int
    note: str


class PatternRow(NamedTuple):
    """A row of `patterns`. A number is None if it is NaN, for which SQLite stores NULL."""

    layer: int
    channel: int
    recipe: str
    seed: int
    steps: int
    activation: float | None
    score: float | None
    started_at: float | None
    blob: bytes
    opacity: bytes | None
    note: str
    caveat: str


class NumberRow(NamedTuple):
    """A row of `numbers`. A number is None if it is NaN, for which SQLite stores NULL."""

    layer: int
    channel: int
    name: str
    value: float | None
    low: float | None
    high: float | None
    chance: float | None
    subject: str
    basis: str


class NameRow(NamedTuple):
    """A row of `names`."""

    layer: int
    channel: int
    source: str
    name: str
    score: float | None
