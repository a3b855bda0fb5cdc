"""Numbers among a network's outputs as targets: `output[0]["scores"][3]`, or any function."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from retroscope.argument_types import shorten
from retroscope.engine.memory import is_out_of_memory
from retroscope.errors import ModelError, RetroscopeError, describe_error
from retroscope.methods.class_scores import NetworkOutput
from retroscope.methods.target_scorer import TargetScorer
from retroscope.results.heat_maps import Target

OutputFunction = Callable[[Any], torch.Tensor]
"""Computes one number from what the network returns for one image."""

PREFIX = "output["
_MAX_LISTED = 8
_INTEGER = r"-?\d+"
_TOKEN = re.compile(
    rf"""\[\s*(?:(?P<integers>{_INTEGER}(?:\s*,\s*{_INTEGER})*)"""
    r"""|"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[A-Za-z_]\w*))\s*\]"""
)
Key = str | int


def parse_path(spec: str) -> list[Key]:
    """The keys and indices of a path among outputs.

    >>> parse_path('output[0]["scores"][3]'), parse_path("output[logits][0, -1]")
    ([0, 'scores', 3], ['logits', 0, -1])
    """
    keys: list[Key] = []
    position = len(PREFIX) - 1
    while position < len(spec):
        token = _TOKEN.match(spec, position)
        if token is None:
            raise RetroscopeError(
                f"cannot read {spec!r} from {spec[position:]!r} on; a path has a key or an index "
                'in each pair of brackets, as output[0]["scores"][3]'
            )
        position = token.end()
        if token["integers"] is not None:
            keys += map(int, token["integers"].split(","))
        else:
            keys.append(next(token[name] for name in _KEY_FORMS if token[name] is not None))
    return keys


_KEY_FORMS = ("double", "single", "bare")


def path_scorer(output: NetworkOutput, spec: str) -> TargetScorer:
    """The scorer of a single number in the outputs of one image."""
    keys = parse_path(spec.strip())
    follow_path(output, spec, keys)
    return TargetScorer(
        Target(None, description=spec.strip()),
        scores=lambda output: follow_path(output, spec, keys)[None],
        single_images=True,
        is_local=not output.has_class_scores,
    )


def follow_path(output: NetworkOutput, spec: str, keys: list[Key]) -> torch.Tensor:
    """The number at the end of a path. Raises ModelError where the path leaves the outputs."""
    value, path = output.value, "output"
    for key in keys:
        value = _step_into(output, value, key, path=path)
        path += f"[{key!r}]"
    if not isinstance(value, torch.Tensor):
        raise ModelError(f"{spec} is {_describe(value)}, not a number; go on to a tensor's number")
    if value.numel() != 1:
        raise ModelError(f"{spec} is {_describe(value)}, not a number; give an index for each axis")
    return value.reshape(())


def _step_into(output: NetworkOutput, value: Any, key: Key, *, path: str) -> Any:
    """What is under a key or an index of a value."""
    name = output.net.name
    if isinstance(value, Mapping):
        if key in value:
            return value[key]
        listed = ", ".join(map(repr, list(value)[:_MAX_LISTED]))
        raise ModelError(f"no {key!r} in {path} of {name}; it has {listed or 'no keys'}")
    if isinstance(value, list | tuple | torch.Tensor):
        is_scalar = isinstance(value, torch.Tensor) and value.dim() == 0
        length = 0 if is_scalar else len(value)
        if isinstance(key, int) and -length <= key < length:
            return value[key]
        raise ModelError(
            f"no {key!r} in {path} of {name}, which is {_describe(value)}; "
            + (f"give an index from 0 to {length - 1}" if length else "nothing is in it")
        )
    raise ModelError(f"nothing is in {path} of {name}, which is {_describe(value)}")


def _describe(value: object) -> str:
    """What a value among the outputs is.

    >>> _describe(torch.ones(2, 3)), _describe({"a": 1}), _describe([1, 2])
    ('a tensor of (2, 3)', "a dictionary of 'a'", 'a list of 2')
    """
    match value:
        case torch.Tensor():
            return f"a tensor of {tuple(value.shape)}"
        case Mapping():
            return f"a dictionary of {', '.join(map(repr, list(value)[:_MAX_LISTED]))}"
        case list() | tuple():
            return f"a {'list' if isinstance(value, list) else 'tuple'} of {len(value)}"
    return f"{shorten(value)} ({type(value).__name__})"


def is_path(spec: object) -> bool:
    """Whether a target is the path of a number among the outputs.

    >>> is_path("output[0][3]"), is_path("tabby")
    (True, False)
    """
    return isinstance(spec, str) and spec.strip().startswith(PREFIX)


def read_number(output: NetworkOutput, spec: str | OutputFunction) -> torch.Tensor:
    """The number that a path or a function finds in the outputs of one image."""
    if callable(spec):
        return _apply(spec, output).reshape(())
    return follow_path(output, spec, parse_path(spec.strip()))


def function_scorer(output: NetworkOutput, function: OutputFunction) -> TargetScorer:
    """The scorer of what a function computes from the outputs of one image."""
    scores = partial(_apply, function)
    scores(output)
    return TargetScorer(
        Target(None, description=f"{function_name(function)} of the outputs"),
        scores=scores,
        single_images=True,
        is_local=not output.has_class_scores,
    )


def _apply(function: OutputFunction, output: NetworkOutput) -> torch.Tensor:
    try:
        value: object = function(output.value)
    except RetroscopeError:
        raise
    except Exception as error:  # whatever the user's own code raises
        if is_out_of_memory(error):
            raise
        raise RetroscopeError(
            f"the target {function_name(function)} fails on the outputs, "
            f"{_describe(output.value)}: {describe_error(error)}",
            parameter="target",
        ) from error
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        raise RetroscopeError(
            f"the target {function_name(function)} returned {_describe(value)}; it must return a "
            "tensor with one number, computed from the outputs without detach or item"
        )
    return value.reshape(1)


def function_name(function: OutputFunction) -> str:
    """The name of a function; one without a name is called a function."""
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() else "a function"
