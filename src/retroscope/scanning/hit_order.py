"""The order in which hits are projected, and the portions in which an atlas stores them.

The best hit of every channel comes first, then the second of every channel, and so on: wherever
the work ends, the atlas has what people look at first. Of each rank, the units that see little of
their images come first, layer by layer, since their crops run in large batches. The others come
image by image: one forward pass of an image serves its units of all layers.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from retroscope.atlas.writer import MissingProjection
from retroscope.engine.batching import crop_cost
from retroscope.engine.rules import RuleBook
from retroscope.network import Network
from retroscope.progress import StagePart

MAX_HITS_PER_PORTION = 512
_COST_PER_PORTION = 24.0
"""In passes back from whole images: some seconds on a processor."""
_COST_OF_STORING = 0.01
"""About what it takes to encode and store a projection, in the same unit."""
_WHOLE_IMAGES = "whole images"


class HitOrder:
    """The order that suits a network under the rules of a book."""

    def __init__(self, net: Network, book: RuleBook) -> None:
        layers = net.survey(net.input_size).layers
        self._steps = {layer.name: layer.index for layer in layers}
        self._crop_costs = {
            layer.name: crop_cost(layer, net.input_size, forward_cost=book.forward_cost)
            for layer in layers
        }
        self._costs = {
            name: cost + _COST_OF_STORING
            for name, cost in {**self._crop_costs, _WHOLE_IMAGES: 1.0}.items()
        }

    def sort(self, hits: Iterable[MissingProjection]) -> list[MissingProjection]:
        """All hits by maximum before those by mean alone, and of each by rank."""
        return sorted(hits, key=self._key)

    def _key(self, hit: MissingProjection) -> tuple[object, ...]:
        step, runs_whole = self._steps[hit.layer], self.sees_most(hit)
        place = (hit.image, step) if runs_whole else (step, hit.image)
        return hit.score is None, hit.rank, runs_whole, place, hit.channel

    def portions(self, hits: Sequence[MissingProjection]) -> Iterator[Sequence[MissingProjection]]:
        """Sorted hits in portions that take some seconds each."""
        start, cost = 0, 0.0
        for number, hit in enumerate(hits):
            cost += min(self._crop_costs[hit.layer], 1.0)
            if cost >= _COST_PER_PORTION or number + 1 - start >= MAX_HITS_PER_PORTION:
                yield hits[start : number + 1]
                start, cost = number + 1, 0.0
        if start < len(hits):
            yield hits[start:]

    def parts(self, hits: Iterable[MissingProjection]) -> list[StagePart]:
        """Sorted hits by what they cost: those of a layer from crops, or all from whole images."""
        return [
            StagePart(kind, len(list(group)), self._costs[kind])
            for kind, group in groupby(hits, key=self._kind)
        ]

    def sees_most(self, hit: MissingProjection) -> bool:
        """Whether it is projected from the whole image."""
        return self._crop_costs[hit.layer] > 1

    def mean_step(self, hits: Sequence[MissingProjection]) -> float:
        """How deep the layers of hits lie: the mean of their steps in the network."""
        return sum(self._steps[hit.layer] for hit in hits) / len(hits)

    def cost(self, hit: MissingProjection) -> float:
        """About what it takes, in passes back from a whole image."""
        return self._costs[self._kind(hit)]

    def _kind(self, hit: MissingProjection) -> str:
        return _WHOLE_IMAGES if self.sees_most(hit) else hit.layer
