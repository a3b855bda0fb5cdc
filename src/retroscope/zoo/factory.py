"""A network from a user's own function: `package.module:factory` or `file.py:factory`.

`file.py:make?width=2&name=x` calls `make(width=2, name="x")`. The function returns an `nn.Module`
or a `Network`. The plain attributes `input_size`, `mean`, `std`, `bands`, `value_range` and
`labels` of a module, if it has them, become those of the network; parameters, buffers, submodules
and methods do not.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import torch

from retroscope.errors import ModelError, RetroscopeError, describe_error, did_you_mean
from retroscope.network import Network
from retroscope.user_modules import as_module, describe_non_module, stated_options
from retroscope.zoo.source_conventions import split_arguments
from retroscope.zoo.torchvision_models import leave_weights_zero


def open_named(name: str, _trained: bool) -> Network:
    """The network that the function returns, with whatever weights it has."""
    with leave_weights_zero(enabled=False):
        return _open_function(name)


def _open_function(name: str) -> Network:
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
        returned = describe_non_module(value)
        advice = f"; {returned.advice}" if returned.advice else ""
        raise ModelError(
            f"{name} returned {returned.name}; it must return an nn.Module or a Network{advice}"
        )
    module = as_module(value)
    return Network(module, name=name, **stated_options(module, name))


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
