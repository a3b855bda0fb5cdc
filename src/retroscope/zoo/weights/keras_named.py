"""Keras 1 and 2, and `.h5` of Keras 3: the attribute `layer_names`, and `weight_names` in each.

keras.applications' files are such files, for TensorFlow's kernels and for Theano's.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retroscope.errors import ModelError
from retroscope.zoo.weights.foreign import (
    TENSORFLOW,
    THEANO,
    Foreign,
    Layout,
    Raw,
    canonical,
    paired,
)
from retroscope.zoo.weights.hdf5 import MAGIC, Hdf5, opened

APPLICATIONS = "block1_conv1"
"""How keras.applications calls the first layer of its VGG networks, which take BGR."""


def recognises(path: Path, head: bytes) -> bool:
    if not head.startswith(MAGIC):
        return False
    with opened(path) as file:
        return _listed(file) is not None


def read(path: Path) -> Foreign:
    """The layers, in the order in which the file lists them."""
    with opened(path) as file:
        raws = paired(_arrays(file), str(path))
        backend, channels_first = file.text("backend"), _channels_first(file)
    layout, how = _layout(raws, backend, path, channels_first=channels_first)
    known = any(APPLICATIONS in raw.name for raw in raws)
    return Foreign(
        str(path),
        canonical(raws, layout, str(path)),
        colour="BGR" if known else "",
        maps_last=layout.maps_last,
        decided=(f"Keras's weights by name, {len(raws)} layers that have some", how),
    )


def _listed(file: Hdf5) -> Any | None:
    """The group whose layers are listed; a file of a whole model has it one step inside."""
    for group in (file.root, file.member(file.root, "model_weights")):
        if group is not None and file.texts(group, "layer_names") is not None:
            return group
    return None


def _arrays(file: Hdf5) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    listed = _listed(file)
    for layer in file.texts(listed, "layer_names") or []:
        group = file.group(listed, layer)
        names = file.texts(group, "weight_names")
        if names is None:
            raise ModelError(f"{file.path}: the layer {layer!r} does not list its weight_names")
        for name in names:
            yield _called(name, layer), file.numbers(group, name)


def _called(weight: str, layer: str) -> str:
    """The layer that a weight belongs to; a model may stand in the place of a layer."""
    inner = weight.partition(":")[0].split("/")
    return inner[-2] if len(inner) > 1 else layer


def _channels_first(file: Hdf5) -> bool:
    return '"data_format": "channels_first"' in file.text("model_config")


def _layout(
    raws: list[Raw], backend: str, path: Path, *, channels_first: bool
) -> tuple[Layout, str]:
    """Filters follow each other, out to in, along the axes of one layout only."""
    filters = [raw for raw in raws if raw.weight.ndim == 4]
    if _follow(filters, TENSORFLOW.axes):
        turned = backend == "theano"
        layout = Layout("HWIO", turned=turned, maps_last=not channels_first)
    elif _follow(filters, THEANO.axes):
        turned = backend in ("", "theano")
        layout = Layout("OIHW", turned=turned)
    else:
        raise ModelError(
            f"{path}: its filters do not follow each other, as height, width, in, out nor as out, "
            "in, height, width; a layer is missing or has the wrong shape, or the network has "
            "branches, and none with branches is known in this format"
        )
    how = "Theano's, turned back" if turned else "not turned"
    return layout, f"its filters are laid out as {', '.join(layout.axes)}, and {how}"


def _follow(filters: list[Raw], axes: str) -> bool:
    ins, outs = axes.index("I"), axes.index("O")
    biased = all(raw.bias is None or raw.weight.shape[outs] == raw.bias.shape[0] for raw in filters)
    return biased and all(
        one.weight.shape[outs] == after.weight.shape[ins] for one, after in pairwise(filters)
    )
