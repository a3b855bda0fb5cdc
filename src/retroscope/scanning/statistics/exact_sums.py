"""Sums of real numbers as integers, which come out the same in any order and grouping.

A number is added to three of the 32-bit digits of a sum that reaches from 2**-108 to 2**287; what
is smaller counts as zero. The digits of a sum carry over only when it is read, so adding two sums
is adding their digits.
"""

import torch

from retroscope.scanning.statistics.compiled_loops import compiled_loops

DIGITS = 16
_DIGIT_BITS, _LOWEST_EXPONENT, _SIGNIFICANT_BITS = 32, -160, 53
_LIMIT = 2.0 ** (_DIGIT_BITS * (DIGITS - 2) + _LOWEST_EXPONENT - 1)
_MASK = 2**_DIGIT_BITS - 1
_CHANNELS_AT_ONCE = 1024
"""Few enough channels of a batch to stay in a processor's cache."""


def sum_exactly(values: torch.Tensor) -> torch.Tensor:
    """The sum of each column of (images, channels), as digits (channels, `DIGITS`).

    >>> parts = torch.tensor([[0.1], [1e9], [-1e9]], dtype=torch.float64)
    >>> first = sum_exactly(parts[:1]) + sum_exactly(parts[1:])
    >>> first.equal(sum_exactly(parts[[2, 0]]) + sum_exactly(parts[[1]]))
    True
    >>> round(read_sums(first).item(), 9)
    0.1
    """
    empty = torch.zeros(values.shape[1], DIGITS, dtype=torch.int64, device=values.device)
    return add_exactly(empty, values)


def add_exactly(sums: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The digits of these sums (channels, `DIGITS`) and the values (images, channels)."""
    loops = compiled_loops()
    if loops is None or values.device.type != "cpu":
        parts = torch.split(values, _CHANNELS_AT_ONCE, dim=1)
        return sums + torch.cat([_sum_columns(part) for part in parts])
    result = torch.empty_like(sums, memory_format=torch.contiguous_format)
    arrays = (tensor.contiguous().numpy() for tensor in (values.double(), sums, result))
    loops.add_digits(*arrays, _LIMIT, _LOWEST_EXPONENT)
    return result


def _sum_columns(values: torch.Tensor) -> torch.Tensor:
    mantissa, exponent = torch.frexp(values.T.double().clamp(-_LIMIT, _LIMIT))
    number = (mantissa * 2.0**_SIGNIFICANT_BITS).long()
    shift = exponent.long() - (_SIGNIFICANT_BITS + _LOWEST_EXPONENT)
    number *= shift >= 0
    digit = shift.clamp(min=0) // _DIGIT_BITS
    offset = shift.clamp(min=0) % _DIGIT_BITS
    low, high = (number & _MASK) << offset, (number >> _DIGIT_BITS) << offset
    sums = torch.zeros(len(number), DIGITS, dtype=torch.int64, device=values.device)
    sums.scatter_add_(1, digit, low & _MASK)
    sums.scatter_add_(1, digit + 1, (low >> _DIGIT_BITS) + (high & _MASK))
    return sums.scatter_add_(1, digit + 2, high >> _DIGIT_BITS)


def read_sums(sums: torch.Tensor) -> torch.Tensor:
    """The sums that digits (channels, `DIGITS`) stand for, in float64."""
    digits = list(sums.unbind(1))
    for index in range(DIGITS - 1):
        # to the nearest, so that the highest digit that is not zero decides the sign
        carry = (digits[index] + 2 ** (_DIGIT_BITS - 1)) >> _DIGIT_BITS
        digits[index] = digits[index] - (carry << _DIGIT_BITS)
        digits[index + 1] = digits[index + 1] + carry
    total = torch.zeros(len(sums), dtype=torch.float64, device=sums.device)
    for index in reversed(range(DIGITS)):
        total += digits[index].double() * 2.0 ** (_DIGIT_BITS * index + _LOWEST_EXPONENT)
    return total
