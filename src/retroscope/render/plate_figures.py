"""Plates: the patches that excite a channel most, beside their projections."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from PIL import Image

from retroscope.render.captions import (
    count_noun,
    firing_rate,
    is_quiet,
    join_facts,
    note_lines,
    partial_notes,
    patch_labels,
    plate_lines,
    quiet_line,
    ranking_text,
    slice_text,
)
from retroscope.render.histogram import draw_histogram
from retroscope.render.layout import TIGHT, column, grid, page, row
from retroscope.render.mosaics import (
    BLOCK_SIZE,
    LEGIBLE,
    block,
    draw_tiles,
    empty_place,
    fold_corner,
    legible_factor,
    square_columns,
    tile_size,
)
from retroscope.render.panels import heading_block, label_tile, notes_block
from retroscope.render.text import HEADING, SMALL, line, paragraph, text_width
from retroscope.render.theme import INK, MUTED, WARM
from retroscope.render.tiles import CONDITION_TILES
from retroscope.render.tone import DEFAULT_TONE
from retroscope.results.plates import Patch, Plate

_MIN_WIDTH = 480
_MIN_SOURCE_WIDTH = 150
_RANK = "99"
"""The label for which this width is enough."""
_TILE_GAP = 2
_BLOCK_GAP = 14
_SMALL_TILE = 52
_SMALL_BLOCK_GAP = 6
_SHEET_GAP = 24
_MIN_LABEL_WIDTH = 200


def draw_plate(
    plate: Plate,
    *,
    bare: bool = False,
    histogram: bool = False,
    tone: str = DEFAULT_TONE,
    scale: int | None = None,
    lit: bool = True,
) -> Image.Image:
    """The patches of a ranking, their projections, and the patches lit by them, the facts below.

    A note that applies to some of the patches lists their numbers, and their corners are folded.
    `bare` draws only the blocks of tiles, and `lit=False` leaves out the third. `histogram` adds
    the images by maximum activation.
    """
    plate = _as_images(plate)
    factor = legible_factor(map(tile_size, plate.patches), scale=scale)
    blocks = _blocks(plate, factor, tone=tone, bare=bare, lit=lit)
    if bare:
        return row(blocks, gap=_BLOCK_GAP)
    projections = join_facts("projections", *_rule_books([plate]))
    labels = ("patches", projections, "lit patches") if plate.patches else ("",)
    labelled_blocks = row(list(map(label_tile, labels, blocks)), gap=_BLOCK_GAP)
    width = max(labelled_blocks.width, _MIN_WIDTH)
    caption = heading_block(str(plate.unit), plate_lines(plate), width=width)
    parts = [labelled_blocks, caption, *_source_list(plate, width)]
    if histogram and plate.stats.images and plate.stats.histogram is not None:
        parts.append(draw_histogram(plate.stats.histogram, width=width))
    return page([*parts, *notes_block(note_lines(plate), width=width)])


def draw_plates(
    plates: Sequence[Plate],
    *,
    columns: int = 4,
    tone: str = DEFAULT_TONE,
    scale: int | None = None,
    lit: bool = False,
) -> Image.Image:
    """A sheet of channels, each with its patches, their projections, and its firing rate.

    `lit` adds the patches lit by their projections.
    """
    plates = list(map(_as_images, plates))
    patches = [patch for plate in plates for patch in plate.patches]
    legible = _SMALL_TILE if any(patch.projection for patch in patches) else 2 * _SMALL_TILE
    factor = legible_factor(map(tile_size, patches), legible=legible, scale=scale)
    block_rows = [
        row(_blocks(plate, factor, tone=tone, bare=True, lit=lit), gap=_SMALL_BLOCK_GAP)
        for plate in plates
    ]
    width = max(_MIN_LABEL_WIDTH, *(block_row.width for block_row in block_rows))
    one_layer = len({plate.unit.layer for plate in plates}) == 1
    cells = [
        column([block_row, _sheet_label(plate, width, one_layer=one_layer)], gap=TIGHT)
        for plate, block_row in zip(plates, block_rows, strict=True)
    ]
    body = grid(cells, columns=min(columns, len(cells)), gap=_SHEET_GAP)
    heading = _sheet_heading(plates, max(body.width, _MIN_WIDTH), lit=lit)
    return page([heading, body], gap=_BLOCK_GAP)


def _as_images(plate: Plate) -> Plate:
    """The plate with the strongest slice of each patch, if its patches are those of volumes."""
    if not any(patch.is_volume for patch in plate.patches):
        return plate
    return replace(plate, patches=tuple(patch.flat for patch in plate.patches))


def _blocks(plate: Plate, factor: float, *, tone: str, bare: bool, lit: bool) -> list[Image.Image]:
    """The block of patches, and those of projections and lit patches if there are any."""
    patches = plate.patches
    if not patches:
        return [_patchless_tile(plate)]
    kinds = ["patch"]
    if any(patch.projection for patch in patches):
        kinds += ["projection", "lit"] if lit else ["projection"]
    folded = set() if bare else _patches_with_notes(plate)
    columns = square_columns(len(patches))
    rows = -(-len(patches) // columns)
    is_open = plate.label is None and plate.ranked_by != "sample"
    blocks = []
    for kind in kinds:
        tiles = [
            fold_corner(tile) if tile and index in folded else tile
            for index, tile in enumerate(draw_tiles(patches, kind, factor=factor, tone=tone))
        ]
        tile_block = block(
            tiles,
            columns=columns,
            places=max(BLOCK_SIZE, rows * columns) if is_open else rows * columns,
            gap=_TILE_GAP,
            missing="" if bare else "not yet",
            beyond="no more" if is_open and not bare else "",
        )
        blocks.append(tile_block)
    return blocks


def _patches_with_notes(plate: Plate) -> set[int]:
    """The indices of the patches with a note that does not apply to all of them."""
    return {index for indices in partial_notes(plate).values() for index in indices}


def _patchless_tile(plate: Plate) -> Image.Image:
    """The tile of a channel without patches: crossed out if the channel is dead."""
    size = LEGIBLE, LEGIBLE
    dead = plate.stats.dead and plate.stats.images
    return CONDITION_TILES["dead"](size) if dead else empty_place(size)


def _source_list(plate: Plate, width: int) -> list[Image.Image]:
    """The label, score and source of each patch, in as many columns as the tiles have."""
    patches, labels = plate.patches, patch_labels(plate)
    if not patches:
        return []
    label_width = max(text_width(label, SMALL) for label in (_RANK, *labels))
    narrowest = _MIN_SOURCE_WIDTH + label_width - text_width(_RANK, SMALL)
    columns = max(min(square_columns(len(patches)), width // narrowest), 1)
    cell_width = (width - (columns - 1) * _BLOCK_GAP) // columns
    scores = [f"{patch.score:.4g}" for patch in patches]
    score_width = max(text_width(score, SMALL) for score in scores)
    cells = [
        _source((label, score, _place_text(patch)), (label_width, score_width), width=cell_width)
        for label, score, patch in zip(labels, scores, patches, strict=True)
    ]
    rows = [
        row(cells[start : start + columns], gap=_BLOCK_GAP)
        for start in range(0, len(cells), columns)
    ]
    return [column(rows, gap=1)]


def _place_text(patch: Patch) -> str:
    """The source of a patch, of a volume after the slice that is drawn."""
    return join_facts(slice_text(patch), patch.source)


def _source(texts: tuple[str, str, str], widths: tuple[int, int], *, width: int) -> Image.Image:
    """Label, score and source; `widths` are those of the first two, the source has the rest."""
    gap = 2 * TIGHT
    all_widths = (*widths, width - sum(widths) - 2 * gap)
    cells = [
        line(text, width=text_room, size=SMALL, colour=colour)
        for text, text_room, colour in zip(texts, all_widths, (MUTED, INK, MUTED), strict=True)
    ]
    return row(cells, gap=gap)


def _sheet_label(plate: Plate, width: int, *, one_layer: bool) -> Image.Image:
    """The channel's number, how often it fires and, if it fits, its best score."""
    gap = 2 * TIGHT
    channel = plate.unit.channel
    name = str(channel) if one_layer and channel is not None else str(plate.unit)
    labels = [line(name, width=min(text_width(name, SMALL), width), size=SMALL, colour=INK)]
    remaining_width = width - labels[0].width - gap
    rate = firing_rate(plate.stats)
    rate_width = min(text_width(rate, SMALL), remaining_width)
    colour = WARM if is_quiet(plate.stats) else MUTED
    labels.append(line(rate, width=rate_width, size=SMALL, colour=colour))
    best = _best_score(plate)
    if best and remaining_width - rate_width > text_width(best, SMALL) + gap:
        labels.append(line(best, size=SMALL, colour=MUTED))
    return row(labels, gap=gap)


def _best_score(plate: Plate) -> str:
    """The score of the first patch, and what it is the best of."""
    if not plate.patches:
        return ""
    name = plate.label or plate.ranked_by
    if plate.ranked_by == "sample":
        name = f"quantile {patch_labels(plate)[0]}"
    return f"{name} {plate.patches[0].score:.4g}"


def _sheet_heading(plates: Sequence[Plate], width: int, *, lit: bool) -> Image.Image:
    layers = dict.fromkeys(plate.unit.layer for plate in plates)
    title = f"{count_noun(len(plates), 'channel')} of {', '.join(layers)}"
    rule_books = _rule_books(plates)
    views = "patches, projections and lit patches" if lit else "patches beside projections"
    content = views if rule_books else "patches, not projected yet"
    rankings = sorted({ranking_text(plate) for plate in plates})
    notes = dict.fromkeys(plate.layer.note for plate in plates)
    missing = _missing_note(plates) if rule_books else ""
    texts = [
        *paragraph(join_facts(*notes, content, *rule_books, missing, *rankings), width=width),
        *paragraph(quiet_line([plate.stats for plate in plates]), width=width, colour=WARM),
    ]
    return column([line(title, width=width, size=HEADING), *texts], gap=TIGHT)


def _missing_note(plates: Sequence[Plate]) -> str:
    """How many patches of a sheet have no projection."""
    patches = [patch for plate in plates for patch in plate.patches]
    missing = sum(patch.projection is None for patch in patches)
    return f"{missing:,} of {len(patches):,} not projected yet" if missing else ""


def _rule_books(plates: Iterable[Plate]) -> list[str]:
    """The rule books of all projections, without repeats."""
    patches = (patch for plate in plates for patch in plate.patches)
    return list(dict.fromkeys(patch.projection.rules for patch in patches if patch.projection))
