"""Where the results of products are, as of attention: at the position of a row or a column.

In a product of two tensors of the image, a result is at the position of its query.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from retroscope.engine.call_arguments import positional, tensors_in
from retroscope.engine.labelled_call import LabelledCall, LabelledResult, renumber
from retroscope.engine.motion import Motion, Move


def multiply_matrices(at: LabelledCall) -> LabelledResult | None:
    """A row of the result is where the row of the first matrix is; else columns are the second's.

    Weights that are products of queries and keys stand for pairs, and are those of the queries.
    """
    (first, *rest), options = positional(at.call.args, at.call.kwargs)
    second = next(tensors_in(rest, options), None)
    if second is None or min(first.dim(), second.dim(), len(at.shape)) < 2:
        return None
    return _multiply(at, first, second)


def _multiply(at: LabelledCall, first: Tensor, second: Tensor) -> LabelledResult | None:
    rows, columns = at.labels_of(first), at.labels_of(second)
    mixes = {id(first), id(second)} <= at.of_image
    if rows is not None and first.dim() - 1 not in rows.varying:
        is_pairs = columns is not None and second.dim() - 1 in columns.varying
        numbers = rows.numbers[..., :1].expand(at.shape)
        weights = _weights(at, first, of=second)
        return LabelledResult(
            [numbers], rows.grid, mixes, attends=mixes, is_pairs=is_pairs, weights=weights
        )
    if columns is not None and second.dim() - 2 not in columns.varying:
        numbers = columns.numbers[..., :1, :].expand(at.shape)
        is_pairs, weights = columns.is_pairs and not mixes, _weights(at, second, of=first)
        return LabelledResult(
            [numbers], columns.grid, mixes, attends=mixes, is_pairs=is_pairs, weights=weights
        )
    return None


def _weights(at: LabelledCall, tensor: Tensor, *, of: Tensor) -> frozenset[int]:
    """The tensor, if it weighs values at the same positions."""
    own, others = at.labels_of(tensor), at.labels_of(of)
    is_common = own is not None and others is not None and own.grid == others.grid
    return frozenset({id(tensor)}) if is_common and tensor is not of else frozenset()


def attend(at: LabelledCall) -> LabelledResult | None:
    """`softmax(q k^T) v`: the product of weights, whose rows are the queries', and values."""
    query, key, value = list(tensors_in(at.call.args, at.call.kwargs))[:3]
    result = _multiply(at, query, value)
    if result is None:
        return None
    weights = result.weights | _weights(at, key, of=value)
    return LabelledResult(result.numbers, result.grid, mixes=True, attends=True, weights=weights)


def attend_with_heads(at: LabelledCall) -> LabelledResult | None:
    """`multi_head_attention_forward`, tokens in the first dimension: at the query's position."""
    query = next(at.call.tensors())
    labels = at.labels_of(query)
    if labels is None or query.dim() - 1 in labels.varying or at.shape != tuple(query.shape):
        return None
    rest: list[Tensor | None] = [None] * (len(at.outputs) - 1)
    return LabelledResult([labels.numbers, *rest], labels.grid, mixes=True, attends=True)


def contract(at: LabelledCall) -> LabelledResult | None:
    """`einsum` of one or two tensors: the first one whose positions are all in the result."""
    arguments: tuple[Any, ...] = at.call.args
    equation, *operands = arguments
    operands = list(operands[0]) if isinstance(operands[0], list | tuple) else operands
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow or "." in equation or len(terms) != len(operands) or _repeats(output, terms):
        return None
    mixes = sum(id(operand) in at.of_image for operand in operands) > 1
    for term, operand in zip(terms, operands, strict=True):
        labels = at.labels_of(operand)
        if labels is None or any(term[dim] not in output for dim in labels.varying):
            continue
        motions: dict[int, Motion] = {
            dim: Move((output.index(term[dim]),)) for dim in labels.varying
        }
        numbers = renumber(labels, motions, at.shape)
        own = {term[dim] for dim in labels.varying}
        others = _letters_of_positions(at, terms, operands) & set(output) - own
        is_pairs = bool(others) or (labels.is_pairs and not mixes)
        if numbers is None:
            return None
        numbers = numbers.expand(at.shape)
        return LabelledResult([numbers], labels.grid, mixes, attends=mixes, is_pairs=is_pairs)
    return None


def _repeats(output: str, terms: Sequence[str]) -> bool:
    return any(len(set(letters)) != len(letters) for letters in (output, *terms))


def _letters_of_positions(
    at: LabelledCall, terms: Sequence[str], operands: Sequence[Tensor]
) -> set[str]:
    """The letters along which any of the tensors has positions."""
    letters = set[str]()
    for term, operand in zip(terms, operands, strict=True):
        labels = at.labels_of(operand)
        letters |= set() if labels is None else {term[dim] for dim in labels.varying}
    return letters
