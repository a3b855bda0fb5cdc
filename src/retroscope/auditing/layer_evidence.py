"""What rules look at: the statistics and hits of an atlas, layer by layer, as arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from retroscope.atlas.queries import audit_queries
from retroscope.atlas.queries.audit_queries import (
    ChannelFactsRow,
    ClassProfilesRow,
    LabelledHitRow,
)
from retroscope.atlas.queries.query import check_lengths, damaged_error
from retroscope.atlas.queries.reader_queries import Label
from retroscope.atlas.reader import Atlas
from retroscope.results.layers import Layer
from retroscope.results.projections import Filters
from retroscope.results.statistics import HISTOGRAM_EDGES

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MAX_HITS = 100
"""Hits of a channel that rules look at, the strongest ones."""
_BINS = len(HISTOGRAM_EDGES) + 1
_NONE = -1
_ROUNDING = 1e-5


class HitArrays(NamedTuple):
    """The hits of all channels: (channels, ranks). Empty slots are NaN, or -1."""

    scores: Floats
    images: Integers
    labels: Integers
    ys: Integers
    xs: Integers

    @property
    def counts(self) -> Integers:
        """How many hits each channel has."""
        counts: Integers = (self.images >= 0).sum(axis=1)
        return counts

    def first(self, ranks: int) -> "HitArrays":
        """Only the first ranks."""
        return HitArrays(
            self.scores[:, :ranks],
            self.images[:, :ranks],
            self.labels[:, :ranks],
            self.ys[:, :ranks],
            self.xs[:, :ranks],
        )


@dataclass(frozen=True, eq=False)
class LayerEvidence:
    """The statistics of all channels of a layer; NaN where the atlas does not have one."""

    layer: Layer
    statistics: Mapping[str, Floats]
    histograms: Integers
    hits: HitArrays

    @property
    def is_rectified(self) -> bool:
        """Whether no value is below zero, so that a channel without a positive one is constant."""
        minimum = self.statistics["minimum"]
        if np.isnan(minimum).all():  # an atlas older than this statistic
            return self.layer.kind == "relu"
        return bool(np.nanmin(minimum) >= 0)

    @property
    def is_constant(self) -> npt.NDArray[np.bool_]:
        """Channels that have the same value everywhere, but for rounding."""
        maximum, minimum = self.statistics["maximum"], self.statistics["minimum"]
        largest = np.maximum(np.abs(maximum), np.abs(minimum))
        is_constant: npt.NDArray[np.bool_] = maximum - minimum <= _ROUNDING * largest
        return is_constant & (self.statistics["images"] > 1)


class ClassResponses(NamedTuple):
    """The mean maximum of each channel in a class and over all classes, and the share of the class
    in which it fires.
    """

    mean_maximum: Floats
    mean_of_classes: Floats
    fired_share: Floats


class ConvolutionWeights(NamedTuple):
    """The weights of a convolution, (filters, ...), and its number of groups."""

    weights: npt.NDArray[np.float32]
    groups: int


@dataclass(frozen=True, eq=False)
class NetworkWeights:
    """Weights of the scanned network: the filters that read pixels, and those of layers by name.

    `filters` is None for the reason that `no_filters` gives.
    """

    convolutions: Mapping[str, ConvolutionWeights]
    filters: Filters | None
    no_filters: str = ""


@dataclass(frozen=True, eq=False)
class AtlasEvidence:
    """An open atlas, and what rules look at in it."""

    atlas: Atlas
    images: int
    labels: tuple[Label, ...]
    layers: tuple[LayerEvidence, ...]
    weights: NetworkWeights | None = None

    @property
    def channels(self) -> int:
        return sum(layer.layer.channels for layer in self.layers)


def read_evidence(atlas: Atlas, weights: NetworkWeights | None = None) -> AtlasEvidence:
    """Reads what rules look at."""
    labels = atlas.labels
    if [label.id for label in labels] != list(range(len(labels))):
        raise damaged_error("its classes are not numbered from 0")
    return AtlasEvidence(
        atlas,
        audit_queries.count_readable_images(atlas),
        labels,
        tuple(_read_layer(atlas, layer) for layer in atlas.layers),
        weights,
    )


def _read_layer(atlas: Atlas, layer: Layer) -> LayerEvidence:
    facts = audit_queries.channel_facts(atlas, layer)
    hits = audit_queries.labelled_hits(atlas, layer)
    _check_channels(layer, facts)
    _check_channels(layer, hits)
    height, width = layer.size
    if any(not (0 <= hit.y < height and 0 <= hit.x < width) for hit in hits):
        raise damaged_error(f"a hit of {layer.name!r} lies outside of its map")
    return LayerEvidence(
        layer,
        {
            name: _column(layer, facts, name)
            for name in ChannelFactsRow._fields
            if name not in ("channel", "histogram")
        },
        _histograms(layer, facts),
        _hit_arrays(layer, hits),
    )


def _check_channels(
    layer: Layer, rows: Iterable[ChannelFactsRow | LabelledHitRow | ClassProfilesRow]
) -> None:
    if any(not 0 <= row.channel < layer.channels for row in rows):
        raise damaged_error(f"a channel of {layer.name!r} is not one of its {layer.channels}")


def _column(layer: Layer, rows: Sequence[ChannelFactsRow], name: str) -> Floats:
    values = np.full(layer.channels, np.nan)
    for row in rows:
        cell = getattr(row, name)
        if cell is not None:
            values[row.channel] = cell
    return values


def _histograms(layer: Layer, rows: Sequence[ChannelFactsRow]) -> Integers:
    """Images by their maximum; zeros for channels without a histogram."""
    check_lengths((row.histogram for row in rows), 8 * _BINS, "a histogram")
    histograms = np.zeros((layer.channels, _BINS), np.int64)
    for row in rows:
        if row.histogram is not None:
            histograms[row.channel] = np.frombuffer(row.histogram, "<i8")
    return histograms


def _hit_arrays(layer: Layer, rows: Sequence[LabelledHitRow]) -> HitArrays:
    """The strongest hits of each channel; rows come by channel and rank."""
    channels = np.array([row.channel for row in rows], np.int64)
    starts = np.searchsorted(channels, channels)  # where the rows of the same channel begin
    slots = np.arange(len(rows)) - starts
    is_read = slots < MAX_HITS
    ranks = int(slots[is_read].max()) + 1 if len(rows) else 0

    def fill(column: Sequence[Any], empty: float, kind: type) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.full((layer.channels, ranks), empty, kind)
        array[channels[is_read], slots[is_read]] = np.array(column)[is_read]
        return array

    return HitArrays(
        fill([row.score for row in rows], np.nan, np.float64),
        fill([row.image for row in rows], _NONE, np.int64),
        fill([_NONE if row.label is None else row.label for row in rows], _NONE, np.int64),
        fill([row.y for row in rows], _NONE, np.int64),
        fill([row.x for row in rows], _NONE, np.int64),
    )


def read_class_responses(evidence: AtlasEvidence, layer: Layer, label: int) -> ClassResponses:
    """How the channels of a layer respond to one class; NaN without class statistics.

    They are read when a rule needs them: those of all layers take much memory if classes are many.
    """
    responses = ClassResponses(*(np.full(layer.channels, np.nan) for _ in range(3)))
    rows = audit_queries.class_profiles(evidence.atlas, layer)
    _check_channels(layer, rows)
    for row in rows:
        means = np.frombuffer(row.mean_maximum, "<f4")
        finite = means[np.isfinite(means)]
        responses.mean_maximum[row.channel] = means[label]
        responses.mean_of_classes[row.channel] = finite.mean() if len(finite) else np.nan
        responses.fired_share[row.channel] = np.frombuffer(row.fired_share, "<f4")[label]
    return responses
