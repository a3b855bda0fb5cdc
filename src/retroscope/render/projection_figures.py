"""Projections beside the patches that they explain and light, alone or on a sheet."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image

from retroscope.errors import choose
from retroscope.geometry import IMAGE_RANK, Box, axis_names, format_size
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import GREY
from retroscope.render.captions import count_noun, join_facts, score_text, slice_text
from retroscope.render.layout import enlarge, enlargement_factor
from retroscope.render.mosaics import ring_place, visible_projection
from retroscope.render.panels import Panel, contact_sheet, draw_panel, draw_sheet
from retroscope.render.slices import flatten_projection, lay_out, separate, slice_lines
from retroscope.render.tone import DEFAULT_TONE, apply_tone
from retroscope.results.lighting import light_patch
from retroscope.results.plates import Patch
from retroscope.results.projections import Projection

VIEWS_NOTE = "each patch, its projection, and the patch lit by it"


def draw_pixels(projection: Projection, tone: str) -> RGB:
    """The signed pixels, with slices side by side."""
    flat, slices = flatten_projection(projection)
    return separate(apply_tone(flat.in_bands().pixels, tone), len(slices))


def draw_lit(projection: Projection) -> RGB:
    """The lit patch, with slices side by side."""
    if len(projection.size) <= IMAGE_RANK:
        return flatten_projection(projection)[0].lit()
    _, slices = flatten_projection(projection)
    return separate(lay_out(projection.lit(), len(projection.size), slices), len(slices))


VIEWS: dict[str, Callable[[Projection, str], RGB]] = {
    "projection": draw_pixels,
    "lit": lambda projection, _tone: draw_lit(projection),
}
"""What a figure without text can show of a projection, drawn from that and a tone."""
_SHEET_WIDTH = 1440
"""Two panels of three images of 224 pixels fit side by side."""


def draw_projection(
    projection: Projection,
    *,
    tone: str = DEFAULT_TONE,
    scale: int | None = None,
    bare: bool = False,
    view: str | None = None,
) -> Image.Image:
    """The patch, its projection and the patch lit by it, with a caption.

    `view` draws one of them alone, `projection` or `lit`; `bare` is short for the first. It has one
    pixel for each pixel of the projection's box, unless `scale` is given.
    """
    if bare or view:
        pixels = _view_pixels(projection, view, tone)
        factor = enlargement_factor(*pixels.shape[:2], scale=1 if scale is None else scale)
        return enlarge(pixels, factor)
    return draw_panel(_projection_panel(projection, tone=tone), scale=scale)


def draw_projections(
    projections: Sequence[Projection],
    *,
    tone: str = DEFAULT_TONE,
    scale: int | None = None,
    columns: int | None = None,
    bare: bool = False,
    view: str | None = None,
) -> Image.Image:
    """A sheet of projections, each between its patch and the patch lit by it.

    `view` draws one image of each, `projection` or `lit`; `bare` is short for the first. A rule
    book or a source that all of them share is written in the heading only.
    """
    if bare or view:
        images = [_view_pixels(projection, view, tone) for projection in projections]
        return contact_sheet(images, scale=scale, columns=columns)
    rules = _common_fact(projection.rules for projection in projections)
    source = _common_fact(projection.source for projection in projections)
    layer = _common_fact(projection.unit.layer for projection in projections)
    panels = [
        _projection_panel(projection, tone=tone, shared_facts={rules, source})
        for projection in projections
    ]
    have_patches = all(projection.patch is not None for projection in projections)
    return draw_sheet(
        panels,
        title=count_noun(len(panels), "projection") + (f" of {layer}" if layer else ""),
        line_below=join_facts(VIEWS_NOTE if have_patches else "", rules, source),
        scale=scale,
        columns=columns,
        sheet_width=_SHEET_WIDTH,
    )


def draw_patch(
    patch: Patch, *, tone: str = DEFAULT_TONE, scale: int | None = None, lit: bool = True
) -> Image.Image:
    """A patch, and if it has a projection that and the patch lit by it, with a caption."""
    return draw_panel(_patch_panel(patch, tone=tone, lit=lit), scale=scale)


def draw_patches(
    patches: Sequence[Patch],
    *,
    tone: str = DEFAULT_TONE,
    scale: int | None = None,
    columns: int | None = None,
    title: str = "",
    line_below: str = "",
    names: Sequence[str] = (),
    lit: bool = True,
) -> Image.Image:
    """A sheet of patches, each with its projection and lit by it, if it has one.

    `names` are titles for the patches, such as their units: a patch without a projection does not
    know its unit.
    """
    rules = _common_fact(patch.projection.rules for patch in patches if patch.projection)
    panels = [
        _patch_panel(patch, tone=tone, name=name, shared_rules=rules, lit=lit)
        for patch, name in zip(patches, names or [""] * len(patches), strict=True)
    ]
    return draw_sheet(
        panels,
        title=title or count_noun(len(panels), "patch", "patches"),
        line_below=join_facts(line_below, _projection_note(patches, lit=lit), rules),
        scale=scale,
        columns=columns,
        sheet_width=_SHEET_WIDTH,
    )


def _projection_note(patches: Sequence[Patch], *, lit: bool) -> str:
    missing = sum(patch.projection is None for patch in patches)
    if missing == len(patches):
        return "not projected yet"
    rest = f", {missing} not projected yet" if missing else ""
    views = VIEWS_NOTE if lit else "each patch beside its projection"
    return f"{views}{rest}"


def _view_pixels(projection: Projection, view: str | None, tone: str) -> RGB:
    return choose("view", view or "projection", VIEWS)(projection, tone)


def _projection_panel(
    projection: Projection, *, tone: str, shared_facts: Iterable[str] = ()
) -> Panel:
    """The panel of a projection; its caption omits the shared facts.

    Slices of a volume stand side by side, in a row for each view.
    """
    rules, source = (
        "" if fact in shared_facts else fact for fact in (projection.rules, projection.source)
    )
    lines = (
        join_facts(f"activation {projection.activation:.4g}", rules),
        _box_line(projection.box, projection.size),
        source,
    )
    flat, slices = flatten_projection(projection)
    images = {"projection": draw_pixels(projection, tone)}
    if flat.patch is not None:
        patch = separate(flat.patch, len(slices))
        images = {"patch": patch, **images, "lit patch": draw_lit(projection)}
    return Panel(
        images=tuple(images.items()),
        title=str(projection.unit),
        lines=(
            *filter(None, lines),
            *slice_lines(slices, projection.size[0], projection.box.front),
        ),
        notes=projection.notes,
        stacked=len(projection.size) != IMAGE_RANK,
        slices=len(slices),
    )


def _patch_panel(
    patch: Patch, *, tone: str, name: str = "", shared_rules: str = "", lit: bool
) -> Panel:
    """The panel of a patch; its caption omits the rule book that all patches share."""
    position, patch = patch.position, patch.flat
    lines = (join_facts(slice_text(patch), _box_line(patch.box)), patch.source)
    score, projection = score_text(patch.score, patch.quantile), patch.projection
    if projection is None:
        title = name or join_facts(score, f"position {','.join(map(str, position))}")
        image = _pixels_with_place(patch)
        return Panel((("patch", image),), title, (score, *lines) if name else lines)
    canvas_box = patch.visible.union(projection.box)
    tinted = apply_tone(projection.in_bands().pixels, tone)
    images = {
        "patch": _paste_on_grey(_pixels_with_place(patch), patch.visible, canvas_box),
        "projection": _paste_on_grey(tinted, projection.box, canvas_box),
    }
    if lit:
        pixels = light_patch(patch.pixels, visible_projection(patch, projection))
        images["lit patch"] = _paste_on_grey(pixels, patch.visible, canvas_box)
    rules = "" if projection.rules == shared_rules else projection.rules
    return Panel(
        images=tuple(images.items()),
        title=name or str(projection.unit),
        lines=(join_facts(score, rules), *lines),
        notes=projection.notes,
    )


def _pixels_with_place(patch: Patch) -> RGB:
    """The pixels, with a ring where the unit is if they are the whole image."""
    return np.asarray(ring_place(Image.fromarray(patch.pixels), patch.box, patch.size))


def _paste_on_grey(pixels: RGB, box: Box, canvas_box: Box) -> RGB:
    """The pixels of a box, on a grey canvas that covers a larger box."""
    canvas = np.full((canvas_box.height, canvas_box.width, 3), GREY, np.uint8)
    top, left = box.top - canvas_box.top, box.left - canvas_box.left
    canvas[top : top + box.height, left : left + box.width] = pixels
    return canvas


def _box_line(box: Box, size: Sequence[int] | None = None) -> str:
    """The size and the corner of a box in the network's input, and the size of that if given."""
    if not (box.height and box.width):
        return "no pixels: the field covers only padding"
    if size is None or len(size) == IMAGE_RANK:
        whole = f" of {format_size(size)}" if size else ""
        return f"{box.height}x{box.width} px{whole} from y {box.top}, x {box.left}"
    starts = zip(axis_names(len(size)), box.intervals(len(size)), strict=True)
    corner = ", ".join(f"{name} {start}" for name, (start, _) in starts)
    return f"{format_size(box.size(len(size)))} px of {format_size(size)} from {corner}"


def _common_fact(facts: Iterable[str]) -> str:
    """The fact, if all of them are equal; else an empty text."""
    distinct = set(facts)
    return distinct.pop() if len(distinct) == 1 else ""
