"""A module of several arguments as one that takes the image alone: its other inputs are held.

The module that runs is a shallow copy of the user's: it shares its parts, parameters and buffers,
so layers keep their names, and only its `forward` is another.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from retroscope.engine.call_arguments import Args, Kwargs
from retroscope.errors import ModelError


@dataclass(frozen=True)
class InputSlot:
    """Stands for an input among the arguments of a module."""

    name: str


@dataclass(frozen=True)
class CallPattern:
    """The arguments of a module, with a slot in place of each input; also inside dictionaries."""

    args: Args = ()
    kwargs: Kwargs = field(default_factory=dict)

    def fill(self, values: Mapping[str, object]) -> tuple[Args, Kwargs]:
        """The arguments with these inputs.

        >>> CallPattern((InputSlot("left"),), {"sizes": {"age": InputSlot("age")}}).fill(
        ...     {"left": 1, "age": 2}
        ... )
        ((1,), {'sizes': {'age': 2}})
        """
        return (
            tuple(_fill(argument, values) for argument in self.args),
            {name: _fill(argument, values) for name, argument in self.kwargs.items()},
        )


def _fill(argument: Any, values: Mapping[str, object]) -> Any:
    if isinstance(argument, InputSlot):
        return values[argument.name]
    if isinstance(argument, dict):
        return {key: _fill(member, values) for key, member in argument.items()}
    return argument


@dataclass(eq=False)
class HeldForward:
    """Runs a module on an image and on what is held for its other inputs.

    `values` has a tensor for each of them, with a row for each image, or one row for all of them;
    what is not a tensor is passed as it is. `by_image` are those that differ from image to image,
    and `missing` those without a value. `declaration` is what the inputs were declared as.
    """

    module: torch.nn.Module
    pattern: CallPattern
    image: str
    values: Mapping[str, object]
    by_image: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    declaration: Any = None

    def __call__(self, image: torch.Tensor) -> object:
        if self.missing:
            raise self.declaration.missing_error(type(self.module).__name__, self.missing)
        values = {name: _rows(value, len(image)) for name, value in self.values.items()}
        args, kwargs = self.pattern.fill({**values, self.image: image})
        training = self.module.training
        self.module.training = False  # its parts are set by whoever runs the shallow copy
        try:
            return cast("object", self.module(*args, **kwargs))
        finally:
            self.module.training = training


def _rows(value: object, count: int) -> object:
    """A copy with a row for each image, which the module may overwrite."""
    if not isinstance(value, torch.Tensor):
        return value
    rows = value.shape[0]
    if rows not in (1, count):
        raise ModelError(f"{rows} values of an input are held for a batch of {count} images")
    return value[(list(range(count)) if rows == count else [0] * count,)]


_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
"""A module's own hooks run when the module itself is called, not its shallow copy as well."""


def hold_inputs(forward: HeldForward) -> torch.nn.Module:
    """The shallow copy of a module that takes the image alone."""
    module = forward.module
    held = object.__new__(type(module))
    vars(held).update(vars(module))
    vars(held).update({name: OrderedDict() for name in _HOOKS if name in vars(module)})
    vars(held).update({"forward": forward, "_compiled_call_impl": None})
    return held


def held_forward(module: torch.nn.Module) -> HeldForward | None:
    """How a module runs whose other inputs are held; None for all other modules."""
    forward = vars(module).get("forward")
    return forward if isinstance(forward, HeldForward) else None


@dataclass(frozen=True, eq=False)
class HeldTensor:
    """A tensor that is held for an input, and whether it differs from image to image."""

    name: str
    tensor: torch.Tensor
    is_by_image: bool


def held_tensors(module: torch.nn.Module) -> list[HeldTensor]:
    """The tensors that are held for the other inputs of a module."""
    forward = held_forward(module)
    if forward is None:
        return []
    return [
        HeldTensor(name, value, name in forward.by_image)
        for name, value in forward.values.items()
        if isinstance(value, torch.Tensor)
    ]
