"""The layers of a network."""

from collections.abc import Sequence
from dataclasses import dataclass

from retroscope.errors import UnitError
from retroscope.geometry import ReceptiveField


@dataclass(frozen=True)
class Layer:
    """One operation of a network.

    `size` is the height and width of its maps; (1, 1) for a vector, (tokens, 1) for tokens of which
    it is not known where they are. Of a volume it has the depth in front, of a signal it is the
    length. `extra_tokens` have no position, such as class and register tokens, and are not among
    the maps.
    `index` is the step of the network's program that computes it. `convolution` has the names of a
    convolution of which it is the output that goes on; an atlas finds the layer by them too.
    """

    name: str
    kind: str
    channels: int
    size: tuple[int, ...]
    field: ReceptiveField
    aliases: tuple[str, ...] = ()
    index: int = 0
    note: str = ""
    convolution: tuple[str, ...] = ()
    extra_tokens: int = 0

    @property
    def search_names(self) -> tuple[str, ...]:
        """Every name by which it is found."""
        return self.name, *self.aliases, *self.convolution


FROM_IMAGE = -1
"""Stands for the image among the inputs of a `GraphStep`."""


@dataclass(frozen=True)
class GraphStep:
    """A layer, or a step where the maps of several meet, and the steps of the graph that it reads.

    `step` is the `index` of the layer. `operation` is a kind of layer, such as `conv` or `add`.
    """

    step: int
    operation: str
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class UnlistedLayer:
    """A module or an operation that works on the image without being a layer, and the reason.

    `kind` is the type of the module, or what a layer of the operation would be called.
    """

    name: str
    kind: str
    reason: str


def describe_unlisted(unlisted: Sequence[UnlistedLayer]) -> tuple[str, ...]:
    """One sentence for each kind and reason.

    >>> describe_unlisted([UnlistedLayer("a", "conv", "maps of 5 dimensions")])
    ('1 conv layer is not listed (maps of 5 dimensions): a',)
    """
    names: dict[tuple[str, str], list[str]] = {}
    for layer in unlisted:
        group = names.setdefault((layer.kind, layer.reason), [])
        if layer.name not in group:
            group.append(layer.name)
    return tuple(_sentence(*group, names[group]) for group in names)


def describe_notes(layers: Sequence[Layer]) -> tuple[str, ...]:
    """What to know about the fields of layers: one line for each note, with the layers it is of.

    >>> from retroscope.geometry import Field
    >>> field = ReceptiveField(Field(), Field())
    >>> describe_notes([Layer("a", "add", 1, (2, 2), field, note="a bound"),
    ...                 Layer("b", "add", 1, (2, 2), field, note="a bound")])
    ('a, b: a bound',)
    """
    names: dict[str, list[str]] = {}
    for layer in layers:
        if layer.note:
            names.setdefault(layer.note, []).append(layer.name)
    return tuple(f"{_first_names(names[note])}: {note}" for note in names)


_NAMES_IN_SENTENCE = 3


def _first_names(names: Sequence[str]) -> str:
    first, rest = names[:_NAMES_IN_SENTENCE], len(names) - _NAMES_IN_SENTENCE
    return ", ".join(first) + (f" and {rest} more" if rest > 0 else "")


def _sentence(kind: str, reason: str, names: Sequence[str]) -> str:
    first = ", ".join(names[:_NAMES_IN_SENTENCE])
    more = ", ..." if len(names) > _NAMES_IN_SENTENCE else ""
    are = "layer is" if len(names) == 1 else "layers are"
    return f"{len(names)} {kind} {are} not listed ({reason}): {first}{more}"


def layer_name(layer: str | Layer) -> str:
    """The name of a layer, given as text or as a Layer.

    >>> layer_name("conv5:3")
    Traceback (most recent call last):
    retroscope.errors.UnitError: 'conv5:3' is a unit; give the layer 'conv5'
    """
    if isinstance(layer, Layer):
        return layer.name
    if not isinstance(layer, str):
        raise UnitError(
            "a layer is a name such as 'conv5_3', one of net.layers, or a module of the network, "
            f"not {type(layer).__name__}; give one layer at a time"
        )
    name, colon, _ = layer.partition(":")
    if colon:
        raise UnitError(f"{layer!r} is a unit; give the layer {name!r}")
    return layer
