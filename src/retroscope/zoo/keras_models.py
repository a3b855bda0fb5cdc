"""Keras networks on its torch backend: `keras/VGG16`, and whole models saved as `.keras`."""

import os
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch

from retroscope.errors import ModelError, choose, describe_error
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.zoo.keras_graph import Keras, KerasModel, functional_model, is_channels_last
from retroscope.zoo.source_conventions import (
    UNKNOWN_PREPROCESSING,
    build_error,
    download_error,
    imagenet_labels,
    split_arguments,
)
from retroscope.zoo.weights.file_limits import translate_read_errors

ARCHIVE_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
"""What a model that Keras 3 saved contains."""

DEFAULT_SIDE = 224

Numbers = tuple[float, ...]


def open_named(name: str, trained: bool) -> Network:
    """A network of keras.applications with ImageNet weights, or initialised at random.

    The arguments in `MobileNetV2?alpha=0.35&classes=10` are passed to its builder.
    """
    keras = _import_keras()
    name, arguments = split_arguments(name)
    applications = vars(keras.applications)
    builders = {key: applications[key] for key in sorted(applications) if key[0].isupper()}
    builder = choose("keras.applications model", name, builders, error=ModelError)
    model = _build_application(keras, name, builder, arguments=arguments, trained=trained)
    preprocess = sys.modules[builder.__module__].preprocess_input
    mean, std, bgr = _measure_preprocessing(preprocess, _channels(model))
    if bgr:
        _convert_filters_to_rgb(model)
    size = _input_size(model)
    return Network(
        KerasModel(model, keras.device),
        fit=Fit(size, shorter=max(round(min(size) * 256 / DEFAULT_SIDE), min(size))),
        mean=mean,
        std=std,
        labels=_infer_labels(model),
        name=f"keras/{name}",
        inferred=("the first filters are reordered to red, green, blue",) if bgr else (),
    )


def _build_application(
    keras: ModuleType,
    name: str,
    builder: Callable[..., Keras],
    *,
    arguments: dict[str, Any],
    trained: bool,
) -> Keras:
    options = {"weights": "imagenet" if trained else None, **arguments}
    try:
        return _build_in_thread(keras, lambda: builder(**options))
    except (TypeError, ValueError) as error:
        raise build_error(f"keras/{name}", arguments, error) from error
    except Exception as error:  # Keras raises a plain Exception if a download fails
        if not trained:
            raise build_error(f"keras/{name}", arguments, error) from error
        raise download_error(f"keras/{name}", describe_error(error)) from error


def is_keras_model(path: Path) -> bool:
    """Whether a file is a whole model that Keras 3 saved."""
    with translate_read_errors(path):
        if not is_zipfile(path):
            return False
        with ZipFile(path) as archive:
            return set(archive.namelist()) >= ARCHIVE_MEMBERS


def open_keras_model(path: Path) -> Network:
    """The network of a `.keras` file, loaded in Keras' safe mode, which runs no code from it."""
    keras = _import_keras()
    if path.suffix != ".keras":
        raise ModelError(f"{path} is a Keras model; rename it to {path.stem}.keras to open it")
    try:
        model = _build_in_thread(
            keras, lambda: keras.saving.load_model(str(path), compile=False, safe_mode=True)
        )
    except Exception as error:  # a damaged or unsafe file can make Keras raise anything
        raise ModelError(f"Keras cannot open {path}: {describe_error(error)}") from error
    _check_takes_images(model, path)
    channels = _channels(model)
    return Network(
        KerasModel(model, keras.device),
        fit=Fit(_input_size(model)),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        labels=_infer_labels(model),
        name=str(path),
        inferred=(UNKNOWN_PREPROCESSING,),
    )


def _check_takes_images(model: Keras, path: Path) -> None:
    graph = functional_model(model)
    if graph is None:
        raise ModelError(
            f"{path} is a {type(model).__name__}, whose code Keras does not store as a graph; save "
            "a functional or sequential model, or open it from a factory (file.py:factory)"
        )
    if len(graph.inputs) != 1 or len(graph.inputs[0].shape) != 4 or len(graph.outputs) != 1:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in graph.inputs)
        raise ModelError(
            f"{path} has inputs of {shapes} and {len(graph.outputs)} outputs; save a network with "
            "one input of (batch, height, width, channels) and one output"
        )


def _import_keras() -> ModuleType:
    """Keras on its torch backend, which must be chosen before Keras is first imported."""
    backend = os.environ.get("KERAS_BACKEND")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        keras = import_module("keras")
    except ImportError as error:
        raise ModelError(
            "Keras networks need the package keras; pip install 'retroscope[keras]'"
        ) from error
    finally:
        os.environ.pop("KERAS_BACKEND", None)
        os.environ.update({} if backend is None else {"KERAS_BACKEND": backend})
    active_backend = keras.backend.backend()
    if active_backend != "torch":
        raise ModelError(
            f"keras runs on {active_backend} in this program, but retroscope needs its torch "
            "backend; set KERAS_BACKEND=torch before keras is imported"
        )
    return keras


def _build_in_thread(keras: ModuleType, build: Callable[[], Keras]) -> Keras:
    """Builds a model on the CPU, with random numbers that torch's seed determines.

    Keras numbers the names it generates per thread: in a new thread a model always gets the same.
    """
    seed = int(torch.randint(2**31, ()))

    def build_seeded() -> Keras:
        random_state = random.getstate()
        try:
            random.seed(seed)
            with keras.device("cpu"):
                return build()
        finally:
            random.setstate(random_state)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build_seeded).result()


def _measure_preprocessing(
    preprocess: Callable[..., Keras], channels: int
) -> tuple[Numbers, Numbers, bool]:
    """Mean and std for pixels from 0 to 1, and whether the preprocessing swaps red and blue.

    Measured on four pixels: black, red, green and blue.
    """
    if channels != 3:
        return (0.0,) * channels, (1.0,) * channels, False
    colours = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])[None].astype(np.float64)
    black, *primaries = np.asarray(preprocess(colours.copy(), data_format="channels_last"))[0]
    gains = np.stack(primaries) - black
    bgr = bool(np.allclose(gains, np.diag(np.diag(gains[:, ::-1]))[:, ::-1]))
    if bgr:
        gains, black = gains[:, ::-1], black[::-1]
    slope = np.diag(gains)
    return tuple(map(float, 0 - black / slope)), tuple(map(float, 1 / slope)), bgr


def _convert_filters_to_rgb(model: Keras) -> None:
    """Swaps red and blue in the first filters instead of in the preprocessing."""
    operations = functional_model(model).operations
    first = next(operation for operation in operations if hasattr(operation, "kernel"))
    with torch.no_grad():
        kernel = first.kernel.value
        kernel.copy_(kernel.flip(2))


def _input_shape(model: Keras) -> tuple[int | None, ...]:
    """Channels, height and width of the input; None where they are not fixed."""
    _, *shape = functional_model(model).inputs[0].shape
    return (shape[2], *shape[:2]) if is_channels_last(model) else tuple(shape)


def _channels(model: Keras) -> int:
    return _input_shape(model)[0] or 3


def _input_size(model: Keras) -> tuple[int, int]:
    _, height, width = _input_shape(model)
    return height or DEFAULT_SIDE, width or DEFAULT_SIDE


def _infer_labels(model: Keras) -> tuple[str, ...]:
    shape = functional_model(model).outputs[0].shape
    return imagenet_labels(shape[1]) if len(shape) == 2 else ()
