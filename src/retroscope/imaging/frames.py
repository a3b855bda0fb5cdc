"""Folders of frames: the numbered images of a folder as the slices of one clip or volume."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePath
from types import TracebackType
from typing import Self

from retroscope.errors import ImageError
from retroscope.imaging.decoding import open_image_file

SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm"),
        *(".pgm", ".jp2", ".avif", ".heic", ".jxl"),
    )
)
"""What the names of images end in."""

VIDEO_SUFFIXES = frozenset((".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg"))
VOLUME_SUFFIXES = frozenset((".npy", ".tif", ".tiff", ".gif", ".webp"))
"""What the names of files end in that can hold all slices of a volume."""

HOW_TO_EXTRACT = (
    "save its frames as images in a folder, as 'ffmpeg -i clip.mp4 frames/%05d.jpg' does, and give "
    "the folder"
)
_MAX_FRAMES = 1_000_000
_DIGEST_BYTES = 8
_NUMBER = re.compile(r"(\d+)")


def frame_order(name: str) -> tuple[object, ...]:
    """What frames are sorted by: their names, with numbers as numbers.

    >>> sorted(["f10.png", "f9.png", "f09.png"], key=frame_order)
    ['f09.png', 'f9.png', 'f10.png']
    """
    parts = _NUMBER.split(name)
    numbered = tuple((int(part), "") if part.isdecimal() else (0, part) for part in parts)
    return numbered, name


@dataclass(frozen=True)
class FrameFolder:
    """The images of a folder in the order of their numbers, which are the slices of one image.

    `with` statements take it as they take a file.
    """

    folder: Path
    paths: Sequence[Path]

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """The frames of a folder. Raises ImageError if it has none."""
        try:
            entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
        except OSError as error:
            raise ImageError(
                f"cannot open {name} ({error.strerror or error}); check the path"
            ) from error
        frames = [path for path in entries if path.suffix.lower() in SUFFIXES]
        if not frames:
            raise ImageError(
                f"{name} is a folder without images; the frames of a clip end in .png, .jpg, .tif "
                "and the like"
            )
        if len(frames) > _MAX_FRAMES:
            raise ImageError(
                f"{name} has {len(frames):,} frames, over the limit of {_MAX_FRAMES:,}"
            )
        return cls(folder, sorted(frames, key=lambda path: frame_order(path.name)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is open."""

    @property
    def size(self) -> int:
        """The bytes of all frames."""
        return sum(path.stat().st_size for path in self.paths)

    @property
    def modified(self) -> int:
        """When the last frame was modified, in nanoseconds."""
        return max(path.stat().st_mtime_ns for path in self.paths)

    def digest(self) -> bytes:
        """A digest of the names and contents of all frames."""
        digest = blake2b(digest_size=_DIGEST_BYTES)
        for path in self.paths:
            with open_image_file(path, repr(str(path))) as file:
                digest.update(f"{path.name}\0".encode("utf-8", "surrogateescape"))
                while block := file.read(2**20):
                    digest.update(block)
        return digest.digest()


def group_frames(paths: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The folders of files, each with the files in it, in the order of their first files.

    >>> list(group_frames(["cat/1/a.png", "cat/1/b.png", "cat/2/a.png"]))
    [('cat/1', ['cat/1/a.png', 'cat/1/b.png']), ('cat/2', ['cat/2/a.png'])]
    """
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(str(PurePath(path).parent), []).append(path)
    yield from folders.items()
