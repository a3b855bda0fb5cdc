"""The classes of the images, and the units most selective for each of them."""

from collections.abc import Iterator

import numpy as np

from retroscope.atlas.queries import image_queries
from retroscope.atlas.queries.image_queries import ClassUnitRow
from retroscope.atlas.queries.reader_queries import Label
from retroscope.web.site.channel_metrics import class_selectivity, decode_class_means
from retroscope.web.site.pages.image_pages import image_links, shown_file
from retroscope.web.site.pages.page_facts import unit_facts
from retroscope.web.site.site import Facts, Params, Site
from retroscope.web.site.urls import find_label_by_slug, label_slugs, label_urls, url_for

_MAX_UNITS = 120
_MAX_IMAGES = 24


def classes(site: Site, _params: Params) -> Facts:
    """All classes, each with the number of units that respond to it most."""
    urls = label_urls(site)
    first_images = image_queries.first_image_per_class(site.atlas)
    return {
        "has_statistics": has_class_statistics(site),
        "classes": [
            _label_facts(label)
            | {
                "units": units,
                "href": urls[label.name],
                "src": (
                    url_for(site, shown_file(site), image=first_images[label.id])
                    if label.id in first_images
                    else None
                ),
            }
            for label, units in zip(site.atlas.labels, count_class_units(site), strict=True)
        ],
    }


def has_class_statistics(site: Site) -> bool:
    """Whether the scan has counted what each channel does by class; it may have been left out."""
    return bool(site.atlas.meta.get("with_classes", True))


def count_class_units(site: Site) -> list[int | None]:
    """How many units respond to each class most; None where that is not known."""
    if not has_class_statistics(site):
        return [None] * len(site.atlas.labels)
    counts = image_queries.count_units_per_class(site.atlas)
    return [counts.get(label.id, 0) for label in site.atlas.labels]


def label(site: Site, params: Params) -> Facts:
    """A class: the units most selective for it, and its images among the hits."""
    label = find_label_by_slug(site, params["label"])
    rows = image_queries.class_units(site.atlas, label.id)
    hit_images = image_queries.stored_images(site.atlas, label=label.id)
    return _label_facts(label) | {
        "has_statistics": has_class_statistics(site),
        "units": _most_selective(site, rows),
        "unit_count": len(rows),
        "hit_images": [
            {"image": number, **image_links(site, number)} for number in hit_images[:_MAX_IMAGES]
        ],
        "hit_image_count": len(hit_images),
    }


def list_labels(site: Site) -> Iterator[Params]:
    yield from ({"label": slug} for slug in label_slugs(site).values())


def _label_facts(label: Label) -> Facts:
    return {"id": label.id, "label": label.name, "images": label.images}


def _most_selective(site: Site, rows: list[ClassUnitRow]) -> list[Facts]:
    """The most selective of the units that respond most to a class."""
    means = decode_class_means({n: row.mean_maximum for n, row in enumerate(rows)})
    indices = np.nan_to_num(class_selectivity(means))
    order = np.argsort(-indices, kind="stable")[:_MAX_UNITS]
    return [_selective_unit(site, rows[n], float(indices[n])) for n in order.tolist()]


def _selective_unit(site: Site, row: ClassUnitRow, selectivity: float) -> Facts:
    return unit_facts(site, row.layer, row.channel) | {
        "layer": row.layer,
        "selectivity": selectivity,
        "fired_image_share": row.fired_images / (row.images or 1),
    }
