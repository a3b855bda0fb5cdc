"""The three HDF5 formats in which Keras saves weights.

- Keras up to 0.3: groups `layer_0`, `layer_1`, ... by position. The first VGG16 for Keras,
  `vgg16_weights.h5`, is such a file, with Theano's flipped filters.
- Keras 1 and 2, and `.h5` files of Keras 3: attribute `layer_names`, and `weight_names` for each
  layer, with TensorFlow's or Theano's layout. The files of keras.applications are of this kind.
- Keras 3, `.weights.h5`: `layers/<layer>/vars/0` and `1`, nested as the models are.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from retroscope.errors import ModelError
from retroscope.zoo.weights.hdf5 import MAGIC, Hdf5File, open_hdf5
from retroscope.zoo.weights.imported_weights import (
    TENSORFLOW,
    THEANO,
    AnyArray,
    ImportedWeights,
    RawLayer,
    WeightLayout,
    convert_layers,
    pair_biases,
    sort_convolutions_first,
)

VGG_FIRST_LAYER = "block1_conv1"
"""The first layer of keras.applications' VGG networks, which take blue, green, red."""

KERAS_3_GROUPS = ("layers", "_layer_checkpoint_dependencies")
"""Where Keras 3 keeps layers; the second in its first versions."""

# Keras up to 0.3


def is_keras_0(path: Path, head: bytes) -> bool:
    """Layers by position: a count of layers, or a group `layer_0` without a list of names."""
    if not head.startswith(MAGIC):
        return False
    with open_hdf5(path) as file:
        attributes = file.root.attrs
        return "nb_layers" in attributes or (
            "layer_names" not in attributes and "layer_0" in file.root
        )


def read_keras_0(path: Path) -> ImportedWeights:
    """The layers with weights, named after their groups."""
    with open_hdf5(path) as file:
        names = [name for name in file.sorted_names(file.root) if name.startswith("layer_")]
        arrays = [
            (name, file.array(group, part))
            for name in names
            for group in [file.group(file.root, name)]
            for part in file.sorted_names(group)
        ]
        counted = file.attribute(file.root, "nb_layers")
        layer_count = len(names) if counted is None else int(counted)
    sentence = f"weights saved by Keras 0.3 or earlier, {layer_count} layers by position"
    if layer_count != len(names):
        sentence += f", {len(names)} of them in the file"
    return ImportedWeights(
        str(path),
        convert_layers(pair_biases(arrays, str(path)), THEANO, str(path)),
        colour_order="BGR",
        inferred=(sentence, "its filters are in Theano's layout; they are flipped"),
    )


# Keras 1 and 2


def is_keras_1(path: Path, head: bytes) -> bool:
    """A list of layer names."""
    if not head.startswith(MAGIC):
        return False
    with open_hdf5(path) as file:
        return _layers_group(file) is not None


def read_keras_1(path: Path) -> ImportedWeights:
    """The layers, in the order in which the file lists them."""
    with open_hdf5(path) as file:
        raw_layers = pair_biases(_listed_arrays(file), str(path))
        backend = file.root_text("backend")
        channels_first = '"data_format": "channels_first"' in file.root_text("model_config")
    layout, description = _infer_layout(raw_layers, backend, path, channels_first=channels_first)
    is_applications_vgg = any(VGG_FIRST_LAYER in layer.name for layer in raw_layers)
    return ImportedWeights(
        str(path),
        convert_layers(raw_layers, layout, str(path)),
        colour_order="BGR" if is_applications_vgg else "",
        maps_last=layout.maps_last,
        inferred=(f"weights saved by Keras, {len(raw_layers)} layers by name", description),
    )


def _layers_group(file: Hdf5File) -> Any | None:
    """The group that lists its layers; in the file of a whole model, `model_weights`."""
    for group in (file.root, file.find(file.root, "model_weights")):
        if group is not None and file.text_list(group, "layer_names") is not None:
            return group
    return None


def _listed_arrays(file: Hdf5File) -> Iterator[tuple[str, AnyArray]]:
    layers = _layers_group(file)
    for layer in file.text_list(layers, "layer_names") or []:
        group = file.group(layers, layer)
        names = file.text_list(group, "weight_names")
        if names is None:
            raise ModelError(
                f"{file.path}: the layer {layer!r} does not list its weight_names; download it "
                "again"
            )
        for name in names:
            yield _layer_of_weight(name, layer), file.array(group, name)


def _layer_of_weight(weight: str, layer: str) -> str:
    """The layer that a weight belongs to; a listed layer may be a whole model."""
    parts = weight.partition(":")[0].split("/")
    return parts[-2] if len(parts) > 1 else layer


def _infer_layout(
    raw_layers: list[RawLayer], backend: str, path: Path, *, channels_first: bool
) -> tuple[WeightLayout, str]:
    """The layout in which the outputs of every convolution are the inputs of the next one."""
    convolutions = [layer for layer in raw_layers if layer.weight.ndim == 4]
    if _is_chain(convolutions, TENSORFLOW.axes):
        flipped = backend == "theano"
        layout = WeightLayout("HWIO", flipped=flipped, maps_last=not channels_first)
    elif _is_chain(convolutions, THEANO.axes):
        flipped = backend in ("", "theano")
        layout = WeightLayout("OIHW", flipped=flipped)
    else:
        raise ModelError(
            f"{path}: the channels of its convolutions do not match from layer to layer, neither "
            "as H, W, I, O nor as O, I, H, W; a layer is missing or has the wrong shape, or the "
            "network has branches, which cannot be read from this format"
        )
    description = "flipped by Theano; they are flipped back" if flipped else "not flipped"
    return layout, f"its filters are stored as {', '.join(layout.axes)} and {description}"


def _is_chain(convolutions: list[RawLayer], axes: str) -> bool:
    inputs, outputs = axes.index("I"), axes.index("O")
    biases_fit = all(
        layer.bias is None or layer.weight.shape[outputs] == layer.bias.shape[0]
        for layer in convolutions
    )
    return biases_fit and all(
        before.weight.shape[outputs] == after.weight.shape[inputs]
        for before, after in pairwise(convolutions)
    )


# Keras 3


def is_keras_3(path: Path, head: bytes) -> bool:
    """A group of layers."""
    if not head.startswith(MAGIC):
        return False
    with open_hdf5(path) as file:
        return any(name in file.root for name in KERAS_3_GROUPS)


def read_keras_3(path: Path) -> ImportedWeights:
    """The layers, convolutions first, in the order of the numbers in their names.

    The file does not record the order in which layers run, but numbers each kind in that order.
    """
    arrays: list[tuple[str, AnyArray]] = []
    original_names = set()
    with open_hdf5(path) as file:
        for group_name in KERAS_3_GROUPS:
            group = file.find(file.root, group_name)
            for name, variables in _nested_layers(file, group, set()) if group is not None else ():
                original_names.add("".join(file.text_list(variables, "name") or []))
                arrays += [
                    (name, file.array(variables, part)) for part in file.sorted_names(variables)
                ]
    raw_layers = sort_convolutions_first(pair_biases(arrays, str(path)))
    return ImportedWeights(
        str(path),
        convert_layers(raw_layers, TENSORFLOW, str(path)),
        colour_order="BGR" if VGG_FIRST_LAYER in original_names else "",
        maps_last=True,
        inferred=(f"weights saved by Keras 3, {len(raw_layers)} layers",),
    )


def _nested_layers(file: Hdf5File, group: Any, visited: set[int]) -> Iterator[tuple[str, Any]]:
    """Every layer below a group, with the group of its variables."""
    for name in file.sorted_names(group):
        layer: Any = file.find(group, name)
        address = file.h5py.h5o.get_info(layer.id).addr
        if address in visited or not isinstance(layer, file.h5py.Group):
            continue
        visited.add(address)
        variables = file.find(layer, "vars")
        if isinstance(variables, file.h5py.Group) and len(variables):
            yield name, variables
        nested = file.find(layer, "layers")
        if isinstance(nested, file.h5py.Group):
            yield from _nested_layers(file, nested, visited)
