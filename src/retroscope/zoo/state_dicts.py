"""Opens a state dict as the torchvision network of its shapes, or as the network `arch` names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from re import sub

import torch

from retroscope.errors import ModelError
from retroscope.network import Network
from retroscope.zoo import torchvision_models
from retroscope.zoo.load_weights import load_tensors
from retroscope.zoo.source_conventions import IMAGENET_CLASSES, byte_std, scale_mean
from retroscope.zoo.weights.imported_weights import (
    ImportedWeights,
    LayerWeights,
    StateDict,
    convert_to_rgb,
)
from retroscope.zoo.weights.oxford_fingerprint import identify_oxford_vgg

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.")
"""What wrappers put before every name: data parallelism, compilation, training loops."""

AUXILIARY_CLASSIFIERS = ("aux1.", "aux2.", "AuxLogits.")
"""Used only in training; left out of the networks that are built for the weights."""

TRAINING_ARGUMENTS = {
    "googlenet": "aux_logits=False&transform_input=True",
    "inception_v3": "aux_logits=False&transform_input=True",
}
"""How torchvision builds these two for its own weights, which came from another library."""

Tensors = dict[str, torch.Tensor]
Shapes = Mapping[str, tuple[int, ...]]


def open_state_dict(
    state: StateDict, arch: str | None, open_untrained: Callable[[str], Network]
) -> Network:
    """The network of a state dict, with the preprocessing and labels of its architecture."""
    tensors = _normalise_names(state.tensors)
    sentences = state.inferred
    if arch is None:
        arch = _find_torchvision_model(state.path, tensors)
        sentences += (f"its names and shapes are those of {arch}",)
    with torchvision_models.leave_weights_zero():  # the file has them all
        net = open_untrained(_add_training_arguments(arch))
    tensors = _select_tensors(net.module, state.tensors, tensors)
    tensors, mean, oxford_sentences = _convert_oxford_vgg(state.path, tensors)
    load_tensors(net.module, tensors, path=state.path)
    stated = net.preprocessing.stated()
    if mean:
        stated |= {"mean": scale_mean(mean), "std": byte_std(mean)}
    return Network(
        net.module,
        fit=net.preprocessing.fit,
        labels=net.labels,
        name=state.path,
        inferred=(*sentences, *oxford_sentences),
        **stated,
    )


def _normalise_names(tensors: Tensors) -> Tensors:
    """The same tensors without wrappers' prefixes and with today's names."""
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            stripped = {name.removeprefix(prefix): tensors[name] for name in tensors}
            return _normalise_names(stripped)
    return {_rename_densenet(name): tensor for name, tensor in tensors.items()}


def _rename_densenet(name: str) -> str:
    """torchvision's DenseNet files still have names with a dot that the modules have lost."""
    return sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)


def _select_tensors(module: torch.nn.Module, original: Tensors, normalised: Tensors) -> Tensors:
    """The tensors under the names that fit the module better, without auxiliary classifiers."""
    expected = module.state_dict()
    tensors = max((original, normalised), key=lambda names: len(names.keys() & expected.keys()))
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name in expected or not name.startswith(AUXILIARY_CLASSIFIERS)
    }


def _add_training_arguments(arch: str) -> str:
    name = arch.partition("?")[0].removeprefix("torchvision/")
    arguments = TRAINING_ARGUMENTS.get(name, "")
    if not arguments or "transform_input" in arch:
        return arch
    return f"{arch}{'&' if '?' in arch else '?'}{arguments}"


def _find_torchvision_model(path: str, tensors: Tensors) -> str:
    """The name of torchvision's network that has tensors of these names and shapes."""
    shapes = {
        name: tuple(tensor.shape) for name, tensor in tensors.items() if _is_distinctive(name)
    }
    likely_first = sorted(torchvision_models.names(), key=lambda name: name not in Path(path).stem)
    for name in likely_first:
        classes = _match_class_count(torchvision_models.state_dict_shapes(name), shapes)
        if classes:
            arguments = "" if classes == IMAGENET_CLASSES else f"?num_classes={classes}"
            return f"torchvision/{name}{arguments}"
    first = next(iter(tensors), "none")
    raise ModelError(
        f"{path}: its {len(tensors)} tensors ({first!r} ...) match no torchvision network; name "
        "the network as arch, such as timm/NAME or file.py:factory",
        parameter="arch",
    )


def _match_class_count(model_shapes: Shapes, shapes: Shapes) -> int:
    """The number of classes with which the model has these shapes, or 0 if it never has."""
    model_shapes = {name: model_shapes[name] for name in model_shapes if _is_distinctive(name)}
    if model_shapes.keys() != shapes.keys():
        return 0
    pairs = [(model_shapes[name], shape) for name, shape in shapes.items()]
    heads = [(expected, shape) for expected, shape in pairs if expected != shape]
    if any(len(expected) != len(shape) or expected[1:] != shape[1:] for expected, shape in heads):
        return 0
    outputs = {(expected[0], shape[0]) for expected, shape in heads}
    if len(outputs) > 1:
        return 0
    model_classes, classes = next(iter(outputs), (IMAGENET_CLASSES, IMAGENET_CLASSES))
    return classes if model_classes == IMAGENET_CLASSES else 0


def _is_distinctive(name: str) -> bool:
    """Whether every state dict of the architecture has this tensor."""
    return not name.startswith(AUXILIARY_CLASSIFIERS) and not name.endswith("num_batches_tracked")


def _convert_oxford_vgg(
    path: str, tensors: Tensors
) -> tuple[Tensors, tuple[float, ...], tuple[str, ...]]:
    """The tensors for RGB, and Oxford's mean, if these are Oxford's weights under torch's names."""
    layers = _vgg_convolutions(tensors)
    if not layers:
        return tensors, (), ()
    weights = convert_to_rgb(identify_oxford_vgg(ImportedWeights(path, layers)))
    if not weights.mean:
        return tensors, (), ()
    converted = {
        f"{name}.weight": torch.from_numpy(layer.weight) for name, layer in weights.layers.items()
    }
    sentence = f"pixels are red, green, blue from 0 to 255, minus {weights.mean}"
    return {**tensors, **converted}, weights.mean, (*weights.inferred, sentence)


def _vgg_convolutions(tensors: Tensors) -> dict[str, LayerWeights]:
    """The convolutions of a network that starts like a VGG network, else none."""
    filters = {
        name.removesuffix(".weight"): tensor
        for name, tensor in tensors.items()
        if tensor.dim() == 4
    }
    first = next(iter(filters.values()), torch.empty(0))
    if first.shape[1:] != (3, 3, 3) or not all(f"{name}.bias" in tensors for name in filters):
        return {}
    return {
        name: LayerWeights(weight.float().numpy(), tensors[f"{name}.bias"].float().numpy())
        for name, weight in filters.items()
    }
