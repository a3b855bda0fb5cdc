"""The layers of a network."""

from dataclasses import dataclass

from retroscope.errors import UnitError
from retroscope.geometry import ReceptiveField


@dataclass(frozen=True)
class Layer:
    """One operation of a network whose outputs can be looked at.

    `size` is height and width of its maps; (1, 1) for a vector, (tokens, 1) for a transformer's.
    `outputs` lists modules whose result is this layer's, such as the block that it ends.
    """

    name: str
    kind: str
    channels: int
    size: tuple[int, int]
    field: ReceptiveField
    aliases: tuple[str, ...] = ()
    index: int = 0
    note: str = ""


def layer_name(given: str | Layer) -> str:
    """The name of a layer that is asked for, by its name or as one of a network's layers.

    >>> layer_asked("conv5:3")
    Traceback (most recent call last):
    retroscope.errors.UnitError: 'conv5:3' is a unit; give the layer 'conv5'
    """
    if isinstance(given, Layer):
        return given.name
    if not isinstance(given, str):
        raise UnitError(f"a layer is a name such as 'conv5_3', or one of net.layers, not {given!r}")
    layer, colon, _ = given.partition(":")
    if colon:
        raise UnitError(f"{given!r} is a unit; give the layer {layer!r}")
    return given
