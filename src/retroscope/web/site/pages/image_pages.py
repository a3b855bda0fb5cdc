"""The images of the set that are among the hits, and which units each excites."""

from collections.abc import Iterator
from itertools import groupby

from retroscope.atlas import queries
from retroscope.atlas.webp_size import picture_sizes
from retroscope.web.site.pages.network_page import layer_facts
from retroscope.web.site.site import (
    Facts,
    NotThereError,
    Params,
    Site,
    around,
    image_path,
    label_path,
    picture_path,
    unit_facts,
)

AT_ONCE = 240
_UNITS = 8


def gallery(site: Site, params: Params) -> Facts:
    """The kept images, in the order of the list."""
    kept = queries.kept_images(site.atlas)
    page = int(params.get("page", 1))
    if page > _pages(len(kept)):
        raise NotThereError(f"no page {page} of images")
    shown = kept[(page - 1) * AT_ONCE : page * AT_ONCE]
    return {
        "in_all": len(kept),
        "scanned": len(site.atlas.images),
        "page": page,
        "pages": [_page_path(number + 1) for number in range(_pages(len(kept)))],
        "images": [_image(site, number) for number in shown],
    }


def image(site: Site, params: Params) -> Facts:
    """An image, and the units that have it among their hits, layer by layer."""
    number = int(params["image"])
    sizes = picture_sizes(site.atlas, [number])
    if number not in sizes:
        raise NotThereError(f"no picture {number}")
    rows = queries.of_image(site.atlas, number)
    return _image(site, number) | {
        "size": list(sizes[number]),
        "units": len(rows),
        "layers": [
            _of_layer(site, name, list(own)) for name, own in groupby(rows, key=lambda row: row[0])
        ],
        "around": _around(site, number),
    }


def every_image(site: Site) -> Iterator[Params]:
    yield from ({"image": str(number)} for number in queries.kept_images(site.atlas))


def every_page(site: Site) -> Iterator[Params]:
    count = _pages(len(queries.kept_images(site.atlas)))
    yield from ({"page": str(page)} for page in range(2, count + 1))


def _image(site: Site, number: int) -> Facts:
    row = site.atlas.images[number]
    return {
        "image": number,
        "source": row.key,
        "class": row.label,
        "class_href": label_path(site, row.label) if row.label else None,
        "href": image_path(number),
        "picture": picture_path(number),
    }


def _of_layer(site: Site, name: str, rows: queries.Rows) -> Facts:
    layer = site.atlas.layer(name)
    return {
        "layer": layer_facts(site, layer),
        "units_in_all": len(rows),
        "units": [_unit(site, row) for row in rows[:_UNITS]],
    }


def _unit(site: Site, row: tuple[object, ...]) -> Facts:
    name, channel, rank, score, y, x = row
    layer, number = site.atlas.layer(str(name)), int(str(channel))
    box = layer.field.box(int(str(y)), int(str(x)))
    return unit_facts(site, layer.name, number) | {
        "rank": rank,
        "score": score,
        "position": [y, x],
        "box": [box.top, box.left, box.bottom, box.right],
    }


def _around(site: Site, number: int) -> Facts:
    kept = queries.kept_images(site.atlas)
    return around(
        kept.index(number),
        len(kept),
        lambda n: {"image": kept[n], "href": image_path(kept[n])},
    )


def _page_path(page: int) -> str:
    return "images.html" if page == 1 else f"images/{page}.html"


def _pages(count: int) -> int:
    return -(-count // AT_ONCE) or 1
