"""Projections beside the patches that they explain, one at a time or on a sheet."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from retroscope.geometry import Box
from retroscope.render.layout import enlarged, factor_for
from retroscope.render.panels import Panel, contact_sheet, draw_panel, draw_sheet
from retroscope.render.tone import GREY, toned
from retroscope.results.values import Patch, Picture, Projection


def draw_projection(
    projection: Projection, *, tone: str = "tile", scale: int | None = None, bare: bool = False
) -> Image.Image:
    """The patch beside its projection, the caption below; `bare` for the projection alone.

    A bare projection has one pixel for each pixel of its box unless a scale is asked for.
    """
    if bare:
        picture = toned(projection.pixels, tone)
        factor = factor_for(*picture.shape[:2], scale=1 if scale is None else scale)
        return enlarged(picture, factor)
    return draw_panel(_projection_panel(projection, tone=tone), scale=scale)


def draw_projections(
    projections: Sequence[Projection],
    *,
    tone: str = "tile",
    scale: int | None = None,
    columns: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """A sheet of projections beside their patches; `bare` for the projections alone.

    What all of them share, the rule book or the source, is said once in the heading.
    """
    if bare:
        pictures = [toned(each.pixels, tone) for each in projections]
        return contact_sheet(pictures, scale=scale, columns=columns)
    rules = _shared(each.rules for each in projections)
    source = _shared(each.source for each in projections)
    layer = _shared(each.unit.layer for each in projections)
    panels = [_projection_panel(each, tone=tone, known={rules, source}) for each in projections]
    paired = all(each.patch is not None for each in projections)
    beside = "each patch beside its projection" if paired else ""
    return draw_sheet(
        panels,
        title=_counted(len(panels), "projection") + (f" of {layer}" if layer else ""),
        line_below=_joined(beside, rules, source),
        scale=scale,
        columns=columns,
    )


def draw_patch(patch: Patch, *, tone: str = "tile", scale: int | None = None) -> Image.Image:
    """A patch, its projection beside it where there is one, the caption below."""
    return draw_panel(_patch_panel(patch, tone=tone), scale=scale)


def draw_patches(
    patches: Sequence[Patch],
    *,
    tone: str = "tile",
    scale: int | None = None,
    columns: int | None = None,
    title: str = "",
    line_below: str = "",
    names: Sequence[str] = (),
) -> Image.Image:
    """A sheet of patches, each beside its projection where there is one.

    `names` say which unit saw each; a patch that has no projection does not know.
    """
    rules = _shared(each.projection.rules for each in patches if each.projection)
    panels = [
        _patch_panel(each, tone=tone, name=name, known={rules})
        for each, name in zip(patches, names or [""] * len(patches), strict=True)
    ]
    return draw_sheet(
        panels,
        title=title or _counted(len(panels), "patch", "patches"),
        line_below=_joined(line_below, _beside(patches), rules),
        scale=scale,
        columns=columns,
    )


def _beside(patches: Sequence[Patch]) -> str:
    dark = sum(each.projection is None for each in patches)
    if dark == len(patches):
        return "not illustrated yet"
    return f"each patch beside its projection{f', {dark} not illustrated yet' if dark else ''}"


def _projection_panel(projection: Projection, *, tone: str, known: Iterable[str] = ()) -> Panel:
    box = projection.box
    shown = ("projection", toned(projection.pixels, tone))
    rules, source = (
        "" if fact in known else fact for fact in (projection.rules, projection.source)
    )
    lines = (
        _joined(f"activation {projection.activation:.4g}", rules),
        _place(box, projection.size),
        source,
    )
    return Panel(
        pictures=(shown,) if projection.patch is None else (("patch", projection.patch), shown),
        title=str(projection.unit),
        lines=tuple(filter(None, lines)),
        notes=projection.notes,
    )


def _patch_panel(patch: Patch, *, tone: str, name: str = "", known: Iterable[str] = ()) -> Panel:
    lines = (_place(patch.box), patch.source)
    score, projection = f"score {patch.score:.4g}", patch.projection
    if projection is None:
        at = "position {},{}".format(*patch.position)
        said = (score,) if name else ()
        return Panel((("patch", patch.pixels),), name or _joined(score, at), (*said, *lines))
    around = patch.box.union(projection.box)
    seen = _placed(patch.pixels, patch.box, around)
    shown = _placed(toned(projection.pixels, tone), projection.box, around)
    return Panel(
        pictures=(("patch", seen), ("projection", shown)),
        title=name or str(projection.unit),
        lines=(_joined(score, "" if projection.rules in known else projection.rules), *lines),
        notes=projection.notes,
    )


def _placed(picture: Picture, box: Box, around: Box) -> Picture:
    """The picture of a box on grey, at its place in a box around it."""
    canvas = np.full((around.height, around.width, 3), GREY, np.uint8)
    top, left = box.top - around.top, box.left - around.left
    canvas[top : top + box.height, left : left + box.width] = picture
    return canvas


def _place(box: Box, size: tuple[int, int] | None = None) -> str:
    """Where a box is in what the network was shown, whose size that is."""
    if not (box.height and box.width):
        return "no pixels: only padding is seen"
    whole = f" of {size[0]}x{size[1]}" if size else ""
    return f"{box.height}x{box.width} px{whole} from y {box.top}, x {box.left}"


def _shared(facts: Iterable[str]) -> str:
    distinct = set(facts)
    return distinct.pop() if len(distinct) == 1 else ""


def _joined(*facts: str) -> str:
    return " · ".join(filter(None, facts))


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
