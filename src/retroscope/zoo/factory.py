"""A network from a function of the user's own: `package.module:factory`, `file.py:factory`.

The function takes nothing and returns an `nn.Module` or a `Network`. Of a module the attributes
`input_size`, `mean`, `std` and `labels` are used where present.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from retroscope.errors import ModelError, RetroscopeError, did_you_mean
from retroscope.network import Network


def open_named(name: str, _trained: bool) -> Network:
    """The network that the named function makes; its weights are the function's own business."""
    home, _, attribute = name.rpartition(":")
    module = _from_file(Path(home), name) if home.endswith(".py") else _from_package(home, name)
    make = getattr(module, attribute, None)
    if not callable(make):
        known = [one for one, value in vars(module).items() if callable(value) and one[0] != "_"]
        hint = did_you_mean(attribute, known) or f"it has {', '.join(known) or 'none'}"
        raise ModelError(f"no function {attribute!r} in {home}; {hint}")
    return _as_network(_made(make, name), name)


def _made(make: Any, name: str) -> object:
    try:
        return make()
    except RetroscopeError:
        raise
    except Exception as error:
        raise ModelError(f"{name} failed: {_in_words(error)}") from error


def _as_network(made: object, name: str) -> Network:
    if isinstance(made, Network):
        return made
    if not isinstance(made, torch.nn.Module):
        raise ModelError(
            f"{name} returned a {type(made).__name__}; it must return an nn.Module or a Network"
        )
    given = {one: getattr(made, one) for one in ("mean", "std", "labels") if hasattr(made, one)}
    return Network(made, input_size=_size(made), name=name, **given)


def _size(made: torch.nn.Module) -> tuple[int, int]:
    size: Any = getattr(made, "input_size", (224, 224))
    return (size, size) if isinstance(size, int) else (int(size[-2]), int(size[-1]))


def _from_package(home: str, name: str) -> ModuleType:
    try:
        with _importing_from(Path.cwd()):
            return importlib.import_module(home)
    except Exception as error:
        raise ModelError(f"cannot import {home!r} for {name}: {_in_words(error)}") from error


def _from_file(path: Path, name: str) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"no file {str(path)!r} for {name}; give the path of a Python file")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    try:
        with _importing_from(path.parent.resolve()):
            sys.modules.setdefault(path.stem, module)
            spec.loader.exec_module(module)
    except Exception as error:
        raise ModelError(f"cannot run {str(path)!r}: {_in_words(error)}") from error
    return module


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Lets the user's code import its neighbours."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
