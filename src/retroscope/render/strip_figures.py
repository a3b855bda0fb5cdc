"""Hits in volumes and clips: the slices of each patch side by side, its projection below them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from PIL import Image, ImageOps

from retroscope.geometry import Box
from retroscope.render.captions import count_noun, hit_notes, join_facts, score_text, slice_text
from retroscope.render.context_figures import RED
from retroscope.render.layout import TIGHT, column, page, row
from retroscope.render.mosaics import draw_tiles, empty_place, legible_factor
from retroscope.render.panels import heading_block
from retroscope.render.slices import choose_slices
from retroscope.render.text import LABEL, line, paragraphs
from retroscope.render.theme import INK, MUTED, PAPER
from retroscope.render.tone import DEFAULT_TONE
from retroscope.results.plates import Patch
from retroscope.unit import Unit

MOST_SLICES = 9
_LEGIBLE = 96
_FRAME, _GAP, _SHEET_GAP = 2, 2, 22
_KINDS = ("patch", "projection", "lit")


@dataclass(frozen=True, eq=False)
class HitSlices:
    """One hit in a volume or a clip. `is_sampled` says that it is one of a sample."""

    patch: Patch
    unit: Unit
    is_sampled: bool = False


def draw_hit_slices(
    hits: Sequence[HitSlices],
    *,
    tone: str = DEFAULT_TONE,
    scale: int | None = None,
    lit: bool = True,
) -> Image.Image:
    """The slices that each unit sees, side by side, their projections and the lit slices below.

    The strongest slice is framed. Of many slices, some are left out. All slices of a projection
    have one tone, so their strengths compare.

         3     4    [5]    6     7      1  conv2:42@2,6,7
        +---+ +---+ +===+ +---+ +---+   score 12.3
        |   | |   | |   | |   | |   |   slice 5 of 16 is the strongest
        +---+ +---+ +===+ +---+ +---+   clips/17
    """
    factor = legible_factor(
        ((hit.patch.visible.height, hit.patch.visible.width) for hit in hits),
        legible=_LEGIBLE,
        scale=scale,
    )
    blocks = [
        _strip(rank, hit, factor, tone=tone, lit=lit) for rank, hit in enumerate(hits, start=1)
    ]
    width = max(block.width for block in blocks)
    return page([_heading(hits, width, lit=lit), *blocks], gap=_SHEET_GAP)


def _heading(hits: Sequence[HitSlices], width: int, *, lit: bool) -> Image.Image:
    rules = dict.fromkeys(hit.patch.projection.rules for hit in hits if hit.patch.projection)
    views = "slices of each patch" + (", their projections below" if rules else "")
    views += ", and the slices lit by them" if rules and lit else ""
    facts = join_facts(views, *rules, "the strongest is framed")
    return heading_block(count_noun(len(hits), "hit"), [facts], width=max(width, 480))


def _strip(rank: int, hit: HitSlices, factor: float, *, tone: str, lit: bool) -> Image.Image:
    patch, strongest = hit.patch, hit.patch.strongest_slice
    numbers = _shown_slices(patch)
    flat = side_by_side(patch, numbers)
    kinds = _KINDS if lit else _KINDS[:2]
    rows = [
        _slices_of_tile(draw_tiles([flat], kind, factor=factor, tone=tone)[0], numbers, strongest)
        for kind in (kinds if patch.projection else kinds[:1])
    ]
    label_width = (rows[0].width + _GAP) // len(numbers) - _GAP
    labels = row([_label(number, label_width, strongest) for number in numbers], gap=_GAP)
    return column([*_caption(rank, hit, max(rows[0].width, 480)), labels, *rows], gap=TIGHT)


def _caption(rank: int, hit: HitSlices, width: int) -> list[Image.Image]:
    patch = hit.patch
    score = score_text(patch.score, patch.quantile, is_sampled=hit.is_sampled)
    strongest = slice_text(patch.flat)
    facts = join_facts(score, f"{strongest} is the strongest" if strongest else "", patch.source)
    notes = hit_notes(patch.projection, patch.score, is_sampled=hit.is_sampled)
    return [line(f"{rank}  {hit.unit}", width=width), *paragraphs([facts, *notes], width=width)]


def _shown_slices(patch: Patch) -> tuple[int, ...]:
    """Which slices of the field are shown, the strongest among them."""
    slices = patch.slices
    strengths = np.zeros(len(slices))
    strengths[patch.strongest_slice - slices[0]] = 1
    return tuple(slices[number] for number in choose_slices(strengths, MOST_SLICES))


def side_by_side(patch: Patch, numbers: Sequence[int]) -> Patch:
    """Slices of a patch as one image, so that all have the tone of the strongest."""
    slices = [patch.slice(number) for number in numbers]
    pixels = np.concatenate([piece.pixels for piece in slices], axis=1)
    box = Box(0, 0, *pixels.shape[:2])
    projections = [piece.projection for piece in slices if piece.projection is not None]
    projection = None
    if projections and len(projections) == len(slices):
        signed = np.concatenate([piece.pixels for piece in projections], axis=1)
        inside = Box(0, 0, *signed.shape[:2])
        projection = replace(
            projections[0], pixels=signed, patch=None, box=inside, size=(box.height, box.width)
        )
    return replace(
        slices[0], pixels=pixels, box=box, size=(box.height, box.width), projection=projection
    )


def _slices_of_tile(
    tile: Image.Image | None, numbers: Sequence[int], strongest: int
) -> Image.Image:
    """The tile of all slices cut into those of each, the strongest framed."""
    shown = tile or empty_place((len(numbers) * _LEGIBLE, _LEGIBLE))
    edges = np.rint(np.linspace(0, shown.width, len(numbers) + 1)).astype(int).tolist()
    parts = [shown.crop((left, 0, right, shown.height)) for left, right in pairwise(edges)]
    framed = [
        ImageOps.expand(part, _FRAME, RED if number == strongest else PAPER)
        for part, number in zip(parts, numbers, strict=True)
    ]
    return row(framed, gap=_GAP)


def _label(number: int, width: int, strongest: int) -> Image.Image:
    """The number of a slice, counted from 1."""
    colour = INK if number == strongest else MUTED
    return line(str(number + 1), width=max(width, 1), size=LABEL, colour=colour)
