"""`.safetensors`: the length of a header, the header in JSON, and the numbers, nothing else."""

import json
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import torch

from retroscope.zoo.weights.foreign import State

KINDS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
START = 8
"""How many bytes say how long the header is."""


def recognises(_path: Path, head: bytes) -> bool:
    return (
        len(head) > START
        and head[START : START + 1] == b"{"
        and head[START - 2 : START] == (b"\0\0")
    )


def read(path: Path) -> State:
    """The tensors. Each must lie inside of the file and be as long as its shape says."""
    with path.open("rb") as file:
        content = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
    length = int.from_bytes(content[:START], "little")
    if START + length > len(content):
        raise ValueError(f"its header would be {length} bytes")
    header = json.loads(bytes(content[START : START + length]))
    header.pop("__metadata__", None)
    numbers = content[START + length :]
    tensors = {name: _tensor(name, facts, numbers) for name, facts in header.items()}
    return State(str(path), tensors, decided=(f"{len(tensors)} tensors of safetensors",))


def _tensor(name: str, facts: dict[str, Any], numbers: memoryview) -> torch.Tensor:
    kind, shape, (begin, end) = KINDS[facts["dtype"]], facts["shape"], facts["data_offsets"]
    if not 0 <= begin <= end <= len(numbers):
        raise ValueError(f"{name!r} lies outside of it")
    if min(shape, default=1) < 0 or prod(shape) * kind.itemsize != end - begin:
        raise ValueError(f"{name!r} of shape {shape} has {end - begin} bytes")
    if begin == end:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(bytearray(numbers[begin:end]), dtype=kind).reshape(shape)
