"""One picture explained, on one page: its classes, where one is seen, what fires unusually."""

from PIL import Image

from retroscope.render.captions import joined, percent
from retroscope.render.heat_figures import notes_of, title_of
from retroscope.render.layout import (
    CLEAR,
    TIGHT,
    column,
    enlarged,
    factor_for,
    framed,
    grid,
    padded,
    page,
    row,
)
from retroscope.render.overlay import OPACITY, overlay
from retroscope.render.text import BODY, HEADING, LABEL, SMALL, height_of, line, paragraph
from retroscope.render.theme import BAND, COOL, MUTED
from retroscope.render.tone import toned
from retroscope.results.heat_maps import Explanation, Finding, Prediction, Unusual
from retroscope.results.values import Picture

_BAR = 260
_CELL = 232
_VISIBLE = 108
_WIDE = 4 * _CELL + 60


def draw_explanation(
    told: Explanation, *, colours: str = "inferno", opacity: float = OPACITY, tone: str = "tile"
) -> Image.Image:
    """The page as a picture."""
    heat = overlay(told.picture, told.heat, colours=colours, opacity=opacity)
    answers = column([bar_of(each) for each in told.predictions], gap=2 * TIGHT)
    factor = factor_for(*told.picture.shape[:2], visible=CLEAR)
    named = {"picture": told.picture, heat_name(told): heat}
    tiles = [_named(name, framed(enlarged(each, factor))) for name, each in named.items()]
    body = [_layer(each, tone) for each in told.findings]
    top = row([*tiles, answers], gap=2 * 8)
    width = max(top.width, _WIDE, *(each.width for each in body), 1)
    heading = [
        line(heading_of(told), width=width, size=HEADING),
        *paragraph(origin_of(told), width=width),
    ]
    compared = paragraph(compared_of(told), width=width)
    notes = [each for text in all_notes(told) for each in paragraph(text, width=width)]
    return page([column(heading, gap=TIGHT), top, *compared, *body, column(notes, gap=TIGHT)])


def heading_of(told: Explanation) -> str:
    """The first answer, and how probable it is."""
    first = told.predictions[0]
    return f"{first.target}, {percent(first.probability)}"


def origin_of(told: Explanation) -> str:
    """The picture, the network, and what is to be known of it before all else."""
    return joined(told.source, told.network, *told.remarks)


def heat_name(told: Explanation) -> str:
    """What the heat map is of; how probable that is, where no bar tells it."""
    target = told.heat.target
    known = any(each.target == target for each in told.predictions)
    title = str(target) if known else title_of(told.heat)
    return f"{title}: {told.heat.method} of {told.heat.layer}"


def compared_of(told: Explanation) -> str:
    """How the units were chosen, in words."""
    return f"The units of each layer that respond most unusually, {told.compared}:"


def all_notes(told: Explanation) -> list[str]:
    """All that is to be said under the page, each sentence once, and none that its top says."""
    own = [note for each in told.findings for unit in each.units for note in unit.projection.notes]
    said = dict.fromkeys((*notes_of(told.heat), *told.caveats, *own))
    return [note for note in said if note not in told.remarks]


def unit_lines(unit: Unusual) -> tuple[str, ...]:
    """What is said under a unit."""
    contrast = f"{unit.contrast:.1f} sd above the mean of its map"
    if unit.rarity is None:
        return f"activation {unit.activation:.4g}", contrast
    if unit.rarity == 0:
        return f"activation {unit.activation:.4g}", "above all of the atlas's images"
    rare = f"as high in {percent(unit.rarity)} of the atlas's images"
    return f"activation {unit.activation:.4g}", rare


def layer_name(finding: Finding) -> str:
    """A layer under its own name, with the one that people know."""
    layer = finding.layer
    familiar = [name for name in layer.aliases if "_" in name][:1]
    height, width = layer.size
    return joined(layer.name, *familiar, f"{layer.channels} channels of {height}x{width}")


def pair_of(unit: Unusual, tone: str) -> tuple[Picture, Picture]:
    """The patch that a unit saw, and its projection."""
    shown = toned(unit.projection.pixels, tone)
    patch = unit.projection.patch
    return (shown if patch is None else patch), shown


def bar_of(each: Prediction) -> Image.Image:
    """A class with a bar as long as it is probable."""
    bar = Image.new("RGB", (_BAR, 6), BAND)
    bar.paste(COOL, (0, 0, round(_BAR * each.probability), 6))
    words = f"{each.target}  {percent(each.probability)}"
    return column([line(words, width=_BAR, size=BODY), bar], gap=TIGHT)


def _layer(finding: Finding, tone: str) -> Image.Image:
    if not finding.units:
        nothing = line("no channel fires in this picture", size=SMALL, colour=MUTED)
        return column([line(layer_name(finding)), nothing], gap=TIGHT)
    cells = [_unit(each, tone) for each in finding.units]
    shown = grid(cells, columns=4, gap=20)
    return column([line(layer_name(finding), width=max(shown.width, _CELL)), shown], gap=TIGHT)


def _unit(unit: Unusual, tone: str) -> Image.Image:
    pair = [Image.fromarray(each) for each in pair_of(unit, tone)]
    tiles = [framed(_fitted(each)) for each in pair]
    words = [line(str(unit.unit), width=_CELL, size=SMALL)]
    words += [line(each, width=_CELL, size=LABEL, colour=MUTED) for each in unit_lines(unit)]
    return padded(column([row(tiles, gap=2 * TIGHT), *words], gap=TIGHT), width=_CELL)


def _fitted(tile: Image.Image) -> Image.Image:
    """A tile whose longer side is what a cell has room for: small ones in whole steps."""
    longer = max(tile.size)
    factor = _VISIBLE // longer
    if factor > 1:
        return tile.resize((tile.width * factor, tile.height * factor), Image.Resampling.NEAREST)
    width, height = (max(side * _VISIBLE // longer, 1) for side in tile.size)
    return tile.resize((width, height), Image.Resampling.LANCZOS)


def _named(name: str, tile: Image.Image) -> Image.Image:
    above = line(name, width=tile.width, size=LABEL, colour=MUTED)
    return column([above, tile], gap=height_of(LABEL) // 4)
