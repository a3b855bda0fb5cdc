"""Results as HTML: the explanation of an image as a page, the summary of an atlas for notebooks."""

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from retroscope.atlas.reader import Atlas
from retroscope.imaging.decoding import RGB
from retroscope.imaging.encoding import png_url
from retroscope.render.captions import percent
from retroscope.render.explanation_figures import (
    NO_UNITS,
    explanation_notes,
    explanation_subtitle,
    explanation_title,
    heat_caption,
    layer_heading,
    patch_and_projection,
    ranking_line,
    unit_lines,
)
from retroscope.render.layout import CLEARLY_VISIBLE, enlarge, enlargement_factor
from retroscope.render.overlay import OPACITY, overlay
from retroscope.results.explanations import Explanation


def explanation_html(
    explanation: Explanation,
    *,
    colours: str = "inferno",
    opacity: float = OPACITY,
    tone: str = "tile",
) -> str:
    """The explanation of an image as a self-contained HTML page that works offline.

    The text can always be encoded as UTF-8: other bytes of a file name are written as escapes.
    """
    heat = overlay(explanation.image, explanation.heat, colours=colours, opacity=opacity)
    layers = [
        {
            "heading": layer_heading(finding),
            "units": [
                {
                    "address": str(unit.unit),
                    "lines": unit_lines(unit),
                    "images": list(map(_tile_url, patch_and_projection(unit, tone))),
                }
                for unit in finding.units
            ],
        }
        for finding in explanation.findings
    ]
    html = _render_template(
        "explanation.html",
        title=explanation_title(explanation),
        subtitle=explanation_subtitle(explanation),
        image=_tile_url(explanation.image),
        heat=_tile_url(heat),
        heat_caption=heat_caption(explanation),
        predictions=explanation.predictions,
        ranking=ranking_line(explanation),
        layers=layers,
        no_units=NO_UNITS,
        notes=explanation_notes(explanation),
    )
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def atlas_html(atlas: Atlas) -> str:
    """The summary of an atlas as a table, for notebooks."""
    meta = atlas.meta
    facts = {
        "atlas": str(atlas.path),
        "model": meta.get("model", ""),
        "state": meta.get("state", ""),
        "images": f"{len(atlas.images):,}",
        "layers": f"{len(atlas.layers):,}",
        "channels": f"{len(atlas):,}",
    }
    return _render_template("atlas.html", facts=facts)


def _tile_url(pixels: RGB) -> str:
    """An image as a PNG in a data URL, enlarged if it is small, which keeps its pixels sharp."""
    tile = enlarge(pixels, enlargement_factor(*pixels.shape[:2], visible=CLEARLY_VISIBLE))
    return png_url(tile)


def _render_template(name: str, **facts: object) -> str:
    return _environment().get_template(name).render(facts)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("retroscope.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    return environment
