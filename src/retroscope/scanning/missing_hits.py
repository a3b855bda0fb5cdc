"""The hits of an atlas that lack a projection, and the portions in which these are made."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from retroscope.atlas.layer_selection import atlas_layers
from retroscope.atlas.queries.rankings import HitRanking
from retroscope.atlas.reader import Atlas
from retroscope.atlas.writer import AtlasWriter, MissingProjection
from retroscope.results.layer_lookup import check_unit
from retroscope.scanning.distributed.second_pass import hit_unit
from retroscope.scanning.hit_order import HitOrder
from retroscope.unit import Unit, as_unit

_NO_RULES = ""
"""No projection is by these: all hits lack them."""


@dataclass(frozen=True, eq=False)
class MissingHits:
    """The hits of an atlas that lack a projection.

    They are of the units of `selection`, None for all, and in these `rankings`, by default those by
    maximum and by mean; without `by_mean`, those by maximum. `limit` is for each ranking.
    """

    writer: AtlasWriter
    selection: frozenset[Unit] | None = None
    rankings: tuple[HitRanking, ...] = ()
    limit: int | None = None
    by_mean: bool = True

    def find(self, rules: str) -> Iterator[MissingProjection]:
        """Those that lack one by these rules."""
        selection = self.selection
        layers = [None] if selection is None else sorted({unit.layer for unit in selection})
        for layer in layers:
            for hit in self._ranked_hits(layer, rules):
                is_selected = selection is None or _is_selected(hit, selection)
                if is_selected and (self.by_mean or not _is_by_mean_alone(hit)):
                    yield hit

    def _ranked_hits(self, layer: str | None, rules: str) -> Iterable[MissingProjection]:
        """The hits in all rankings of a layer, or of all layers; a place in several counts once."""
        rankings = self.rankings or (None,)
        hits = (
            hit
            for ranking in rankings
            for hit in self.writer.missing_projections(
                layer, ranks=self.limit, ranking=ranking, rules=rules
            )
        )
        return hits if len(rankings) == 1 else {_place(hit): hit for hit in hits}.values()

    def portions_left(
        self, order: HitOrder, hits: Sequence[MissingProjection]
    ) -> Iterator[Sequence[MissingProjection]]:
        """The portions of all hits, of each what is left, which are the sorted `hits`."""
        if sum(1 for _ in self.find(_NO_RULES)) == len(hits):
            yield from order.portions(hits)
            return
        left = set(map(_place, hits))
        for portion in order.portions(order.sort(self.find(_NO_RULES))):
            rest = [hit for hit in portion if _place(hit) in left]
            if rest:
                yield rest


def select_units(
    atlas: Atlas, layers: Sequence[str], units: Sequence[str | Unit] | None
) -> frozenset[Unit] | None:
    """The selected layers, channels and positions under the layers' own names; None for all."""
    if not layers and units is None:
        return None
    selection = {Unit(layer.name) for layer in (atlas_layers(atlas, layers) if layers else ())}
    for unit in map(as_unit, units or ()):
        selection.add(replace(check_unit(unit, atlas.layer(unit.layer)), whole_map=False))
    return frozenset(selection)


def _place(hit: MissingProjection) -> tuple[str, int, int, int, int]:
    return hit.layer, hit.channel, hit.image, hit.y, hit.x


def _is_by_mean_alone(hit: MissingProjection) -> bool:
    """Only a hit by maximum has its score."""
    return hit.score is None


def _is_selected(hit: MissingProjection, selection: frozenset[Unit]) -> bool:
    unit = hit_unit(hit)
    return not selection.isdisjoint({unit, replace(unit, position=None), Unit(hit.layer)})
