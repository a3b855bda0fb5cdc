"""The boxes or segments that a network predicts, each with its heat map and its part."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import crop
from retroscope.render.captions import percent
from retroscope.render.heat_figures import heat_title
from retroscope.render.layout import TIGHT, add_border, blank, column, grid, row
from retroscope.render.overlay import overlay
from retroscope.render.text import BODY, LABEL, line
from retroscope.render.theme import BAND, COOL, MUTED
from retroscope.results.explanations import Explanation
from retroscope.results.heat_maps import HeatMap, Prediction, Target

SHOWN_SIDE = 640
"""The longer side of an image that is drawn among others; networks may take much larger ones."""

SHOWN_WIDTH = 960
"""That of slices in a row."""

_WIDTH, _COLUMNS, _COLUMN_GAP = 1244, (3, 4), 20
"""The width of all cells, which is that of the units of a layer below, and their columns."""

_LARGE_SHARE, _GAP = 0.66, 12
"""The share of the width of a cell that its first image has, and the gap before the second."""

_BAR_WIDTH, _BAR_HEIGHT = 260, 6


class PredictionRow(NamedTuple):
    """A prediction, its part of the image, and the heat over the whole image."""

    prediction: Prediction
    part: RGB
    overlaid: RGB


def shown_image(image: RGB, most: int = SHOWN_SIDE) -> RGB:
    """An image no larger than figures show it."""
    longer = max(image.shape[:2])
    if longer <= most:
        return image
    height, width = (max(side * most // longer, 1) for side in image.shape[:2])
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def image_label(explanation: Explanation) -> str:
    """What the image is called: among other images, by the name of the input."""
    return f"{explanation.image_name} (looked back to)" if explanation.others else "image"


def prediction_rows(
    explanation: Explanation, *, colours: str, opacity: float
) -> list[PredictionRow]:
    """A row for each box or segment of an explanation; none for a classifier."""
    shown = shown_image(explanation.image)
    return [
        PredictionRow(
            prediction,
            crop(explanation.image, _part(heat), fill=0),
            overlay(shown, heat, colours=colours, opacity=opacity),
        )
        for prediction, heat in zip(explanation.predictions, explanation.heats, strict=False)
    ]


def _part(heat: HeatMap) -> Box:
    """The pixels of a box, or of the smallest box around a mask."""
    height, width = heat.size
    if isinstance(heat.target, Target) and heat.target.box is not None:
        top, left, bottom, right = (round(edge) for edge in heat.target.box)
        inside = Box(top, left, max(bottom, top + 1), max(right, left + 1)).clip(height, width)
        return inside if inside.height > 0 and inside.width > 0 else Box(0, 0, height, width)
    if heat.mask is None:
        return Box(0, 0, height, width)
    rows, columns = (np.flatnonzero(heat.mask.any(axis=axis)) for axis in (1, 0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def draw_prediction_cells(
    explanation: Explanation, *, colours: str, opacity: float
) -> list[Image.Image]:
    """The image and the predictions, side by side below a heading; nothing for a classifier.

    The heat map that was asked for has a cell of its own unless it is that of a prediction.
    """
    rows = prediction_rows(explanation, colours=colours, opacity=opacity)
    if not rows:
        return []
    shown, heat = shown_image(explanation.image), explanation.heat
    others = ((other.name, shown_image(other.pixels)) for other in explanation.others)
    contents = [
        _CellContent(image_label(explanation), (shown,)),
        *(_CellContent(name, (pixels,)) for name, pixels in others),
    ]
    if not any(np.array_equal(heat.values, other.values) for other in explanation.heats):
        overlaid = overlay(shown, heat, colours=colours, opacity=opacity)
        contents.append(_CellContent(heat_title(heat), (overlaid,)))
    contents += [
        _CellContent(
            _prediction_text(entry.prediction),
            (entry.overlaid, entry.part),
            entry.prediction.probability,
        )
        for entry in rows
    ]
    text = f"{heat.method_title} of {heat.layer}, with the part of the image that each is about"
    heading, caption = line(predictions_title(explanation)), line(text, size=LABEL, colour=MUTED)
    return [column([heading, caption, _cells(contents)], gap=2 * TIGHT)]


class _CellContent(NamedTuple):
    """The title of a cell, its images, of which the second is the smaller, and its bar."""

    title: str
    images: tuple[RGB, ...]
    share: float | None = None


def _cells(contents: Sequence[_CellContent]) -> Image.Image:
    """The cells in as many columns as leave fewer places empty; together they fill the width."""
    columns = min(_COLUMNS, key=lambda number: -len(contents) % number)
    width = (_WIDTH - (columns - 1) * _COLUMN_GAP) // columns
    return grid([_cell(content, width) for content in contents], columns=columns, gap=_COLUMN_GAP)


def _cell(content: _CellContent, width: int) -> Image.Image:
    """The images below the title and the bar."""
    large = round(width * _LARGE_SHARE)
    sides = (large, width - large - _GAP)
    tiles = [_tile(*pair) for pair in zip(content.images, sides, strict=False)]
    bar = blank(width, _BAR_HEIGHT) if content.share is None else _bar(content.share, width)
    return column([line(content.title, width=width), bar, row(tiles, gap=_GAP)], gap=TIGHT)


def prediction_bar(prediction: Prediction) -> Image.Image:
    """A prediction and its probability, above a bar of that length."""
    text = line(_prediction_text(prediction), width=_BAR_WIDTH, size=BODY)
    return column([text, _bar(prediction.probability, _BAR_WIDTH)], gap=TIGHT)


def _prediction_text(prediction: Prediction) -> str:
    return f"{prediction.target}  {percent(prediction.probability)}"


def _bar(share: float, width: int) -> Image.Image:
    """A bar of this share of a width."""
    bar = Image.new("RGB", (width, _BAR_HEIGHT), BAND)
    bar.paste(COOL, (0, 0, round(width * share), _BAR_HEIGHT))
    return bar


def predictions_title(explanation: Explanation) -> str:
    """What the predictions are."""
    targets = [prediction.target for prediction in explanation.predictions]
    if any(target.box is not None for target in targets):
        return "Boxes, the most confident first"
    if explanation.heats:
        return "Segments, the largest first"
    return "Predicted classes"


def _tile(pixels: RGB, side: int) -> Image.Image:
    """The pixels in a square of this side, with its border; small ones are enlarged."""
    tile = Image.fromarray(pixels)
    scale = (side - 2) / max(tile.size)
    size = max(round(tile.width * scale), 1), max(round(tile.height * scale), 1)
    resample = Image.Resampling.NEAREST if scale > 4 else Image.Resampling.LANCZOS
    return add_border(tile.resize(size, resample))
