"""Some images of a list, so that a task carries where their bytes are, and no others."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import fields, replace

from retroscope.scanning.sources import ImageFiles
from retroscope.scanning.sources.image_list import JoinedFiles
from retroscope.scanning.sources.known_images import KnownFiles
from retroscope.scanning.sources.stored_files import FileVersion


def select_files(files: ImageFiles, indices: Sequence[int]) -> ImageFiles:
    """The images at these indices, in their order.

    >>> from retroscope.scanning.sources.image_list import LocalFiles
    >>> select_files(LocalFiles(["a.jpg", "b.jpg", "c.jpg"]), [2, 0])
    LocalFiles(paths=['c.jpg', 'a.jpg'])
    """
    if isinstance(files, JoinedFiles):
        places = [(bisect_right(files.starts, index) - 1, index) for index in indices]
        parts = [
            select_files(files.parts[part], [index - files.starts[part]]) for part, index in places
        ]
        return JoinedFiles(parts, range(len(parts)))
    if isinstance(files, KnownFiles):
        return select_files(files.listed, indices)
    values = {field.name: getattr(files, field.name) for field in fields(files)}  # type: ignore[arg-type]
    columns = {
        name: [column[index] for index in indices]
        for name, column in values.items()
        if hasattr(column, "__getitem__") and not isinstance(column, str | FileVersion) and column
    }
    assert columns, f"{type(files).__name__} has no column with a value for each image"
    return replace(files, **columns)  # type: ignore[type-var]
