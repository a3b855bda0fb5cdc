"""Heat maps beside and over their picture, one at a time or several of one picture on a sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from retroscope.render.captions import joined, percent
from retroscope.render.colours import coloured
from retroscope.render.layout import enlarged, factor_for
from retroscope.render.overlay import OPACITY, AnyPicture, overlay, overlay_on, reach
from retroscope.render.panels import Panel, contact_sheet, draw_panel, draw_sheet
from retroscope.render.tone import GREY, toned
from retroscope.results.heat_maps import HeatMap
from retroscope.results.values import Picture

_ON_SHEET = 152


def draw_heat(
    heat: HeatMap,
    *,
    over: AnyPicture | None = None,
    colours: str = "inferno",
    opacity: float = OPACITY,
    scale: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """The picture, its heat, and the heat over the picture; the caption below.

    `over` is the original, which the heat is laid on at its own size; `bare` is the heat over the
    picture without a word.
    """
    covered = _covered(heat, over, colours, opacity)
    if bare:
        factor = factor_for(*covered.shape[:2], scale=1 if scale is None else scale)
        return enlarged(covered, factor)
    if over is not None:
        return draw_panel(_panel(heat, (("the heat over it", covered),), colours), scale=scale)
    return draw_panel(_panel(heat, _pictures(heat, covered, colours), colours), scale=scale)


def draw_heats(
    heats: Sequence[HeatMap],
    *,
    colours: str = "inferno",
    opacity: float = OPACITY,
    scale: int | None = None,
    columns: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """Heat maps side by side, each over its picture."""
    covered = [_covered(each, None, colours, opacity) for each in heats]
    if bare:
        return contact_sheet(covered, scale=scale, columns=columns)
    panels = [
        Panel((("", shown),), title_of(each), _lines(each, colours), notes_of(each))
        for each, shown in zip(heats, covered, strict=True)
    ]
    sources = ", ".join(dict.fromkeys(each.source for each in heats if each.source))
    title = f"{len(heats)} heat map{'' if len(heats) == 1 else 's'}"
    return draw_sheet(
        panels, title=title, line_below=sources, scale=scale, visible=_ON_SHEET, columns=columns
    )


def title_of(heat: HeatMap) -> str:
    """The class and how probable it is, or the unit."""
    share = "" if heat.probability is None else percent(heat.probability)
    return ", ".join(filter(None, (str(heat.target), share)))


def notes_of(heat: HeatMap) -> tuple[str, ...]:
    """What is said under a heat map."""
    return (*heat.notes, *heat.caveats)


def _covered(heat: HeatMap, over: AnyPicture | None, colours: str, opacity: float) -> Picture:
    if over is not None:
        return overlay_on(over, heat, colours=colours, opacity=opacity)
    return overlay(_picture(heat), heat, colours=colours, opacity=opacity)


def _picture(heat: HeatMap) -> Picture:
    """The picture as the network saw it, grey where it is not kept."""
    return np.full((*heat.size, 3), GREY, np.uint8) if heat.picture is None else heat.picture


def _pictures(heat: HeatMap, covered: Picture, colours: str) -> tuple[tuple[str, Picture], ...]:
    shown = [
        ("picture", _picture(heat)),
        ("heat", coloured(heat.full(), colours, most=reach(heat))),
    ]
    if heat.pixels is not None:
        shown.append(("signed, in colour", toned(heat.pixels, "percentile")))
    return (*shown, ("the heat over it", covered))


def _panel(heat: HeatMap, pictures: tuple[tuple[str, Picture], ...], colours: str) -> Panel:
    return Panel(pictures, title_of(heat), (*_lines(heat, colours), heat.source), notes_of(heat))


def _lines(heat: HeatMap, colours: str) -> tuple[str, ...]:
    height, width = heat.values.shape
    where = f"{heat.method} of {heat.layer}" if heat.layer else heat.method
    return where, joined(f"{height}x{width}", _key(heat, colours)), f"score {heat.score:.4g}"


def _key(heat: HeatMap, colours: str) -> str:
    """What the ends of the scale of colours stand for."""
    most = reach(heat)
    if (heat.values < 0).any():
        return f"blue -{most:.3g}, grey 0, red {most:.3g}"
    return f"{colours} from 0 to {most:.3g}"
