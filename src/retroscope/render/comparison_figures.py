"""A comparison of atlases: how much each layer changed, and the units that changed most."""

from functools import partial
from math import isnan

from PIL import Image

from retroscope.render.captions import count_noun, join_facts
from retroscope.render.layout import TIGHT, column, pad, page, row
from retroscope.render.mosaics import legible_factor, tile_size
from retroscope.render.panels import heading_block
from retroscope.render.plate_figures import draw_plate
from retroscope.render.text import BODY, LABEL, SMALL, line, text_width
from retroscope.render.theme import BAND, COOL, MUTED
from retroscope.render.tone import DEFAULT_TONE
from retroscope.results.comparisons import AtlasComparison, LayerComparison, UnitComparison

_BAR_WIDTH, _BAR_HEIGHT = 120, 6
_MIN_WIDTH, _MAX_NAME_WIDTH = 480, 360
_MIN_CELL_WIDTH = 230
_LEGIBLE = 80
_PLATE_GAP, _UNIT_GAP = 20, 14


def draw_comparison(
    comparison: AtlasComparison,
    *,
    tone: str = DEFAULT_TONE,
    scale: int | None = None,
    lit: bool = False,
) -> Image.Image:
    """The mean change of each layer as bars, and the plates of the units that changed most.

    +-------------------------------------------+
    | before compared with after                |
    | features.0   .12 ==                       |
    | features.3   .40 ======                   |
    | features.3:7                              |
    | [plate before]          [plate after]     |
    | before                  after, change .91 |
    +-------------------------------------------+
    """
    layers = _layer_bars(comparison)
    units = _unit_rows(comparison, tone=tone, scale=scale, lit=lit)
    width = max(_MIN_WIDTH, layers.width, *(unit.width for unit in units), 0)
    first, *others = comparison.atlases
    title = f"{first} compared with {', '.join(others)}"
    explanation = (
        "Change of a unit, from 0 to 1: one less the mean of the share of its nine best images "
        "that both atlases have and the cosine between its responses to the classes."
    )
    shown = f"The {count_noun(len(units), 'unit')} that changed most:" if units else ""
    heading = heading_block(title, [explanation], width=width)
    return page([heading, layers, *([line(shown)] if shown else []), column(units, gap=_UNIT_GAP)])


def _layer_bars(comparison: AtlasComparison) -> Image.Image:
    """A row for each layer, with a bar for each atlas that is compared with the first."""
    widths = [text_width(layer.layer.name) for layer in comparison.layers]
    width = min(max(widths, default=0), _MAX_NAME_WIDTH)
    width = max(width, text_width("mean change", LABEL))
    texts = [("mean change", width), *((name, _BAR_WIDTH) for name in comparison.atlases[1:])]
    labels = [line(text, width=room, size=LABEL, colour=MUTED) for text, room in texts]
    head = row(labels, gap=_PLATE_GAP)
    rows = [_layer_row(layer, width) for layer in comparison.layers]
    return column([head, *rows], gap=TIGHT)


def _layer_row(layer: LayerComparison, width: int) -> Image.Image:
    name = line(layer.layer.name, width=width, size=BODY)
    return row([name, *map(_bar, layer.changes)], gap=_PLATE_GAP)


def _bar(change: float) -> Image.Image:
    """A change as a number above a bar of that length."""
    bar = Image.new("RGB", (_BAR_WIDTH, _BAR_HEIGHT), BAND)
    bar.paste(COOL, (0, 0, round(_BAR_WIDTH * change), _BAR_HEIGHT))
    return column([line(f"{change:.2f}", size=SMALL), bar], gap=0)


def _unit_rows(
    comparison: AtlasComparison, *, tone: str, scale: int | None, lit: bool
) -> list[Image.Image]:
    """The plates of each unit side by side, the atlases in columns."""
    rows = []
    for unit in comparison.units:
        unit_scale = _common_scale(unit) if scale is None else scale
        draw_tiles = partial(draw_plate, bare=True, tone=tone, scale=unit_scale, lit=lit)
        tiles = list(map(draw_tiles, unit.plates))
        rows.append(list(map(_atlas_cell, tiles, comparison.atlases, _facts(unit))))
    widths = [max(cell.width for cell in cells) for cells in zip(*rows, strict=True)]
    return [
        column([line(str(unit.unit)), row(list(map(_pad_to, cells, widths)), gap=_PLATE_GAP)])
        for unit, cells in zip(comparison.units, rows, strict=True)
    ]


def _common_scale(unit: UnitComparison) -> int | None:
    """The factor that makes the plates of all atlases legible; None if they are reduced."""
    patches = [patch for plate in unit.plates for patch in plate.patches]
    factor = legible_factor(map(tile_size, patches), legible=_LEGIBLE)
    return round(factor) if factor >= 1 else None


def _atlas_cell(tiles: Image.Image, name: str, facts: str) -> Image.Image:
    width = max(tiles.width, _MIN_CELL_WIDTH)
    texts = [line(text, width=width, size=LABEL, colour=MUTED) for text in (name, facts)]
    return column([tiles, *texts], gap=TIGHT)


def _pad_to(cell: Image.Image, width: int) -> Image.Image:
    return pad(cell, width=width)


def _facts(unit: UnitComparison) -> list[str]:
    """What is known of a unit in each of the atlases."""
    changes = ["", *(_change_facts(unit, number) for number in range(len(unit.changes)))]
    states = ["never fires" if is_dead else "" for is_dead in unit.dead]
    return list(map(join_facts, states, changes))


def _change_facts(unit: UnitComparison, number: int) -> str:
    """How a unit changed to an atlas, by its number among the others."""
    similarity = unit.class_similarities[number]
    return join_facts(
        f"change {unit.changes[number]:.2f}",
        f"{count_noun(unit.shared_images[number], 'best image')} in common",
        "" if isnan(similarity) else f"class cosine {similarity:.2f}",
    )
