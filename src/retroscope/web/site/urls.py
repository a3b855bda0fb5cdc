"""Names of layers and classes as parts of a URL that are also names of files, on any system."""

import re
from collections.abc import Mapping
from functools import lru_cache

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_LONGEST = 80


@lru_cache(maxsize=32)
def slugs(names: tuple[str, ...]) -> Mapping[str, str]:
    """A file name for each of these names, no two of which differ only in their case.

    Most names stay as they are. One that had to change, or is taken, gets its number behind a
    tilde.

    >>> slugs(("features.0", "add #1", "Features.0"))["Features.0"]
    'Features.0~2'
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for number, name in enumerate(names):
        plain = _plain(name)
        if plain != name or plain.lower() in taken:
            plain = f"{plain}~{number}"
        taken.add(plain.lower())
        found[name] = plain
    return found


@lru_cache(maxsize=32)
def names_by_slug(names: tuple[str, ...]) -> Mapping[str, str]:
    """The name that each slug stands for.

    >>> names_by_slug(("features.0", "add #1"))["add_1~1"]
    'add #1'
    """
    return {slug: name for name, slug in slugs(names).items()}


def _plain(name: str) -> str:
    """Letters that every system takes, no name of a device, no dot at an end."""
    safe = _UNSAFE.sub("_", name)[:_LONGEST].strip(".")
    return f"_{safe}" if not safe or _DEVICE.fullmatch(safe.lower()) else safe
