"""Tokens of transformers: how many have no position, and which part of the image each is of."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from time import monotonic
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from tools.coverage.answer_checks import MOST_EXTRA_TOKENS, as_maps
from tools.coverage.field_checks import spread
from tools.coverage.report import Report
from tools.coverage.rules_by_patching import mended_batch_norm
from tools.coverage.subject import Subject, run_plainly
from torch import Tensor

from retroscope.geometry import Field
from retroscope.results.layers import Layer

SAMPLED_LAYERS = 6


def check_tokens(subject: Subject, report: Report) -> None:
    """Tokens are counted as the modules return them, and lie where their patch is."""
    by_path = subject.layers_of_modules()
    listed = {path: layer for path, layer in by_path.items() if _lists_tokens(subject, path)}
    grids = {path: layer for path, layer in listed.items() if layer.size[-1] > 1}
    report.facts["token_layers"] = len(grids)
    report.facts["token_layers_without_a_grid"] = len(listed) - len(grids)
    report.facts["extra_tokens"] = max((layer.extra_tokens for layer in grids.values()), default=0)
    for path, layer in grids.items():
        _compare_count(subject, report, layer, path=path)
    if _has_attention(subject):
        _compare_places(subject, report)


def _has_attention(subject: Subject) -> bool:
    return any(layer.kind in {"attention", "softmax"} for layer in subject.net.layers)


def _lists_tokens(subject: Subject, path: str) -> bool:
    """Whether a module returns (1, tokens, channels)."""
    output = subject.plain.output(path)
    return output is not None and output.dim() == 3 and len(output) == 1 and output.shape[1] > 1


def _compare_count(subject: Subject, report: Report, layer: Layer, *, path: str) -> None:
    """All tokens are either of the grid or extra; the grid of a block is that of the patches."""
    output = subject.plain.output(path)
    assert output is not None
    tokens, grid = output.shape[1], prod(layer.size)
    if layer.channels != output.shape[2] or tokens != grid + layer.extra_tokens:
        report.answer_is_wrong(
            f"tokens: {layer.name} has {layer.size} and {layer.extra_tokens} more, of {tokens}"
        )
    declared = getattr(getattr(subject.module, "patch_embed", None), "grid_size", None)
    if declared is None or not 0 <= tokens - prod(declared) <= MOST_EXTRA_TOKENS:
        return
    if path.startswith("blocks.") and layer.size != tuple(declared):
        report.answer_is_wrong(f"tokens: {layer.name} has {layer.size} positions, not {declared}")


def _compare_places(subject: Subject, report: Report) -> None:
    """Where every token attends to itself alone, it depends on the pixels around its place only."""
    deadline = monotonic() + subject.seconds
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(mended_batch_norm())
        stack.enter_context(attention_to_oneself())
        pixels = subject.image.clone().requires_grad_()
        run = run_plainly(subject.module, subject.in_survey_layout(pixels))
    placed = [
        (path, layer)
        for path, layer in subject.layers_of_modules().items()
        if layer.field.whole and layer.field.y.stride > 0 and min(layer.size) > 1
    ]
    for path, layer in spread(placed, SAMPLED_LAYERS):
        output = run.output(path)
        maps = None if output is None else as_maps(output, layer)
        if maps is None or not maps.requires_grad:
            continue
        for position in _places(layer):
            if monotonic() > deadline:
                return
            (slope,) = torch.autograd.grad(
                maps.movedim(0, -1)[position].sum(),
                pixels,
                retain_graph=True,
                materialize_grads=True,
            )
            _compare_place(report, layer, position=position, strength=slope.abs().amax(0))


def _places(layer: Layer) -> Iterator[tuple[int, ...]]:
    """Two positions that differ along all axes."""
    *lengths, width = layer.size
    middle = *(length // 2 for length in lengths), width - 1
    yield from dict.fromkeys((middle, (*(0 for _ in lengths), width // 2)))


def _compare_place(
    report: Report, layer: Layer, *, position: tuple[int, ...], strength: Tensor
) -> None:
    """A token is in the middle of the pixels that reach it, if not all pixels do.

    Not where the border of the image may cut them.
    """
    is_seen = strength > 1e-9 * strength.max()
    by_axis = [is_seen.movedim(axis, 0).flatten(1).any(1) for axis in range(is_seen.dim())]
    if all(bool(pixels.all()) for pixels in by_axis) or not is_seen.any():
        report.add("token_places_whole")
        return
    report.add("token_places")
    axes = zip(position, layer.field.axes(is_seen.dim()), by_axis, strict=True)
    if not all(_is_in_the_middle(*axis, layer=layer) for axis in axes):
        place = ",".join(map(str, position))
        pixels = ", ".join(
            f"{int(seen.nonzero().min())}-{int(seen.nonzero().max())}" for seen in by_axis
        )
        report.answer_is_wrong(f"tokens: {layer.name}@{place} is of the pixels {pixels}")


def _is_in_the_middle(index: int, field: Field, is_seen: Tensor, *, layer: Layer) -> bool:
    """Whether a unit's field is around the middle of the pixels that reach it along an axis.

    Rectifiers may hide some of these pixels. Where places are approximate, they are so to a stride.
    """
    pixels, (start, stop) = is_seen.nonzero(), field.at(index)
    first, last = int(pixels.min()), int(pixels.max())
    if first == 0 or last == len(is_seen) - 1:
        return first < (start + stop + 1) / 2 and (start + stop - 3) / 2 < last
    slack = float(field.stride) * (1 if layer.note else 1 / 4)
    return abs((first + last) - (start + stop - 1)) / 2 <= max(slack, 1)


@contextmanager
def attention_to_oneself() -> Iterator[None]:
    """Inside, the weights of attention are 1 for a token itself and 0 for all others.

    Attention between lists of different lengths, as of a class token to patches, stays as it is.
    """
    with ExitStack() as stack:
        attend = F.scaled_dot_product_attention
        stack.enter_context(patch.object(F, "scaled_dot_product_attention", _to_oneself(attend)))
        for home in (F, torch, Tensor):
            softmax = home.softmax
            stack.enter_context(patch.object(home, "softmax", _identity(softmax)))
        yield


def _to_oneself(attend: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        is_among_themselves = query.shape[-2] == value.shape[-2]
        return value if is_among_themselves else attend(query, key, value, *args, **kwargs)

    return call


def _identity(softmax: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(scores: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if scores.dim() < 3 or scores.shape[-1] != scores.shape[-2]:
            return softmax(scores, *args, **kwargs)
        return torch.eye(scores.shape[-1], dtype=scores.dtype).expand(scores.shape)

    return call
