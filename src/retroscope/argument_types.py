"""Refuses arguments of a wrong type, by the annotations of a public function, in one line."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, wraps
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np

from retroscope.errors import ModelError, RetroscopeError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
First = TypeVar("First")
Second = TypeVar("Second")
Hint = Any
"""An annotation: a class, a union or a generic type."""

KINDS: dict[Hint, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    bool: ("True or False", "booleans"),
    Path: ("a path", "paths"),
    NoneType: ("None", "None"),
}
"""What a value of each plain type is called, alone and in a list."""

BETTER_ADVISED = ("name", "target", "input_size", "mean", "std", "read_image.path")
"""Parameters, of any function or of one, of which the function says more than their type."""

MAX_ELEMENTS = 1000
"""Of longer lists the elements are not checked."""

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def check_arguments(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same function, which refuses plain arguments of another type than it states.

    Arguments of retroscope's own types are left to the function, which has better advice on them.

    >>> @check_arguments
    ... def occlude(size: int = 32) -> int:
    ...     return size
    >>> occlude("large")
    Traceback (most recent call last):
    retroscope.errors.RetroscopeError: size of occlude() is an integer, not 'large'
    """

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for parameter, value in signature(function).bind(*args, **kwargs).arguments.items():
            hint = _checked_hints(function).get(parameter)
            if hint is not None and not _matches(value, hint):
                raise RetroscopeError(
                    f"{parameter} of {function.__name__}() is {_describe(hint)}, not "
                    f"{shorten(value)}",
                    parameter=parameter,
                )
        return function(*args, **kwargs)

    return call


def unpack_pair(request: tuple[First, Second], names: str) -> tuple[First, Second]:
    """The two members of a request. Raises RetroscopeError, which calls them by `names`."""
    if not isinstance(request, tuple | list) or len(request) != 2:
        raise RetroscopeError(f"a request is a pair ({names}), not {shorten(request)}")
    first, second = request
    return first, second


def shorten(value: object) -> str:
    """A value in an error: one short line."""
    return " ".join(_SHORT.repr(value).split())


@cache
def _checked_hints(function: Callable[..., object]) -> dict[str, Hint]:
    """The annotations that are made of plain types, by parameter."""
    parameters = signature(function).parameters.values()
    return {
        parameter.name: parameter.annotation
        for parameter in parameters
        if not {parameter.name, f"{function.__name__}.{parameter.name}"} & set(BETTER_ADVISED)
        and all(map(_is_plain, _alternatives(parameter.annotation)))
    }


def _alternatives(hint: Hint) -> tuple[Hint, ...]:
    """The members of a union, or the type itself."""
    return get_args(hint) if _origin(hint) in (Union, UnionType) else (hint,)


def _origin(hint: Hint) -> Any:
    return get_origin(hint)


def _is_plain(hint: Hint) -> bool:
    return hint in KINDS or _origin(hint) in (Callable, Iterable, Sequence, tuple)


def _matches(value: object, hint: Hint) -> bool:
    return any(_matches_one(value, alternative) for alternative in _alternatives(hint))


def _matches_one(value: object, hint: Hint) -> bool:
    origin = _origin(hint)
    if origin is Callable:
        return callable(value)
    if origin is Iterable:
        return isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if origin is not None:
        return _is_sequence(value, hint) and _elements_match(value, hint)
    is_bool = isinstance(value, bool | np.bool_)
    if hint is bool:
        return is_bool
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not is_bool
    return isinstance(value, hint)


def _is_sequence(value: object, hint: Hint) -> bool:
    """Whether it is a list, a tuple or the like; an array may stand for numbers only."""
    if isinstance(value, bytes):
        return False
    is_array = getattr(value, "ndim", 0) == 1 and set(get_args(hint)) <= {int, float, Ellipsis}
    return isinstance(value, Sequence) or is_array


def _elements_match(values: Any, hint: Hint) -> bool:
    """Whether the elements are of the stated type; those of other than plain types pass."""
    kinds = [kind for kind in get_args(hint) if kind is not Ellipsis]
    if len(kinds) > 1 and len(values) != len(kinds):
        return False
    kind = kinds[0]
    if len(values) > MAX_ELEMENTS or not all(map(_is_plain, _alternatives(kind))):
        return True
    return all(_matches(value, kind) for value in values)


def channel_values(name: str, values: object) -> tuple[float, ...]:
    """One number per channel, from any sequence or array.

    >>> channel_values("mean", np.array([0.5, 0.25]))
    (0.5, 0.25)
    """
    try:
        return tuple(float(value) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{name} is one number per channel, such as (0.5, 0.5, 0.5), not {values!r}"
        ) from error


def _describe(hint: Hint) -> str:
    """What a type is called: `an integer or None`."""

    alternatives = list(_alternatives(hint))
    if Path in alternatives and str in alternatives:
        alternatives.remove(str)
    names = list(map(_describe_one, alternatives))
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _describe_one(hint: Hint) -> str:
    origin = _origin(hint)
    if origin is None:
        return KINDS[hint][0]
    if origin is Callable:
        return "a function"
    elements = " or ".join(_plurals(get_args(hint)))
    if origin is tuple and len(set(get_args(hint))) == 1:
        return f"a pair of {elements}"
    return f"a list of {elements}" if elements else "a list"


def _plurals(hints: Iterable[Hint]) -> Iterator[str]:
    """What the elements of a list are called, if they are plain."""
    for kind in dict.fromkeys(part for hint in hints for part in _alternatives(hint)):
        if kind in KINDS:
            yield KINDS[kind][1]
