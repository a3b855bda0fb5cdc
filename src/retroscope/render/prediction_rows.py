"""The boxes or segments that a network predicts: a row for each, with its heat map."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import crop
from retroscope.render.captions import percent
from retroscope.render.layout import TIGHT, add_border, column, pad, row
from retroscope.render.overlay import overlay
from retroscope.render.text import BODY, LABEL, line
from retroscope.render.theme import BAND, COOL, MUTED
from retroscope.results.explanations import Explanation
from retroscope.results.heat_maps import HeatMap, Prediction, Target

SHOWN_SIDE = 640
"""The longer side of an image that is drawn among others; networks may take much larger ones."""

_HEAT_SIDE, _PART_SIDE, _GAP = 240, 120, 16
_BAR_WIDTH, _BAR_HEIGHT = 260, 6


class PredictionRow(NamedTuple):
    """A prediction, its part of the image, and the heat over the whole image."""

    prediction: Prediction
    part: RGB
    overlaid: RGB


def shown_image(image: RGB) -> RGB:
    """An image no larger than figures show it."""
    longer = max(image.shape[:2])
    if longer <= SHOWN_SIDE:
        return image
    height, width = (max(side * SHOWN_SIDE // longer, 1) for side in image.shape[:2])
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


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


def draw_prediction_rows(
    explanation: Explanation, *, colours: str, opacity: float
) -> list[Image.Image]:
    """The rows as blocks of a figure, below a heading."""
    rows = prediction_rows(explanation, colours=colours, opacity=opacity)
    if not rows:
        return []
    heading = line(predictions_title(explanation))
    blocks = [
        row(
            [
                _tile(entry.overlaid, _HEAT_SIDE),
                pad(_tile(entry.part, _PART_SIDE), width=_PART_SIDE + 2),
                prediction_bar(entry.prediction),
            ],
            gap=_GAP,
        )
        for entry in rows
    ]
    method = f"{explanation.heat.method_title} of {explanation.heat.layer}"
    caption = line(f"{method}; beside it the part that is meant", size=LABEL, colour=MUTED)
    return [column([heading, caption, *blocks], gap=2 * TIGHT)]


def prediction_bar(prediction: Prediction) -> Image.Image:
    """A prediction and its probability, above a bar of that length."""
    bar = Image.new("RGB", (_BAR_WIDTH, _BAR_HEIGHT), BAND)
    bar.paste(COOL, (0, 0, round(_BAR_WIDTH * prediction.probability), _BAR_HEIGHT))
    text = f"{prediction.target}  {percent(prediction.probability)}"
    return column([line(text, width=_BAR_WIDTH, size=BODY), bar], gap=TIGHT)


def predictions_title(explanation: Explanation) -> str:
    """What the predictions are."""
    targets = [prediction.target for prediction in explanation.predictions]
    if any(target.box is not None for target in targets):
        return "Boxes, the most confident first"
    if explanation.heats:
        return "Segments, the largest first"
    return "Predicted classes"


def _tile(pixels: RGB, side: int) -> Image.Image:
    """The pixels in a square of this side; small ones are enlarged."""
    tile = Image.fromarray(pixels)
    scale = side / max(tile.size)
    size = max(round(tile.width * scale), 1), max(round(tile.height * scale), 1)
    resample = Image.Resampling.NEAREST if scale > 4 else Image.Resampling.LANCZOS
    return add_border(tile.resize(size, resample))
