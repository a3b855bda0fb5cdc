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
Gallery = Mapping[str, Any]
"""The hits of a ranking, with their plates."""


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


def image_source(address: str, attribute: str = "src") -> Markup:
    """The attribute that shows an image: a file, or one of a pack, which a script reads.

    >>> image_source("image/3.webp")
    Markup('src="image/3.webp"')
    >>> image_source("pattern/conv5/0-63.js#3")
    Markup('data-packed="pattern/conv5/0-63.js#3"')
    """
    name = "data-packed" if "#" in address else attribute
    return Markup(f'{name}="{escape(address)}"')  # noqa: S704 - escaped


def image_attributes(hit: Hit) -> Markup:
    """Size of the whole image of a hit; of a volume, the place of its sheet that shows a slice.

    >>> image_attributes({"size": [24, 32]})
    Markup('width="32" height="24"')
    """
    height, width = hit["size"]
    slices = hit.get("slices")
    if slices is None:
        return Markup(f'width="{width}" height="{height}"')  # noqa: S704 - numbers
    column, row = divmod(slices["shown"], slices["rows"])
    rows, columns = slices["sheet"]
    place = f'x="{-column * width}" y="{-row * height}" width="{columns}" height="{rows}"'
    return Markup(place)  # noqa: S704 - numbers


def slice_words(slices: Mapping[str, int]) -> str:
    """Which slice of a hit is shown first, counted from 1.

    >>> slice_words({"shown": 4, "count": 16})
    'slice 5 of 16'
    """
    return f"slice {slices['shown'] + 1} of {slices['count']}"


def tiles(
    gallery: Gallery, kind: str, noun: str, root: str, *, has_captions: bool = True
) -> Markup:
    """The tiles of a figure of a unit: its patches, or those of a plate of projections."""
    plate = "" if kind == "patches" else gallery[kind] and root + gallery[kind]
    items = (
        _item(hit, gallery["cell"], noun, root=root, plate=plate, has_caption=has_captions)
        for hit in gallery["hits"]
    )
    return Markup("\n".join(items))  # noqa: S704 - made below


def _item(
    hit: Hit, cell: int, noun: str, *, root: str, plate: str | None, has_caption: bool
) -> str:
    """A tile that leads to the page of its image; of a plate, or of the image if that is empty."""
    rank = hit["rank"]
    label = f"{noun} {rank + 1}"
    if plate == "":
        remark = _remark(hit)
        label += f", score {format_number(hit['score'])}" + (f", {remark}" if remark else "")
        label += f", {slice_words(hit['slices'])}" if "slices" in hit else ""
        content = _crop(hit, cell, root, label)
    else:
        content = _projection(hit, cell, plate, label)
    href = f' href="{root}{hit["href"]}"' if hit["href"] else ""
    caption = _hit_caption(hit) if has_caption else ""
    return f'<li><a class="tile" data-hit="{rank}"{href}>{content}{caption}</a></li>'


def _remark(hit: Hit) -> str:
    """The class of a hit, or what else is to be said of it, as markup."""
    return escape(hit["remark"] or hit["class"] or "")


def _crop(hit: Hit, cell: int, root: str, label: str) -> str:
    """What a unit sees of an image, in the middle of a cell; a ring where it is, if that is nearly
    all.
    """
    if not hit["src"]:
        name = f"{label}: image not in the atlas"
        return f'<span class="crop missing" role="img" aria-label="{name}">not in the atlas</span>'
    top, left, bottom, right = hit["window"]
    box = f"{left} {top} {right - left} {bottom - top}"
    image = f'<image href="{root}{hit["src"]}" {image_attributes(hit)}/>'
    return _tile(hit, cell, label, box=box, content=f"{image}{ring(hit['place'], cell)}")


def _projection(hit: Hit, cell: int, plate: str | None, label: str) -> str:
    """The tile of a hit of a plate, three by three; a promise where there is none yet."""
    if not (hit["projected"] and plate):
        name = f"{label}: not made yet"
        return f'<span class="crop missing promised" role="img" aria-label="{name}"></span>'
    top, left, bottom, right = hit["window"]
    row, column = divmod(hit["rank"], _TILES)
    x = column * cell + (cell - right + left) // 2
    y = row * cell + (cell - bottom + top) // 2
    side = _TILES * cell
    source = image_source(plate, "href")
    slices = hit.get("slices")
    place = f'width="{side}" height="{side}"'
    if slices:  # the plates of all slices are above each other
        offset = (slices["shown"] - slices["first"]) * side
        place = f'y="{-offset}" width="{side}" height="{side * slices["plates"]}"'
    image = f"<image {source} {place}/>"
    box = f"{x} {y} {right - left} {bottom - top}"
    return _tile(hit, cell, label, box=box, content=image)


def _tile(hit: Hit, cell: int, label: str, *, box: str, content: str) -> str:
    """A part of an image, as large as the window of a hit, in the middle of a square."""
    top, left, bottom, right = hit["window"]
    width, height = right - left, bottom - top
    sharp = " pixels" if cell < _SHARP else ""
    return (
        f'<svg class="crop{sharp}" viewBox="0 0 {cell} {cell}" role="img" '
        f'aria-label="{label}"><svg x="{(cell - width) / 2}" y="{(cell - height) / 2}" '
        f'width="{width}" height="{height}" viewBox="{box}">{content}</svg></svg>'
    )


def _hit_caption(hit: Hit) -> str:
    """The score of a hit, and its class or what else is to be said of it."""
    remark = _remark(hit)
    title = f' title="{remark}"' if remark else ""
    score = format_number(hit["score"])
    return (
        f'<span class="caption" aria-hidden="true"><b>{score}</b> '
        f"<span{title}>{remark}</span></span>"
    )


def hit_rows(hits: Sequence[Hit], address: str, root: str) -> Markup:
    """Rows of a table of hits; `address` is that of their patches, but for their numbers."""
    return Markup("\n".join(_hit_row(hit, address, root) for hit in hits))  # noqa: S704 - made below


def _hit_row(hit: Hit, address: str, root: str) -> str:
    source = add_breaks(hit["source"])
    if hit["href"]:
        source = Markup(f'<a href="{escape(root + hit["href"])}">{source}</a>')  # noqa: S704
    number, position = hit["rank"] + 1, ",".join(map(str, hit["position"]))
    return (
        f'<tr><td><a href="{escape(address)}{number}">{number}</a></td>'
        f'<td class="figure">{format_number(hit["score"])}</td>'
        f'<td class="name">{escape(hit["class"] or "")}</td><td>{source}</td>'
        f"<td><code>@{position}</code></td></tr>"
    )
