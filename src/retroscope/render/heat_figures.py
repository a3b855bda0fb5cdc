"""Heat maps beside and over their image, alone or several on a sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK, INPUTS, Box, format_size
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import GREY
from retroscope.render.captions import count_noun, join_facts, percent
from retroscope.render.colours import apply_scale
from retroscope.render.layout import enlarge, enlargement_factor
from retroscope.render.overlay import OPACITY, ImageInput, overlay, overlay_on, scale_limit, smooth
from retroscope.render.panels import Panel, contact_sheet, draw_panel, draw_sheet
from retroscope.render.slices import flatten_heat, separate, slice_lines
from retroscope.render.target_marks import mark_target
from retroscope.render.tone import apply_tone
from retroscope.results.heat_maps import HeatMap

_VISIBLE_ON_SHEET = 152


def draw_heat_map(
    heat: HeatMap,
    *,
    over: ImageInput | None = None,
    colours: str = "inferno",
    opacity: float = OPACITY,
    scale: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """The image, the heat map, and the heat map over the image, with a caption.

    `over` is the original image: only the overlay is drawn, at the original's size. `bare` draws
    the overlay without text.
    """
    if over is not None and len(heat.size) != IMAGE_RANK:
        raise RetroscopeError(
            f"the heat map of a {INPUTS[len(heat.size)]} is drawn over the "
            f"{INPUTS[len(heat.size)]} itself, not over another image; leave the image out",
            parameter="over",
        )
    flat, slices = flatten_heat(heat)
    overlaid = (
        overlay_slices(heat, colours=colours, opacity=opacity)
        if over is None
        else overlay_on(over, heat, colours=colours, opacity=opacity)
    )
    if bare:
        factor = enlargement_factor(*overlaid.shape[:2], scale=1 if scale is None else scale)
        return enlarge(overlaid, factor)
    images = [("overlay", overlaid)]
    if over is None:
        views = _separate_images(flat, colours)
        images = [*((title, separate(view, len(slices))) for title, view in views), *images]
    lines = (*_lines(heat, colours), *slice_lines(slices, heat.size[0]), heat.source)
    stacked = len(heat.size) != IMAGE_RANK
    panel = Panel(tuple(images), heat_title(heat), lines, heat_notes(heat), stacked, len(slices))
    return draw_panel(panel, scale=scale)


def draw_heat_maps(
    heat_maps: Sequence[HeatMap],
    *,
    colours: str = "inferno",
    opacity: float = OPACITY,
    scale: int | None = None,
    columns: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """A sheet of heat maps, each over its image; `bare` leaves out all text."""
    overlays = [overlay_slices(heat, colours=colours, opacity=opacity) for heat in heat_maps]
    if bare:
        return contact_sheet(overlays, scale=scale, columns=columns)
    panels = [
        Panel((("", overlaid),), heat_title(heat), _lines(heat, colours), heat_notes(heat))
        for heat, overlaid in zip(heat_maps, overlays, strict=True)
    ]
    return draw_sheet(
        panels,
        title=count_noun(len(heat_maps), "heat map"),
        line_below=", ".join(dict.fromkeys(heat.source for heat in heat_maps if heat.source)),
        scale=scale,
        visible=_VISIBLE_ON_SHEET,
        columns=columns,
    )


def heat_title(heat: HeatMap) -> str:
    """The class and its probability, or the unit."""
    share = "" if heat.probability is None else percent(heat.probability)
    return ", ".join(filter(None, (str(heat.target), share)))


def heat_notes(heat: HeatMap) -> tuple[str, ...]:
    """The notes and caveats under a heat map."""
    return (*heat.notes, *heat.caveats)


def overlay_slices(heat: HeatMap, *, colours: str, opacity: float) -> RGB:
    """The heat over the network's input, the target marked; of a volume over slices in a row."""
    flat, slices = flatten_heat(heat)
    overlaid = overlay(image_or_grey(flat), flat, colours=colours, opacity=opacity)
    if not slices:
        return overlaid
    if heat.mask is not None:
        frame = Box.whole(heat.size[1:])
        pieces = zip(slices, np.split(overlaid, len(slices), axis=1), strict=True)
        overlaid = np.concatenate(
            [mark_target(piece, heat.slice(z), frame) for z, piece in pieces], axis=1
        )
    return separate(overlaid, len(slices))


def image_or_grey(heat: HeatMap) -> RGB:
    """The network's input as an image, or grey if the heat map does not include it."""
    return np.full((*heat.size, 3), GREY, np.uint8) if heat.image is None else heat.image


def _separate_images(heat: HeatMap, colours: str) -> list[tuple[str, RGB]]:
    height, width = heat.size
    values = smooth(heat, (height, width))
    images = [
        ("image", image_or_grey(heat)),
        ("heat map", apply_scale(values, colours, limit=scale_limit(heat))),
    ]
    if heat.pixels is not None:
        images.append((_signed_title(heat.pixels.shape[2]), apply_tone(heat.pixels, "percentile")))
    return images


def _signed_title(channels: int) -> str:
    names = {1: "signed, in grey", 3: "signed, in colour"}
    return names.get(channels, f"signed, summed over {channels} channels")


def _lines(heat: HeatMap, colours: str) -> tuple[str, ...]:
    return (
        f"{heat.method_title} of {heat.layer}" if heat.layer else heat.method_title,
        join_facts(format_size(heat.values.shape), scale_key(heat, colours)),
        f"score {heat.score:.4g}",
    )


def scale_key(heat: HeatMap, colours: str) -> str:
    """The values at the ends of the colour scale; over the image, zero is clear."""
    limit = scale_limit(heat)
    if (heat.values < 0).any():
        return f"blue -{limit:.3g}, clear 0, red {limit:.3g}"
    return f"{colours} from 0 (clear) to {limit:.3g}"
