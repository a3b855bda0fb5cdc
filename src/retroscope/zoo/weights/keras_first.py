"""Keras up to 0.3: groups `layer_0`, `layer_1`, ..., told by their position alone.

`vgg16_weights.h5`, the first VGG16 for Keras, is such a file, with Theano's turned filters.
"""

from pathlib import Path

from retroscope.zoo.weights.foreign import THEANO, Foreign, canonical, paired
from retroscope.zoo.weights.hdf5 import MAGIC, Hdf5, opened


def recognises(path: Path, head: bytes) -> bool:
    if not head.startswith(MAGIC):
        return False
    with opened(path) as file:
        return "nb_layers" in file.root.attrs or _has_layers(file)


def read(path: Path) -> Foreign:
    """The layers that have numbers, called after their groups."""
    with opened(path) as file:
        names = [name for name in file.members(file.root) if name.startswith("layer_")]
        arrays = [
            (name, file.numbers(group, part))
            for name in names
            for group in [file.group(file.root, name)]
            for part in file.members(group)
        ]
        expected = file.root.attrs.get("nb_layers", len(names))
    decided = f"Keras's weights of up to version 0.3, {expected} layers by position"
    if expected != len(names):
        decided += f", {len(names)} of them there"
    layers = canonical(paired(arrays, str(path)), THEANO, str(path))
    return Foreign(
        str(path), layers, colour="BGR", decided=(decided, "its filters are Theano's, turned back")
    )


def _has_layers(file: Hdf5) -> bool:
    return "layer_names" not in file.root.attrs and "layer_0" in file.root
