"""What an example call may be given: the second operand is rarely a map that lies the same way."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.laws.drafting import Draft

Arguments = dict[str, Any]
"""By name, in the order of torch's parameters; those under "*" are by position."""
Example = Callable[[Draft], Arguments]


def operand_for(draft: Draft, x: Tensor) -> Any:
    """Something that can meet this tensor element by element."""
    return draft.choice(*_OPERANDS)(draft, x)


def _number(draft: Draft, _x: Tensor) -> float:
    return draft.number(0.5, 2)


def _constant(draft: Draft, x: Tensor) -> Tensor:
    """Broadcast along some of the dimensions, and often of a lower rank."""
    shape = [length if draft.chance() else 1 for length in x.shape]
    return draft.constant(*shape[draft.whole(0, len(shape)) :])


def constant_of_the_pass(draft: Draft, x: Tensor) -> Tensor:
    return draft.from_tensor(draft.call(torch.clone, _constant(draft, x)))


def same_shape(draft: Draft, x: Tensor) -> Tensor:
    """Another value of the same size, whatever it is."""
    same = [y for y in draft.values if y.is_floating_point() and y.shape == x.shape]
    return draft.pick(same)


def _lower_rank(draft: Draft, x: Tensor) -> Tensor:
    return draft.from_tensor(draft.call(torch.Tensor.__getitem__, same_shape(draft, x), 0))


def gate(draft: Draft, x: Tensor) -> Tensor:
    dims = tuple(draft.sample(range(x.dim()), draft.whole(1, x.dim())))
    return draft.from_tensor(draft.call(torch.mean, x, dims, keepdim=True))


def _expanded_gate(draft: Draft, x: Tensor) -> Tensor:
    gate = draft.call(torch.mean, x, tuple(range(2, x.dim())), keepdim=True)
    sizes = x.shape if draft.chance() else (-1, -1, *x.shape[2:])
    return draft.from_tensor(draft.call(torch.Tensor.expand, gate, *sizes))


def _weights_of_positions(draft: Draft, x: Tensor) -> Tensor:
    soft = draft.call(torch.softmax, draft.call(torch.flatten, x, 1), 1)
    return draft.from_tensor(draft.call(torch.Tensor.view_as, soft, x))


def _turned(draft: Draft, x: Tensor) -> Tensor:
    """The same map the other way round, where that has the same size."""
    first, second = draft.pick(
        [(i, j) for i in range(x.dim()) for j in range(x.dim()) if x.shape[i] == x.shape[j]]
    )
    return draft.from_tensor(draft.call(torch.transpose, x, first, second))


def _rolled(draft: Draft, x: Tensor) -> Tensor:
    return draft.from_tensor(draft.call(torch.roll, x, draft.whole(1, 3), draft.dim(x)))


def _shifted(draft: Draft, x: Tensor) -> Tensor:
    """A map whose windows start elsewhere."""
    down, right = draft.whole(-2, 2), draft.whole(-2, 2)
    return draft.from_tensor(draft.call(F.pad, x, (right, -right, down, -down)))


def _strip(draft: Draft, x: Tensor) -> Tensor:
    """One row, column or channel of the map, as long as before along the others."""
    dim = draft.below(x.dim())
    at = draft.below(x.shape[dim])
    key = (*[slice(None)] * dim, slice(at, at + 1))
    return draft.from_tensor(draft.call(torch.Tensor.__getitem__, x, key))


_OPERANDS: list[Callable[[Draft, Tensor], Any]] = [
    _number, _constant, _constant, constant_of_the_pass, same_shape, same_shape, same_shape,
    _lower_rank, gate, gate, _expanded_gate, _weights_of_positions, _turned, _rolled, _shifted,
    _shifted, _strip, lambda _draft, x: x,
]  # fmt: skip


def either_way(draft: Draft) -> tuple[Any, Any]:
    """A tensor of the image and its operand, in either order."""
    x = draft.tensor()
    operand = operand_for(draft, x)
    return (operand, x) if draft.chance(0.4) else (x, operand)


def tensor_operand(draft: Draft, x: Tensor) -> Tensor:
    operand = operand_for(draft, x)
    if not isinstance(operand, Tensor):
        raise TypeError("a number does for a tensor only elsewhere")
    return operand


def mask_for(draft: Draft, x: Tensor) -> Tensor:
    operand = operand_for(draft, x)
    if draft.chance(0.3) and isinstance(operand, Tensor):
        return draft.from_tensor(draft.call(torch.gt, operand, 0))
    return _constant(draft, x) > 0


def alone(draft: Draft) -> Arguments:
    return {"input": draft.tensor()}
