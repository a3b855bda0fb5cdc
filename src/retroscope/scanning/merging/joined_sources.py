"""The images of a joined atlas, listed from where the scans of its parts have read them."""

from bisect import bisect_right
from collections.abc import Sequence

from retroscope.errors import RetroscopeError
from retroscope.network import AnyImage
from retroscope.scanning.sources import ImageList, list_shards
from retroscope.scanning.sources.image_list import JoinedFiles, first_indices
from retroscope.scanning.sources.left_out import LeftOutShards


def list_joined_images(
    sources: Sequence[object], keys: Sequence[str], name: str, *, takes_volumes: bool = False
) -> ImageList:
    """The images of all sources that an atlas records, under their `keys` in the atlas.

    A key may begin with the name of its source. `name` is what errors call the atlas.
    """
    parts = [_list_source(source, name, takes_volumes=takes_volumes) for source in sources]
    listed = [key for part in parts for key in part.keys]
    if len(listed) == len(keys):
        pairs = zip(listed, keys, strict=True)
        listed = [stored if stored.endswith(f"/{key}") else key for key, stored in pairs]
    starts = first_indices([len(part.keys) for part in parts])
    files = [part.files for part in parts if part.files is not None]

    def load(index: int) -> AnyImage:
        part = bisect_right(starts, index) - 1
        return parts[part].load(index - starts[part])

    return ImageList(
        listed,
        [-1] * len(listed),
        (),
        load,
        JoinedFiles(files, starts) if len(files) == len(parts) else None,
    )


def _list_source(facts: object, name: str, *, takes_volumes: bool) -> ImageList:
    facts = facts if isinstance(facts, dict) else {}
    source, glob, count = facts.get("source"), facts.get("glob"), facts.get("images")
    if not isinstance(source, str):
        raise RetroscopeError(
            f"{name} does not record where all its images are; give them as a list of paths, in "
            "the order of the atlas"
        )
    shards = list_shards(source, glob=str(glob) if glob else None, takes_volumes=takes_volumes)
    images = LeftOutShards.from_facts(facts).remove_from(shards).list_images()
    if len(images.keys) != count:
        raise RetroscopeError(
            f"{name} is a scan of {count} images in {source!r}, where there are "
            f"{len(images.keys)} now; restore them, or give the images as a list of paths"
        )
    return images
