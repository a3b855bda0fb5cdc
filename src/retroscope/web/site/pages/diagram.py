"""The layers of a network as blocks in running order, measured in pixels of the drawing."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from retroscope.imaging.image import Size
from retroscope.results.values import Layer

_LEAST, _LOWEST, _TALLEST = 6, 8, 96
_FEW, _SHORT = 12, 14


@dataclass(frozen=True)
class _Room:
    """How far apart blocks stand, how wide the widest is, and the side of the frame below each."""

    gap: int
    widest: int
    frame: int


_NARROW, _WIDE = _Room(12, 40, 26), _Room(22, 68, 40)


def diagram(layers: Sequence[Layer], taken: Size, hrefs: Sequence[str]) -> dict[str, object]:
    """A block for each layer: as high as the side of its maps, as wide as the logarithm of its
    channels; below it the field in a frame that is the picture.

    The side is drawn by its root, so that neither end of a network is out of sight. A few layers
    have room for their names and sizes, many for their numbers only.
    """
    few = len(layers) <= _FEW and all(len(layer.name) <= _SHORT for layer in layers)
    room = _WIDE if few else _NARROW
    most = max((log2(layer.channels + 1) for layer in layers), default=1)
    tallest = max((max(layer.size) for layer in layers), default=1)
    blocks: list[dict[str, object]] = []
    x = float(room.gap)
    for layer, href in zip(layers, hrefs, strict=True):
        width = _LEAST + (room.widest - _LEAST) * log2(layer.channels + 1) / most
        slot = room.widest if few else max(width, room.frame)
        height = _LOWEST + _TALLEST * (max(layer.size) / tallest) ** 0.5
        sizes = {"width": round(width, 2), "height": round(height, 2)}
        place = {"number": len(blocks) + 1, "x": round(x + (slot - width) / 2, 2)}
        sees = {"sees": _seen(layer, taken, room.frame)}
        blocks.append(_words(layer) | {"href": href} | place | sizes | sees)
        x += slot + room.gap
    return {"width": round(x), "frame": room.frame, "named": few, "blocks": blocks}


def _words(layer: Layer) -> dict[str, object]:
    height, width = layer.size
    field = layer.field
    seen = "the whole image" if field.whole else f"{field.y.size}x{field.x.size} px"
    maps = f"{layer.channels} channels of {height}x{width}"
    return {
        "name": layer.name,
        "kind": layer.kind,
        "channels": layer.channels,
        "size": list(layer.size),
        "label": f"{layer.name}: {layer.kind}, {maps}, sees {seen}",
    }


def _seen(layer: Layer, taken: Size, frame: int) -> list[float]:
    """Height and width of the field in its frame; a dot where it would be too small to see."""
    if layer.field.whole:
        return [frame, frame]
    sizes = zip((layer.field.y.size, layer.field.x.size), taken, strict=True)
    return [round(max(min(size / side, 1) * frame, 2), 2) for size, side in sizes]
