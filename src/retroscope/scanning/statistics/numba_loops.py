"""The inner loops of a sweep, compiled by numba when this module is imported.

Each does what a few lines of torch do elsewhere, with the same result, in one pass over its data.
"""

from functools import cache
from typing import Any

import numba
import numpy as np
from numba import prange

from retroscope.scanning.statistics.compile_loop import (
    DOUBLE,
    INTEGER,
    OPTIONS,
    SHORT,
    SINGLE,
    Array,
    Loop,
    compile_loop,
    table,
)

_BLOCK, _ROWS_PER_SUM, _CACHE_LINE = 1024, 64, 64
"""How many channels are reduced side by side, how many float32 values are added to a partial sum
before it goes into one of float64, and the bytes that a processor reads at once."""


def _in_single_precision(value: Any) -> Any:
    """A float32 as it is, or a bfloat16, given as uint16, as float32.

    The compiled loops run the overload below.
    """
    if value.dtype == np.float32:
        return value
    return np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)


@numba.extending.overload(_in_single_precision, inline="always")  # type: ignore[untyped-decorator]
def _compile_in_single_precision(value: Any) -> Loop:
    def keep(value: Any) -> Any:
        return value

    def widen(value: Any) -> Any:
        return np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)

    return keep if value == SINGLE else widen


@numba.njit(inline="always", **OPTIONS)  # type: ignore[untyped-decorator]
def _reduce_row(
    row: Array,
    place: np.int32,
    highest: Array,
    lowest: Array,
    peak: Array,
    trough: Array,
    fired: Array,
    total: Array,
    squares: Array,
) -> None:
    for channel in range(len(row)):
        value = _in_single_precision(row[channel])
        total[channel] += value
        squares[channel] += value * value
        fired[channel] += np.int32(value > 0)
        peak[channel] = place if value > highest[channel] else peak[channel]
        highest[channel] = value if value > highest[channel] else highest[channel]
        trough[channel] = place if value < lowest[channel] else trough[channel]
        lowest[channel] = value if value < lowest[channel] else lowest[channel]


@numba.njit(inline="always", **OPTIONS)  # type: ignore[untyped-decorator]
def _reduce_four_rows(
    row0: Array,
    row1: Array,
    row2: Array,
    row3: Array,
    position: np.int32,
    highest: Array,
    lowest: Array,
    peak: Array,
    trough: Array,
    fired: Array,
    total: Array,
    squares: Array,
) -> None:
    """Reduces four rows at once, so that the buffers are read and written a quarter as often."""
    place0, place1 = np.int32(position), np.int32(position + 1)
    place2, place3 = np.int32(position + 2), np.int32(position + 3)
    for channel in range(len(row0)):
        value0 = _in_single_precision(row0[channel])
        value1 = _in_single_precision(row1[channel])
        value2 = _in_single_precision(row2[channel])
        value3 = _in_single_precision(row3[channel])
        total[channel] += (value0 + value1) + (value2 + value3)
        first_squares = value0 * value0 + value1 * value1
        squares[channel] += first_squares + (value2 * value2 + value3 * value3)
        first_fired = np.int32(value0 > 0) + np.int32(value1 > 0)
        fired[channel] += first_fired + (np.int32(value2 > 0) + np.int32(value3 > 0))
        place = place1 if value1 > value0 else place0
        value = value1 if value1 > value0 else value0
        later_place = place3 if value3 > value2 else place2
        later = value3 if value3 > value2 else value2
        place = later_place if later > value else place
        value = later if later > value else value
        peak[channel] = place if value > highest[channel] else peak[channel]
        highest[channel] = value if value > highest[channel] else highest[channel]
        place = place1 if value1 < value0 else place0
        value = value1 if value1 < value0 else value0
        later_place = place3 if value3 < value2 else place2
        later = value3 if value3 < value2 else value2
        place = later_place if later < value else place
        value = later if later < value else value
        trough[channel] = place if value < lowest[channel] else trough[channel]
        lowest[channel] = value if value < lowest[channel] else lowest[channel]


def _reduce_rows(
    rows: Array,
    maximum: Array,
    minimum: Array,
    total: Array,
    squares: Array,
    fired_positions: Array,
    peaks: Array,
    troughs: Array,
    sizes: Array,
    first_column: int,
) -> bool:
    """Reduces rows (images, positions, channels) into columns of tables (images, all channels).

    It says whether the sums of squares are finite. It is written so that the compiler vectorises
    the innermost loops: with functions for the higher of two values, or with buffers that outlive
    a block, it takes half as long again or more.
    """
    images, positions, channels = rows.shape
    line = _CACHE_LINE // rows.itemsize
    are_finite = np.empty(images, np.bool_)
    sizes[first_column : first_column + channels] = positions
    for image in prange(images):
        is_finite = True
        for first in range(0, channels, _BLOCK):
            width = min(_BLOCK, channels - first)
            block = slice(first, first + width)
            highest = np.full(width, -np.inf, np.float32)
            lowest = np.full(width, np.inf, np.float32)
            fired = np.zeros(width, np.int32)
            peak, trough = np.zeros(width, np.int32), np.zeros(width, np.int32)
            sums, square_sums = np.zeros(width), np.zeros(width)
            fetched = np.float32(0)
            for start in range(0, positions, _ROWS_PER_SUM):
                part, part_squares = np.zeros(width, np.float32), np.zeros(width, np.float32)
                stop = min(positions, start + _ROWS_PER_SUM)
                for position in range(start, stop - 3, 4):
                    row0, row1 = rows[image, position, block], rows[image, position + 1, block]
                    row2, row3 = rows[image, position + 2, block], rows[image, position + 3, block]
                    for row in (row0, row1, row2, row3):  # memory is fastest when read in order
                        for channel in range(0, width, line):
                            fetched += _in_single_precision(row[channel])
                    _reduce_four_rows(
                        row0,
                        row1,
                        row2,
                        row3,
                        np.int32(position),
                        highest,
                        lowest,
                        peak,
                        trough,
                        fired,
                        part,
                        part_squares,
                    )
                for position in range(stop - (stop - start) % 4, stop):
                    row, place0 = rows[image, position, block], np.int32(position)
                    _reduce_row(
                        row, place0, highest, lowest, peak, trough, fired, part, part_squares
                    )
                sums += part
                square_sums += part_squares
            # with `fetched`, or the compiler would leave out what it is for
            is_finite = is_finite and bool(np.isfinite(square_sums.sum() + fetched))
            columns = slice(first_column + first, first_column + first + width)
            maximum[image, columns], minimum[image, columns] = highest, lowest
            total[image, columns], squares[image, columns] = sums, square_sums
            fired_positions[image, columns] = fired
            peaks[image, columns], troughs[image, columns] = peak, trough
        are_finite[image] = is_finite
    return bool(are_finite.all())


def _compile_reduction(kind: Any) -> Loop:
    return compile_loop(
        table(kind, 3, readonly=True),
        *map(table, (SINGLE, SINGLE, DOUBLE, DOUBLE, SHORT, SHORT, SHORT)),
        *(table(INTEGER, 1), INTEGER),
        result=numba.boolean,
        parallel=True,
    )(_reduce_rows)


reduce_rows = _compile_reduction(SINGLE)


@cache
def bfloat16_reduction() -> Loop:
    """`reduce_rows` for rows of bfloat16, given as uint16; compiled where it is needed."""
    return _compile_reduction(numba.uint16)


@compile_loop(
    *(table(INTEGER, 1), table(SHORT)),
    *(2 * [table(DOUBLE), table(INTEGER), table(INTEGER)]),
    first_types=[table(kind) for kind in (SINGLE, DOUBLE)],
    parallel=True,
)
def insert_scores(
    scores: Array,
    images: Array,
    positions: Array,
    before: Array,
    images_before: Array,
    positions_before: Array,
    best: Array,
    best_images: Array,
    best_positions: Array,
) -> None:
    """Rankings (channels, ranks) with scores and positions (images, channels) inserted."""
    channels, ranks = best.shape
    for channel in prange(channels):
        for rank in range(ranks):
            best[channel, rank] = before[channel, rank]
            best_images[channel, rank] = images_before[channel, rank]
            best_positions[channel, rank] = positions_before[channel, rank]
        for row in range(len(images)):
            image, score = images[row], np.float64(scores[row, channel])
            if score < best[channel, ranks - 1] or score == -np.inf:
                continue
            rank = ranks
            while rank > 0 and (
                score > best[channel, rank - 1]
                or (score == best[channel, rank - 1] and image < best_images[channel, rank - 1])
            ):
                rank -= 1
            if rank == ranks:
                continue
            for lower in range(ranks - 1, rank, -1):
                best[channel, lower] = best[channel, lower - 1]
                best_images[channel, lower] = best_images[channel, lower - 1]
                best_positions[channel, lower] = best_positions[channel, lower - 1]
            best[channel, rank], best_images[channel, rank] = score, image
            best_positions[channel, rank] = positions[row, channel]


@compile_loop(
    *(table(DOUBLE), table(INTEGER), table(INTEGER), DOUBLE, INTEGER),
    parallel=True,
)
def add_digits(values: Array, before: Array, sums: Array, limit: float, lowest: int) -> None:
    """The digits of `exact_sums` (channels, digits) with values (images, channels) added.

    Values are clamped to the limit. One whose last bit is below two to the power of `lowest` counts
    as zero.
    """
    images, channels = values.shape
    for channel in prange(channels):
        for digit in range(sums.shape[1]):
            sums[channel, digit] = before[channel, digit]
        for row in range(images):
            value: Any = np.float64(min(max(values[row, channel], -limit), limit))
            bits = value.view(np.int64)
            shift = ((bits >> 52) & 2047) - 1075 - lowest
            if shift >= 0:
                mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
                number = -mantissa if bits < 0 else mantissa
                digit, offset = shift >> 5, shift & 31
                low, high = (number & 0xFFFFFFFF) << offset, (number >> 32) << offset
                sums[channel, digit] += low & 0xFFFFFFFF
                sums[channel, digit + 1] += (low >> 32) + (high & 0xFFFFFFFF)
                sums[channel, digit + 2] += high >> 32


_INVERSE_UNITS = np.ldexp(1.0, 1023 - 32 * np.arange(64))


@compile_loop(
    *(table(kind, 1) for kind in (INTEGER, INTEGER, numba.int8, SHORT, SHORT)),
    table(DOUBLE, 1),
)
def add_maxima(
    high: Array, low: Array, window: Array, images: Array, fired_images: Array, values: Array
) -> None:
    """Adds the maxima of one image (channels) to a row of `class_sums`."""
    bits = values.view(np.int64)
    for channel in range(len(values)):
        value = values[channel]
        if value == -np.inf:
            continue
        images[channel] += 1
        fired_images[channel] += value > 0
        start = (bits[channel] >> 57) & 63
        if start > window[channel]:
            low[channel] = high[channel] if start == window[channel] + 1 else 0
            high[channel], window[channel] = 0, start
        scaled = value * _INVERSE_UNITS[window[channel]]
        digit = np.int64(scaled)
        high[channel] += digit
        low[channel] += np.int64((scaled - digit) * 2.0**32)


@compile_loop(
    *(table(SINGLE), table(SHORT), table(SHORT), table(DOUBLE, 1), table(SHORT, 1), INTEGER),
    parallel=True,
)
def count_bins(
    values: Array, before: Array, counts: Array, edges: Array, starts: Array, steps: int
) -> None:
    """Counts in bins (channels, bins) with values (images, channels) counted.

    The other parameters are those of `BinLookup`. Minus infinity belongs to no bin.
    """
    images, channels = values.shape
    bits = values.view(np.int32)
    for channel in prange(channels):
        for bin_number in range(counts.shape[1]):
            counts[channel, bin_number] = before[channel, bin_number]
        for row in range(images):
            value = values[row, channel]
            if value == -np.inf:
                continue
            below = starts[(bits[row, channel] >> 22) & 1023]
            for _ in range(steps):  # without a branch for each
                below += np.int32(edges[below] < value)
            counts[channel, below] += 1
