"""A weight file as a network: what it is, whose it is, and how pictures are fed to it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from retroscope.errors import ModelError
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.zoo import keras_models, onnx_models, state_dicts, torchvision_models
from retroscope.zoo.architectures import (
    ARCHITECTURES,
    Architecture,
    imagenet,
    places,
    recognised,
    weighty,
)
from retroscope.zoo.caffe_models import fit, of_one, unscaled
from retroscope.zoo.load_weights import fill
from retroscope.zoo.weights import read_weights
from retroscope.zoo.weights.fingerprint import identified
from retroscope.zoo.weights.foreign import (
    Foreign,
    State,
    in_channels_first,
    in_red_green_blue,
)

SUFFIXES = (
    *(".h5", ".hdf5", ".npy", ".npz", ".caffemodel"),
    *(".safetensors", ".pt", ".pth", ".ckpt", ".keras", ".onnx"),
)
"""A name that ends so is meant as a file, also where there is none."""

WHOLE = (
    (keras_models.is_saved, keras_models.open_saved),
    (onnx_models.is_saved, onnx_models.open_saved),
)
"""Files that have their network with its weights: how one is known, and how it is opened."""

ByName = Callable[[str], Network]
"""Opens a network by its name, without trained weights."""


def is_file(name: str) -> bool:
    """Whether a model's name is the path of a weight file."""
    path = Path(name)
    if path.is_file():
        return path.suffix != ".py" and name not in torchvision_models.names()
    return path.suffix.lower() in SUFFIXES and ":" not in name.partition("?")[0]


def open_file(name: str, arch: str | None, by_name: ByName) -> Network:
    """The network of a weight file; `arch` says which, where the file cannot."""
    path = Path(name)
    if not path.is_file():
        raise ModelError(f"no file {name!r}; give the path of a weight file")
    whole = next((opened for is_one, opened in WHOLE if is_one(path)), None)
    if whole is not None:
        return _whole(path, arch, whole)
    found = read_weights(path)
    if isinstance(found, State):
        return state_dicts.open_state(found, arch, by_name)
    upright = identified(found)
    named = [row for row in ARCHITECTURES if row.name == arch]
    if arch is None or named:
        return _told(upright, named or ARCHITECTURES)
    return _into(upright, arch, by_name(arch))


def _whole(path: Path, arch: str | None, opened: Callable[[Path], Network]) -> Network:
    if arch is not None:
        raise ModelError(f"{path} tells its network itself; leave out arch (--arch)")
    return opened(path)


def _told(foreign: Foreign, among: Sequence[Architecture]) -> Network:
    """The network that the shapes of the weights tell."""
    row, ordered, side = recognised(foreign, among)
    foreign = in_red_green_blue(ordered)
    with torch.device("meta"):
        module = row.build({name: one.weight.shape for name, one in foreign.layers.items()},
                           foreign.kinds)  # fmt: skip
    fill(module, foreign.layers, places(row, foreign, module), path=foreign.path)
    return _network(foreign, module, row, fit(row, side))


def _network(foreign: Foreign, module: torch.nn.Module, row: Architecture, how: Fit) -> Network:
    labels = _labels(foreign)
    mean = foreign.mean or row.mean if foreign.colour else ()
    return Network(
        module,
        fit=how,
        labels=labels,
        name=foreign.path,
        decided=(*foreign.decided, _fed(foreign, row.mean)),
        mean=of_one(mean),
        std=unscaled(mean),
    )


def _labels(foreign: Foreign) -> tuple[str, ...]:
    """ImageNet's classes, where there are a thousand."""
    last = list(foreign.layers.values())[-1]
    return imagenet() if not last.is_conv and last.outputs == 1000 else ()


def _fed(foreign: Foreign, mean: tuple[float, ...]) -> str:
    if not foreign.colour:
        return (
            "the file does not tell how pictures were prepared: red, green, blue from 0 to 1, "
            "unless mean and std say otherwise (--mean, --std)"
        )
    numbers = ", ".join(f"{one:g}" for one in foreign.mean or mean)
    return f"pictures are red, green, blue from 0 to 255, less {numbers}"


def _into(foreign: Foreign, arch: str, net: Network) -> Network:
    """The named network with these weights, layer by layer in the order of its parts."""
    there = weighty(net.module)
    if len(there) != len(foreign.layers):
        raise ModelError(
            f"{foreign.path} has {len(foreign.layers)} layers with weights, {arch} has "
            f"{len(there)}; it is not the network of this file"
        )
    foreign = in_red_green_blue(in_channels_first(foreign))
    fill(net.module, foreign.layers, dict(zip(there, foreign.layers, strict=True)),
         path=foreign.path)  # fmt: skip
    own = net.preprocessing
    return Network(
        net.module,
        fit=own.fit,
        labels=net.labels or _labels(foreign),
        name=foreign.path,
        decided=(*foreign.decided, f"its layers are put into {arch}, one after the other"),
        mean=of_one(foreign.mean) or own.mean,
        std=unscaled(foreign.mean) or own.std,
    )
