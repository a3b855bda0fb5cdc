"""Which files are behind a URL: the files below a folder, or the lines of a list."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from retroscope.errors import ImageError
from retroscope.scanning.sources.file_systems import attempt, open_url
from retroscope.scanning.sources.locations import expand_braces, path_of
from retroscope.scanning.sources.members import matches, refuse_unusable_glob
from retroscope.scanning.sources.stored_files import MissingShardError

_WILDCARDS = "*["
"""`?` begins the query of a URL."""


def expand_url(pattern: str) -> list[str]:
    """The URLs that a pattern with braces or wildcards stands for."""
    urls: list[str] = []
    for url in expand_braces(pattern):
        urls += _find_matches(url) if any(char in url for char in _WILDCARDS) else [url]
    if not urls:
        raise ImageError(f"no file matches {pattern!r}; check the URL")
    return urls


def _find_matches(pattern: str) -> list[str]:
    file_system, path = open_url(pattern)
    paths: Sequence[str] = attempt(lambda: file_system.glob(path), pattern)
    return sorted(file_system.unstrip_protocol(match) for match in paths)


def is_list_url(url: str) -> bool:
    """Whether a URL is that of a text file.

    >>> is_list_url("https://a.org/train.txt?raw=true"), is_list_url("https://a.org/train/")
    (True, False)
    """
    return path_of(url).lower().endswith(".txt")


def read_remote_list(url: str) -> list[str]:
    """The lines of a list, without those that are empty."""
    file_system, path = open_url(url)
    data: bytes = attempt(lambda: file_system.cat_file(path), url)
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ImageError(
            f"cannot read the list {url!r} ({error}); give a text file with a URL per line"
        ) from error
    paths = [line.strip() for line in lines if line.strip()]
    if not paths:
        raise ImageError(f"no images in {url!r}; the list is empty, write a URL on each line")
    return paths


def find_remote(url: str, glob: str | None, suffixes: frozenset[str]) -> list[str]:
    """The files below a folder that match a glob, or else end in one of the suffixes, sorted."""
    refuse_unusable_glob(glob)
    file_system, root = open_url(url)
    file_system.invalidate_cache(root)
    found: Sequence[str] = attempt(lambda: file_system.find(root), url)
    prefix = root.rstrip("/") + "/"
    paths = [PurePosixPath(path.removeprefix(prefix)) for path in found if path.startswith(prefix)]
    if not paths:
        _refuse_unreachable(file_system, root, url)
        raise ImageError(
            f"no folder {url!r}, or it is empty; give a folder, a text file of URLs, or a tar, zip "
            "or Parquet file"
        )
    chosen = sorted(
        path
        for path in paths
        if (matches(str(path), glob) if glob else path.suffix.lower() in suffixes)
    )
    return list(map(str, chosen))


def _refuse_unreachable(file_system: Any, root: str, url: str) -> None:
    """Raises if the server does not answer, which looks like an empty folder."""
    with suppress(MissingShardError):
        attempt(lambda: file_system.info(root), url)
