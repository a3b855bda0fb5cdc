"""ultralytics' networks, if the extra `yolo` is installed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch

from retroscope.errors import ModelError, choose, describe_error
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.zoo.source_conventions import build_error, download_error, split_arguments

SOURCE, SIZE = "ultralytics", 640
_NAME = re.compile(r"yolov?\d+[a-z]\w*(-(seg|pose|obb|cls))?")
_OFFLINE = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}


def open_named(name: str, trained: bool) -> Network:
    """An ultralytics network with its trained weights, or initialised at random.

    The argument of `yolov8n?nc=3` is the number of classes, for random weights.
    """
    base, arguments = split_arguments(name)
    with unchanged_process(offline=not trained):
        ultralytics = _import_ultralytics()
        advice = "write one such as yolov8n, yolo11n or yolov8n-seg"
        names = dict.fromkeys(_names())
        choose("ultralytics model", base, names, error=ModelError, advice=advice)
        build = _build_trained if trained else _build_untrained
        module = build(ultralytics, base, arguments)
    labels = tuple(str(label) for label in getattr(module, "names", {}).values())
    return Network(
        module,
        fit=Fit((SIZE, SIZE), mode="letterbox"),
        labels=() if all(map(str.isdecimal, labels)) else labels,
        name=f"{SOURCE}/{name}",
    )


def _names() -> list[str]:
    """The networks for boxes, masks, keypoints and classes that ultralytics has weights of."""
    from ultralytics.utils.downloads import GITHUB_ASSETS_STEMS

    return sorted(filter(_NAME.fullmatch, GITHUB_ASSETS_STEMS))


def _build_untrained(
    ultralytics: ModuleType, name: str, arguments: dict[str, Any]
) -> torch.nn.Module:
    try:
        module: torch.nn.Module = ultralytics.YOLO(f"{name}.yaml", verbose=False).model
        if arguments:
            module = type(module)(f"{name}.yaml", verbose=False, **arguments)
    except TypeError as error:
        raise build_error(f"{SOURCE}/{name}", arguments, error) from error
    except (FileNotFoundError, OSError, SyntaxError) as error:
        raise ModelError(
            f"{SOURCE} has no YAML file of {name}, from which it could be built without its "
            "trained weights; leave out random_weights, or open another network",
            parameter="random_weights",
        ) from error
    return module


def _build_trained(
    ultralytics: ModuleType, name: str, arguments: dict[str, Any]
) -> torch.nn.Module:
    if arguments:
        raise ModelError(
            f"{SOURCE}/{name} takes no arguments with its trained weights; give a seed as "
            "random_weights, or leave them out",
            parameter="random_weights",
        )
    try:
        module: torch.nn.Module = ultralytics.YOLO(f"{name}.pt").model
    except (OSError, RuntimeError, ValueError, ConnectionError) as error:
        raise download_error(f"{SOURCE}/{name}", describe_error(error)) from error
    return module.float()


def _import_ultralytics() -> ModuleType:
    try:
        return import_module(SOURCE)
    except ImportError as error:
        raise ModelError(
            "ultralytics' networks need the package ultralytics; pip install 'retroscope[yolo]'"
        ) from error


@contextmanager
def unchanged_process(offline: bool = False) -> Iterator[None]:
    """Restores what importing ultralytics changes in a process, for child processes too.

    It sets variables of the environment, such as the number of threads, and how numpy and torch
    print. `offline`: it neither connects to the internet nor installs packages.
    """
    variables, torch_options = dict(os.environ), vars(torch._tensor_str.PRINT_OPTS).copy()  # noqa: SLF001
    for key, value in _OFFLINE.items() if offline else ():
        os.environ.setdefault(key, value)
    try:
        with np.printoptions():
            yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        torch.set_printoptions(**torch_options)  # type: ignore[no-untyped-call]
