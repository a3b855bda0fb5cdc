"""From the name of a ranking or a class to the hits that an atlas has of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from retroscope.atlas.queries.rankings import HitRanking, RankingFacts
from retroscope.atlas.queries.reader_queries import Label
from retroscope.atlas.schema import DEFAULT_RANKINGS, AtlasError, Json, Ranking, ScanState
from retroscope.atlas.sqlite_errors import quote_path
from retroscope.errors import UnitError, choose

_MAX_LISTED = 5


class MissingClassesError(AtlasError):
    """An atlas without the best images of classes, and the reason without the advice."""

    def __init__(self, path: Path) -> None:
        self.reason = f"{quote_path(path)} does not have the best images of each class"
        super().__init__(f"{self.reason}; scan the images again with per_class")


class RankedAtlas(Protocol):
    """What an atlas says of its rankings."""

    path: Path

    @property
    def meta(self) -> dict[str, Json]: ...
    @property
    def labels(self) -> Sequence[Label]: ...
    def label(self, name: str) -> Label: ...


def find_ranking(atlas: RankedAtlas, ranked_by: str, label: str | None = None) -> HitRanking:
    """Where an atlas has the hits of a ranking, or the best images of a class."""
    ranking = resolve_ranking(ranked_by)
    if label is not None:
        return _find_class_ranking(atlas, label, ranking)
    if ranking not in DEFAULT_RANKINGS:  # every atlas has these
        _check_ranking(atlas, ranking)
    return HitRanking(ranking)


def find_rankings(
    atlas: RankedAtlas, ranked_by: str | Sequence[str], label: str | Sequence[str] | None = None
) -> tuple[HitRanking, ...]:
    """Where an atlas has the hits of one ranking or several, or the best images of classes."""
    rankings = [ranked_by] if isinstance(ranked_by, str) else ranked_by
    labels = [label] if label is None or isinstance(label, str) else label
    for parameter, names in (("ranked_by", rankings), ("label", labels)):
        if not names:
            raise UnitError(
                f"{parameter} is an empty list; name one, or leave it out", parameter=parameter
            )
    return tuple(find_ranking(atlas, name, label) for label in labels for name in rankings)


def resolve_ranking(name: str) -> Ranking:
    """The ranking with this name.

    >>> resolve_ranking("maen")
    Traceback (most recent call last):
    retroscope.errors.UnitError: no ranking 'maen'; did you mean 'mean', 'min' or 'max'?
    """
    return choose("ranking", name, {str(ranking): ranking for ranking in Ranking}, error=UnitError)


def refuse_layer_sample(ranking: HitRanking, layer: str, channels: int) -> None:
    """Raises if the sample of a whole layer is asked for: it shows the range of one channel."""
    if ranking.ranked_by == Ranking.SAMPLE:
        raise UnitError(
            f"a sample shows the range of one channel; name one of {layer}, {layer}:0 to "
            f"{layer}:{channels - 1}"
        )


def _check_ranking(atlas: RankedAtlas, ranking: Ranking) -> None:
    rankings = RankingFacts.from_meta(atlas.meta).rankings
    if ranking in rankings:
        return
    _refuse_unfinished(atlas, f"hits by {ranking}")
    names = " and ".join(str(known) for known in Ranking if known in rankings)
    raise AtlasError(
        f"{quote_path(atlas.path)} has hits by {names}, but not by {ranking}, which scans of an "
        "older retroscope lack; scan the images again"
    )


def _find_class_ranking(atlas: RankedAtlas, name: str, ranking: Ranking) -> HitRanking:
    ranked = RankingFacts.from_meta(atlas.meta).labels
    if ranking != Ranking.MAX:
        raise UnitError(
            f"the images of a class are ranked by max, not by {ranking}", parameter="ranked_by"
        )
    if not ranked:
        _refuse_unfinished(atlas, "best images of a class")
        raise MissingClassesError(atlas.path)
    label = atlas.label(name)
    if label.id not in ranked:
        names = [entry.name for entry in atlas.labels if entry.id in ranked]
        more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
        raise AtlasError(
            f"{quote_path(atlas.path)} does not have the best images of class {label.name!r}, "
            f"which its scan did not rank; it has those of {', '.join(names[:_MAX_LISTED])}{more}",
            parameter="label",
        )
    return HitRanking(label=label.id)


def _refuse_unfinished(atlas: RankedAtlas, what: str) -> None:
    meta = atlas.meta
    if "state" in meta and not ScanState(str(meta["state"])).is_finished:
        raise AtlasError(
            f"{quote_path(atlas.path)} has no {what} yet, because its scan is not finished; run "
            "the same scan again to complete it"
        )
