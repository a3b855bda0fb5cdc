"""A network from a user's own function: `package.module:factory` or `file.py:factory`.

`file.py:make?width=2&name=x` calls `make(width=2, name="x")`. The function returns an `nn.Module`
or a `Network`. The plain attributes `input_size`, `mean`, `std` and `labels` of a module, if it has
them, become those of the network; parameters, buffers, submodules and methods do not.
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

from retroscope.engine.isolation import unwrap
from retroscope.errors import ModelError, RetroscopeError, describe_error, did_you_mean
from retroscope.network import Network
from retroscope.zoo.source_conventions import split_arguments


def open_named(name: str, _trained: bool) -> Network:
    """The network that the function returns, with whatever weights it has."""
    base, arguments = split_arguments(name)
    source, colon, attribute = base.rpartition(":")
    if not (source and colon and attribute):
        raise ModelError(
            f"{name!r} is not a function; write package.module:factory or file.py:factory"
        )
    if source.endswith(".py"):
        with _importable(Path(source).resolve().parent, unload=True):
            module = _import_file(Path(source), name)
            return _network_from(module, attribute, name=name, arguments=arguments)
    with _importable(Path.cwd()):
        module = _import_package(source, name)
        return _network_from(module, attribute, name=name, arguments=arguments)


def _network_from(
    module: ModuleType, attribute: str, *, name: str, arguments: dict[str, object]
) -> Network:
    value = getattr(module, attribute, None)
    if isinstance(value, torch.nn.Module | Network):
        if arguments:
            raise ModelError(f"{name!r} is a network, which takes no arguments; leave them out")
        return _to_network(value, name)
    factory = _find_factory(module, attribute, value, source=name)
    return _to_network(_call_factory(factory, name, arguments), name)


def _find_factory(
    module: ModuleType, attribute: str, value: object, *, source: str
) -> Callable[..., object]:
    functions: dict[str, Callable[..., object]] = {
        name: member for name, member in vars(module).items() if callable(member)
    }
    if callable(value):  # also what a module's __getattr__ makes
        functions[attribute] = value
    defined = [
        name
        for name, function in functions.items()
        if getattr(function, "__module__", "") == module.__name__
    ]
    if attribute in functions:
        return functions[attribute]
    advice = f"it defines {', '.join(defined) or 'no functions'}"
    hint = did_you_mean(attribute, functions) or advice
    raise ModelError(f"no function {attribute!r} in {source.rpartition(':')[0]}; {hint}")


def _call_factory(
    factory: Callable[..., object], name: str, arguments: dict[str, object]
) -> object:
    try:
        return factory(**arguments)
    except RetroscopeError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name} failed: {describe_error(error)}") from error


def _to_network(value: object, name: str) -> Network:
    if isinstance(value, Network):
        return value
    if not isinstance(value, torch.nn.Module):
        description = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
        raise ModelError(f"{name} returned {description}; it must return an nn.Module or a Network")
    module = unwrap(value)
    options = {
        attribute: _parse_attribute(attribute, setting, name)
        for attribute, setting in _plain_attributes(module).items()
    }
    return Network(module, name=name, **options)


def _plain_attributes(module: torch.nn.Module) -> dict[str, Any]:
    """The attributes of a module that describe its preprocessing and labels."""
    registered = {*module._parameters, *module._buffers, *module._modules}  # noqa: SLF001
    settings = {name: getattr(module, name, None) for name in _PARSERS if name not in registered}
    return {
        name: setting
        for name, setting in settings.items()
        if setting is not None and not callable(setting)
    }


def _parse_attribute(attribute: str, setting: object, name: str) -> Any:
    parse, requirement = _PARSERS[attribute]
    try:
        return parse(setting)
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise ModelError(
            f"{attribute} of {name} is {setting!r}; it must be {requirement}"
        ) from error


def _parse_size(size: Any) -> tuple[int, int]:
    """Height and width: one number for both, or the last two of a shape such as (3, 224, 224)."""
    if isinstance(size, int):
        return size, size
    return index(size[-2]), index(size[-1])


def _parse_numbers(numbers: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)


def _parse_labels(labels: Iterable[object]) -> tuple[str, ...]:
    texts = tuple(labels)
    if isinstance(labels, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError(labels)
    return tuple(map(str, texts))


_PARSERS: dict[str, tuple[Callable[[Any], object], str]] = {
    "input_size": (_parse_size, "a height and a width, such as (224, 224)"),
    "mean": (_parse_numbers, "a number for each channel, such as (0.485, 0.456, 0.406)"),
    "std": (_parse_numbers, "a number for each channel, such as (0.229, 0.224, 0.225)"),
    "labels": (_parse_labels, "a list of texts"),
}
"""The attributes that are read, and what each must be."""


def _import_package(package: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"cannot import {package!r} for {name}: {describe_error(error)}"
        ) from error


def _import_file(path: Path, name: str) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"no file {str(path)!r} for {name}; give the path of a Python file")
    module_name = re.sub(r"\W", "_", str(path.resolve()))  # cannot hide an installed module
    spec = spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise ModelError(f"cannot run {str(path)!r}: {describe_error(error)}") from error
    return module


@contextmanager
def _importable(folder: Path, *, unload: bool = False) -> Iterator[None]:
    """Lets the user's code import modules beside it.

    `unload` forgets them afterwards: the next file may have neighbours of the same names.
    """
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(str(folder))
        if unload:
            for name in sys.modules.keys() - before:
                _unload(name, folder)


def _unload(name: str, folder: Path) -> None:
    """Removes a module from `sys.modules` if it or its package lies in the folder."""
    package = folder / name.partition(".")[0]
    file = Path(getattr(sys.modules[name], "__file__", None) or "")
    if file == package.with_suffix(".py") or package in file.parents:
        del sys.modules[name]
