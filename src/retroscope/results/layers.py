"""The layers of a network."""

from dataclasses import dataclass

from retroscope.errors import UnitError
from retroscope.geometry import ReceptiveField


@dataclass(frozen=True)
class Layer:
    """One operation of a network.

    `size` is the height and width of its maps; (1, 1) for a vector, (tokens, 1) for a transformer.
    `index` is the step of the network's program that computes it.
    """

    name: str
    kind: str
    channels: int
    size: tuple[int, int]
    field: ReceptiveField
    aliases: tuple[str, ...] = ()
    index: int = 0
    note: str = ""


def layer_name(layer: str | Layer) -> str:
    """The name of a layer, given as text or as a Layer.

    >>> layer_name("conv5:3")
    Traceback (most recent call last):
    retroscope.errors.UnitError: 'conv5:3' is a unit; give the layer 'conv5'
    """
    if isinstance(layer, Layer):
        return layer.name
    if not isinstance(layer, str):
        raise UnitError(f"a layer is a name such as 'conv5_3', or one of net.layers, not {layer!r}")
    name, colon, _ = layer.partition(":")
    if colon:
        raise UnitError(f"{layer!r} is a unit; give the layer {name!r}")
    return layer
