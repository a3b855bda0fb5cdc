"""Decodes protocol buffer messages field by field, without a schema.

A field is a number and a value: an integer, or bytes as a view of the file (no copy).
"""

from collections.abc import Iterator

Field = tuple[int, int | memoryview]

VARINT, EIGHT_BYTES, LENGTH_DELIMITED, FOUR_BYTES = 0, 1, 2, 5
_FIXED_LENGTHS = {EIGHT_BYTES: 8, FOUR_BYTES: 4}


def decode_fields(message: memoryview) -> Iterator[Field]:
    """Every field of a message, in the order of the file.

    >>> [(number, bytes(value)) for number, value in decode_fields(memoryview(b"\\x0a\\x03VGG"))]
    [(1, b'VGG')]
    """
    offset = 0
    while offset < len(message):
        tag, offset = decode_varint(message, offset)
        number, wire_type = tag >> 3, tag & 7
        if not number:
            raise ValueError(f"field number 0 at byte {offset}")
        if wire_type == VARINT:
            value, offset = decode_varint(message, offset)
            yield number, value
        else:
            length, offset = _decode_length(message, offset, wire_type)
            if offset + length > len(message):
                raise ValueError(f"a field of {length} bytes, {len(message) - offset} are left")
            yield number, message[offset : offset + length]
            offset += length


def _decode_length(message: memoryview, offset: int, wire_type: int) -> tuple[int, int]:
    if wire_type == LENGTH_DELIMITED:
        return decode_varint(message, offset)
    if wire_type not in _FIXED_LENGTHS:
        raise ValueError(f"unknown wire type {wire_type}")
    return _FIXED_LENGTHS[wire_type], offset


def decode_varint(message: memoryview, offset: int) -> tuple[int, int]:
    """An integer stored in seven bits per byte, and the offset after it."""
    value = 0
    for count in range(10):
        if offset + count >= len(message):
            raise ValueError("truncated integer")
        byte = message[offset + count]
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value, offset + count + 1
    raise ValueError("an integer is longer than 64 bits")


def decode_varints(packed: memoryview) -> list[int]:
    """The integers of a packed repeated field."""
    values, offset = [], 0
    while offset < len(packed):
        value, offset = decode_varint(packed, offset)
        values.append(value)
    return values
