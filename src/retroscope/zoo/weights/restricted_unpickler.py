"""Unpickles an array, or a dictionary of arrays, and nothing that could run code.

A pickle is a program. The four names that numpy arrays need are answered by stand-ins; any other
name is refused before it is looked up. This is Python's unpickler written in Python, because a file
of a few bytes can make the C one allocate any amount of memory.
"""

import pickle
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from retroscope.errors import ModelError

BYTES_ENCODING = "latin1"
"""Decodes strings of Python 2, which stored array data in them, without loss."""

MAX_DEPTH = 4
"""How deep dictionaries and lists of weights are nested."""


class DtypeStandIn:
    """Replaces `numpy.dtype` in a pickle."""

    def __init__(self, name: str, *_: object) -> None:
        self.dtype = np.dtype(str(name))
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


def _encode(text: str, encoding: str) -> bytes:
    if encoding != BYTES_ENCODING:
        raise ValueError(f"array data encoded as {encoding!r}")
    return text.encode(BYTES_ENCODING)


_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): ArrayStandIn,
    ("numpy", "dtype"): DtypeStandIn,
    ("_codecs", "encode"): _encode,
}


_PythonUnpickler: Any = pickle._Unpickler  # noqa: SLF001 - the one written in Python, see above


class RestrictedUnpickler(_PythonUnpickler):  # type: ignore[misc]
    """Builds arrays, dictionaries, lists, numbers and texts only."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        super().__init__(file, encoding=BYTES_ENCODING)
        self.path = path

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
                f"{self.path} asks to change {target!r}, which weights never need; get the weights "
                "from a source you trust"
            )
        super().load_build()

    def load_global(self) -> None:
        """Reads a name on two lines, unless the file ends within it."""
        module, name = self.readline(), self.readline()
        if not name.endswith(b"\n"):
            raise EOFError("truncated name")
        self.append(self.find_class(module[:-1].decode(), name[:-1].decode()))

    dispatch = {  # noqa: RUF012
        **_PythonUnpickler.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.GLOBAL[0]: load_global,
    }


def unpickle_arrays(file: IO[bytes], path: str) -> object:
    """The content of a pickle, with numpy arrays in place of their stand-ins."""
    return _replace_stand_ins(RestrictedUnpickler(file, path).load(), depth=MAX_DEPTH)


def _replace_stand_ins(content: object, depth: int) -> object:
    if isinstance(content, ArrayStandIn):
        return _replace_stand_ins(content.content, depth)
    if depth and isinstance(content, dict):
        return {key: _replace_stand_ins(value, depth - 1) for key, value in content.items()}
    if depth and isinstance(content, list | tuple):
        return [_replace_stand_ins(value, depth - 1) for value in content]
    return content
