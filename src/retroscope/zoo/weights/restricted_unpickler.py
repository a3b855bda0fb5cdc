"""Unpickles an array, or a dictionary of arrays, and nothing that could run code.

A pickle is a program. The four names that numpy arrays need are answered by stand-ins; any other
name is refused before it is looked up. This is Python's unpickler written in Python, because a file
of a few bytes can make the C one allocate any amount of memory. A pickle can also use one object
many times, so nested references stand for exponentially many values: copies are paid from a byte
budget, values are counted, and nothing that could be nested is hashed or printed.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from retroscope.errors import ModelError
from retroscope.zoo.weights.file_limits import UNCOMPRESSED_EXPANSION, ByteBudget

BYTES_ENCODING = "latin1"
"""Decodes strings of Python 2, which stored array data in them, without loss."""

MAX_DEPTH = 4
"""How deep dictionaries and lists of weights are nested."""


class DtypeStandIn:
    """Replaces `numpy.dtype` in a pickle."""

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str):
            raise TypeError("the name of a dtype is not a text")
        self.dtype = np.dtype(name)
        if self.dtype.kind not in "fiuO":
            raise ValueError(f"dtype {name!r}, not numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.dtype = self.dtype if order == "|" else self.dtype.newbyteorder(order)


class ArrayStandIn:
    """Replaces `numpy.ndarray` in a pickle: an array of numbers, or of Python objects."""

    content: object = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if dtype.dtype.kind == "O":
            (self.content,) = content if shape == () else [list(content)]
        else:
            raw = content.encode(BYTES_ENCODING) if isinstance(content, str) else content
            flat = np.frombuffer(raw, dtype.dtype)
            self.content = flat.reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: object) -> ArrayStandIn:
    return ArrayStandIn()


def _encode(text: str, encoding: object) -> bytes:
    if encoding != BYTES_ENCODING:
        raise ValueError(f"array data that is not encoded as {BYTES_ENCODING}")
    return text.encode(BYTES_ENCODING)


_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): ArrayStandIn,
    ("numpy", "dtype"): DtypeStandIn,
    ("_codecs", "encode"): _encode,
}


_UNUSED_OPCODES = {
    opcode[0]
    for opcode in (
        *(pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.PERSID, pickle.BINPERSID),
        *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.BYTEARRAY8, pickle.NEXT_BUFFER),
        *(pickle.READONLY_BUFFER, pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET),
    )
}
"""What arrays and dictionaries never need: other instances, sets, and buffers of a stated size."""


_PythonUnpickler: Any = pickle._Unpickler  # noqa: SLF001 - the one written in Python, see above


class RestrictedUnpickler(_PythonUnpickler):  # type: ignore[misc]
    """Builds arrays, dictionaries, lists, numbers and texts only."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, encoding=BYTES_ENCODING)
        self.path = path
        self.budget = ByteBudget(path, UNCOMPRESSED_EXPANSION)

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in _STAND_INS:
            raise ModelError(
                f"{self.path} asks for {module}.{name}, which weights never need and which could "
                "run any code; get the weights from a source you trust"
            )
        return _STAND_INS[module, name]

    def load_build(self) -> None:
        """Sets the state of a stand-in only, never of a function or a class."""
        target = self.stack[-2]
        if not isinstance(target, DtypeStandIn | ArrayStandIn):
            raise ModelError(
                f"{self.path} asks to change a {type(target).__name__}, which weights never need; "
                "get the weights from a source you trust"
            )
        self._spend_on_copies(self.stack[-1])
        super().load_build()

    def load_reduce(self) -> None:
        """Calls a stand-in."""
        self._spend_on_copies(self.stack[-1])
        super().load_reduce()

    def _spend_on_copies(self, arguments: object) -> None:
        """Pays for the texts and lists that a stand-in copies."""
        if not isinstance(arguments, tuple):
            raise TypeError("the arguments of a call are not a tuple")
        for argument in arguments:
            if isinstance(argument, str | list | tuple):
                self.budget.spend(len(argument), "an array")

    def load_setitem(self) -> None:
        """Adds an entry to a dictionary."""
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        """Adds entries to a dictionary."""
        _check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        """Builds a dictionary from its entries."""
        _check_keys(self.stack[::2])
        super().load_dict()

    def load_global(self) -> None:
        """Reads a name on two lines, unless the file ends within it."""
        module, name = self.readline(), self.readline()
        if not name.endswith(b"\n"):
            raise EOFError("truncated name")
        self.append(self.find_class(module[:-1].decode(), name[:-1].decode()))

    dispatch = {  # noqa: RUF012
        **{
            opcode: handler
            for opcode, handler in _PythonUnpickler.dispatch.items()
            if opcode not in _UNUSED_OPCODES
        },
        pickle.BUILD[0]: load_build,
        pickle.DICT[0]: load_dict,
        pickle.GLOBAL[0]: load_global,
        pickle.INST[0]: load_global,  # refuses by name; an instance is never built
        pickle.REDUCE[0]: load_reduce,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }


def _check_keys(keys: list[Any]) -> None:
    """Refuses keys that take long to hash or print, such as nested tuples."""
    if not all(isinstance(key, str | bytes | int) for key in keys):
        raise TypeError("the name of a layer is not a text")


def unpickle_arrays(file: IO[bytes], path: Path) -> object:
    """The content of a pickle, with numpy arrays in place of their stand-ins."""
    unpickler = RestrictedUnpickler(file, path)
    return _replace_stand_ins(unpickler.load(), unpickler.budget, depth=MAX_DEPTH)


def _replace_stand_ins(content: object, budget: ByteBudget, depth: int) -> object:
    """The same values without stand-ins. Each costs a byte of the budget."""
    budget.spend(1, "nested values")
    if isinstance(content, ArrayStandIn):
        return _replace_stand_ins(content.content, budget, depth)
    if depth and isinstance(content, dict):
        return {key: _replace_stand_ins(value, budget, depth - 1) for key, value in content.items()}
    if depth and isinstance(content, list | tuple):
        return [_replace_stand_ins(value, budget, depth - 1) for value in content]
    return content
