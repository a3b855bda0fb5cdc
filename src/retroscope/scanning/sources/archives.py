"""The shards of archives: tars, zips and Parquet files, here or behind URLs."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import takewhile

from retroscope.errors import ImageError
from retroscope.scanning.sources.class_rules import ClassRule
from retroscope.scanning.sources.locations import path_of
from retroscope.scanning.sources.parquets import index_parquet
from retroscope.scanning.sources.remote_files import stored_file
from retroscope.scanning.sources.shards import IMAGES_PER_SHARD, Shard, ShardKind
from retroscope.scanning.sources.stored_files import FileVersion, MissingShardError
from retroscope.scanning.sources.zips import index_zip

ARCHIVE_KINDS = {
    ".tar": ShardKind.TAR,
    ".zip": ShardKind.ZIP,
    ".parquet": ShardKind.PARQUET,
}
"""Kinds of archives by the endings of their names."""

_COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_THREADS, _MAX_NAMES = 16, 5


def archive_kind(location: str) -> ShardKind | None:
    """The kind of archive under a path or URL, by how its name ends; None for other files.

    >>> archive_kind("https://a.org/x.TAR?download=true").value
    'tar'
    """
    path = path_of(location).lower()
    if not path.endswith((*ARCHIVE_KINDS, *_COMPRESSED_TARS)):
        return None
    if path.endswith(_COMPRESSED_TARS):
        raise ImageError(
            f"{location!r} is compressed, so its images cannot be read one by one; decompress it"
        )
    return next(kind for end, kind in ARCHIVE_KINDS.items() if path.endswith(end))


def archive_shards(locations: Sequence[str], glob: str | None, rule: ClassRule) -> list[Shard]:
    """The shards of archives in order. Each archive is pinned to its version."""
    versions = _versions(locations)
    shards: list[Shard] = []
    for location, name in zip(locations, archive_names(locations), strict=True):
        kind, version = archive_kind(location), versions[location]
        assert kind is not None
        archive = Shard(
            0, kind, location, name, size=version.size, etag=version.etag, glob=glob, rule=rule
        )
        parts = _split_archive(archive)
        shards += [replace(part, number=len(shards) + n) for n, part in enumerate(parts)]
    return shards


def archive_names(locations: Sequence[str]) -> list[str]:
    """What keys call the archives: their paths below the folder that they share.

    >>> archive_names(["data/train/0.tar", "data/val/0.tar"]), archive_names(["data/train/0.tar"])
    (['train/0.tar', 'val/0.tar'], ['0.tar'])
    """
    folders = [path_of(location).split("/") for location in locations]
    levels = zip(*(parts[:-1] for parts in folders), strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    names = ["/".join(parts[shared:]) for parts in folders]
    return names if len(set(names)) == len(names) else list(locations)


def _versions(locations: Sequence[str]) -> dict[str, FileVersion]:
    """The version of each archive. Raises if some of them are missing."""
    with ThreadPoolExecutor(_THREADS) as pool:
        versions = dict(zip(locations, pool.map(_version_or_none, locations), strict=True))
    missing = [location for location in locations if versions[location] is None]
    if missing:
        names = ", ".join(map(repr, missing[:_MAX_NAMES]))
        others = f" and {len(missing) - _MAX_NAMES} more" if len(missing) > _MAX_NAMES else ""
        raise MissingShardError(
            f"{len(missing)} of {len(locations)} archives {'is' if len(missing) == 1 else 'are'} "
            f"missing: {names}{others}; restore them, or leave them out"
        )
    return {location: version for location, version in versions.items() if version is not None}


def _version_or_none(location: str) -> FileVersion | None:
    try:
        return stored_file(location).version()
    except MissingShardError:
        return None


def _split_archive(archive: Shard) -> list[Shard]:
    """The shards of one archive: a tar is one, of others their indexes tell."""
    if archive.kind is ShardKind.TAR:
        return [archive]
    if archive.kind is ShardKind.ZIP:
        count = len(index_zip(archive.archive, archive.glob).members)
        starts = range(0, count, IMAGES_PER_SHARD)
        ranges = [range(start, min(start + IMAGES_PER_SHARD, count)) for start in starts]
    else:
        ranges = index_parquet(archive.archive).shard_ranges(IMAGES_PER_SHARD)
    is_counted = archive.kind is ShardKind.ZIP or archive.glob is None
    return [
        replace(
            archive,
            start=rows.start,
            stop=rows.stop,
            images=len(rows) if is_counted else None,
        )
        for rows in ranges
    ]
