"""Paths and URLs: which is which, how they are joined, and patterns that stand for several."""

import re
from collections.abc import Iterator
from os.path import join
from pathlib import Path
from urllib.parse import urlsplit

from retroscope.errors import ImageError, RetroscopeError

HUB_PREFIX = "hf:"
"""Begins the name of a data set of the Hugging Face Hub."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BRACES = re.compile(r"\{([^{}]*(?:\.\.|,)[^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MAX_EXPANSION = 1_000_000


def is_url(location: str) -> bool:
    """Whether this is a URL rather than a path.

    >>> is_url("s3://photos/a.tar"), is_url("photos/a.tar")
    (True, False)
    """
    return _SCHEME.match(location) is not None


def path_of(location: str) -> str:
    """A path, or that of a URL without what comes after it.

    >>> path_of("https://a.org/x.tar?download=true"), path_of("memory://x.tar")
    ('a.org/x.tar', 'x.tar')
    """
    if "://" not in location:
        return location
    parts = urlsplit(location)
    return parts.netloc + parts.path


def strip_file_scheme(location: str) -> str:
    """The path of a `file://` URL; other locations as they are.

    >>> strip_file_scheme("file:///data/a.tar")
    '/data/a.tar'
    """
    return location.removeprefix("file://")


def join_path(root: str, path: str) -> str:
    """A path below a folder or URL, unless it is absolute or a URL itself.

    >>> join_path("s3://photos/", "cat/1.jpg"), join_path("photos", "/far/1.jpg")
    ('s3://photos/cat/1.jpg', '/far/1.jpg')
    """
    if is_url(path):
        return path
    if is_url(root):
        return root + path if root.endswith("://") else f"{root.rstrip('/')}/{path}"
    return path if root in {"", "."} else join(root, path)  # noqa: PTH118 - a list may have a million


def parent_url(url: str) -> str:
    """The URL of the folder around a file.

    >>> parent_url("https://a.org/lists/x.txt"), parent_url("memory://x.txt")
    ('https://a.org/lists', 'memory://')
    """
    scheme, _, path = url.partition("://")
    return f"{scheme}://{path.rpartition('/')[0]}"


def has_wildcard(location: str) -> bool:
    """Whether a location has characters of a glob.

    >>> has_wildcard("train-*.tar"), has_wildcard("train-000.tar")
    (True, False)
    """
    return any(character in location for character in "*?[")


def is_gone(source: str) -> bool:
    """Whether a source is a path or a pattern under which there is nothing any more.

    >>> is_gone("/gone/train-{000..146}.tar"), is_gone("s3://photos/"), is_gone("hf:user/set")
    (True, False, False)
    """
    path = strip_file_scheme(source)
    if is_url(path) or path.startswith(HUB_PREFIX):
        return False
    if Path(path).exists():
        return False
    return not any(map(_find_matches, expand_braces(path)))


def expand_pattern(pattern: str) -> list[str]:
    """The local files that a pattern with braces or wildcards stands for."""
    paths: list[str] = []
    for path in expand_braces(pattern):
        paths += _find_matches(path) if has_wildcard(path) else [path]
    if paths == [pattern]:
        raise ImageError(
            f"no folder or list {pattern!r}; give a folder of images or a text file of paths"
        )
    if not paths:
        raise ImageError(f"no file matches {pattern!r}; check the path")
    return paths


def _find_matches(pattern: str) -> list[str]:
    anchor = Path(pattern).anchor
    return sorted(map(str, Path(anchor).glob(str(Path(pattern).relative_to(anchor)))))


def expand_braces(pattern: str) -> list[str]:
    """The locations that a pattern such as `train-{000..146}.tar` or `{train,val}.tar` stands for.

    >>> expand_braces("{a,b}-{08..10}.tar")[:4]
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar']
    """
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    before, after = pattern[: braces.start()], expand_braces(pattern[braces.end() :])
    parts = list(_brace_parts(braces[1], pattern))
    if len(parts) * len(after) > _MAX_EXPANSION:
        raise RetroscopeError(
            f"{pattern!r} stands for more than {_MAX_EXPANSION:,} files; write a shorter range"
        )
    return [before + part + rest for part in parts for rest in after]


def _brace_parts(text: str, pattern: str) -> Iterator[str]:
    for part in text.split(","):
        numbers = _RANGE.fullmatch(part)
        if numbers is None:
            if ".." in part:
                raise RetroscopeError(
                    f"cannot use the range {{{part}}} in {pattern!r}; write one such as "
                    "{000..146}"
                )
            yield part
            continue
        first, last = numbers.groups()
        if int(first) > int(last):
            raise RetroscopeError(
                f"the range {{{part}}} in {pattern!r} is empty; write the lower number first"
            )
        if int(last) - int(first) >= _MAX_EXPANSION:
            raise RetroscopeError(
                f"{pattern!r} stands for more than {_MAX_EXPANSION:,} files; write a shorter range"
            )
        yield from (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
