"""Keras' networks on its torch backend: `keras/VGG16`, and models that Keras saved whole."""

import os
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch

from retroscope.errors import ModelError, did_you_mean
from retroscope.imaging.image import Fit
from retroscope.network import Network, in_words
from retroscope.zoo.architectures import imagenet
from retroscope.zoo.arguments import split
from retroscope.zoo.keras_graph import Keras, KerasModel, functional, is_channels_last

PARTS = {"config.json", "metadata.json", "model.weights.h5"}
"""What is in a model that Keras 3 saved."""

USUAL = 224


def open_named(name: str, trained: bool) -> Network:
    """A network of keras.applications, with ImageNet's weights or as it is initialised.

    `MobileNetV2?alpha=0.35&classes=10` hands arguments to its builder.
    """
    keras = _keras()
    name, arguments = split(name)
    known = [one for one in dir(keras.applications) if one[0].isupper()]
    if name not in known:
        hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
        raise ModelError(f"no model {name!r} in keras.applications; {hint}")
    builder = getattr(keras.applications, name)
    wanted = {"weights": "imagenet" if trained else None, **arguments}
    try:
        model = _made(keras, lambda: builder(**wanted))
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"cannot build keras/{name} with {arguments}: {in_words(error)}"
        ) from error
    except Exception as error:
        raise ModelError(
            f"cannot get the weights of keras/{name} ({in_words(error)}); check the connection, or "
            "give random_weights (--random-weights SEED)"
        ) from error
    mean, std, turned = _fed(sys.modules[builder.__module__].preprocess_input, _channels(model))
    if turned:
        _in_red_green_blue(model)
    side = _side(model)
    return Network(
        KerasModel(model, keras.device),
        fit=Fit(side, shorter=max(round(min(side) * 256 / USUAL), min(side))),
        mean=mean,
        std=std,
        labels=_labels(model),
        name=f"keras/{name}",
        decided=_TURNED if turned else (),
    )


_TURNED = ("the first filters are turned from blue, green, red to red, green, blue",)


def is_saved(path: Path) -> bool:
    """Whether a file is a whole model that Keras 3 saved."""
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return set(archive.namelist()) >= PARTS


def open_saved(path: Path) -> Network:
    """The network of a `.keras` file, which has its graph and its weights, and runs no code."""
    keras = _keras()
    if path.suffix != ".keras":
        raise ModelError(f"{path} is a model of Keras; rename it to {path.stem}.keras to open it")
    try:
        model = _made(
            keras, lambda: keras.saving.load_model(str(path), compile=False, safe_mode=True)
        )
    except Exception as error:
        raise ModelError(f"Keras cannot open {path}: {in_words(error)}") from error
    _check_takes_pictures(model, path)
    channels = _channels(model)
    return Network(
        KerasModel(model, keras.device),
        fit=Fit(_side(model)),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        labels=_labels(model),
        name=str(path),
        decided=(
            "the file does not tell how pictures were prepared: red, green, blue from 0 to 1, "
            "unless mean and std say otherwise (--mean, --std)",
        ),
    )


def _check_takes_pictures(model: Keras, path: Path) -> None:
    graph = functional(model)
    if graph is None:
        raise ModelError(
            f"{path} is a {type(model).__name__}, whose code Keras does not keep as a graph; save "
            "a functional or sequential model, or give a factory (file.py:factory)"
        )
    if len(graph.inputs) != 1 or len(graph.inputs[0].shape) != 4 or len(graph.outputs) != 1:
        shapes = ", ".join(str(tuple(one.shape)) for one in graph.inputs)
        raise ModelError(
            f"{path} takes {shapes} and gives {len(graph.outputs)} outputs; a network of pictures "
            "takes one batch of (height, width, channels) and gives one output"
        )


def _keras() -> ModuleType:
    """Keras on torch. Which backend Keras takes is asked once, when it is first imported."""
    before = os.environ.get("KERAS_BACKEND")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        keras = import_module("keras")
    except ImportError as error:
        raise ModelError(
            "Keras' models need the package keras; pip install 'retroscope[keras]'"
        ) from error
    finally:
        os.environ.pop("KERAS_BACKEND", None)
        os.environ.update({} if before is None else {"KERAS_BACKEND": before})
    backend = keras.backend.backend()
    if backend != "torch":
        raise ModelError(
            f"keras runs on {backend} in this program, and only torch can be looked back through; "
            "set KERAS_BACKEND=torch before keras is imported"
        )
    return keras


def _made(keras: ModuleType, make: Callable[[], Keras]) -> Keras:
    """What Keras builds on the processor, with numbers that torch's seed decides.

    Keras counts the names it makes up for each thread by itself: in a thread of its own a model
    has the same names whenever it is opened.
    """
    seed = int(torch.randint(2**31, ()))

    def made() -> Keras:
        kept = random.getstate()
        try:
            random.seed(seed)
            with keras.device("cpu"):
                return make()
        finally:
            random.setstate(kept)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(made).result()


def _fed(
    prepare: Callable[..., Keras], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """Mean and std of pixels from 0 to 1, and whether colours are turned, as Keras does them.

    Read from what Keras makes of a black picture, and of one that is red, green, blue.
    """
    if channels != 3:
        return (0.0,) * channels, (1.0,) * channels, False
    colours = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])[None].astype(np.float64)
    black, *primary = np.asarray(prepare(colours.copy(), data_format="channels_last"))[0]
    gains = np.stack(primary) - black
    turned = bool(np.allclose(gains, np.diag(np.diag(gains[:, ::-1]))[:, ::-1]))
    if turned:
        gains, black = gains[:, ::-1], black[::-1]
    slope = np.diag(gains)
    return tuple(map(float, 0 - black / slope)), tuple(map(float, 1 / slope)), turned


def _in_red_green_blue(model: Keras) -> None:
    """The filters that read the picture, with their colours in our order."""
    first = next(one for one in functional(model).operations if hasattr(one, "kernel"))
    with torch.no_grad():
        kernel = first.kernel.value
        kernel.copy_(kernel.flip(2))


def _shape(model: Keras) -> tuple[int | None, ...]:
    _, *shape = functional(model).inputs[0].shape
    return (shape[2], *shape[:2]) if is_channels_last(model) else tuple(shape)


def _channels(model: Keras) -> int:
    return _shape(model)[0] or 3


def _side(model: Keras) -> tuple[int, int]:
    _, height, width = _shape(model)
    return height or USUAL, width or USUAL


def _labels(model: Keras) -> tuple[str, ...]:
    """ImageNet's classes, where there are a thousand."""
    shape = functional(model).outputs[0].shape
    return imagenet() if len(shape) == 2 and shape[1] == 1000 else ()
