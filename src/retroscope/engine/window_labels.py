"""Where the windows are that `F.unfold` lists, and the map that `F.fold` adds up."""

from math import prod

import torch
import torch.nn.functional as F

from retroscope.engine.call_arguments import positional
from retroscope.engine.call_motions import PerAxis, per_axis
from retroscope.engine.labelled_call import LabelledCall, LabelledResult
from retroscope.engine.motion import Resample, Slide, output_lengths
from retroscope.engine.position_labels import PositionLabels
from retroscope.engine.resample_motions import windows_at
from retroscope.geometry import Window


def list_windows(at: LabelledCall) -> LabelledResult | None:
    """`F.unfold` lists windows row by row; `F.fold` adds them up where they lie in a map."""
    source = next(at.call.tensors())
    labels = at.labels_of(source)
    (_, *rest), options = positional(at.call.args, at.call.kwargs)
    if labels is None:
        return None
    if at.call.function is F.unfold:
        return _windows_of_map(at, labels, _windows(*rest, **options))
    named = {name: value for name, value in options.items() if name != "output_size"}
    return _map_of_windows(at, labels, _windows(*rest[1:], **named))


def _windows_of_map(
    at: LabelledCall, labels: PositionLabels, windows: tuple[Window, ...]
) -> LabelledResult | None:
    """What is inside a window goes to the channels, in front of the list."""
    rank, source = labels.numbers.dim(), next(at.call.tensors())
    grid = output_lengths(Slide(windows), source.shape[-2:])
    if labels.axes() != (rank - 2, rank - 1) or prod(grid) != at.shape[-1]:
        return None
    numbers = torch.arange(prod(grid), dtype=torch.int32, device="cpu").expand(at.shape)
    return LabelledResult([numbers], grid, cuts=True, reads={id(source): Slide(windows)})


def _map_of_windows(
    at: LabelledCall, labels: PositionLabels, windows: tuple[Window, ...]
) -> LabelledResult | None:
    tokens, rank, source = labels.token_axis(), len(at.shape), next(at.call.tensors())
    grid = output_lengths(Slide(windows), at.shape[-2:])
    if tokens is None or tokens.extra or (tokens.dim, tokens.grid) != (rank - 2, grid):
        return None
    of_map = PositionLabels.of_map((rank - 2, rank - 1), at.shape)
    reads = Resample(tuple(map(windows_at, windows, at.shape[-2:])))
    return LabelledResult([of_map.numbers], of_map.grid, reads={id(source): reads})


def _windows(
    kernel_size: PerAxis, dilation: PerAxis = 1, padding: PerAxis = 0, stride: PerAxis = 1
) -> tuple[Window, ...]:
    """The windows along y and x, as F.unfold takes them."""
    numbers = (per_axis(value, 2) for value in (kernel_size, stride, padding, dilation))
    return tuple(
        Window(kernel, step, pad, pad, gap) for kernel, step, pad, gap in zip(*numbers, strict=True)
    )
