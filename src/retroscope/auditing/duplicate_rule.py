"""Channels of a layer that say the same, up to a scale."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from retroscope.auditing.layer_evidence import AtlasEvidence, Floats, LayerEvidence
from retroscope.auditing.rule_outcome import (
    LayerChannels,
    RuleOutcome,
    Suspicion,
    count_channels,
    describe_channels,
    join_units,
)
from retroscope.render.captions import count_noun

MIN_HITS = 5
TOLERANCE = 0.01
"""Largest deviation of a ratio of scores, means or deviations from that of the maxima."""
PARALLEL = 0.999
"""Cosine from which the weights of two channels count as parallel."""


def find_duplicates(evidence: AtlasEvidence) -> RuleOutcome:
    """Channels with the same winners at the same places, and scores in one ratio."""
    groups = [
        LayerChannels(layer, np.array(group))
        for layer in evidence.layers
        for group in duplicate_groups(layer)
    ]
    channels = sum(int((layer.hits.counts >= MIN_HITS).sum()) for layer in evidence.layers)
    return RuleOutcome(channels, (_suspicion(evidence, groups),) if groups else ())


def duplicate_groups(layer: LayerEvidence) -> list[tuple[int, ...]]:
    """Groups of channels that are equal up to a scale, each in the order of the channels."""
    groups: list[list[int]] = []
    for candidates in _same_winners(layer):
        first_group = len(groups)
        for channel in candidates:
            for group in groups[first_group:]:
                if _are_proportional(layer, group[0], channel):
                    group.append(channel)
                    break
            else:
                groups.append([channel])
    return sorted(tuple(group) for group in groups if len(group) > 1)


def _same_winners(layer: LayerEvidence) -> Iterator[list[int]]:
    """Channels that have the same images among their hits, at the same positions."""
    hits = layer.hits
    by_winners: dict[bytes, list[int]] = defaultdict(list)
    changes = (hits.counts >= MIN_HITS) & ~layer.is_constant
    for channel in np.flatnonzero(changes).tolist():
        order = np.argsort(hits.images[channel], kind="stable")
        places = np.stack([hits.images[channel], hits.ys[channel], hits.xs[channel]])
        by_winners[places[:, order].tobytes()].append(channel)
    return (channels for channels in by_winners.values() if len(channels) > 1)


def _are_proportional(layer: LayerEvidence, first: int, second: int) -> bool:
    """Whether all numbers of two channels are in the ratio of their maxima, and counts equal."""
    statistics = layer.statistics
    if any(
        statistics[name][first] != statistics[name][second]
        for name in ("images", "fired_images", "fired_positions")
    ):
        return False
    maxima = statistics["maximum"][[first, second]]
    if not maxima.prod() > 0:
        return False
    scale = maxima[1] / maxima[0]
    pairs = np.stack([_numbers(layer, first), _numbers(layer, second)])
    return bool(np.allclose(pairs[0] * scale, pairs[1], rtol=TOLERANCE, atol=0))


def _numbers(layer: LayerEvidence, channel: int) -> Floats:
    """Scores in the order of images, mean and standard deviation."""
    hits = layer.hits
    scores = hits.scores[channel][np.argsort(hits.images[channel], kind="stable")]
    moments = [layer.statistics[name][channel] for name in ("mean", "std")]
    numbers: Floats = np.concatenate([scores[~np.isnan(scores)], moments])
    return numbers


def _suspicion(evidence: AtlasEvidence, groups: list[LayerChannels]) -> Suspicion:
    rows = [
        LayerChannels(
            layer, np.concatenate([group.channels for group in groups if group.layer is layer])
        )
        for layer in dict.fromkeys(group.layer for group in groups)
    ]
    numbers = count_channels(rows) | {
        "groups": len(groups),
        "spare": sum(group.count - 1 for group in groups),
    }
    cosines = [cosine for group in groups for cosine in weight_cosines(evidence, group)]
    if cosines:
        numbers |= {
            "compared_weights": len(cosines),
            "parallel_weights": sum(cosine >= PARALLEL for cosine in cosines),
            "lowest_weight_cosine": min(cosines),
        }
    return Suspicion(
        f"{describe_channels(rows, evidence)} are copies of each other up to a scale, in "
        f"{count_noun(len(groups), 'group')}{_weights_phrase(cosines)}",
        join_units(groups),
        numbers,
        groups=tuple(group.units for group in groups),
    )


def _weights_phrase(cosines: list[float]) -> str:
    """What the weights say about the copies."""
    if not cosines:
        return ""
    parallel = sum(cosine >= PARALLEL for cosine in cosines)
    if parallel == len(cosines):
        return "; their weights are parallel"
    return (
        f"; the weights of {len(cosines) - parallel} of "
        f"{count_noun(len(cosines), 'copy', 'copies')} differ (cosine {min(cosines):.2f} or more), "
        "so other images may tell them apart"
    )


def weight_cosines(evidence: AtlasEvidence, group: LayerChannels) -> list[float]:
    """The cosines between the filter of the first channel of a group and those of its copies.

    None are known without the network, nor of a grouped convolution, whose filters read different
    maps.
    """
    layer = group.layer.layer
    convolutions = evidence.weights.convolutions if evidence.weights else {}
    convolution = convolutions.get(layer.name)
    if convolution is None or convolution.groups > 1 or len(convolution.weights) != layer.channels:
        return []
    flat = convolution.weights[group.channels].reshape(group.count, -1).astype(np.float64)
    norms = np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    directions = flat / norms
    cosines: list[float] = (directions[1:] @ directions[0]).tolist()
    return cosines
