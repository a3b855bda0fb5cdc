"""Errors that a user's input can cause. Each message is one line: what was asked, what there is,
what to do.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")

_MAX_DIGITS = 9
MAX_MESSAGE = 300
"""Characters of another library's message that are repeated; a damaged file can make it long."""


class RetroscopeError(Exception):
    """Base class. The command line prints it without a traceback and exits with status 2.

    `parameter` is the function parameter that helps, if any; the command line adds its option.
    """

    def __init__(self, message: str, *, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


class UnitError(RetroscopeError):
    """An address that cannot be parsed, or a unit or layer that the network does not have."""


class ImageError(RetroscopeError):
    """An image that cannot be read, or that does not fit the network."""


class ModelError(RetroscopeError):
    """A network that cannot be opened, or that cannot be run correctly."""


class MissingInputsError(ImageError, ModelError):
    """An image without other inputs that its network takes with each `image`.

    `missing` are these by name, each with what the command line can give for it.
    """

    def __init__(
        self, message: str, *, network: str, image: str, missing: Mapping[str, str]
    ) -> None:
        super().__init__(message, parameter="inputs")
        self.network, self.image, self.missing = network, image, dict(missing)


def list_words(words: Sequence[str], joint: str = "and") -> str:
    """Words as a sentence lists them.

    >>> list_words(["before", "after", "season"])
    'before, after and season'
    """
    *first, last = words
    return f"{', '.join(first)} {joint} {last}" if first else last


class DivergenceError(ModelError):
    """A pass whose calls are not those of the survey."""


def nearest(name: str, names: Iterable[str], *, count: int = 3) -> list[str]:
    """The names most similar to this one, best first.

    >>> nearest("feature.10", ["features.1", "features.10", "classifier.0"])[0]
    'features.10'
    """
    by_lower_case = {candidate.lower(): candidate for candidate in names}
    matches = get_close_matches(name.lower(), by_lower_case, n=count, cutoff=0.5)
    return [by_lower_case[match] for match in matches]


def nearest_numbered(name: str, names: Iterable[str], *, count: int = 3) -> list[str]:
    """The names that differ from this one in their numbers alone, those of the nearest first.

    >>> nearest_numbered("conv5", ["conv49", "conv3", "relu5"])
    ['conv3', 'conv49']
    """
    template, numbers = _split_numbers(name)
    parts = {candidate: _split_numbers(candidate) for candidate in names}
    distances = {
        candidate: [abs(a - b) for a, b in zip(numbers, others, strict=True)]
        for candidate, (candidate_template, others) in parts.items()
        if candidate_template == template and numbers
    }
    return sorted(distances, key=lambda candidate: distances[candidate])[:count]


def _split_numbers(name: str) -> tuple[str, list[int]]:
    numbers = [int(digits[:_MAX_DIGITS]) for digits in re.findall(r"[0-9]+", name)]
    return re.sub(r"[0-9]+", "#", name.lower()), numbers


def did_you_mean(name: str, names: Iterable[str], *, by_number: bool = False) -> str:
    """`did you mean 'a' or 'b'?`, or an empty string if no name is similar.

    >>> did_you_mean("vgg61", ["vgg16", "resnet50"])
    "did you mean 'vgg16'?"

    With `by_number`, names that differ in their numbers alone are more similar than others.
    """
    names = list(names)
    numbered = nearest_numbered(name, names) if by_number else []
    similar = [repr(match) for match in numbered or nearest(name, names)]
    if not similar:
        return ""
    alternatives = " or ".join(filter(None, [", ".join(similar[:-1]), similar[-1]]))
    return f"did you mean {alternatives}?"


def choose(
    what: str,
    name: str,
    table: Mapping[str, Value],
    *,
    error: type[RetroscopeError] = RetroscopeError,
    advice: str = "",
) -> Value:
    """The entry of this name. An unknown name is refused with similar ones, or with all of them.

    `advice` replaces the list of all names where that would be too long.

    >>> choose("rule book", "guidet", {"deconvnet": 1, "guided": 2})
    Traceback (most recent call last):
    retroscope.errors.RetroscopeError: no rule book 'guidet'; did you mean 'guided'?
    """
    if isinstance(name, str) and name in table:
        return table[name]
    hint = did_you_mean(name, table) if isinstance(name, str) else ""
    hint = hint or advice or f"choose from {', '.join(table)}"
    raise error(f"no {what} {name!r}; {hint}")


def describe_error(error: BaseException) -> str:
    """The class of another library's error and the first line of its message.

    >>> describe_error(KeyError("weight"))
    "KeyError: 'weight'"
    """
    message = next(iter(str(error).splitlines()), "")
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]}..."
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
