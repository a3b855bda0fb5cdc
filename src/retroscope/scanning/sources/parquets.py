"""Images in a column of a Parquet file, as the Hugging Face Hub serves data sets."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from retroscope.errors import ImageError, RetroscopeError
from retroscope.scanning.sources.image_list import first_indices
from retroscope.scanning.sources.members import (
    MemberFiles,
    matches,
    member_path,
    refuse_unusable_glob,
)
from retroscope.scanning.sources.parquet_columns import ImageColumns, find_columns
from retroscope.scanning.sources.shard_images import ShardImages
from retroscope.scanning.sources.shared_cache import SharedCache
from retroscope.scanning.sources.stored_files import FileVersion, ShardError, StoredFile

_CACHED_BYTES, _CACHED_GROUPS = 2**28, 2


@dataclass(frozen=True)
class ParquetIndex:
    """What the footer of a Parquet file says: its columns, and how many rows each group has."""

    version: FileVersion
    columns: ImageColumns
    group_rows: tuple[int, ...]

    @property
    def group_starts(self) -> list[int]:
        return first_indices(self.group_rows)

    def shard_ranges(self, rows_per_shard: int) -> list[range]:
        """The rows of each shard: whole row groups, until there are enough rows."""
        ranges, start, stop = [], 0, 0
        for rows in self.group_rows:
            stop += rows
            if stop - start >= rows_per_shard:
                ranges.append(range(start, stop))
                start = stop
        return [*ranges, range(start, stop)] if stop > start else ranges


@dataclass(frozen=True)
class ParquetFiles(MemberFiles):
    """Images in rows of a Parquet file, of which a row group is read at a time."""

    index: ParquetIndex
    rows: Sequence[int]

    def read(self, index: int) -> bytes:
        starts = self.index.group_starts
        group = bisect_right(starts, self.rows[index]) - 1
        values = _ROW_GROUPS.get((self.archive, group), lambda: self._read_group(group))
        value = values[self.rows[index] - starts[group]].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is None:
            raise ImageError(f"{self.keys[index]!r} has no bytes; export the data set with them")
        return bytes(data)

    def _read_group(self, group: int) -> Any:
        with _open(self.archive) as opened:
            return opened.read_row_group(group, columns=[self.index.columns.image]).column(0)


_ROW_GROUPS: SharedCache[tuple[StoredFile, int], Any] = SharedCache(
    lambda column: int(column.nbytes), max_bytes=_CACHED_BYTES, at_least=_CACHED_GROUPS
)


@contextmanager
def _open(archive: StoredFile) -> Iterator[Any]:
    """The file as pyarrow reads it; what pyarrow raises is damage."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise RetroscopeError(
            "Parquet files need the package pyarrow; pip install 'retroscope[parquet]'"
        ) from error
    with archive.open() as file:
        try:
            with pq.ParquetFile(file) as opened:
                yield opened
        except (pa.ArrowException, OSError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ShardError(
                f"{archive.location!r} is truncated, damaged, or not Parquet ({reason}); copy it "
                "again"
            ) from error


@lru_cache(maxsize=64)
def index_parquet(archive: StoredFile) -> ParquetIndex:
    """The columns and row groups of a file."""
    version = archive.version()
    with _open(archive) as opened:
        metadata = opened.metadata
        groups = tuple(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups))
        columns = find_columns(opened.schema_arrow, archive.location)
    if not sum(groups):
        raise ShardError(f"{archive.location!r} has no rows; leave it out")
    return ParquetIndex(version, columns, groups)


def parquet_images(
    archive: StoredFile,
    name: str,
    part: slice,
    *,
    glob: str | None = None,
    reads_classes: bool = True,
) -> ShardImages:
    """The images in a range of rows; a key is `name`, the row, and the path if there is one."""
    refuse_unusable_glob(glob)
    archive.check()
    index = index_parquet(archive)
    rows = range(*part.indices(sum(index.group_rows)))
    paths, stated = _read_facts(archive, index, rows, reads_classes=reads_classes)
    chosen = [n for n, path in enumerate(paths) if glob is None or matches(path, glob)]
    keys = [f"{name}/{rows[n]}" + (f"/{paths[n]}" if paths[n] else "") for n in chosen]
    return ShardImages(
        [paths[n] or str(rows[n]) for n in chosen],
        ParquetFiles(archive, index.version, keys, index, [rows[n] for n in chosen]),
        keys=keys,
        stated=[stated[n] for n in chosen] if stated else (),
    )


def _read_facts(
    archive: StoredFile, index: ParquetIndex, rows: range, *, reads_classes: bool
) -> tuple[list[str], list[str]]:
    """The path of each row, empty if it has none, and the class that it states."""
    columns, starts = index.columns, index.group_starts
    if reads_classes and columns.class_candidates:
        raise ShardError(
            f"{archive.location!r} has several columns of classes, "
            f"{' and '.join(columns.class_candidates)}; rename one of them to 'label', or give "
            "labels",
            parameter="labels",
        )
    wanted = [name for name in (columns.path, columns.label if reads_classes else None) if name]
    groups = [n for n, start in enumerate(starts) if rows.start <= start < rows.stop]
    if not wanted:
        return [""] * len(rows), []
    with _open(archive) as opened:
        table = opened.read_row_groups(groups, columns=wanted)
    paths, stated = [""] * len(rows), list[str]()
    if columns.path:
        images = table.column(columns.path.partition(".")[0]).to_pylist()
        paths = [member_path((image or {}).get("path") or "") for image in images]
    if columns.label and reads_classes:
        stated = [columns.class_of(value) for value in table.column(columns.label).to_pylist()]
    return paths, stated
