"""Unpickles an array, or a dictionary of arrays, and nothing that could do anything.

A pickle is a program. The four names that numpy's arrays need are answered by stand-ins of our own;
any other name is refused before it is looked up. Python's own unpickler in Python is used, because
that in C can be made to reserve any amount of memory by a file of a few bytes.
"""

import pickle
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from retroscope.errors import ModelError

PICKLED = "latin1"
"""How the strings of Python 2, whose numbers were strings, come through unchanged."""


class _Type:
    """Stands for a dtype while a pickle is read."""

    def __init__(self, name: str, *_: object) -> None:
        self.dtype = np.dtype(str(name))
        if self.dtype.kind not in "fiuO":
            raise ValueError(f"it holds {name!r}, not numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.dtype = self.dtype if order == "|" else self.dtype.newbyteorder(order)


class _Pickled:
    """Stands for an array while a pickle is read: numbers, or a box with something in it."""

    content: object = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        if kind.dtype.kind == "O":
            (self.content,) = content if shape == () else [list(content)]
        else:
            raw = content.encode(PICKLED) if isinstance(content, str) else content
            flat = np.frombuffer(raw, kind.dtype)
            self.content = flat.reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: object) -> _Pickled:
    return _Pickled()


def _encode(text: str, encoding: str) -> bytes:
    if encoding != PICKLED:
        raise ValueError(f"numbers are written in {encoding!r}")
    return text.encode(PICKLED)


_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Pickled,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}


_Python: Any = pickle._Unpickler  # noqa: SLF001 - not the one in C, see above


class _Unpickler(_Python):  # type: ignore[misc]
    def __init__(self, file: IO[bytes], path: str) -> None:
        super().__init__(file, encoding=PICKLED)
        self.path = path

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in _STAND_INS:
            raise ModelError(
                f"{self.path} asks for {module}.{name}, which no weights need; it is refused, "
                "because it could do anything"
            )
        return _STAND_INS[module, name]

    def load_build(self) -> None:
        """Fills what was made a moment ago; never a function, nor a class."""
        made = self.stack[-2]
        if not isinstance(made, _Type | _Pickled):
            raise ModelError(f"{self.path} asks to change {made!r}; it is refused")
        super().load_build()

    def load_global(self) -> None:
        """A name on two lines of its own, where the file does not end before."""
        module, name = self.readline(), self.readline()
        if not name.endswith(b"\n"):
            raise EOFError("it ends inside of a name")
        self.append(self.find_class(module[:-1].decode(), name[:-1].decode()))

    dispatch = {  # noqa: RUF012
        **_Python.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.GLOBAL[0]: load_global,
    }


def unpickled(file: IO[bytes], path: str) -> object:
    """What a pickle holds, with real arrays in it."""
    return _real(_Unpickler(file, path).load(), depth=4)


def _real(thing: object, depth: int) -> object:
    """The same thing with arrays in the place of their stand-ins, as deep as weights go."""
    if isinstance(thing, _Pickled):
        return _real(thing.content, depth)
    if depth and isinstance(thing, dict):
        return {key: _real(value, depth - 1) for key, value in thing.items()}
    if depth and isinstance(thing, list | tuple):
        return [_real(value, depth - 1) for value in thing]
    return thing
