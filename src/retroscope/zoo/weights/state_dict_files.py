"""State dicts: what `torch.save` writes (`.pt`, `.pth`, `.ckpt`), and `.safetensors`.

`torch.save` files are read with `weights_only=True`, which runs no code from the file.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from pickletools import genops
from typing import IO
from zipfile import ZipFile, is_zipfile

import torch
from safetensors import safe_open

from retroscope.errors import ModelError
from retroscope.zoo.weights.file_limits import ByteBudget, check_archive_size
from retroscope.zoo.weights.imported_weights import StateDict

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled number at the start of files from before torch 1.6."""

LEGACY_PICKLES = 4
"""Pickles at the start of a legacy file: magic number, version, system, and the object."""

STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "net", "module", "weights", "ema")
"""Where training scripts keep the state dict in their checkpoints."""

TENSOR_MODULES = ("torch", "torch._utils", "collections")
"""The modules of the functions and storage types that a pickled state dict consists of."""

HEADER_START = 8
"""Safetensors: the byte after the header's length."""


def is_safetensors(_path: Path, head: bytes) -> bool:
    """A header of less than 2^48 bytes that starts with a brace."""
    return (
        len(head) > HEADER_START
        and head[HEADER_START : HEADER_START + 1] == b"{"
        and head[HEADER_START - 2 : HEADER_START] == b"\0\0"
    )


def read_safetensors(path: Path) -> StateDict:
    """The tensors of a `.safetensors` file."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    return StateDict(str(path), tensors, inferred=(f"{len(tensors)} tensors in safetensors",))


def is_torch_file(path: Path, head: bytes) -> bool:
    """A zip archive with a `data.pkl`, or the magic number of legacy files."""
    if head.startswith(LEGACY_MAGIC):
        return True
    if not head.startswith(b"PK") or not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def read_torch_file(path: Path) -> StateDict:
    """The state dict in a `torch.save` file; of a checkpoint, the entry that is one."""
    if is_zipfile(path):
        check_archive_size(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ModelError(_refusal(path, error)) from error
    tensors, key = _find_state_dict(content, path)
    _check_tensors(tensors, path)
    sentence = f"{len(tensors)} tensors saved by torch" + (f", under {key!r}" if key else "")
    return StateDict(str(path), tensors, inferred=(sentence,))


def _check_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raises if a copy of the tensors would exceed the file's budget, as with strides of 0."""
    budget = ByteBudget(path)
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ModelError(
                f"{path}: {name!r} is not a plain tensor with its numbers in the file (sparse, "
                "quantized or meta); save a dense state dict"
            )
        budget.spend(tensor.numel() * tensor.element_size(), name)


def _refusal(path: Path, error: UnpicklingError) -> str:
    try:
        names = unsafe_globals(path)
    except ValueError:  # not a pickle that can be disassembled
        names = []
    if names:
        return (
            f"{path} asks for {', '.join(names)}, which weights never need and which could run any "
            "code; save only the state dict: torch.save(net.state_dict(), ...)"
        )
    first_line = next(iter(str(error).splitlines()), "")
    return f"{path} is not a state dict that can be read without running code: {first_line}"


def unsafe_globals(path: Path) -> list[str]:
    """The functions and classes that a `torch.save` file asks for and tensors do not need.

    The pickles are disassembled, not run. `torch.serialization` has the same for zip archives only.
    """
    names: dict[str, None] = {}
    with _open_pickles(path) as (file, pickle_count):
        for _ in range(pickle_count):
            texts: list[str] = []
            for opcode, argument, _position in genops(file):
                if opcode.name in ("GLOBAL", "INST"):
                    texts += str(argument).split(" ", 1)
                elif isinstance(argument, str):
                    texts.append(argument)
                if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                    module, name = texts[-2:]
                    if module not in TENSOR_MODULES:
                        names[f"{module.replace('__builtin__', 'builtins')}.{name}"] = None
    return list(names)


@contextmanager
def _open_pickles(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The file at its first pickle, and how many pickles follow each other."""
    if not is_zipfile(path):
        with path.open("rb") as file:
            yield file, LEGACY_PICKLES
        return
    with ZipFile(path) as archive:
        member = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(member) as pickle:
            yield pickle, 1


def _find_state_dict(content: object, path: Path) -> tuple[dict[str, torch.Tensor], str]:
    for key in ("", *STATE_DICT_KEYS):
        entry = content.get(key) if key and isinstance(content, Mapping) else content
        if isinstance(entry, Mapping) and entry and _is_state_dict(entry):
            return dict(entry), key
    raise ModelError(
        f"{path} contains a {type(content).__name__}, not a state dict; save one with "
        "torch.save(net.state_dict(), ...)"
    )


def _is_state_dict(entry: Mapping[object, object]) -> bool:
    return all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in entry.items()
    )
