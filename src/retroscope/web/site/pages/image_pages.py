"""The images that are among the hits, and the units that each of them excites."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from retroscope.atlas.image_blobs import stored_image_sizes
from retroscope.atlas.queries import image_queries
from retroscope.atlas.queries.image_queries import ImageHitRow
from retroscope.geometry import Box
from retroscope.imaging.decoding import Size
from retroscope.results.as_json import box_json
from retroscope.results.plates import HALF, place_in_image
from retroscope.results.slice_stacks import from_stack
from retroscope.web.site.pages.page_facts import (
    assignment_script,
    layer_facts,
    neighbours,
    page_count,
    page_span,
    page_urls,
    unit_facts,
)
from retroscope.web.site.site import Facts, PageNotFoundError, Params, Site
from retroscope.web.site.slice_plates import sheet_facts
from retroscope.web.site.urls import url_for, url_template

_UNITS_PER_LAYER = 8


def images(site: Site, params: Params) -> Facts:
    """The images among the hits, in the order of the scan."""
    numbers = image_queries.stored_images(site.atlas)
    page = int(params.get("page", 1))
    if page > page_count(len(numbers)):
        raise PageNotFoundError(f"no page {page} of images")
    return {
        "hit_images": len(numbers),
        "scanned_images": len(site.atlas.images),
        "page": page,
        "pages": page_urls(site, "images", len(numbers)),
        "classes": [label.name for label in site.atlas.labels],
        "images": [_image_facts(site, numbers[n]) for n in page_span(page, len(numbers))],
    }


def list_script(site: Site, _params: Params) -> bytes:
    """The images on all pages, to filter and to sort: number, name, class, number of units."""
    rows = image_queries.stored_image_keys(site.atlas)
    facts = {
        "rows": [[row.image, row.key, row.label, row.units] for row in rows],
        "classes": [label.name for label in site.atlas.labels],
        "href": url_template(site, "image"),
        "src": url_template(site, shown_file(site)),
    }
    return assignment_script("images", facts)


def image(site: Site, params: Params) -> Facts:
    """An image, and the units that have it among their hits, layer by layer."""
    number = int(params["image"])
    sizes = stored_image_sizes(site.atlas, [number])
    if number not in sizes:
        raise PageNotFoundError(f"no image {number}")
    rows = image_queries.image_hits(site.atlas, number)
    size = sizes[number] if site.volume is None else site.volume[1:]
    return _image_facts(site, number) | {
        "size": list(size),
        **_sheet(site, number),
        "unit_count": len(rows),
        "layers": [
            _layer_units(site, name, list(layer_rows), size=size)
            for name, layer_rows in groupby(rows, key=lambda row: row.layer)
        ],
        "around": _neighbour_images(site, number),
    }


def list_hit_images(site: Site) -> Iterator[Params]:
    yield from ({"image": str(number)} for number in image_queries.stored_images(site.atlas))


def list_volumes(site: Site) -> Iterator[Params]:
    """The images among the hits of an atlas of volumes."""
    if site.volume is not None:
        yield from list_hit_images(site)


def list_images_pages(site: Site) -> Iterator[Params]:
    """The second and later pages of images."""
    count = page_count(len(image_queries.stored_images(site.atlas)))
    yield from ({"page": str(page)} for page in range(2, count + 1))


def image_links(site: Site, number: int) -> Facts:
    """The page of an image, and its file."""
    return {
        "href": url_for(site, "image", image=number),
        "src": url_for(site, shown_file(site), image=number),
    }


def shown_file(site: Site) -> str:
    """The file that lists show of an image: itself, or the slice in the middle of a volume."""
    return "image_file" if site.volume is None else "image_slice"


def sample_images(site: Site, count: int) -> list[Facts]:
    """Some of the images, each of another class if there are classes."""
    first_images = sorted(image_queries.first_image_per_class(site.atlas).values())
    numbers = first_images or image_queries.stored_images(site.atlas)
    step = max(len(numbers) / count, 1)
    chosen = [numbers[int(n * step)] for n in range(min(count, len(numbers)))]
    return [_image_facts(site, number) for number in chosen]


def _image_facts(site: Site, number: int) -> Facts:
    row = site.atlas.images[number]
    return {
        "image": number,
        "source": row.key,
        "class": row.label,
        "class_href": url_for(site, "class", label=row.label) if row.label else None,
        **image_links(site, number),
    }


def _layer_units(site: Site, name: str, rows: list[ImageHitRow], *, size: Size) -> Facts:
    layer = site.atlas.layer(name)
    return {
        "layer": layer_facts(site, layer),
        "unit_count": len(rows),
        "units": [_unit_hit(site, row, size) for row in rows[:_UNITS_PER_LAYER]],
    }


def _unit_hit(site: Site, row: ImageHitRow, size: Size) -> Facts:
    layer = site.atlas.layer(row.layer)
    position = from_stack(row.y, row.x, layer.size)
    whole = layer.field.box(*position)
    box = replace(whole, front=0, back=1)
    return unit_facts(site, layer.name, row.channel) | {
        "rank": row.rank,
        "score": row.score,
        "position": list(position),
        "box": box_json(box),
        "middle": place_in_image(box, size, share=HALF),
        **({} if site.volume is None else {"slices": _visible_slices(whole, site.volume[0])}),
    }


def _visible_slices(box: Box, depth: int) -> Facts:
    """The slices that a unit sees, and the one in the middle of them."""
    visible = box.clip(1, 1, depth)
    middle = min(max((box.front + box.back - 1) // 2, 0), depth - 1)
    return {"first": visible.front, "last": visible.back - 1, "shown": middle}


def _sheet(site: Site, number: int) -> Facts:
    """The file with all slices of a volume, of which that in the middle is shown first."""
    if site.volume is None:
        return {}
    depth = site.volume[0]
    slices = {"count": depth, "shown": depth // 2, "first": 0, "last": depth - 1}
    return {
        "src": url_for(site, "image_file", image=number),
        "slices": slices | sheet_facts(site.volume),
    }


def _neighbour_images(site: Site, number: int) -> Facts:
    numbers = image_queries.stored_images(site.atlas)
    return neighbours(
        numbers.index(number),
        len(numbers),
        lambda n: {"image": numbers[n], "href": url_for(site, "image", image=numbers[n])},
    )
