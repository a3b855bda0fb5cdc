"""Paths and URLs: which is which, how they are joined, and patterns that stand for several."""

import re
from collections.abc import Iterator
from pathlib import Path

from retroscope.errors import RetroscopeError

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
    return f"{root.rstrip('/')}/{path}" if is_url(root) else str(Path(root) / path)


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
