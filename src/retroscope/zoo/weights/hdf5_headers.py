"""Reads from an HDF5 file how long the texts of an attribute are, before HDF5 allocates them.

HDF5 stores a text of variable length as its length, the address of a heap, and its number there. It
trusts that length, and any number of texts may be one in the heap. Only the headers of objects that
store attributes are decoded (HDF5 file format specification 3.0, IV.A).

    object header  ->  messages  ->  attribute: name | type | shape | values
                   ->  continuation: more messages elsewhere in the file
"""

from collections.abc import Iterator
from mmap import mmap
from struct import unpack_from

ATTRIBUTE, CONTINUATION = 12, 16
"""Types of messages."""

VALUE_BYTES = 16
"""Of a text's length, address and number."""

Block = tuple[int, int]
"""Where messages are: the first byte, and the byte after the last."""


def text_lengths(content: mmap, address: int, *, name: str, count: int) -> list[int]:
    """The lengths of the texts of an attribute, by the address of its object.

    Raises ValueError or struct.error if the attribute is not there: it may be stored elsewhere, or
    the file is damaged.
    """
    for message in _attribute_messages(content, address):
        version, name_bytes, *others = unpack_from("<BxHHH", message)
        start = 9 if version == 3 else 8
        if message[start : start + name_bytes].rstrip(b"\0") == name.encode():
            parts = [-(-size // 8) * 8 if version == 1 else size for size in (name_bytes, *others)]
            values = start + sum(parts)
            return [
                unpack_from("<I", message, values + VALUE_BYTES * index)[0]
                for index in range(count)
            ]
    raise ValueError(f"the texts of the attribute {name!r} cannot be measured")


def _attribute_messages(content: mmap, address: int) -> Iterator[bytes]:
    """The attribute messages of an object header, of the old or the new form."""
    is_new = content[address : address + 4] == b"OHDR"
    header_bytes, block = _new_header(content, address) if is_new else _old_header(content, address)
    layout = "<BHB" if is_new else "<HHB3x"
    blocks, visited = [block], set[Block]()
    while blocks:
        offset, stop = block = blocks.pop()
        if block in visited:
            raise ValueError("an object header that contains itself")
        visited.add(block)
        while offset + header_bytes <= stop:
            kind, size, _flags = unpack_from(layout, content, offset)
            offset += header_bytes
            if kind == ATTRIBUTE:
                yield content[offset : offset + size]
            elif kind == CONTINUATION:
                start, length = unpack_from("<QQ", content, offset)
                margin = 4 if is_new else 0  # a signature before, a checksum after
                blocks.append((start + margin, start + length - margin))
            offset += size


def _old_header(content: mmap, address: int) -> tuple[int, Block]:
    """The bytes before each message, and the first block of messages."""
    version, size = unpack_from("<B7xI", content, address)
    if version != 1:
        raise ValueError(f"an object header of version {version}")
    return 8, (address + 16, address + 16 + size)


def _new_header(content: mmap, address: int) -> tuple[int, Block]:
    """The same of the header that begins with its signature."""
    flags = content[address + 5]
    offset = address + 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(content[offset : offset + width], "little")
    return 6 if flags & 4 else 4, (offset + width, offset + width + size)
