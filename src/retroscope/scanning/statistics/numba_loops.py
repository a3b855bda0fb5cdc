"""The inner loops of a sweep, compiled by numba where it is installed.

Each does what a few lines of torch do elsewhere, with the same result, in one pass over its data.
The package's extra `fast` installs numba.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Loop = Callable[..., None]


@dataclass(frozen=True)
class Loops:
    """The compiled loops; a function of this module explains each."""

    reduce_rows: Loop
    insert_scores: Loop
    add_digits: Loop


@cache
def compiled_loops() -> Loops | None:
    """The loops, compiled once and kept on disk for the next process; None without numba."""
    if find_spec("numba") is None:
        return None
    try:
        import numba
    except ImportError as error:
        warnings.warn(
            f"numba cannot be imported ({error}); without it, a scan takes longer", stacklevel=2
        )
        return None
    single, double, integer = numba.float32, numba.float64, numba.int64
    outputs = single, single, double, double, integer, integer

    def table(kind: Any, dimensions: int = 2, *, readonly: bool = False) -> object:
        return numba.types.Array(kind, dimensions, "C", readonly=readonly)

    def compile_loop(loop: Loop, *parameters: object) -> Loop:
        decorate = partial(
            numba.njit,
            numba.void(*parameters),
            nogil=True,
            error_model="numpy",
            fastmath={"nsz", "contract"},
        )
        try:
            compiled: Loop = decorate(cache=True)(loop)
        except RuntimeError:  # neither the package nor the user's cache folder can be written
            compiled = decorate()(loop)
        return compiled

    return Loops(
        compile_loop(reduce_rows, table(single, 3, readonly=True), *map(table, outputs)),
        compile_loop(
            insert_scores,
            *(table(kind) for kind in (double, integer, integer)),
            *(table(double), table(integer, 1), table(integer)),
        ),
        compile_loop(add_digits, table(integer), table(double)),
    )


_BLOCK, _ROWS_PER_SUM = 1024, 64
"""How many channels are reduced side by side, and how many float32 values are added to a partial
sum before it goes into one of float64."""


def reduce_rows(
    rows: Array,
    maximum: Array,
    minimum: Array,
    total: Array,
    squares: Array,
    fired_positions: Array,
    peaks: Array,
) -> None:
    """Reduces rows (images, positions, channels) into the other arrays (images, channels).

    It is written so that the compiler vectorises the innermost loop: with `is_higher` in a
    variable, with a comparison for the lowest value, or with buffers that outlive a block, it takes
    twice as long or more.
    """
    images, positions, channels = rows.shape
    for image in range(images):
        for first in range(0, channels, _BLOCK):
            width = min(_BLOCK, channels - first)
            block = slice(first, first + width)
            highest = np.full(width, -np.inf, np.float32)
            lowest = np.full(width, np.inf, np.float32)
            fired, peak = np.zeros(width, np.int32), np.zeros(width, np.int32)
            total[image, block], squares[image, block] = 0, 0
            for start in range(0, positions, _ROWS_PER_SUM):
                part, part_squares = np.zeros(width, np.float32), np.zeros(width, np.float32)
                for position in range(start, min(positions, start + _ROWS_PER_SUM)):
                    row = rows[image, position, block]
                    for channel in range(width):
                        value = row[channel]
                        part[channel] += value
                        part_squares[channel] += value * value
                        fired[channel] += np.int32(value > 0)
                        peak[channel] = (
                            np.int32(position) if value > highest[channel] else peak[channel]
                        )
                        highest[channel] = value if value > highest[channel] else highest[channel]
                        lowest[channel] = np.minimum(lowest[channel], value)
                for channel in range(width):
                    total[image, first + channel] += part[channel]
                    squares[image, first + channel] += part_squares[channel]
            maximum[image, block], minimum[image, block] = highest, lowest
            fired_positions[image, block], peaks[image, block] = fired, peak


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
    for row in range(len(images)):
        image = images[row]
        for channel in range(channels):
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


def add_digits(sums: Array, values: Array) -> None:
    """Adds values (images, channels) to the digits of `exact_sums` (channels, digits)."""
    images, channels = values.shape
    for row in range(images):
        for channel in range(channels):
            mantissa, exponent = math.frexp(values[row, channel])
            shift = exponent - (53 - 160)
            if shift >= 0:
                number, digit, offset = np.int64(mantissa * 2.0**53), shift >> 5, shift & 31
                low, high = (number & 0xFFFFFFFF) << offset, (number >> 32) << offset
                sums[channel, digit] += low & 0xFFFFFFFF
                sums[channel, digit + 1] += (low >> 32) + (high & 0xFFFFFFFF)
                sums[channel, digit + 2] += high >> 32
