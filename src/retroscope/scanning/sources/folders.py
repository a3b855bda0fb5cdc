"""Images in a folder or a list: which files are images, and which are left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import join, normpath
from pathlib import Path, PurePath

from retroscope.errors import ImageError, RetroscopeError
from retroscope.imaging.frames import SUFFIXES
from retroscope.scanning.sources.image_list import ListNote

ARRAY_SUFFIXES = frozenset((".npy",))
"""Of arrays, which are images where a folder has no others: they may be features or masks."""


@dataclass(frozen=True)
class FoundFiles:
    """Files by their paths below a root, or elsewhere if a path is absolute or a URL."""

    root: str
    paths: Sequence[str]
    notes: Sequence[ListNote] = ()


def is_image_name(path: str) -> bool:
    """Whether a file's name ends as that of an image."""
    return PurePath(path).suffix.lower() in SUFFIXES


def is_array_name(path: str) -> bool:
    """Whether a file's name ends as that of an array."""
    return PurePath(path).suffix.lower() in ARRAY_SUFFIXES


def is_hidden(path: str) -> bool:
    """Whether a file or a folder around it is hidden, or is what macOS adds to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePath(path).parts)


def find_files(folder: Path, glob: str | None, suffixes: frozenset[str]) -> list[str]:
    """The files below a folder that match a glob, or else end in one of the suffixes, sorted."""
    try:
        files = [path for path in folder.rglob(glob or "*") if path.is_file()]
    except (ValueError, NotImplementedError) as error:
        raise RetroscopeError(
            f"cannot use the pattern {glob!r} ({error}); write one such as '*.jpg'",
            parameter="glob",
        ) from error
    chosen = sorted(path for path in set(files) if glob or path.suffix.lower() in suffixes)
    return [str(path.relative_to(folder)) for path in chosen]


def choose_visible(paths: Sequence[str], source: str, glob: str | None) -> FoundFiles:
    """The files that are not hidden; the others are noted. Raises if none is left."""
    hidden = [path for path in paths if is_hidden(path)]
    visible = [path for path in paths if not is_hidden(path)]
    if not visible:
        raise no_images(source, glob, hidden=len(hidden))
    return FoundFiles(source, visible, note_omitted(hidden, "hidden file"))


def note_omitted(paths: Sequence[str], noun: str) -> list[ListNote]:
    """A note on files that were left out, if there are any."""
    if not paths:
        return []
    noun = noun if len(paths) == 1 else f"{noun}s"
    return [ListNote(f"left out {len(paths)} {noun}, such as {paths[0]!r}")]


def no_images(source: str, glob: str | None, *, hidden: int = 0) -> ImageError:
    """The error for a folder or an archive without images."""
    if hidden:
        return ImageError(
            f"all {hidden} images in {source!r} are hidden; to scan a hidden folder, give its "
            "own path"
        )
    if glob:
        return ImageError(
            f"no file in {source!r} matches {glob!r}; try another pattern", parameter="glob"
        )
    endings = ", ".join(sorted(SUFFIXES | ARRAY_SUFFIXES))
    return ImageError(
        f"no images in {source!r}; no file ends in {endings}; a glob such as '*.xyz' selects "
        "other files",
        parameter="glob",
    )


def refuse_repeated_files(paths: Sequence[str]) -> None:
    """Raises if two paths lead to one file, which would take two places among the hits."""
    number_by_path: dict[str, int] = {}
    here = str(Path.cwd())
    for number, path in enumerate(paths, start=1):
        place = path if "://" in path else normpath(join(here, path))  # noqa: PTH118 - fast
        first = number_by_path.setdefault(place, number)
        if first != number:
            raise ImageError(
                f"images {first} and {number} of the list are one file, {path!r}; list each "
                "image once"
            )


def read_list(file: Path) -> list[str]:
    """The lines of a list, without those that are empty."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(
            f"cannot read the list {str(file)!r} ({error}); give a text file with a path per line"
        ) from error
    return [line.strip() for line in lines if line.strip()]
