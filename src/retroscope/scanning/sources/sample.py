"""The images of a source that an estimate reads, where only workers read all of it."""

from dataclasses import dataclass

from retroscope.errors import RetroscopeError
from retroscope.scanning.sources.image_list import ImageList
from retroscope.scanning.sources.listing import ShardedSource
from retroscope.scanning.sources.locations import is_url
from retroscope.scanning.sources.shards import Shard, ShardKind


@dataclass(frozen=True)
class SourceSample:
    """Some images of a source: all files, or those of the first archive, if it can be read.

    `count` is how many images all `shards` have, which is exact if all of them know it, and
    unknown where no image was read.
    """

    shards: int
    images: ImageList | None = None
    count: int | None = None
    is_exact: bool = False


def sample_source(source: ShardedSource) -> SourceSample:
    """The sample of a source. Of a tar behind a URL nothing is read, as that would be all of it."""
    shards = source.shards
    if shards[0].kind is ShardKind.FILES:
        images = source.list_images()
        return SourceSample(len(shards), images, len(images.keys), is_exact=True)
    if shards[0].images is None and is_url(shards[0].location):
        return SourceSample(len(shards))
    try:
        images = shards[0].list_images()
    except RetroscopeError:  # whoever sweeps it names it
        return SourceSample(len(shards))
    is_exact = all(shard.images is not None for shard in shards)
    share = len(images.keys) / (shards[0].size or 1)
    return SourceSample(
        len(shards), images, round(sum(_count(shard, share) for shard in shards)), is_exact=is_exact
    )


def _count(shard: Shard, images_per_byte: float) -> float:
    """How many images a shard has; one that does not know it has as many for its size."""
    return images_per_byte * (shard.size or 0) if shard.images is None else shard.images
