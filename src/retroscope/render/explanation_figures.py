"""The explanation of an image on one page: its classes, the heat map of one, unusual units."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from retroscope.geometry import Box, format_size
from retroscope.imaging.decoding import RGB
from retroscope.render.captions import join_facts, name_line, percent
from retroscope.render.explanation_slices import flatten_explanation, slice_line
from retroscope.render.heat_figures import heat_notes, heat_title
from retroscope.render.layout import (
    CLEARLY_VISIBLE,
    TIGHT,
    add_border,
    column,
    enlargement_factor,
    grid,
    pad,
    page,
    row,
)
from retroscope.render.mosaics import resize_projection, ring_place
from retroscope.render.overlay import OPACITY, overlay
from retroscope.render.panels import heading_block, image_tile, label_tile
from retroscope.render.prediction_rows import (
    SHOWN_SIDE,
    SHOWN_WIDTH,
    draw_prediction_cells,
    image_label,
    prediction_bar,
    shown_image,
)
from retroscope.render.text import LABEL, SMALL, line, paragraphs
from retroscope.render.theme import MUTED
from retroscope.render.tone import DEFAULT_TONE
from retroscope.results.explanations import Explanation, LayerFinding, UnusualUnit
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection

NO_UNITS = "no channel fires for this image"
_CELL_WIDTH = 296
_PAGE_TILE_SIDE = 240
_COLUMNS, _COLUMN_GAP = 4, 20
_MIN_WIDTH = _COLUMNS * _CELL_WIDTH + (_COLUMNS - 1) * _COLUMN_GAP
_TOP_GAP = 16


class UnitImage(NamedTuple):
    """An image of a unit with its caption, and what it is for those who do not see it."""

    caption: str
    description: str
    pixels: RGB


class _TileLayout(NamedTuple):
    """How many tiles of a unit stand side by side, and the side of the square that each fills."""

    columns: int
    side: int


_THREE_TILES, _FOUR_TILES = _TileLayout(3, 92), _TileLayout(2, 143)


def draw_explanation(
    explanation: Explanation,
    *,
    colours: str = "inferno",
    opacity: float = OPACITY,
    tone: str = DEFAULT_TONE,
) -> Image.Image:
    """The explanation as a figure.

    +----------------------------------------+
    | tabby, 83 %                            |
    | [image] [heat map]  tabby      83 % == |
    |                     lynx       11 % =  |
    | [other inputs that are images]         |
    |                                        |
    | of a detector instead of these:        |
    |          cat 87 % ===    owl 71 % ==   |
    | [image]  [heat][box]     [heat][box]   |
    |                                        |
    | features.28 conv5_3 ...                |
    | [patch][projection] [patch][projection]|
    | [lit]  [added]      [lit]  [added]     |
    | notes                                  |
    +----------------------------------------+
    """
    explanation, slices = flatten_explanation(explanation)
    top = draw_prediction_cells(explanation, colours=colours, opacity=opacity) or [
        _draw_classes(explanation, slices, colours=colours, opacity=opacity),
        *_draw_others(explanation, slices),
    ]
    layout = _FOUR_TILES if _has_contrast(explanation) else _THREE_TILES
    layers = [_layer_block(finding, tone, layout, slices) for finding in explanation.findings]
    width = max(_MIN_WIDTH, *(block.width for block in (*top, *layers)))
    title, subtitle = explanation_title(explanation), explanation_subtitle(explanation)
    heading = heading_block(title, [subtitle], width=width)
    texts = paragraphs([ranking_line(explanation), views_line(explanation, slices)], width=width)
    notes = column(paragraphs(explanation_notes(explanation), width=width), gap=TIGHT)
    return page([heading, *top, column(texts, gap=TIGHT), *layers, notes])


def _draw_classes(
    explanation: Explanation, slices: Sequence[int], *, colours: str, opacity: float
) -> Image.Image:
    """The image, the heat map of a class, and the most probable classes.

    Slices of a volume in a row have their heat map below them.
    """
    image = shown_image(explanation.image, _longer_side(slices))
    heat = overlay(image, explanation.heat, colours=colours, opacity=opacity)
    predictions = [prediction_bar(prediction) for prediction in explanation.predictions]
    images = [
        _draw_image(f"{image_label(explanation)}{_numbers(slices)}", image),
        _draw_image(heat_caption(explanation), heat),
    ]
    images = [column(images)] if slices else images
    return row([*images, column(predictions, gap=2 * TIGHT)], gap=_TOP_GAP)


def _draw_others(explanation: Explanation, slices: Sequence[int]) -> list[Image.Image]:
    """The other inputs that are images, in rows no wider than the units; nothing without any."""
    side = _longer_side(slices)
    shown = ((other.name, shown_image(other.pixels, side)) for other in explanation.others)
    tiles = [_draw_image(name, pixels) for name, pixels in shown]
    if not tiles:
        return []
    widest = max(tile.width for tile in tiles) + _TOP_GAP
    return [grid(tiles, columns=max((_MIN_WIDTH + _TOP_GAP) // widest, 1), gap=_TOP_GAP)]


def _longer_side(slices: Sequence[int]) -> int:
    """The longer side of an image, or of slices in a row, as it is shown."""
    return SHOWN_WIDTH if slices else SHOWN_SIDE


def _draw_image(label: str, pixels: RGB) -> Image.Image:
    """An image below its label, enlarged if it is small."""
    factor = enlargement_factor(*pixels.shape[:2], visible=CLEARLY_VISIBLE)
    return label_tile(label, image_tile(pixels, factor))


def _numbers(slices: Sequence[int]) -> str:
    """The slices of a volume that are shown."""
    return f", slices z {', '.join(map(str, slices))}" if slices else ""


def explanation_title(explanation: Explanation) -> str:
    """The first prediction and its probability."""
    first = explanation.predictions[0]
    return f"{first.target}, {percent(first.probability)}"


def explanation_subtitle(explanation: Explanation) -> str:
    """The source of the image, the network, and the remarks on the network."""
    return join_facts(explanation.source, explanation.network, *explanation.remarks)


def heat_caption(explanation: Explanation) -> str:
    """The target and the method of the heat map; the probability only if no bar shows it."""
    heat = explanation.heat
    has_bar = any(prediction.target == heat.target for prediction in explanation.predictions)
    title = str(heat.target) if has_bar else heat_title(heat)
    return f"{title}: {heat.method_title} of {heat.layer}"


def ranking_line(explanation: Explanation) -> str:
    """How the units were ranked."""
    return f"Most unusual units of each layer, {explanation.compared}."


def views_line(explanation: Explanation, slices: Sequence[int] = ()) -> str:
    """What the images of each unit are. `slices` are those of a volume that are shown."""
    shown = f" {_SLICES_OF_UNITS}" if slices else ""
    return f"{_views(explanation)}{shown}"


_SLICES_OF_UNITS = "Each unit is shown in the slice in which its projection is strongest."


def _views(explanation: Explanation) -> str:
    units = [unit for finding in explanation.findings for unit in finding.units]
    if not any(unit.contrast for unit in units):
        return "Beside each patch are its projection and the patch lit by it."
    has_shares = any(unit.added_share is not None for unit in units)
    share = ", with its share of the projection" if has_shares else ""
    return (
        "Beside each patch are its projection, the patch lit by it, and what the unit adds to the "
        f"other channels at its position{share}."
    )


def explanation_notes(explanation: Explanation) -> list[str]:
    """All notes and caveats without repeats, and without the remarks that the subtitle has."""
    unit_notes = [
        note
        for finding in explanation.findings
        for unit in finding.units
        for note in unit.projection.notes
    ]
    notes = dict.fromkeys((*heat_notes(explanation.heat), *explanation.caveats, *unit_notes))
    return [note for note in notes if note not in explanation.remarks]


def unit_lines(unit: UnusualUnit, slices: Sequence[int] = ()) -> tuple[str, ...]:
    """What a unit is called, its activation, how unusual that is, and in which slice it is."""
    lines = (
        name_line(unit.names),
        f"activation {unit.activation:.4g}",
        _describe_rarity(unit),
        slice_line(unit, slices),
    )
    return tuple(filter(None, lines))


def _describe_rarity(unit: UnusualUnit) -> str:
    if unit.rarity is None:
        return f"{unit.z_score:.1f} sd above the mean of its map"
    if unit.rarity == 0:
        return "higher than for any image of the atlas"
    return f"as high for {percent(unit.rarity)} of the atlas's images"


def layer_heading(finding: LayerFinding) -> str:
    """The name of a layer, its name in the literature if it has one, and its size."""
    layer = finding.layer
    familiar = [name for name in layer.aliases if "_" in name][:1]
    channels = f"{layer.channels} channels of {format_size(layer.size)}"
    return join_facts(layer.name, *familiar, channels)


def unit_images(unit: UnusualUnit, tone: str, *, side: int = _PAGE_TILE_SIDE) -> list[UnitImage]:
    """What is drawn beside the patch of a unit.

    Projections are reduced to `side` pixels before the tone, which keeps thin lines strong.
    """
    name, projection, contrast = unit.unit, unit.projection, unit.contrast
    tinted = _tint(projection, tone, side)
    images = [UnitImage("projection", f"Projection of {name}", tinted)]
    if projection.patch is not None:
        images.append(UnitImage("lit patch", f"Lit patch of {name}", projection.lit()))
    if contrast is not None:
        description = f"What {name} adds to the other channels at its position"
        images.append(UnitImage(_added_caption(unit), description, _tint(contrast, tone, side)))
    return images


def _tint(projection: Projection, tone: str, side: int) -> RGB:
    factor = min(side / max(*projection.pixels.shape[:2], 1), 1)
    return np.asarray(resize_projection(projection.in_bands().pixels, factor, tone))


def _added_caption(unit: UnusualUnit) -> str:
    share = unit.added_share
    return "what it adds" if share is None else f"adds {percent(min(share, 1))}"


def unit_box(unit: UnusualUnit, layer: Layer) -> Box:
    """The field of a unit, which may leave the image; in a slice, the part inside it."""
    position, projection = unit.unit.position, unit.projection
    if position is None or len(position) > len(projection.size):
        return projection.box
    return layer.field.box(*position)


def _has_contrast(explanation: Explanation) -> bool:
    return any(unit.contrast for finding in explanation.findings for unit in finding.units)


def _layer_block(
    finding: LayerFinding, tone: str, layout: _TileLayout, slices: Sequence[int]
) -> Image.Image:
    if not finding.units:
        empty = line(NO_UNITS, size=SMALL, colour=MUTED)
        return column([line(layer_heading(finding)), empty], gap=TIGHT)
    drawn = [_unit_tiles(unit, finding.layer, tone, layout) for unit in finding.units]
    height = max(tile.height for tiles in drawn for tile in tiles)
    cells = [
        _unit_block(
            [pad(tile, width=layout.side + 2, height=height) for tile in tiles],
            layout,
            [str(unit.unit), *unit_lines(unit, slices)],
        )
        for unit, tiles in zip(finding.units, drawn, strict=True)
    ]
    units = grid(cells, columns=_COLUMNS, gap=_COLUMN_GAP)
    heading = line(layer_heading(finding), width=max(units.width, _CELL_WIDTH))
    return column([heading, units], gap=TIGHT)


def _unit_block(
    tiles: Sequence[Image.Image], layout: _TileLayout, captions: Sequence[str]
) -> Image.Image:
    address, *lines = captions
    texts = [
        line(address, width=_CELL_WIDTH, size=SMALL),
        *(line(text, width=_CELL_WIDTH, size=LABEL, colour=MUTED) for text in lines),
    ]
    block = grid(tiles, columns=layout.columns, gap=2 * TIGHT)
    return pad(column([block, *texts], gap=TIGHT), width=_CELL_WIDTH)


def _unit_tiles(
    unit: UnusualUnit, layer: Layer, tone: str, layout: _TileLayout
) -> list[Image.Image]:
    images = [
        (image.caption, _fit_tile(image.pixels, layout.side))
        for image in unit_images(unit, tone, side=layout.side)
    ]
    return [
        _captioned_tile(caption, tile)
        for caption, tile in (*_patch_tiles(unit, layer, layout.side), *images)
    ]


def _captioned_tile(caption: str, tile: Image.Image) -> Image.Image:
    return column([add_border(tile), line(caption, size=LABEL, colour=MUTED)], gap=0)


def _patch_tiles(unit: UnusualUnit, layer: Layer, side: int) -> list[tuple[str, Image.Image]]:
    """The patch of a unit, with a ring at its place if its field is nearly all of the image."""
    projection = unit.projection
    if projection.patch is None:
        return []
    tile, box = _fit_tile(projection.patch, side), unit_box(unit, layer)
    ringed = ring_place(tile, box, projection.size, tile.width / projection.box.width)
    return [("patch", ringed)]


def _fit_tile(pixels: RGB, side: int) -> Image.Image:
    """A tile that fills a square of the cell; small patches are enlarged by a whole factor."""
    tile = Image.fromarray(pixels)
    longer = max(tile.size)
    factor = side // longer
    if factor > 1:
        return tile.resize((tile.width * factor, tile.height * factor), Image.Resampling.NEAREST)
    width, height = (max(length * side // longer, 1) for length in tile.size)
    return tile.resize((width, height), Image.Resampling.LANCZOS)
