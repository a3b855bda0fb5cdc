"""The classes of the images, and the units that respond to one class more than to others."""

from collections.abc import Iterator

import numpy as np

from retroscope.atlas import queries
from retroscope.atlas.rows import Label
from retroscope.web.site.selectivity import means_of, selectivity
from retroscope.web.site.site import (
    Facts,
    Params,
    Site,
    image_path,
    label_at,
    label_paths,
    picture_path,
    unit_facts,
)

_UNITS = 120
_PICTURES = 24


def classes(site: Site, _params: Params) -> Facts:
    """All classes, each with its images and how many units respond to it most."""
    counts, paths = queries.units_per_label(site.atlas), label_paths(site)
    shown = queries.first_pictures(site.atlas)
    return {
        "classes": [
            _label(label)
            | {
                "units": counts.get(label.id, 0),
                "href": paths[label.name],
                "picture": picture_path(shown[label.id]) if label.id in shown else None,
            }
            for label in site.atlas.labels
        ],
    }


def label(site: Site, params: Params) -> Facts:
    """A class: the units most selective for it, and its images among the hits."""
    found = label_at(site, params["label"])
    rows = queries.of_label(site.atlas, found.id)
    kept = queries.kept_images(site.atlas, label=found.id)
    return _label(found) | {
        "units": _most_selective(site, rows),
        "units_in_all": len(rows),
        "pictures": [
            {"image": image, "href": image_path(image), "picture": picture_path(image)}
            for image in kept[:_PICTURES]
        ],
        "pictures_in_all": len(kept),
    }


def every_label(site: Site) -> Iterator[Params]:
    for path in label_paths(site).values():
        yield {"label": path.removeprefix("class/").removesuffix(".html")}


def _label(label: Label) -> Facts:
    return {"id": label.id, "name": label.name, "images": label.images}


def _most_selective(site: Site, rows: queries.Rows) -> list[Facts]:
    """The most selective of the units that respond to a class most."""
    indices = selectivity(means_of({n: row[2] for n, row in enumerate(rows)}))
    order = np.argsort(-np.nan_to_num(indices), kind="stable")[:_UNITS]
    return [_unit(site, rows[n], float(np.nan_to_num(indices[n]))) for n in order.tolist()]


def _unit(site: Site, row: tuple[object, ...], index: float) -> Facts:
    layer, channel, _, fired, images = row
    number = int(str(channel))
    return unit_facts(site, str(layer), number) | {
        "layer": layer,
        "selectivity": index,
        "fired": int(str(fired)) / (int(str(images)) or 1),
    }
