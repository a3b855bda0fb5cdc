"""The shards that an atlas leaves out, so that its images are found in a source of more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from retroscope.atlas.schema import Json
from retroscope.scanning.sources.listing import ShardedSource
from retroscope.scanning.sources.shards import Shard, ShardKind

_COUNT, _NUMBERS = "shards", "left_out_shards"


@dataclass(frozen=True)
class LeftOutShards:
    """Shards that are left out, by number, and how many the source had when it was planned.

    >>> LeftOutShards(5, frozenset({3, 1})).facts
    {'shards': 5, 'left_out_shards': [1, 3]}
    """

    count: int = 0
    numbers: frozenset[int] = frozenset()

    @classmethod
    def from_facts(cls, facts: Mapping[str, Json]) -> Self:
        """Those that the facts of an atlas record."""
        count, numbers = facts.get(_COUNT), facts.get(_NUMBERS)
        if not (isinstance(count, int) and isinstance(numbers, list)):
            return cls()
        return cls(count, frozenset(number for number in numbers if isinstance(number, int)))

    @property
    def facts(self) -> dict[str, Json]:
        """What an atlas records; nothing if it is whole."""
        return {_COUNT: self.count, _NUMBERS: [*sorted(self.numbers)]} if self.numbers else {}

    def remove_from(self, source: ShardedSource, keys: Sequence[str] = ()) -> ShardedSource:
        """The source with the images of the atlas alone, of which files are found by their `keys`.

        Shards are recognized if there are as many as there were. A source of others is left as it
        is: it may hold those images and no more.
        """
        if not self.numbers:
            return source
        if keys and source.shards[0].kind is ShardKind.FILES:
            rest = _select_files(source.shards, frozenset(keys))
        elif len(source.shards) == self.count:
            rest = [shard for shard in source.shards if shard.number not in self.numbers]
        else:
            return source
        return replace(source, shards=rest) if rest else source


def _select_files(shards: Sequence[Shard], keys: frozenset[str]) -> list[Shard]:
    paths = (tuple(path for path in shard.paths if path in keys) for shard in shards)
    return [
        replace(shard, paths=own, images=len(own))
        for shard, own in zip(shards, paths, strict=True)
        if own
    ]
