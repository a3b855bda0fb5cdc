"""Units that respond to one class only through one place at the border of its images.

Nearly all hits of such a unit are of one class and lie in one place. Either half alone is ordinary:
there are units of one class, and padding makes others fire at the border in any image. So each is
tested: the class against images drawn at random, the place against where hits of other classes lie
in the same layer, and against how many units of mixed classes keep to a place of this kind.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from retroscope.auditing.exact_tests import binomial_tail, hypergeometric_tail
from retroscope.auditing.layer_evidence import (
    AtlasEvidence,
    Floats,
    Integers,
    LayerEvidence,
)
from retroscope.auditing.map_places import MIN_SIDE, BorderPlaces, MapPlace

HITS = 9
"""Hits of a channel that count: those of its plate."""
MIN_HITS = 5
NEARLY_ALL = 8 / 9
"""Share of the hits that must be of the class and in the place."""
_ROUNDING = 1e-9
ALPHA = 0.01
"""Chance of a false alarm among all channels, for each of the two tests."""
MAX_LOCAL = 0.05
"""Share of the units of mixed classes in a layer that may keep to such a place."""


@dataclass(frozen=True, eq=False)
class ShortcutUnit:
    """A channel that responds to one class through one place.

    `together` of `hits` are of the class and in the place. `class_chance` and `place_chance` are
    the chances of that for this channel and any class or place. `expected_share` is the share of
    hits in the place by chance, `local_share` that of units of mixed classes that keep to a place.
    """

    layer: LayerEvidence
    channel: int
    label: int
    place: MapPlace
    together: int
    hits: int
    class_chance: float
    place_chance: float
    expected_share: float
    local_share: float


@dataclass(frozen=True)
class Classes:
    """The number of images of each class by its number, and of all images."""

    sizes: Mapping[int, int]
    images: int

    @property
    def count(self) -> int:
        return sum(size > 0 for size in self.sizes.values())


@dataclass(frozen=True, eq=False)
class PureChannel:
    """A channel whose first `hits` hits are nearly all of one class, and the ranks that are."""

    channel: int
    label: int
    hits: int
    ranks: Integers
    chance: float


def find_shortcut_units(evidence: AtlasEvidence) -> list[ShortcutUnit]:
    """All such units, layer by layer."""
    classes = Classes({label.id: label.images for label in evidence.labels}, evidence.images)
    if classes.count < 2:
        return []
    layers = [layer for layer in evidence.layers if has_places(layer)]
    tests = sum(layer.layer.channels for layer in layers)
    return [
        unit
        for layer in layers
        for unit in _LayerTest(layer, classes).units()
        if max(unit.class_chance, unit.place_chance) * tests <= ALPHA
    ]


def has_places(layer: LayerEvidence) -> bool:
    """Whether the maps of a layer are large enough to have a border."""
    return min(layer.layer.size) >= MIN_SIDE and not layer.layer.field.whole


def needed(hits: int | Integers) -> Integers:
    """How many hits are nearly all.

    >>> needed(np.array([9, 6]))
    array([8, 6])
    """
    return np.ceil(NEARLY_ALL * np.asarray(hits) - _ROUNDING).astype(np.int64)


class _LayerTest:
    """The tests of all channels of a layer."""

    def __init__(self, layer: LayerEvidence, classes: Classes) -> None:
        self._layer, self._classes = layer, classes
        self._hits = layer.hits.first(HITS)

    @cached_property
    def _places(self) -> BorderPlaces:
        return BorderPlaces(*self._layer.layer.size)

    @cached_property
    def _is_in_place(self) -> npt.NDArray[np.bool_]:
        """Whether each hit is in each place: (places, channels, ranks)."""
        hits = self._hits
        inside = self._places.contain(hits.ys.ravel(), hits.xs.ravel())
        return inside.reshape(-1, *hits.images.shape) & (hits.images >= 0)

    def units(self) -> Iterator[ShortcutUnit]:
        """The units of the layer, with the chances for one channel."""
        for pure in self._pure_channels:
            unit = self._test_place(pure)
            if unit is not None:
                yield unit

    @cached_property
    def _pure_channels(self) -> list[PureChannel]:
        return list(self._find_pure_channels())

    def _find_pure_channels(self) -> Iterator[PureChannel]:
        """A class with fewer images than a plate has hits can only fill the first of them."""
        counts = self._hits.counts
        for channel in np.flatnonzero(counts >= MIN_HITS).tolist():
            label = int(self._main_labels[channel])
            size = self._classes.sizes.get(label, 0)
            count = min(int(counts[channel]), size)
            ranks = np.flatnonzero(self._hits.labels[channel, :count] == label)
            if count < MIN_HITS or len(ranks) < needed(count):
                continue
            chance = hypergeometric_tail(
                len(ranks), count, marked=size, population=self._classes.images
            )
            yield PureChannel(channel, label, count, ranks, chance * self._classes.count)

    @cached_property
    def _main_labels(self) -> Integers:
        """The class of most hits of each channel; -1 if no hit has a class."""
        labels = self._hits.labels
        sizes = np.stack([(labels == label).sum(axis=1) for label in self._classes.sizes])
        numbers = np.array(list(self._classes.sizes))
        return np.where(sizes.max(axis=0) > 0, numbers[sizes.argmax(axis=0)], -1)

    def _test_place(self, pure: PureChannel) -> ShortcutUnit | None:
        """The place that holds the hits of the class and is the least likely to."""
        together = self._is_in_place[:, pure.channel, pure.ranks].sum(axis=1)
        local_shares = self._local_shares
        is_eligible = (together >= needed(pure.hits)) & (local_shares <= MAX_LOCAL)
        eligible = np.flatnonzero(is_eligible)
        if not len(eligible):
            return None
        expected = self._expected_shares(pure.label)
        chances = [
            binomial_tail(int(together[place]), len(pure.ranks), float(expected[place]))
            for place in eligible
        ]
        best = int(np.argmin(chances))
        place = int(eligible[best])
        return ShortcutUnit(
            self._layer,
            pure.channel,
            pure.label,
            self._places.places[place],
            together=int(together[place]),
            hits=pure.hits,
            class_chance=pure.chance,
            place_chance=chances[best] * len(self._places.places),
            expected_share=float(expected[place]),
            local_share=float(local_shares[place]),
        )

    def _expected_shares(self, label: int) -> Floats:
        """The share of each place of hits in images of other classes, at least that of its area."""
        is_other = (self._hits.labels != label) & (self._hits.images >= 0)
        inside = self._is_in_place[:, is_other].sum(axis=1)
        shares = self._places.shares
        expected: Floats = np.maximum(shares, (inside + shares) / (is_other.sum() + 1))
        return expected

    @cached_property
    def _local_shares(self) -> Floats:
        """For each place, the share of the units of mixed classes that keep to one of its kind."""
        is_mixed = self._hits.counts >= MIN_HITS
        is_mixed[[pure.channel for pure in self._pure_channels]] = False
        keeps = self._is_in_place[:, is_mixed].sum(axis=2) >= needed(self._hits.counts[is_mixed])
        is_frame = self._places.is_frame
        to_block, to_frame = (keeps[is_frame == kind].any(axis=0).sum() for kind in (False, True))
        shares: Floats = (np.where(is_frame, to_frame, to_block) + 1) / (is_mixed.sum() + 1)
        return shares
