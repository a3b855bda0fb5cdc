"""Keras 3's `.weights.h5`: `layers/<layer>/vars/0` and `1`, as deep as models are nested."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retroscope.zoo.weights.foreign import TENSORFLOW, Foreign, by_number, canonical, paired
from retroscope.zoo.weights.hdf5 import MAGIC, Hdf5, opened
from retroscope.zoo.weights.keras_named import APPLICATIONS

HOMES = ("layers", "_layer_checkpoint_dependencies")


def recognises(path: Path, head: bytes) -> bool:
    if not head.startswith(MAGIC):
        return False
    with opened(path) as file:
        return any(home in file.root for home in HOMES)


def read(path: Path) -> Foreign:
    """The layers, convolutions first, each in the order of its numbers.

    The file does not keep the order in which they run, but numbers the layers of a kind by it.
    """
    with opened(path) as file:
        arrays, known = [], False
        for home in HOMES:
            group = file.member(file.root, home)
            for name, variables in _layers(file, group, set()) if group is not None else ():
                own = "".join(file.texts(variables, "name") or [])
                known = known or own == APPLICATIONS
                arrays += [(name, file.numbers(variables, one)) for one in file.members(variables)]
    raws = sorted(
        paired(arrays, str(path)), key=lambda raw: (-raw.weight.ndim, by_number(raw.name))
    )
    return Foreign(
        str(path),
        canonical(raws, TENSORFLOW, str(path)),
        colour="BGR" if known else "",
        maps_last=True,
        decided=(f"Keras 3's weights, {len(raws)} layers that have some",),
    )


def _layers(file: Hdf5, group: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Every layer below a group, with the group of its variables."""
    for name in file.members(group):
        layer: Any = file.member(group, name)
        address = file.h5py.h5o.get_info(layer.id).addr
        if address in seen or not isinstance(layer, file.h5py.Group):
            continue
        seen.add(address)
        variables = file.member(layer, "vars")
        if isinstance(variables, file.h5py.Group) and len(variables):
            yield name, variables
        inner = file.member(layer, "layers")
        if isinstance(inner, file.h5py.Group):
            yield from _layers(file, inner, seen)
