"""Opens a weight file as a network: its format, its architecture and its preprocessing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import torch

from retroscope.errors import ModelError
from retroscope.network import Network
from retroscope.zoo import keras_models, onnx_models, state_dicts, torchvision_models
from retroscope.zoo.caffe_models import (
    ARCHITECTURES,
    Architecture,
    architecture_fit,
    identify_architecture,
    match_modules,
    weighted_modules,
)
from retroscope.zoo.load_weights import load_layers
from retroscope.zoo.source_conventions import (
    UNKNOWN_PREPROCESSING,
    byte_std,
    imagenet_labels,
    scale_mean,
)
from retroscope.zoo.weights import read_weights
from retroscope.zoo.weights.imported_weights import (
    ImportedWeights,
    StateDict,
    convert_to_channels_first,
    convert_to_rgb,
)
from retroscope.zoo.weights.oxford_fingerprint import identify_oxford_vgg

SUFFIXES = (
    *(".h5", ".hdf5", ".npy", ".npz", ".caffemodel"),
    *(".safetensors", ".pt", ".pth", ".ckpt", ".keras", ".onnx"),
)
"""Names that end like this are read as paths, even if there is no such file."""


@dataclass(frozen=True)
class CompleteModelFormat:
    """A file format that contains the network as well as its weights."""

    recognise: Callable[[Path], bool]
    open: Callable[[Path], Network]


COMPLETE_MODEL_FORMATS = (
    CompleteModelFormat(keras_models.is_keras_model, keras_models.open_keras_model),
    CompleteModelFormat(onnx_models.is_onnx, onnx_models.open_onnx),
)

OpenUntrained = Callable[[str], Network]
"""Opens a network by its name, without trained weights."""


def is_weight_file(name: str) -> bool:
    """Whether the name of a model is the path of a weight file."""
    path = Path(name)
    if path.is_file():
        is_identifier = name.isidentifier()  # else torchvision need not be imported for its names
        return path.suffix != ".py" and not (is_identifier and name in torchvision_models.names())
    base = name.partition("?")[0].removeprefix(PureWindowsPath(name).drive)
    return path.suffix.lower() in SUFFIXES and ":" not in base


def refuse_location(name: str) -> None:
    """Raises if the name is that of a folder, or of a path to nothing."""
    path = Path(name)
    if name and path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        advice = (
            f"give a weight file in it, such as {str(files[0])!r}"
            if files
            else ("it has no weight file that retroscope reads")
        )
        raise ModelError(f"{name!r} is a folder; {advice}")
    if path.is_absolute() or name.startswith(("./", "../", "~")):
        raise ModelError(f"no file {name!r}; give the path of a weight file")


def open_weight_file(name: str, arch: str | None, open_untrained: OpenUntrained) -> Network:
    """The network of a weight file; `arch` names it if the file does not identify it."""
    path = Path(name)
    if not path.is_file():
        raise ModelError(f"no file {name!r}; give the path of a weight file")
    for model_format in COMPLETE_MODEL_FORMATS:
        if model_format.recognise(path):
            if arch is not None:
                raise ModelError(f"{path} contains its network; leave out arch", parameter="arch")
            return model_format.open(path)
    weights = read_weights(path)
    if isinstance(weights, StateDict):
        return state_dicts.open_state_dict(weights, arch, open_untrained)
    upright = identify_oxford_vgg(weights)
    rows = [row for row in ARCHITECTURES if row.name == arch]
    if arch is None or rows:
        return _open_by_shapes(upright, rows or ARCHITECTURES)
    return _load_in_order(upright, arch, open_untrained(arch))


def _open_by_shapes(weights: ImportedWeights, candidates: Sequence[Architecture]) -> Network:
    """The network that the shapes of the weights identify."""
    row, ordered, side = identify_architecture(weights, candidates)
    weights = convert_to_rgb(ordered)
    shapes = {name: layer.weight.shape for name, layer in weights.layers.items()}
    with torch.device("meta"):
        module = row.build(shapes, weights.operations)
    layer_names = match_modules(row, weights, module)
    load_layers(module, weights.layers, layer_names, path=weights.path)
    mean = weights.mean or row.mean if weights.colour_order else ()
    return Network(
        module,
        fit=architecture_fit(row, side),
        labels=_infer_labels(weights),
        name=weights.path,
        inferred=(*weights.inferred, _describe_preprocessing(mean)),
        mean=scale_mean(mean),
        std=byte_std(mean),
    )


def _infer_labels(weights: ImportedWeights) -> tuple[str, ...]:
    """ImageNet's labels if the last layer is fully connected with 1000 outputs."""
    last = list(weights.layers.values())[-1]
    return () if last.is_conv else imagenet_labels(last.outputs)


def _describe_preprocessing(mean: tuple[float, ...]) -> str:
    if not mean:
        return UNKNOWN_PREPROCESSING
    numbers = ", ".join(f"{channel_mean:g}" for channel_mean in mean)
    return f"pixels are red, green, blue from 0 to 255, minus {numbers}"


def _load_in_order(weights: ImportedWeights, arch: str, net: Network) -> Network:
    """The network that `arch` names, its layers filled in the order of its modules."""
    modules = weighted_modules(net.module)
    if len(modules) != len(weights.layers):
        raise ModelError(
            f"{weights.path} has {len(weights.layers)} layers with weights, but {arch} has "
            f"{len(modules)}; name another network as arch",
            parameter="arch",
        )
    weights = convert_to_rgb(convert_to_channels_first(weights))
    layer_names = dict(zip(modules, weights.layers, strict=True))
    load_layers(net.module, weights.layers, layer_names, path=weights.path)
    stated = net.preprocessing.stated()
    if weights.mean:
        stated |= {"mean": scale_mean(weights.mean), "std": byte_std(weights.mean)}
    return Network(
        net.module,
        fit=net.preprocessing.fit,
        labels=net.labels or _infer_labels(weights),
        name=weights.path,
        inferred=(*weights.inferred, f"its layers are loaded into {arch} in order"),
        **stated,
    )
