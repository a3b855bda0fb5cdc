"""A network's program: the torch calls of its forward pass, as one size of image runs them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from math import prod
from typing import Any, TypeGuard

import torch

from retroscope.engine.call_arguments import Args, Function, Kwargs, positional, tensors_in
from retroscope.engine.field_flow import TensorField
from retroscope.engine.motion import (
    Axes,
    Grid,
    Motion,
    Move,
    Positions,
    Shape,
    Stay,
    TokenAxis,
)
from retroscope.engine.operations import Operation
from retroscope.results.layers import Layer, UnlistedLayer


class Mixing(Enum):
    """How an operation mixes the positions of its input."""

    ATTENTION = "each position reads all, and keeps its place"
    POOLING = "the result has no positions"


class Argument(Enum):
    """Stands for an argument whose value is not part of the program."""

    TENSOR = "tensor"


@dataclass(frozen=True)
class ParameterArgument:
    """A parameter of the network as an argument, known by its identity."""

    identity: int


def argument_signature(value: object) -> object:
    """Arguments without the values of their tensors, to compare the calls of two passes."""
    if isinstance(value, torch.nn.Parameter):
        return ParameterArgument(id(value))
    if isinstance(value, torch.Tensor):
        return Argument.TENSOR
    if isinstance(value, list | tuple):
        return tuple(argument_signature(element) for element in value)
    if isinstance(value, dict):
        return {key: argument_signature(element) for key, element in value.items()}
    return value


def _contains_tensor(signature: object) -> bool:
    if isinstance(signature, dict):
        return any(map(_contains_tensor, signature.values()))
    if isinstance(signature, tuple):
        return any(map(_contains_tensor, signature))
    return signature is Argument.TENSOR


def _parameters_in(signature: object) -> Iterator[int]:
    if isinstance(signature, ParameterArgument):
        yield signature.identity
    elif isinstance(signature, tuple):
        for element in signature:
            yield from _parameters_in(element)
    elif isinstance(signature, dict):
        for element in signature.values():
            yield from _parameters_in(element)


class ArgumentMismatch(Exception):  # noqa: N818
    """A call has other parameters, or another number of arguments, than the surveyed one."""


def _bind(value: Any, signature: Any) -> Any:
    """The arguments of the signature, with the tensors of these."""
    if isinstance(value, torch.Tensor):
        if argument_signature(value) != signature:
            raise ArgumentMismatch
        return value
    if isinstance(value, list | tuple) and isinstance(signature, tuple):
        if len(value) != len(signature):
            raise ArgumentMismatch
        bound = [_bind(*pair) for pair in zip(value, signature, strict=True)]
        return bound if isinstance(value, list) else tuple(bound)
    if isinstance(value, dict) and isinstance(signature, dict):
        if value.keys() != signature.keys():
            raise ArgumentMismatch
        return {key: _bind(value[key], signature[key]) for key in value}
    if signature is Argument.TENSOR or isinstance(signature, ParameterArgument):
        raise ArgumentMismatch
    return signature


@dataclass(frozen=True)
class Step:
    """One torch call of the forward pass.

    `shapes` are those of its results and `form` is the type that holds them. `arguments` is the
    signature of its arguments. `lengths` is the size of the map that its windows slide over.
    `is_inside_function`: a custom `torch.autograd.Function` runs it, and has a backward of its own.
    `inputs` are the numbers of the steps whose results it reads. `depth` is the number of linear
    operations, such as convolutions, on the longest path from the pixels to its results. `mixing`
    is how it mixes positions, if it does.
    """

    function: Function
    operation: Operation | None
    motion: Motion | None
    shapes: tuple[Shape, ...]
    field: TensorField | None
    form: type = torch.Tensor
    arguments: object = None
    lengths: Grid = ()
    is_inside_function: bool = False
    inputs: tuple[int, ...] = ()
    depth: int = 0
    mixing: Mixing | None = None

    def has_arguments(self, args: Args, kwargs: Kwargs) -> bool:
        """Whether these are, tensors aside, the arguments of the surveyed call."""
        return argument_signature((args, kwargs)) == self.arguments

    @cached_property
    def parameters(self) -> tuple[int, ...]:
        """The identities of the network's parameters among the arguments."""
        return tuple(_parameters_in(self.arguments))

    def has_parameters(self, args: Args, kwargs: Kwargs) -> bool:
        """Whether this is the surveyed layer, and not a twin with parameters of its own."""
        tensors = tensors_in(args, kwargs)
        return self.parameters == tuple(
            id(tensor) for tensor in tensors if isinstance(tensor, torch.nn.Parameter)
        )

    def bind(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """The surveyed arguments, with these tensors; ArgumentMismatch if they do not belong."""
        bound: tuple[Args, Kwargs] = _bind((args, kwargs), self.arguments)
        return bound

    @property
    def extracts_values(self) -> bool:
        """Whether it turns tensors of the image into something that is not a tensor."""
        gives_nothing = self.motion is None and not self.shapes
        is_assignment = self.function.__name__ == "__setitem__"
        return gives_nothing and not is_assignment and _contains_tensor(self.arguments)

    @property
    def has_plain_results(self) -> bool:
        """Whether `assemble` can make a result like its own."""
        return bool(self.shapes) and self.form in (torch.Tensor, tuple, list)

    def assemble(self, tensors: Sequence[torch.Tensor]) -> object:
        """A result of the step's form, from one tensor for each of its shapes."""
        return tensors[0] if self.form is torch.Tensor else self.form(tensors)


@dataclass(frozen=True)
class Survey:
    """The program of a network for images of one size, and the layers in it."""

    size: Grid
    steps: tuple[Step, ...]
    layers: tuple[Layer, ...]
    channels_last: bool = True
    has_hidden_calls: bool = False
    """Whether some values come from functions that no handler sees, such as scripted ones."""
    unlisted: tuple[UnlistedLayer, ...] = ()
    batch_test: Callable[["Survey"], bool] = field(default=lambda _: False, repr=False)
    """Runs a batch to find out whether its images are mixed."""

    @cached_property
    def has_attention(self) -> bool:
        """Whether positions attend to each other somewhere, as in a transformer."""
        return has_attention(self.steps)

    @cached_property
    def readers(self) -> tuple[tuple[int, ...], ...]:
        """For each step the numbers of the steps that read its results."""
        readers: list[list[int]] = [[] for _ in self.steps]
        for number, step in enumerate(self.steps):
            for source in step.inputs:
                readers[source].append(number)
        return tuple(map(tuple, readers))

    @cached_property
    def needs_single_images(self) -> bool:
        """Whether the network mixes the images of a batch, so each has to run alone."""
        motions = (step.motion for step in self.steps)
        takes_apart = any(isinstance(motion, Stay | Move) and motion.batch for motion in motions)
        return takes_apart or self.batch_test(self)


def has_attention(steps: Sequence[Step]) -> bool:
    """Whether positions attend to each other in one of these steps."""
    return any(step.mixing is Mixing.ATTENTION for step in steps)


def inplace_target(function: Function, args: Args, kwargs: Kwargs) -> torch.Tensor | None:
    """The tensor that a call changes in place, by its name or its arguments."""
    name = getattr(function, "__name__", "")
    is_in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
    target = kwargs.get("out")
    if is_in_place or kwargs.get("inplace"):
        target = next(iter(positional(args, kwargs)[0]), None)
    return target if isinstance(target, torch.Tensor) else None


def channel_shape(shape: Shape, positions: Positions | None, rank: int) -> Shape:
    """The channels and the size of a batch: of maps, of tokens with their channels last, or of a
    vector, for an input of so many axes.
    """
    if isinstance(positions, TokenAxis):
        return prod(shape) // positions.length, *positions.grid
    if len(shape) == rank + 2:
        return tuple(shape[dim] for dim in _channel_first(positions, rank))
    if _are_all_but_batch(positions, rank):
        return 1, *(shape[axis] for axis in positions)
    if len(shape) > len("btc"):
        return shape[1], *(1,) * (rank + 2 - len(shape)), *shape[2:]
    tokens = shape[1:-1]
    return shape[-1], *tokens, *(1,) * (rank - len(tokens))


def to_channel_maps(output: torch.Tensor, positions: Positions | None, rank: int) -> torch.Tensor:
    """A layer's output as (batch, channels, height, width), for an input of so many axes. Tokens
    without a position are left out.

    The result is a view, unless tokens have several dimensions of channels.
    """
    if isinstance(positions, TokenAxis):
        tokens = tokens_of_grid(output, positions)
        channels = tokens.flatten(1, -2) if tokens.dim() > 2 else tokens[:, None]
        return torch.unflatten(channels, -1, positions.grid)
    if output.dim() == rank + 2:
        return output.permute(0, *_channel_first(positions, rank))
    if _are_all_but_batch(positions, rank):
        return output.permute(0, *positions)[:, None]
    missing = (None,) * (rank + 2 - output.dim())
    if output.dim() > len("btc"):
        return output[(slice(None), slice(None), *missing)]
    return output.movedim(-1, 1)[(..., *missing)]


def _are_all_but_batch(positions: Positions | None, rank: int) -> TypeGuard[Axes]:
    """Whether all dimensions are axes but that of the batch: there is none for channels."""
    return isinstance(positions, tuple) and sorted(positions) == list(range(1, rank + 1))


def tokens_of_grid(output: torch.Tensor, axis: TokenAxis) -> torch.Tensor:
    """A view of the tokens that have a position, which are moved to the last dimension."""
    return output.narrow(axis.dim, axis.start, prod(axis.grid)).movedim(axis.dim, -1)


def _channel_first(positions: Positions | None, rank: int) -> tuple[int, ...]:
    """The dimensions of the channels and of the axes in a tensor with one for each."""
    axes = tuple(range(2, rank + 2))
    if isinstance(positions, tuple) and 0 not in positions:  # there it is a single position
        axes = positions
    channel = next(dim for dim in range(1, rank + 2) if dim not in axes)
    return channel, *axes
