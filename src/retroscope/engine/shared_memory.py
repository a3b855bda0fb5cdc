"""Writing to a part of a tensor, through a view: what its base then holds."""

from dataclasses import replace

import torch

from retroscope.engine.axis_fields import through
from retroscope.engine.field_flow import (
    TensorField,
    common_fields,
    places_of_windows,
    unknown_places,
)
from retroscope.engine.motion import Axes, Grid, Slide
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
    starts, lengths = _starts(view, base), tuple(view.shape[axis] for axis in written.axes)
    full = tuple(base.shape[axis] for axis in axes)
    windows = tuple(
        Window(1, 1, starts[axis], whole - length - starts[axis])
        for axis, length, whole in zip(axes, lengths, full, strict=True)
    )
    moved = replace(
        written,
        fields=tuple(map(through, written.fields, windows, lengths)),
        axes=axes,
        uniform=False,
        places=written.places and places_of_windows(written.places, Slide(windows), lengths),
    )
    return moved if before is None else _union(moved, before, full)


def _union(field: TensorField, other: TensorField, lengths: Grid) -> TensorField:
    """What either sees; of positions that may be those of either it is not known where they are."""
    has_places = field.places is not None or other.places is not None
    return replace(
        field,
        fields=common_fields([field.fields, other.fields], lengths),
        global_context=field.global_context or other.global_context,
        note=field.note or other.note,
        places=unknown_places(lengths) if has_places else None,
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
