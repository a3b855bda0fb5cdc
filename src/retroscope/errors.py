"""What can go wrong through a user's input, each with one line that helps."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")


class RetroscopeError(Exception):
    """Says what was asked, what there is, and what to do. `cli/main.py` catches it once.

    `parameter` is the function parameter that helps, if any; the command line adds its option.
    """

    def __init__(self, message: str, *, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


class UnitError(RetroscopeError):
    """An address that cannot be read, or that names nothing in this network."""


class ImageError(RetroscopeError):
    """A picture that cannot be read, or that does not fit the network."""


class ModelError(RetroscopeError):
    """A network that cannot be opened, or that the engine cannot run rightly."""


def nearest(asked: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """The known names that look most like the one asked for, best first.

    >>> nearest("feature.10", ["features.1", "features.10", "classifier.0"])[0]
    'features.10'
    """
    exact = {name.lower(): name for name in known}
    found = get_close_matches(asked.lower(), exact, n=count, cutoff=0.5)
    return [exact[name] for name in found]


def did_you_mean(asked: str, known: Iterable[str]) -> str:
    """`did you mean 'a' or 'b'?`, or nothing where no name is near.

    >>> did_you_mean("vgg61", ["vgg16", "resnet50"])
    "did you mean 'vgg16'?"
    """
    close = nearest(asked, known)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def choose(
    what: str,
    name: str,
    table: Mapping[str, Value],
    *,
    error: type[RetroscopeError] = RetroscopeError,
) -> Value:
    """The entry of this name; an unknown name is refused with the nearest one, or with them all.

    >>> choose("rule book", "guidet", {"deconvnet": 1, "guided": 2})
    Traceback (most recent call last):
    retroscope.errors.RetroscopeError: no rule book 'guidet'; did you mean 'guided'?
    """
    if name in table:
        return table[name]
    hint = did_you_mean(str(name), table) or f"choose from {', '.join(table)}"
    raise error(f"no {what} {name!r}; {hint}")
