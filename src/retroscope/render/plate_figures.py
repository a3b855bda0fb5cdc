"""Plates: the patches that excite a channel most, beside what in them did it."""

from collections.abc import Iterable, Sequence

from PIL import Image

from retroscope.render.captions import (
    counted,
    every,
    fires,
    is_quiet,
    joined,
    plate_lines,
    quiet_line,
    remark_lines,
    remarks,
)
from retroscope.render.histogram import draw_histogram
from retroscope.render.layout import TIGHT, column, grid, page, row
from retroscope.render.mosaics import (
    KINDS,
    LEGIBLE,
    PLACES,
    block,
    columns_for,
    factor_of,
    folded,
    pale,
    size_of,
    tiles_of,
)
from retroscope.render.text import HEADING, LABEL, SMALL, line, paragraph, width_of
from retroscope.render.theme import INK, MUTED, WARM
from retroscope.render.tiles import FACES
from retroscope.results.values import Patch, Plate

_LEAST_WIDTH = 480
_LEAST_SOURCE = 150
_TILE_GAP = 2
_BLOCK_GAP = 14
_SMALL = 52
_SMALL_BLOCK_GAP = 6
_SHEET_GAP = 24
_LEAST_LABEL = 200


def draw_plate(
    plate: Plate,
    *,
    words: bool = True,
    histogram: bool = False,
    tone: str = "tile",
    scale: int | None = None,
) -> Image.Image:
    """Nine patches beside their nine projections in the same order, the facts below.

    Where a note holds for some of them only, their corners are folded and the note counts them up.
    `words=False` for the two blocks only; `histogram` adds the images by their largest value.
    """
    factor = factor_of(map(size_of, plate.patches), scale=scale)
    blocks = _blocks(plate, factor, tone=tone, words=words)
    if not words:
        return row(blocks, gap=_BLOCK_GAP)
    names = ("patches", joined("projections", *_rules([plate]))) if plate.patches else ("",)
    shown = row([_named(*each) for each in zip(names, blocks, strict=False)], gap=_BLOCK_GAP)
    width = max(shown.width, _LEAST_WIDTH)
    parts = [shown, _caption(plate, width), *_sources(plate.patches, width)]
    if histogram and plate.stats.images:
        parts.append(draw_histogram(plate.stats, width=width))
    return page([*parts, *_notes(plate, width)])


def draw_plates(
    plates: Sequence[Plate], *, columns: int = 4, tone: str = "tile", scale: int | None = None
) -> Image.Image:
    """A sheet of channels, each with its patches beside their projections and its best score."""
    patches = [patch for plate in plates for patch in plate.patches]
    legible = _SMALL if any(patch.projection for patch in patches) else 2 * _SMALL
    factor = factor_of(map(size_of, patches), legible=legible, scale=scale)
    pictures = [
        row(_blocks(plate, factor, tone=tone, words=False), gap=_SMALL_BLOCK_GAP)
        for plate in plates
    ]
    width = max(_LEAST_LABEL, *(picture.width for picture in pictures))
    one_layer = len({plate.unit.layer for plate in plates}) == 1
    cells = [
        column([picture, _label(plate, width, one_layer=one_layer)], gap=TIGHT)
        for plate, picture in zip(plates, pictures, strict=True)
    ]
    body = grid(cells, columns=min(columns, len(cells)), gap=_SHEET_GAP)
    return page([_sheet_heading(plates, max(body.width, _LEAST_WIDTH)), body], gap=_BLOCK_GAP)


def _blocks(plate: Plate, factor: float, *, tone: str, words: bool) -> list[Image.Image]:
    """The block of patches, and that of projections where there is one."""
    patches = plate.patches
    if not patches:
        return [_face(plate)]
    across = columns_for(len(patches))
    marked = _marked(plate) if words else ()
    return [
        block(
            [
                folded(tile) if tile and n in marked else tile
                for n, tile in enumerate(tiles_of(patches, kind, factor=factor, tone=tone))
            ],
            columns=across,
            places=max(PLACES, -(-len(patches) // across) * across),
            gap=_TILE_GAP,
            missing="not yet" if words else "",
            after="no more" if words else "",
        )
        for kind in (KINDS if any(patch.projection for patch in patches) else KINDS[:1])
    ]


def _marked(plate: Plate) -> set[int]:
    """The patches for which something holds that does not for all, counted from 0."""
    return {n for places in remarks(plate).values() for n in places if places != every(plate)}


def _face(plate: Plate) -> Image.Image:
    """What stands for a channel without patches: crossed out where it never fires."""
    size = LEGIBLE, LEGIBLE
    dead = plate.stats.dead and plate.stats.images > 0
    return FACES["dead"](size) if dead else pale(size)


def _named(name: str, picture: Image.Image) -> Image.Image:
    return column([line(name, width=picture.width, size=LABEL, colour=MUTED), picture], gap=TIGHT)


def _caption(plate: Plate, width: int) -> Image.Image:
    texts = [each for text in plate_lines(plate) for each in paragraph(text, width=width)]
    return column([line(str(plate.unit), width=width, size=HEADING), *texts], gap=TIGHT)


def _sources(patches: Sequence[Patch], width: int) -> list[Image.Image]:
    """Each patch's number, score and file, in the order of the tiles."""
    if not patches:
        return []
    across = max(min(columns_for(len(patches)), width // _LEAST_SOURCE), 1)
    each = (width - (across - 1) * _BLOCK_GAP) // across
    scores = [f"{patch.score:.4g}" for patch in patches]
    room = max(width_of(score, SMALL) for score in scores)
    cells = [
        _source(n, score, patch.source, room=room, width=each)
        for n, (score, patch) in enumerate(zip(scores, patches, strict=True), start=1)
    ]
    rows = [row(cells[n : n + across], gap=_BLOCK_GAP) for n in range(0, len(cells), across)]
    return [column(rows, gap=1)]


def _source(number: int, score: str, source: str, *, room: int, width: int) -> Image.Image:
    start = width_of("99", SMALL)
    left = width - start - room - 2 * TIGHT * 2
    return row(
        [
            line(str(number), width=start, size=SMALL, colour=MUTED),
            line(score, width=room, size=SMALL, colour=INK),
            line(source, width=left, size=SMALL, colour=MUTED),
        ],
        gap=2 * TIGHT,
    )


def _label(plate: Plate, width: int, *, one_layer: bool) -> Image.Image:
    """The channel's number, its best score, and how often it fires."""
    channel = plate.unit.channel
    name = str(channel) if one_layer and channel is not None else str(plate.unit)
    best = f"{plate.ranked_by} {plate.patches[0].score:.4g}" if plate.patches else ""
    number = line(name, width=min(width_of(name, SMALL), width), size=SMALL, colour=INK)
    left = width - number.width - 2 * TIGHT
    often = fires(plate.stats)
    room = min(width_of(often, SMALL), left)
    colour = WARM if is_quiet(plate.stats) else MUTED
    said = [line(often, width=room, size=SMALL, colour=colour)]
    if best and left - room > width_of(best, SMALL) + 2 * TIGHT:
        said.append(line(best, size=SMALL, colour=MUTED))
    return row([number, *said], gap=2 * TIGHT)


def _sheet_heading(plates: Sequence[Plate], width: int) -> Image.Image:
    layers = list(dict.fromkeys(plate.unit.layer for plate in plates))
    title = f"{counted(len(plates), 'channel')} of {', '.join(layers)}"
    beside = "patches beside projections" if _rules(plates) else "patches, not illustrated yet"
    ranked = sorted({f"ranked by {plate.ranked_by}" for plate in plates})
    facts = joined(beside, *_rules(plates), *ranked)
    texts = [
        *paragraph(facts, width=width),
        *paragraph(quiet_line([plate.stats for plate in plates]), width=width, colour=WARM),
    ]
    return column([line(title, width=width, size=HEADING), *texts], gap=TIGHT)


def _notes(plate: Plate, width: int) -> list[Image.Image]:
    texts = [each for note in remark_lines(plate) for each in paragraph(note, width=width)]
    return [column(texts, gap=TIGHT)] if texts else []


def _rules(plates: Iterable[Plate]) -> list[str]:
    """The rule books of the projections, each once."""
    patches = (patch for plate in plates for patch in plate.patches)
    return list(dict.fromkeys(patch.projection.rules for patch in patches if patch.projection))
