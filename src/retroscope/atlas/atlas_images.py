"""The images of an atlas by number."""

from collections.abc import Iterator, Sequence
from typing import overload

from retroscope.atlas.queries import reader_queries
from retroscope.atlas.queries.query import SqlSource
from retroscope.atlas.queries.reader_queries import ImageRow
from retroscope.atlas.schema import AtlasError


class MissingImageError(AtlasError, IndexError):
    """A number that the list of images does not have."""


class AtlasImages(Sequence[ImageRow]):
    """The images of the scanned list by number, read from the file on access."""

    _BLOCK = 1000

    def __init__(self, source: SqlSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return reader_queries.count_images(self._source)

    @overload
    def __getitem__(self, index: int) -> ImageRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ImageRow, ...]: ...
    def __getitem__(self, index: int | slice) -> ImageRow | tuple[ImageRow, ...]:
        try:
            numbers = range(len(self))[index]
        except IndexError as error:
            raise MissingImageError(f"the atlas has no image {index}") from error
        if isinstance(numbers, range):
            return tuple(self[number] for number in numbers)
        return reader_queries.find_image(self._source, numbers)

    def __iter__(self) -> Iterator[ImageRow]:
        start = 0
        while block := reader_queries.list_images(self._source, start, start + self._BLOCK):
            yield from block
            start = block[-1].id + 1
