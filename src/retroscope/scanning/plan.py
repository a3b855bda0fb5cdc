"""What a scan is of: the layers chosen, and all that must stay the same for it to go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version

from retroscope.atlas.schema import Json
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import fingerprint
from retroscope.network import Network
from retroscope.results.values import Layer
from retroscope.scanning.sources import Pictures


@dataclass(frozen=True, eq=False)
class Plan:
    """A scan that is about to run or to go on."""

    net: Network
    pictures: Pictures
    layers: Sequence[Layer]
    top: int
    batch_size: int
    precision: str = "full"

    @property
    def most(self) -> int:
        """How many hits of a channel there can be: of each picture one."""
        return min(self.top, len(self.pictures.keys))

    def facts(self) -> dict[str, Json]:
        """What the atlas remembers of the scan, and what must not change while it is unfinished."""
        return {
            "model": self.net.name,
            "weights": fingerprint(self.net.module),
            "preprocessing": repr(self.net.preprocessing),
            "images": len(self.pictures.keys),
            "image_list": self.pictures.fingerprint,
            "layers": [layer.name for layer in self.layers],
            "top": self.top,
            "precision": self.precision,
            "version": version("retroscope"),
        }


WORDS = {
    "model": "the model",
    "weights": "the weights of the model",
    "preprocessing": "the preprocessing",
    "images": "the number of images",
    "image_list": "the list of images",
    "layers": "the choice of layers",
    "top": "the number of hits kept",
    "precision": "the precision",
}
PRECISIONS = ("full", "bf16")
"""As the network computes; or in bfloat16, with the candidates scored again in full."""


def refuse_change(kept: Mapping[str, object], asked: Mapping[str, object], where: str) -> None:
    """An unfinished scan goes on only with what it was begun with."""
    changed = [words for key, words in WORDS.items() if kept.get(key) != asked[key]]
    if changed:
        raise RetroscopeError(
            f"{where!r} holds another scan: {' and '.join(changed)} changed since; scan to another "
            "file, or begin anew with restart (--restart)"
        )


def known_precision(name: str) -> str:
    """The precision of this name."""
    if name not in PRECISIONS:
        raise RetroscopeError(f"no precision {name!r}; there are {' and '.join(PRECISIONS)}")
    return name


def refuse_less_than_one(**counts: int | None) -> None:
    """Of anything there is at least one; None is left to be found."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise RetroscopeError(f"{name} is {count}; it must be 1 or more")


BYTES_OF_HIT, BYTES_OF_LAYER = 2 * 24, 900_000_000
"""Of a place in both rankings, and of what the running state may keep of a layer."""


def refuse_too_many_hits(most: int, layers: Sequence[Layer]) -> None:
    """What is gathered of a layer is kept in one piece, which SQLite keeps under a gigabyte."""
    widest = max(layers, key=lambda layer: layer.channels)
    room = BYTES_OF_LAYER // (BYTES_OF_HIT * widest.channels)
    if most > room:
        raise RetroscopeError(
            f"{most} hits of each channel are too many for the {widest.channels} channels of "
            f"{widest.name}; give a top (--top) of {room} or less"
        )


def named_layers(layers: str | Sequence[str]) -> list[str]:
    """The names in a list, or in a string with commas or spaces between.

    >>> named_layers("conv1, relu"), named_layers(["conv1"])
    (['conv1', 'relu'], ['conv1'])
    """
    return layers.replace(",", " ").split() if isinstance(layers, str) else list(layers)


def chosen(layers: Sequence[Layer], wanted: Sequence[str], net: Network) -> list[Layer]:
    """The layers that names, aliases, globs or kinds pick, in running order.

    >>> from torch import nn
    >>> net = Network(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    >>> [layer.name for layer in chosen(net.layers, ["relu"], net)]
    ['1']
    """
    kinds = {layer.kind for layer in layers}
    picked: set[str] = set()
    for text in wanted:
        if text in kinds:
            picked.update(layer.name for layer in layers if layer.kind == text)
        elif any(sign in text for sign in "*?["):
            picked.update(_matching(layers, text, net.name))
        elif text in _RUNS and not any(text in layer.aliases for layer in layers):
            raise RetroscopeError(f"{net.name} runs no {_RUNS[text]}; {_others(layers, net.name)}")
        else:
            picked.add(net.layer(text).name)
    if not picked:
        raise RetroscopeError("no layers are asked for; name some, or a kind such as conv")
    return [layer for layer in layers if layer.name in picked]


_RUNS = {
    "conv": "convolution",
    "relu": "ReLU",
    "pool": "pooling",
    "linear": "linear layer",
}
"""What a network without such a layer does not do."""


def _others(layers: Sequence[Layer], network: str) -> str:
    """Some layers of every kind that there is, to be named instead."""
    of_kind: dict[str, str] = {}
    for layer in layers:
        of_kind.setdefault(layer.kind, next(iter(layer.aliases), layer.name))
    return (
        f"choose with --layers ({', '.join([*list(of_kind.values())[:3], '...'])}); "
        f'"retroscope layers {network}" lists them'
    )


def _matching(layers: Sequence[Layer], glob: str, network: str) -> list[str]:
    found = [
        layer.name
        for layer in layers
        if any(fnmatchcase(name, glob) for name in (layer.name, *layer.aliases))
    ]
    if not found:
        raise RetroscopeError(
            f'no layer of {network} matches {glob!r}; "retroscope layers {network}" lists them'
        )
    return found
