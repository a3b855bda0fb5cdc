"""Markup that a page repeats for every hit, made here: as expressions of a template it is slow."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from retroscope.web.site.text_filters import add_breaks, format_number

_TILES = 3
"""Tiles in a row of a plate."""
_SHARP = 64
"""Smaller cells show single pixels, which stay sharp."""
Hit = Mapping[str, Any]


def bar_path(heights: Sequence[float], *, top: float, base: float) -> str:
    """The path of bars across a drawing 100 wide, from `base` up; the highest reach `top`.

    >>> bar_path([1.0, 0.0], top=1, base=34)
    'M0 34V1H44V34Z'
    """
    step = 100 / max(len(heights), 1)
    return "".join(
        f"M{_digits(number * step)} {_digits(base)}V{_digits(base - (base - top) * height)}"
        f"H{_digits((number + 0.88) * step)}V{_digits(base)}Z"
        for number, height in enumerate(heights)
        if height
    )


def _digits(value: float) -> str:
    return f"{round(value, 2):g}"


def ring(place: Sequence[float] | None, side: float) -> Markup:
    """Where a unit is whose field is nearly all of an image with this longer side."""
    if place is None:
        return Markup("")
    y, x = place
    circle = f'cx="{x + 0.5}" cy="{y + 0.5}" r="{round(side / 14, 2)}"/>'
    return Markup(f'<circle class="halo" {circle}<circle class="ring" {circle}')  # noqa: S704


def crop(hit: Hit, cell: int, root: str, label: str) -> Markup:
    """What a unit sees of an image, in the middle of a cell; a ring where it is, if that is nearly
    all.
    """
    top, left, bottom, right = hit["window"]
    height, width = hit["size"]
    box = f"{left} {top} {right - left} {bottom - top}"
    image = f'<image href="{escape(root + hit["src"])}" width="{width}" height="{height}"/>'
    return _tile(hit, cell, label, box=box, content=f"{image}{ring(hit['place'], cell)}")


def plate_tile(hit: Hit, cell: int, plate: str, label: str) -> Markup:
    """The tile of a hit of a plate, three by three, in the middle of a cell."""
    top, left, bottom, right = hit["window"]
    row, column = divmod(hit["rank"], _TILES)
    x = column * cell + (cell - right + left) // 2
    y = row * cell + (cell - bottom + top) // 2
    side = _TILES * cell
    image = f'<image href="{escape(plate)}" width="{side}" height="{side}"/>'
    box = f"{x} {y} {right - left} {bottom - top}"
    return _tile(hit, cell, label, box=box, content=image)


def _tile(hit: Hit, cell: int, label: str, *, box: str, content: str) -> Markup:
    """A part of an image, as large as the window of a hit, in the middle of a square."""
    top, left, bottom, right = hit["window"]
    width, height = right - left, bottom - top
    sharp = " pixels" if cell < _SHARP else ""
    return Markup(  # noqa: S704 - numbers, and text that is escaped
        f'<svg class="crop{sharp}" viewBox="0 0 {cell} {cell}" role="img" '
        f'aria-label="{escape(label)}"><svg x="{(cell - width) / 2}" y="{(cell - height) / 2}" '
        f'width="{width}" height="{height}" viewBox="{box}">{content}</svg></svg>'
    )


def hit_caption(hit: Hit) -> Markup:
    """The score of a hit, and its class or what else is to be said of it."""
    remark = escape(hit.get("remark") or hit["class"] or "")
    title = f' title="{remark}"' if remark else ""
    score = format_number(hit["score"])
    return Markup(  # noqa: S704 - a number, and text that is escaped
        f'<span class="caption" aria-hidden="true"><b>{score}</b> '
        f"<span{title}>{remark}</span></span>"
    )


def hit_row(hit: Hit, address: str, root: str) -> Markup:
    """A row of a table of hits; `address` is that of its patches, but for their numbers."""
    source = add_breaks(hit["source"])
    if hit["href"]:
        source = Markup(f'<a href="{escape(root + hit["href"])}">{source}</a>')  # noqa: S704
    number, (y, x) = hit["rank"] + 1, hit["position"]
    return Markup(  # noqa: S704 - numbers, and text that is escaped
        f'<tr><td><a href="{escape(address)}{number}">{number}</a></td>'
        f'<td class="figure">{format_number(hit["score"])}</td>'
        f'<td class="name">{escape(hit["class"] or "")}</td><td>{source}</td>'
        f"<td><code>@{y},{x}</code></td></tr>"
    )
