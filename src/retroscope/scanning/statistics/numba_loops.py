"""The inner loops of a sweep, compiled by numba when this module is imported.

Each does what a few lines of torch do elsewhere, with the same result, in one pass over its data.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from numba import prange

Array = npt.NDArray[Any]
Loop = Callable[..., None]


@contextmanager
def _keep_torch_threads() -> Iterator[int]:
    """Gives the number of torch's threads, and restores it: OpenMP has one number for both."""
    threads = torch.get_num_threads()
    try:
        yield threads
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _has_threads() -> bool:
    """Whether loops can run on several threads, whichever thread of Python calls them.

    Of numba's threads those of OpenMP and TBB allow that. OpenMP is tried first: torch uses it, and
    threads of another kind would wait for those of torch, which stay busy for a while.
    """
    chosen = numba.config.THREADING_LAYER
    try:
        numba.config.THREADING_LAYER = "omp"
        with _keep_torch_threads():
            numba.set_num_threads(numba.get_num_threads())  # starts the threads
        return bool(numba.threading_layer() in ("omp", "tbb"))
    except ValueError:  # there is no OpenMP
        return False
    finally:
        numba.config.THREADING_LAYER = chosen


HAS_THREADS = _has_threads()
_SINGLE, _DOUBLE, _INTEGER = numba.float32, numba.float64, numba.int64


def _table(kind: Any, dimensions: int = 2, *, readonly: bool = False) -> Any:
    return numba.types.Array(kind, dimensions, "C", readonly=readonly)


def _part_of_table(kind: Any) -> Any:
    """Some columns of a table."""
    return numba.types.Array(kind, 2, "A")


def _compile(
    *parameters: Any, parallel: bool = False, first_types: Sequence[Any] = ()
) -> Callable[[Loop], Loop]:
    """Compiles a loop, or takes it from the disk, where it is kept for the next process.

    Where `parallel`, its `prange` runs on as many threads as torch has. `first_types` are those of
    the first parameter, where it has several.
    """
    is_parallel = parallel and HAS_THREADS
    options = {
        "nogil": True,
        "parallel": is_parallel,
        "error_model": "numpy",
        "fastmath": {"nsz", "contract"},
    }

    def decorate(loop: Loop) -> Loop:
        lists = [(first, *parameters) for first in first_types] or [parameters]
        signatures = [numba.void(*types) for types in lists]
        try:
            compiled: Loop = numba.njit(signatures, cache=True, **options)(loop)
        except RuntimeError:  # neither the package nor the user's cache folder can be written
            compiled = numba.njit(signatures, **options)(loop)
        return _on_torch_threads(compiled) if is_parallel else compiled

    return decorate


def _on_torch_threads(loop: Loop) -> Loop:
    """The loop on as many threads as torch has."""

    @wraps(loop)
    def run(*arrays: Array) -> None:
        before = numba.get_num_threads()
        if before == torch.get_num_threads():
            loop(*arrays)
            return
        with _keep_torch_threads() as threads:
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            try:
                loop(*arrays)
            finally:
                numba.set_num_threads(before)

    return run


_BLOCK, _ROWS_PER_SUM = 1024, 64
"""How many channels are reduced side by side, and how many float32 values are added to a partial
sum before it goes into one of float64."""


def _in_single_precision(row: Array, _buffer: Array) -> Array:
    """A row of float32 as it is, or one of bfloat16, given as uint16, in the buffer.

    The compiled loops run the overload below.
    """
    return row if row.dtype == np.float32 else (row.astype(np.uint32) << 16).view(np.float32)


@numba.extending.overload(_in_single_precision, inline="always")  # type: ignore[untyped-decorator]
def _compile_in_single_precision(row: Any, buffer: Any) -> Loop:  # noqa: ARG001  # numba's names
    def keep(row: Any, buffer: Any) -> Any:  # noqa: ARG001
        return row

    def widen(row: Any, buffer: Any) -> Any:
        for channel in range(len(row)):
            buffer[channel] = np.uint32(row[channel]) << np.uint32(16)
        return buffer.view(np.float32)

    return keep if row.dtype == _SINGLE else widen


@_compile(
    *map(_part_of_table, (_SINGLE, _SINGLE, _DOUBLE, _DOUBLE, _INTEGER, _INTEGER, _INTEGER)),
    _table(numba.boolean, 1),
    parallel=True,
    first_types=[_table(kind, 3, readonly=True) for kind in (_SINGLE, numba.uint16)],
)
def reduce_rows(
    rows: Array,
    maximum: Array,
    minimum: Array,
    total: Array,
    squares: Array,
    fired_positions: Array,
    peaks: Array,
    troughs: Array,
    finite_images: Array,
) -> None:
    """Reduces rows (images, positions, channels) into tables (images, channels).

    It also says of which images the sums of squares are finite. It is written so that the compiler
    vectorises the innermost loops: with `is_higher` in a variable, with the lowest values in the
    loop of the highest, or with buffers that outlive a block, it takes twice as long or more.
    """
    images, positions, channels = rows.shape
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
            buffer = np.empty(width, np.uint32)
            for start in range(0, positions, _ROWS_PER_SUM):
                part, part_squares = np.zeros(width, np.float32), np.zeros(width, np.float32)
                for position in range(start, min(positions, start + _ROWS_PER_SUM)):
                    row = _in_single_precision(rows[image, position, block], buffer)
                    for channel in range(width):
                        value = row[channel]
                        part[channel] += value
                        part_squares[channel] += value * value
                        fired[channel] += np.int32(value > 0)
                        peak[channel] = (
                            np.int32(position) if value > highest[channel] else peak[channel]
                        )
                        highest[channel] = value if value > highest[channel] else highest[channel]
                    for channel in range(width):  # the row is still in the fastest cache
                        value = row[channel]
                        trough[channel] = (
                            np.int32(position) if value < lowest[channel] else trough[channel]
                        )
                        lowest[channel] = value if value < lowest[channel] else lowest[channel]
                for channel in range(width):
                    sums[channel] += part[channel]
                    square_sums[channel] += part_squares[channel]
            is_finite = is_finite and bool(np.isfinite(square_sums.sum()))
            maximum[image, block], minimum[image, block] = highest, lowest
            total[image, block], squares[image, block] = sums, square_sums
            fired_positions[image, block] = fired
            peaks[image, block], troughs[image, block] = peak, trough
        finite_images[image] = is_finite


@_compile(
    *map(_table, (_DOUBLE, _INTEGER, _INTEGER, _DOUBLE)),
    _table(_INTEGER, 1),
    _table(_INTEGER),
    parallel=True,
)
def insert_scores(
    best: Array,
    best_images: Array,
    best_positions: Array,
    scores: Array,
    images: Array,
    positions: Array,
) -> None:
    """Inserts scores and positions (images, channels) into rankings (channels, ranks)."""
    channels, ranks = best.shape
    for channel in prange(channels):
        for row in range(len(images)):
            image = images[row]
            score = scores[row, channel]
            rank = ranks
            while rank > 0 and (
                score > best[channel, rank - 1]
                or (score == best[channel, rank - 1] and image < best_images[channel, rank - 1])
            ):
                rank -= 1
            if rank == ranks or score == -np.inf:
                continue
            for lower in range(ranks - 1, rank, -1):
                best[channel, lower] = best[channel, lower - 1]
                best_images[channel, lower] = best_images[channel, lower - 1]
                best_positions[channel, lower] = best_positions[channel, lower - 1]
            best[channel, rank], best_images[channel, rank] = score, image
            best_positions[channel, rank] = positions[row, channel]


@_compile(_table(_INTEGER), _table(_DOUBLE), parallel=True)
def add_digits(sums: Array, values: Array) -> None:
    """Adds values (images, channels) to the digits of `exact_sums` (channels, digits)."""
    images, channels = values.shape
    for channel in prange(channels):
        for row in range(images):
            mantissa, exponent = math.frexp(values[row, channel])
            shift = exponent - (53 - 160)
            if shift >= 0:
                number, digit, offset = np.int64(mantissa * 2.0**53), shift >> 5, shift & 31
                low, high = (number & 0xFFFFFFFF) << offset, (number >> 32) << offset
                sums[channel, digit] += low & 0xFFFFFFFF
                sums[channel, digit + 1] += (low >> 32) + (high & 0xFFFFFFFF)
                sums[channel, digit + 2] += high >> 32


_INVERSE_UNITS = np.ldexp(1.0, 1023 - 32 * np.arange(64))


@_compile(
    *(_table(kind, 1) for kind in (_INTEGER, _INTEGER, numba.int8, numba.int32, numba.int32)),
    _table(_DOUBLE, 1),
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


@_compile(_table(numba.int32), _table(_SINGLE), _table(_DOUBLE, 1), parallel=True)
def count_bins(counts: Array, values: Array, edges: Array) -> None:
    """Counts values (images, channels) in the bins between edges: (channels, bins).

    There are 2**k - 1 edges. A value that is an edge belongs to the bin below it; minus infinity
    belongs to none.
    """
    images, channels = values.shape
    half = (len(edges) + 1) // 2
    for channel in prange(channels):
        for row in range(images):
            value = values[row, channel]
            if value == -np.inf:
                continue
            below, step = 0, half  # the edges below the value; without a branch for each step
            while step > 0:
                below += step * (edges[below + step - 1] < value)
                step >>= 1
            counts[channel, below] += 1
