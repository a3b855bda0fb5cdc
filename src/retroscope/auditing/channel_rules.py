"""Rules about single channels: those that never fire, hardly ever, or at their limit."""

from math import ceil

import numpy as np

from retroscope.auditing.exact_tests import highest_rate
from retroscope.auditing.layer_evidence import AtlasEvidence, Floats, LayerEvidence
from retroscope.auditing.rule_outcome import (
    LayerChannels,
    Mask,
    RuleOutcome,
    Suspicion,
    count_channels,
    describe_channels,
    join_units,
    name_layers,
    select_channels,
)
from retroscope.render.captions import RARE, count_noun, percent
from retroscope.results.statistics import HISTOGRAM_EDGES

MANY = 0.05
"""Share of the images; a channel that is at its limit in fewer can still be read."""
MIN_TIES = 3
"""Hits that must tie at the limit."""


def find_non_finite(evidence: AtlasEvidence) -> RuleOutcome:
    """Channels with values that are NaN or infinite."""
    rows = select_channels(evidence.layers, lambda layer: layer.statistics["non_finite"] > 0)
    if not rows:
        return RuleOutcome(evidence.channels)
    positions = sum(int(row.layer.statistics["non_finite"][row.channels].sum()) for row in rows)
    suspicion = Suspicion(
        f"{describe_channels(rows, evidence)} have values that are NaN or infinite",
        join_units(rows),
        {**count_channels(rows), "positions": positions},
    )
    return RuleOutcome(evidence.channels, (suspicion,))


def find_dead(evidence: AtlasEvidence) -> RuleOutcome:
    """Channels that never fire; where values may be negative, those that never change."""
    rectified = [layer for layer in evidence.layers if layer.is_rectified]
    signed = [layer for layer in evidence.layers if not layer.is_rectified]
    silent = select_channels(rectified, _is_silent)
    constant = select_channels(signed, lambda layer: layer.is_constant)
    negative = select_channels(signed, lambda layer: _is_silent(layer) & ~layer.is_constant)
    suspicions = [
        _dead_suspicion(evidence, rows, event)
        for rows, event in ((silent, "fire"), (constant, "change"))
        if rows
    ]
    omission = (
        f"{count_noun(sum(row.count for row in negative), 'channel')} of layers with negative "
        "values without a value above zero: dead if a rectifier follows"
    )
    return RuleOutcome(evidence.channels, tuple(suspicions), (omission,) if negative else ())


def _is_silent(layer: LayerEvidence) -> Mask:
    fired, images = layer.statistics["fired_images"], layer.statistics["images"]
    is_silent: Mask = (fired == 0) & (images > 0)
    return is_silent


def _dead_suspicion(evidence: AtlasEvidence, rows: list[LayerChannels], event: str) -> Suspicion:
    images = min(row.lowest("images") for row in rows)
    return Suspicion(
        f"{describe_channels(rows, evidence)} never {event} in {count_noun(images, 'image')}",
        join_units(rows),
        {**count_channels(rows), "images": images, "highest_rate": highest_rate(0, images)},
    )


def find_nearly_dead(evidence: AtlasEvidence) -> RuleOutcome:
    """Channels that fire in hardly any image, in fewer than half of a class."""
    limit = rare_rate(evidence)
    needed = images_to_tell(limit)
    if evidence.images < needed:
        omission = (
            f"too few images ({evidence.images:,}); it takes {needed:,} to tell that a channel "
            f"fires in less than {percent(limit)} of them"
        )
        return RuleOutcome(omissions=(omission,))
    examined = [layer for layer in evidence.layers if layer.is_rectified]
    signed = [layer.layer for layer in evidence.layers if not layer.is_rectified]
    rows = select_channels(examined, lambda layer: _is_nearly_dead(layer, limit))
    return RuleOutcome(
        sum(layer.layer.channels for layer in examined),
        (_nearly_dead_suspicion(evidence, rows),) if rows else (),
        (f"{name_layers(signed)}: negative values say something too",) if signed else (),
    )


def rare_rate(evidence: AtlasEvidence) -> float:
    """The share of images below which a channel is nearly dead: at most half that of a class."""
    classes = sum(label.images > 0 for label in evidence.labels)
    return min(RARE, 0.5 / classes) if classes else RARE


def images_to_tell(rate: float) -> int:
    """How many images it takes to tell a channel that fires in one of them from this rate.

    >>> images_to_tell(0.01)
    473
    """
    low, high = 1, ceil(5 / rate)
    while low < high:
        middle = (low + high) // 2
        if highest_rate(1, middle) < rate:
            high = middle
        else:
            low = middle + 1
    return high


def _is_nearly_dead(layer: LayerEvidence, limit: float) -> Mask:
    fired, images = layer.statistics["fired_images"], layer.statistics["images"]
    is_rare = (fired > 0) & (fired < limit * images)
    for channel in np.flatnonzero(is_rare).tolist():
        is_rare[channel] = highest_rate(int(fired[channel]), int(images[channel])) < limit
    return is_rare


def _nearly_dead_suspicion(evidence: AtlasEvidence, rows: list[LayerChannels]) -> Suspicion:
    images = min(row.lowest("images") for row in rows)
    fired = max(row.highest("fired_images") for row in rows)
    return Suspicion(
        f"{describe_channels(rows, evidence)} fire in at most {fired:,} of "
        f"{count_noun(images, 'image')}",
        join_units(rows),
        {
            **count_channels(rows),
            "images": images,
            "most_fired_images": fired,
            "highest_rate": highest_rate(fired, images),
        },
    )


def find_saturated(evidence: AtlasEvidence) -> RuleOutcome:
    """Channels whose hits all tie at a limit that channels of the layer share."""
    rows = select_channels(evidence.layers, _is_saturated)
    if not rows:
        return RuleOutcome(evidence.channels)
    suspicion = Suspicion(
        f"{describe_channels(rows, evidence)} reach their limit in so many images that their hits "
        "tie: their plates show the first of these images, not the best",
        join_units(rows),
        {
            **count_channels(rows),
            "images": min(row.lowest("images") for row in rows),
            "ties_at_least": min(int(row.layer.hits.counts[row.channels].min()) for row in rows),
            "share_at_most": max(
                float(share_near_limit(row.layer)[row.channels].max()) for row in rows
            ),
        },
    )
    return RuleOutcome(evidence.channels, (suspicion,))


def _is_saturated(layer: LayerEvidence) -> Mask:
    limit = shared_limit(layer)
    if limit is None:
        return np.zeros(layer.layer.channels, np.bool_)
    counts = layer.hits.counts
    all_tie = (layer.hits.scores == limit).sum(axis=1) == counts
    is_saturated: Mask = (counts >= MIN_TIES) & all_tie & (share_near_limit(layer) >= MANY)
    return is_saturated


def shared_limit(layer: LayerEvidence) -> float | None:
    """The highest value of a layer, if two channels or more reach exactly it."""
    maximum = layer.statistics["maximum"]
    if np.isnan(maximum).all():
        return None
    limit = float(np.nanmax(maximum))
    return limit if limit > 0 and (maximum == limit).sum() > 1 else None


def share_near_limit(layer: LayerEvidence) -> Floats:
    """The share of images whose maximum is in the histogram's bin of the layer's highest value.

    Those at the limit are among them.
    """
    first = int(np.searchsorted(HISTOGRAM_EDGES, np.nanmax(layer.statistics["maximum"])))
    counts = layer.histograms[:, first:].sum(axis=1)
    shares: Floats = counts / np.maximum(layer.histograms.sum(axis=1), 1)
    return shares
