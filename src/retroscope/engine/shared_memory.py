"""Writing to a part of a tensor, through a view: what its base then holds."""

from dataclasses import replace

import torch

from retroscope.engine.axis_fields import AxisField, through, union
from retroscope.engine.field_flow import TensorField
from retroscope.engine.motion import Axes
from retroscope.geometry import Window


def field_of_base(
    written: TensorField, view: torch.Tensor, base: torch.Tensor, before: TensorField | None
) -> TensorField | None:
    """The field of a base after a write to its view; None if it cannot be told.

    `written` is the field of what was written, `before` that of the base, if it had one. A copy
    into rows 2 to 5 moves the fields by two rows:

        base     row  0  1  2  3  4  5  6
        written       .  .  0  1  2  3  .    the others keep their values
    """
    if written.axes is None:
        return None
    axes = base_axes(view, base, written.axes)
    if axes is None or (before is not None and before.axes != axes):
        return None
    fields: list[AxisField] = []
    for which, (view_axis, base_axis) in enumerate(zip(written.axes, axes, strict=True)):
        length, full = view.shape[view_axis], base.shape[base_axis]
        start = _starts(view, base)[base_axis]
        window = Window(1, 1, start, full - length - start)
        moved = through(written.fields[which], window, length)
        both = [moved] if before is None else [moved, before.fields[which]]
        fields.append(union(both, full))
    before_context = before is not None and before.global_context
    note = written.note or (before.note if before is not None else "")
    return replace(
        written,
        fields=tuple(fields),
        axes=axes,
        global_context=written.global_context or before_context,
        note=note,
        uniform=False,
    )


def base_axes(view: torch.Tensor, base: torch.Tensor, axes: Axes) -> Axes | None:
    """The dimensions of the base along which those of a view run, position by position."""
    dims = [
        [dim for dim in range(base.dim()) if _runs_along(view, axis, base, dim)] for axis in axes
    ]
    if any(len(candidates) != 1 for candidates in dims):
        return None
    chosen = tuple(candidates[0] for candidates in dims)
    return chosen if len(set(chosen)) == len(axes) else None


def _runs_along(view: torch.Tensor, axis: int, base: torch.Tensor, dim: int) -> bool:
    size, stride = base.shape[dim], base.stride(dim)
    return size > 1 and stride == view.stride(axis) and 1 < view.shape[axis] <= size


def _starts(view: torch.Tensor, base: torch.Tensor) -> dict[int, int]:
    """Where a view begins along each dimension of its base."""
    offset = int(view.storage_offset() - base.storage_offset())
    starts: dict[int, int] = {}
    for dim in sorted(range(base.dim()), key=base.stride, reverse=True):
        is_step = base.shape[dim] > 1 and base.stride(dim) > 0
        starts[dim] = int(offset // base.stride(dim)) if is_step else 0
        offset -= starts[dim] * base.stride(dim)
    return starts


def twin_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """The tensor that this one is under a new name, as autograd returns a function's input."""
    base = tensor._base
    if base is None or (base.shape, base.stride()) != (tensor.shape, tensor.stride()):
        return None
    return base if base.storage_offset() == tensor.storage_offset() else None


def is_from_numpy(tensor: torch.Tensor) -> bool:
    """Whether its memory is an array's, whose values can only come from a tensor by a leak."""
    return not tensor.untyped_storage().resizable()
