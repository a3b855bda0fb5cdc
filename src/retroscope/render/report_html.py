"""The same page as one HTML file, its pictures inside, so that it opens anywhere offline."""

from base64 import b64encode
from html import escape
from io import BytesIO

from retroscope.render.captions import percent
from retroscope.render.layout import CLEAR, enlarged, factor_for
from retroscope.render.overlay import OPACITY, overlay
from retroscope.render.report import (
    all_notes,
    compared_of,
    heading_of,
    heat_name,
    layer_name,
    origin_of,
    pair_of,
    unit_lines,
)
from retroscope.results.heat_maps import Explanation, Finding, Prediction, Unusual
from retroscope.results.values import Picture

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1rem;margin:2rem 0 .5rem}
p,figcaption,small{color:GrayText}
.row{display:flex;flex-wrap:wrap;gap:1.25rem}figure{margin:0}
.units{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1.25rem}
img{image-rendering:pixelated;border:1px solid #8884;box-sizing:border-box}
.row img{max-width:100%}.unit img{width:calc(50% - .25rem)}
meter{width:16rem}dl{margin:0}dd{margin:0 0 .6rem}
"""


def html_report(
    told: Explanation, *, colours: str = "inferno", opacity: float = OPACITY, tone: str = "tile"
) -> str:
    """The page as text of HTML that can be written as UTF-8: in a name that is none, what no
    character stands for is written as its code.
    """
    heat = overlay(told.picture, told.heat, colours=colours, opacity=opacity)
    answers = "".join(map(_answer, told.predictions))
    layers = "".join(_layer(each, tone) for each in told.findings)
    notes = "".join(f"<li>{escape(note)}</li>" for note in all_notes(told))
    title = escape(heading_of(told))
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{escape(origin_of(told))}</p>"
        f'<div class="row">{_figure(told.picture, "picture")}'
        f"{_figure(heat, heat_name(told))}<dl>{answers}</dl></div>"
        f"<p>{escape(compared_of(told))}</p>{layers}"
        f"<h2>What these pictures can and cannot tell</h2><ul>{notes}</ul></body></html>\n"
    )
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _answer(each: Prediction) -> str:
    share = f"{each.probability:.6f}"
    return (
        f"<dt>{escape(str(each.target))}, {escape(percent(each.probability))}</dt>"
        f'<dd><meter value="{share}" max="1">{share}</meter></dd>'
    )


def _layer(finding: Finding, tone: str) -> str:
    units = "".join(_unit(each, tone) for each in finding.units)
    body = (
        f'<div class="units">{units}</div>' if units else "<p>no channel fires in this picture</p>"
    )
    return f"<h2>{escape(layer_name(finding))}</h2>{body}"


def _unit(unit: Unusual, tone: str) -> str:
    patch, shown = (
        _image(each, name) for each, name in zip(pair_of(unit, tone), _SAID, strict=True)
    )
    words = "<br>".join(map(escape, unit_lines(unit)))
    return (
        f'<figure class="unit">{patch} {shown}'
        f"<figcaption>{escape(str(unit.unit))}<br><small>{words}</small></figcaption></figure>"
    )


_SAID = ("the patch", "its projection")


def _figure(picture: Picture, name: str) -> str:
    return f"<figure>{_image(picture, name)}<figcaption>{escape(name)}</figcaption></figure>"


def _image(picture: Picture, name: str) -> str:
    """A picture as a PNG inside the page; a small one in whole steps, so that it stays crisp."""
    tile = enlarged(picture, factor_for(*picture.shape[:2], visible=CLEAR))
    file = BytesIO()
    tile.save(file, "PNG", optimize=True)
    data = b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{data}">'
