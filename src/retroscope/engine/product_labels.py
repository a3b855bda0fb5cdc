"""Where the results of products are, as of attention: at the position of a row or a column.

In a product of two tensors of the image, a result is at the position of its query. Positions read
each other if the sum runs over them. Windows of a map that are stacked in the dimension of the
batch do not:

    query   (windows, heads, tokens, features)     all that meet in a sum
    key     (windows, heads, tokens, features)     are of one window
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from retroscope.engine.call_arguments import positional, tensors_in
from retroscope.engine.labelled_call import LabelledCall, LabelledResult, renumber
from retroscope.engine.motion import Motion, Move
from retroscope.engine.position_labels import PositionLabels


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
    attends = {id(first), id(second)} <= at.of_image
    mixes = attends and not _is_by_position(rows, columns)
    if rows is not None and first.dim() - 1 not in rows.varying:
        is_pairs = columns is not None and second.dim() - 1 in columns.varying
        numbers = rows.numbers[..., :1].expand(at.shape)
        weights = _weights(at, first, of=second)
        return LabelledResult(
            [numbers], rows.grid, mixes, attends=attends, is_pairs=is_pairs, weights=weights
        )
    if columns is not None and second.dim() - 2 not in columns.varying:
        numbers = columns.numbers[..., :1, :].expand(at.shape)
        is_pairs, weights = columns.is_pairs and not attends, _weights(at, second, of=first)
        return LabelledResult(
            [numbers], columns.grid, mixes, attends=attends, is_pairs=is_pairs, weights=weights
        )
    return None


def _is_by_position(rows: PositionLabels | None, columns: PositionLabels | None) -> bool:
    """Whether all that is summed up in a product of matrices is at one position."""
    if rows is None or columns is None or rows.grid != columns.grid:
        return False
    summed = rows.numbers.dim() - 1 in rows.varying or columns.numbers.dim() - 2 in columns.varying
    return not summed and _are_equal(rows.distinct, columns.distinct)


def _are_equal(numbers: Tensor, others: Tensor) -> bool:
    """Whether numbers with length 1 where all are equal are the same, as they broadcast."""
    lengths = zip(reversed(numbers.shape), reversed(others.shape), strict=False)
    is_broadcast = all(1 in pair or pair[0] == pair[1] for pair in lengths)
    return is_broadcast and bool((numbers == others).all())


def _weights(at: LabelledCall, tensor: Tensor, *, of: Tensor) -> frozenset[int]:
    """The tensor, if it weighs values at the same positions."""
    own, others = at.labels_of(tensor), at.labels_of(of)
    is_common = own is not None and others is not None and own.grid == others.grid
    return frozenset({id(tensor)}) if is_common and tensor is not of else frozenset()


def attend(at: LabelledCall) -> LabelledResult | None:
    """`softmax(q k^T) v`: the product of weights, whose rows are the queries', and values."""
    query, key, value, mask = _attention_tensors(*at.call.args, **at.call.kwargs)
    result = _multiply(at, query, value)
    if result is None:
        return None
    is_masked = mask is not None and id(mask) in at.of_image
    in_place = _is_by_position(at.labels_of(query), at.labels_of(key)) and not is_masked
    weights = result.weights | _weights(at, key, of=value)
    return LabelledResult(
        result.numbers, result.grid, result.mixes or not in_place, attends=True, weights=weights
    )


def _attention_tensors(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Those of `scaled_dot_product_attention`, by position or by name."""
    return query, key, value, attn_mask


def attend_with_heads(at: LabelledCall) -> LabelledResult | None:
    """`multi_head_attention_forward`, tokens in the first dimension: at the query's position."""
    query, key, value, *others = at.call.tensors()
    labels = at.labels_of(query)
    if labels is None or query.dim() - 1 in labels.varying or at.shape != tuple(query.shape):
        return None
    rest: list[Tensor | None] = [None] * (len(at.outputs) - 1)
    is_masked = any(id(other) in at.of_image for other in others)
    reads_others = not all(
        _reads_one_position(labels, at.labels_of(tensor)) for tensor in (key, value)
    )
    mixes = is_masked or reads_others
    return LabelledResult([labels.numbers, *rest], labels.grid, mixes, attends=True)


def _reads_one_position(labels: PositionLabels, others: PositionLabels | None) -> bool:
    """Whether all tokens of a sequence, in the first dimension, are at the position of a query."""
    if others is None or others.grid != labels.grid or 0 in (*labels.varying, *others.varying):
        return False
    return _are_equal(labels.distinct, others.distinct)


def contract(at: LabelledCall) -> LabelledResult | None:
    """`einsum` of one or two tensors: the first one whose positions are all in the result."""
    arguments: tuple[Any, ...] = at.call.args
    equation, *operands = arguments
    operands = list(operands[0]) if isinstance(operands[0], list | tuple) else operands
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow or "." in equation or len(terms) != len(operands) or _repeats(output, terms):
        return None
    attends = sum(id(operand) in at.of_image for operand in operands) > 1
    numbers_of = [
        _numbers_in(at, operand, term, output)
        for term, operand in zip(terms, operands, strict=True)
    ]
    mixes = attends and not _is_common(at, operands, numbers_of)
    for term, operand, numbers in zip(terms, operands, numbers_of, strict=True):
        labels = at.labels_of(operand)
        if labels is None or numbers is None:
            continue
        own = {term[dim] for dim in labels.varying}
        others = _letters_of_positions(at, terms, operands) & set(output) - own
        return LabelledResult(
            [numbers.expand(at.shape)],
            labels.grid,
            mixes,
            attends=attends,
            is_pairs=bool(others) or (labels.is_pairs and not attends),
        )
    return None


def _numbers_in(at: LabelledCall, operand: Tensor, term: str, output: str) -> Tensor | None:
    """The numbers of an operand of `einsum` along the dimensions of the result; None if positions
    are among what is summed up.
    """
    labels = at.labels_of(operand)
    if labels is None or any(term[dim] not in output for dim in labels.varying):
        return None
    motions: dict[int, Motion] = {dim: Move((output.index(term[dim]),)) for dim in labels.varying}
    return renumber(labels, motions, at.shape)


def _is_common(
    at: LabelledCall, operands: Sequence[Tensor], numbers_of: Sequence[Tensor | None]
) -> bool:
    """Whether all tensors of the image meet position by position."""
    grids = {labels.grid for operand in operands if (labels := at.labels_of(operand))}
    first, *rest = [
        numbers
        for operand, numbers in zip(operands, numbers_of, strict=True)
        if id(operand) in at.of_image
    ]
    return (
        len(grids) == 1
        and first is not None
        and all(numbers is not None and _are_equal(first, numbers) for numbers in rest)
    )


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
