"""The bytes of a protocol buffer, field by field, without its description.

A field is a number and a value: an integer, or bytes, which are a view of the file and no copy.
"""

from collections.abc import Iterator

Field = tuple[int, int | memoryview]

VARINT, EIGHT_BYTES, SIZED, FOUR_BYTES = 0, 1, 2, 5
_FIXED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}


def fields(message: memoryview) -> Iterator[Field]:
    """Every field of a message, in the order of the file.

    >>> [(number, bytes(value)) for number, value in fields(memoryview(b"\\x0a\\x03VGG"))]
    [(1, b'VGG')]
    """
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise ValueError(f"there is no field at byte {at}")
        if kind == VARINT:
            value, at = varint(message, at)
            yield number, value
        else:
            length, at = _length(message, at, kind)
            if at + length > len(message):
                raise ValueError(f"a field wants {length} bytes, {len(message) - at} are left")
            yield number, message[at : at + length]
            at += length


def _length(message: memoryview, at: int, kind: int) -> tuple[int, int]:
    if kind == SIZED:
        return varint(message, at)
    if kind not in _FIXED:
        raise ValueError(f"there is no kind {kind} of fields")
    return _FIXED[kind], at


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, and where the next thing begins."""
    value = 0
    for count in range(10):
        if at + count >= len(message):
            raise ValueError("it ends inside of a number")
        byte = message[at + count]
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value, at + count + 1
    raise ValueError("a number is longer than 64 bits")


def varints(packed: memoryview) -> list[int]:
    """Integers, one after the other."""
    found, at = [], 0
    while at < len(packed):
        value, at = varint(packed, at)
        found.append(value)
    return found
