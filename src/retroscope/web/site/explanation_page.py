"""The explanation of an image as one file: a page with the viewer's styles that loads nothing."""

from collections.abc import Iterable, Sequence

from retroscope.geometry import Box
from retroscope.imaging.decoding import Size
from retroscope.imaging.encoding import png_url
from retroscope.render.explanation_figures import (
    NO_UNITS,
    explanation_notes,
    explanation_subtitle,
    explanation_title,
    heat_caption,
    unit_box,
    unit_images,
    unit_lines,
    views_line,
)
from retroscope.render.explanation_slices import flatten_explanation
from retroscope.render.overlay import OPACITY, overlay
from retroscope.render.prediction_rows import image_label, prediction_rows, predictions_title
from retroscope.render.slices import describe_slices
from retroscope.render.tone import DEFAULT_TONE
from retroscope.results.as_json import box_json, layer_json
from retroscope.results.explanations import Explanation, LayerFinding, OtherImage, UnusualUnit
from retroscope.results.heat_json import prediction_json
from retroscope.results.plates import HALF, place_in_image
from retroscope.web.site.site import Facts
from retroscope.web.site.templating import render_file


def explanation_html(
    explanation: Explanation,
    *,
    colours: str = "inferno",
    opacity: float = OPACITY,
    tone: str = DEFAULT_TONE,
) -> str:
    """The explanation of an image as a self-contained HTML page that works offline.

    The text can always be encoded as UTF-8: other bytes of a file name are written as escapes.
    """
    depth = explanation.image.shape[0]
    explanation, slices = flatten_explanation(explanation)
    heat = overlay(explanation.image, explanation.heat, colours=colours, opacity=opacity)
    height, width = explanation.image.shape[:2]
    facts = {
        "title": explanation_title(explanation),
        "subtitle": explanation_subtitle(explanation),
        "image": png_url(explanation.image),
        "image_label": image_label(explanation),
        "size": [height, width],
        "others": [_other_facts(other) for other in explanation.others],
        "heat": png_url(heat),
        "heat_caption": heat_caption(explanation),
        "predictions": list(map(prediction_json, explanation.predictions)),
        "predictions_title": predictions_title(explanation),
        "rows": [
            prediction_json(row.prediction)
            | {
                "heat": png_url(row.overlaid),
                "part": png_url(row.part),
                "part_size": list(row.part.shape[:2]),
            }
            for row in prediction_rows(explanation, colours=colours, opacity=opacity)
        ],
        "compared": explanation.compared,
        "views": views_line(explanation, slices),
        "slices": describe_slices(slices, depth),
        "layers": [
            _layer_facts(finding, (height, width), tone=tone, slices=slices)
            for finding in explanation.findings
        ],
        "no_units": NO_UNITS,
        "notes": explanation_notes(explanation),
    }
    html = render_file("explanation.html", facts)
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def _other_facts(other: OtherImage) -> Facts:
    """Another input that is an image."""
    size = list(other.pixels.shape[:2])
    return {"name": other.name, "image": png_url(other.pixels), "size": size}


def _layer_facts(finding: LayerFinding, size: Size, *, tone: str, slices: Sequence[int]) -> Facts:
    """A layer and its units. All tiles are drawn in cells of one size, at one scale.

    `located`: some field is not nearly all of the image, so a tile shows where it is. Of a volume,
    whose slices are in a row, the captions say in which slice it is.
    """
    layer, units = finding.layer, finding.units
    boxes = [unit_box(unit, layer) for unit in units]
    return layer_json(layer) | {
        "units": [
            _unit_facts(unit, box, size, tone=tone, slices=slices)
            for unit, box in zip(units, boxes, strict=True)
        ],
        "cell": _cell([unit.projection.box for unit in units]),
        "located": not slices
        and not all(
            place_in_image(box, size) or box.clip(*size) == Box(0, 0, *size) for box in boxes
        ),
    }


def _unit_facts(
    unusual: UnusualUnit, box: Box, size: Size, *, tone: str, slices: Sequence[int]
) -> Facts:
    """A unit: the part of the image it sees, where that is, and its images beside the patch.

    `frame` is the field in the image; None for one that leaves it and covers half of it or more.
    Then `place` is its middle. A field that is exactly the image has neither.
    """
    unit, position = unusual.unit, unusual.unit.position
    place, visible = place_in_image(box, size, share=HALF), box.clip(*size)
    return {
        "address": str(unit),
        "channel": unit.channel,
        "position": None if position is None else list(position),
        "lines": unit_lines(unusual, slices),
        "window": box_json(unusual.projection.box),
        "frame": None if slices or place or box == Box(0, 0, *size) else box_json(visible),
        "place": None if slices else place,
        "images": [
            image._asdict() | {"pixels": png_url(image.pixels)}
            for image in unit_images(unusual, tone)
        ],
    }


def _cell(windows: Iterable[Box]) -> list[int]:
    """Height and width of a cell that holds each of the windows."""
    sizes = [(window.height, window.width) for window in windows]
    return [max(sides) for sides in zip(*sizes, strict=True)] or [1, 1]
