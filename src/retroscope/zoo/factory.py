"""A network from a function of the user's own: `package.module:factory`, `file.py:factory`.

`file.py:make?width=2&name=x` calls `make(width=2, name="x")`. The function returns an `nn.Module`
or a `Network`. Of a module the attributes `input_size`, `mean`, `std` and `labels` are used where
present; parameters, buffers, parts and methods of these names are the module's own business.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import module_from_spec, spec_from_file_location
from operator import index
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from retroscope.engine.intercept import original
from retroscope.errors import ModelError, RetroscopeError, did_you_mean
from retroscope.network import Network, in_words
from retroscope.zoo.arguments import split


def open_named(name: str, _trained: bool) -> Network:
    """The network that the named function makes; its weights are the function's own business."""
    base, arguments = split(name)
    home, colon, attribute = base.rpartition(":")
    if not (home and colon and attribute):
        raise ModelError(
            f"{name!r} names no function; write package.module:factory or file.py:factory"
        )
    if home.endswith(".py"):
        with _importing_from(Path(home).resolve().parent, forgetting=True):
            return _from_function(_from_file(Path(home), name), attribute, name, **arguments)
    with _importing_from(Path.cwd()):
        return _from_function(_from_package(home, name), attribute, name, **arguments)


def _from_function(
    module: ModuleType, attribute: str, name: str, /, **arguments: object
) -> Network:
    make = getattr(module, attribute, None)
    if isinstance(make, torch.nn.Module | Network):
        return _as_network(_ready(make, name, arguments), name)
    if not callable(make):
        there = {one: value for one, value in vars(module).items() if callable(value)}
        own = [one for one in there if getattr(there[one], "__module__", "") == module.__name__]
        hint = did_you_mean(attribute, there) or f"it defines {', '.join(own) or 'none'}"
        raise ModelError(f"no function {attribute!r} for {name}; {hint}")
    return _as_network(_made(make, name, **arguments), name)


def _ready(made: object, name: str, arguments: dict[str, object]) -> object:
    """A network that is there already, and can be told nothing."""
    if arguments:
        raise ModelError(f"{name!r} is a network, which takes no arguments; leave them out")
    return made


def _made(make: Callable[..., object], name: str, /, **arguments: object) -> object:
    try:
        return make(**arguments)
    except RetroscopeError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name} failed: {in_words(error)}") from error


def _as_network(made: object, name: str) -> Network:
    if isinstance(made, Network):
        return made
    if not isinstance(made, torch.nn.Module):
        kind = f"the class {made.__name__}" if isinstance(made, type) else repr(made)
        raise ModelError(f"{name} returned {kind}; it must return an nn.Module or a Network")
    module = original(made)
    told = _told_by(module)
    given = {attribute: _read(attribute, told[attribute], name) for attribute in told}
    return Network(module, name=name, **given)


def _told_by(made: torch.nn.Module) -> dict[str, Any]:
    """What a module says of how to feed it, in plain attributes."""
    registered = {*made._parameters, *made._buffers, *made._modules}  # noqa: SLF001
    told = {one: getattr(made, one, None) for one in _READERS if one not in registered}
    return {one: value for one, value in told.items() if value is not None and not callable(value)}


def _read(attribute: str, value: object, name: str) -> Any:
    read, wanted = _READERS[attribute]
    try:
        return read(value)
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise ModelError(f"{attribute} of {name} is {value!r}; it must be {wanted}") from error


def _size(size: Any) -> tuple[int, int]:
    """Height and width; one number for both, or what stands last, as in (3, 224, 224)."""
    if isinstance(size, int):
        return size, size
    return index(size[-2]), index(size[-1])


def _numbers(numbers: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)


def _texts(texts: Iterable[object]) -> tuple[str, ...]:
    found = tuple(texts)
    if isinstance(texts, str) or not all(isinstance(text, str) for text in found):
        raise TypeError(texts)
    return tuple(map(str, found))


_READERS: dict[str, tuple[Callable[[Any], object], str]] = {
    "input_size": (_size, "a height and a width, such as (224, 224)"),
    "mean": (_numbers, "a number for each channel, such as (0.485, 0.456, 0.406)"),
    "std": (_numbers, "a number for each channel, such as (0.229, 0.224, 0.225)"),
    "labels": (_texts, "a list of texts"),
}
"""The attributes that are used, and what each must be."""


def _from_package(home: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(home)
    except (Exception, SystemExit) as error:
        raise ModelError(f"cannot import {home!r} for {name}: {in_words(error)}") from error


def _from_file(path: Path, name: str) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"no file {str(path)!r} for {name}; give the path of a Python file")
    known_as = re.sub(r"\W", "_", str(path.resolve()))  # in nobody's way, whatever its name
    spec = spec_from_file_location(known_as, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[known_as] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[known_as]
        raise ModelError(f"cannot run {str(path)!r}: {in_words(error)}") from error
    return module


@contextmanager
def _importing_from(folder: Path, *, forgetting: bool = False) -> Iterator[None]:
    """Lets the user's code import its neighbours; the next file may have others of their names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(str(folder))
        if forgetting:
            for name in sys.modules.keys() - before:
                _forget(name, folder)


def _forget(name: str, folder: Path) -> None:
    """Takes a module out of the list of imported ones, if it or its package lies in the folder."""
    home = folder / name.partition(".")[0]
    file = Path(getattr(sys.modules[name], "__file__", None) or "")
    if file == home.with_suffix(".py") or home in file.parents:
        del sys.modules[name]
