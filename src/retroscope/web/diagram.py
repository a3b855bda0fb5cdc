"""The layers of a network as blocks in running order, measured in pixels of the drawing."""

from collections.abc import Sequence
from math import log2

from retroscope.image import Size
from retroscope.results import Layer

_GAP, _LEAST, _WIDEST, _LOWEST, _TALLEST, _FRAME = 12, 6, 40, 8, 108, 26


def diagram(layers: Sequence[Layer], taken: Size, hrefs: Sequence[str]) -> dict[str, object]:
    """A block for each layer: as high as the side of its maps, as wide as the logarithm of its
    channels; below it the field in a frame that is the picture.

    The side is drawn by its root, so that neither end of a network is out of sight.
    """
    most = max((log2(layer.channels + 1) for layer in layers), default=1)
    tallest = max((max(layer.size) for layer in layers), default=1)
    blocks: list[dict[str, object]] = []
    x = float(_GAP)
    for number, (layer, href) in enumerate(zip(layers, hrefs, strict=True), start=1):
        width = _LEAST + (_WIDEST - _LEAST) * log2(layer.channels + 1) / most
        slot = max(width, _FRAME)
        blocks.append(
            {
                "number": number,
                "href": href,
                "label": _label(layer),
                "kind": layer.kind,
                "x": round(x + (slot - width) / 2, 2),
                "width": round(width, 2),
                "height": round(_LOWEST + _TALLEST * (max(layer.size) / tallest) ** 0.5, 2),
                "sees": _seen(layer, taken),
            }
        )
        x += slot + _GAP
    return {"width": round(x), "blocks": blocks}


def _seen(layer: Layer, taken: Size) -> list[float]:
    """Height and width of the field in its frame; a dot where it would be too small to see."""
    if layer.field.whole:
        return [_FRAME, _FRAME]
    sizes = zip((layer.field.y.size, layer.field.x.size), taken, strict=True)
    return [round(max(min(size / side, 1) * _FRAME, 2), 2) for size, side in sizes]


def _label(layer: Layer) -> str:
    height, width = layer.size
    field = layer.field
    seen = "the whole image" if field.whole else f"{field.y.size}x{field.x.size} px"
    return f"{layer.name}: {layer.kind}, {layer.channels} channels of {height}x{width}, sees {seen}"
