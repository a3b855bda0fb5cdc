"""Which layers a user means: by names, aliases, globs or kinds."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from retroscope.atlas.reader import Atlas
from retroscope.errors import RetroscopeError
from retroscope.results.layer_lookup import find_layer, layers_scanned
from retroscope.results.layers import Layer

_MAX_EXAMPLES = 3
_KINDS = {
    "conv": "convolution",
    "relu": "ReLU",
    "pool": "pooling",
    "linear": "linear layer",
}
"""The kinds that a user may ask for although a network has no such layer."""


def split_names(names: str | Sequence[str]) -> list[str]:
    """The names in a list, or in a string that separates them by commas or spaces.

    >>> split_names("conv1, relu"), split_names(["conv1"])
    (['conv1', 'relu'], ['conv1'])
    """
    return names.replace(",", " ").split() if isinstance(names, str) else list(names)


def atlas_layers(atlas: Atlas, names: str | Sequence[str]) -> list[Layer]:
    """The layers of an atlas that names, aliases, globs or kinds select, in running order."""
    layers, owner = atlas.layers, repr(str(atlas.path))
    return choose_layers(layers, split_names(names), owner, listing=layers_scanned(layers))


def choose_layers(
    layers: Sequence[Layer], names: Sequence[str], owner: str, *, listing: str
) -> list[Layer]:
    """The layers that names, aliases, globs or kinds select, in running order.

    `owner` is the network or atlas that they belong to; `listing` says where to see them all.
    """
    if not names:
        raise RetroscopeError(
            "no layers are named; name some, or a kind such as conv", parameter="layers"
        )
    selected: set[str] = set()
    for name in names:
        selected.update(_match(layers, name, owner, listing=listing))
    return [layer for layer in layers if layer.name in selected]


def _match(layers: Sequence[Layer], name: str, owner: str, *, listing: str) -> list[str]:
    """The names of the layers that one name, alias, glob or kind selects."""
    if any(layer.kind == name for layer in layers):
        return [layer.name for layer in layers if layer.kind == name]
    if any(sign in name for sign in "*?["):
        return _match_glob(layers, name, owner, listing=listing)
    if name in _KINDS and not any(name in layer.search_names for layer in layers):
        raise RetroscopeError(
            f"{owner} has no {_KINDS[name]}; choose from {_examples(layers)}; {listing}",
            parameter="layers",
        )
    return [find_layer(layers, name, owner, listing=listing).name]


def _match_glob(layers: Sequence[Layer], glob: str, owner: str, *, listing: str) -> list[str]:
    names = [
        layer.name
        for layer in layers
        if any(fnmatchcase(name, glob) for name in layer.search_names)
    ]
    if not names:
        raise RetroscopeError(
            f"no layer of {owner} matches {glob!r}; {listing}", parameter="layers"
        )
    return names


def _examples(layers: Sequence[Layer]) -> str:
    """A layer of each kind, as examples."""
    by_kind: dict[str, str] = {}
    for layer in layers:
        by_kind.setdefault(layer.kind, next(iter(layer.aliases), layer.name))
    return ", ".join([*list(by_kind.values())[:_MAX_EXAMPLES], "..."])
