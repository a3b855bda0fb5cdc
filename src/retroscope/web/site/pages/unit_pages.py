"""The page of a unit: what excites it, how it responds, and what is like it."""

from collections.abc import Iterator, Mapping
from math import isnan
from shlex import quote

from retroscope.atlas import queries
from retroscope.atlas.schema import RANKINGS, AtlasError
from retroscope.atlas.webp_size import picture_sizes
from retroscope.geometry import Box
from retroscope.imaging.image import Size
from retroscope.results.caveats import PROJECTION
from retroscope.results.values import ChannelStats, Layer
from retroscope.unit import Unit
from retroscope.web.site.comparison import common_layers
from retroscope.web.site.pages.histogram_bars import histogram_bars
from retroscope.web.site.pages.network_page import layer_facts
from retroscope.web.site.selectivity import means_of, selectivity
from retroscope.web.site.similar import similar
from retroscope.web.site.site import (
    Facts,
    Params,
    Site,
    around,
    channel_at,
    image_path,
    label_paths,
    layer_at,
    pattern_path,
    picture_path,
    plate_path,
    unit_facts,
    unit_path,
)
from retroscope.web.site.urls import slugs


def unit(site: Site, params: Params) -> Facts:
    """All that an atlas knows of a channel."""
    layer = layer_at(site, params["layer"])
    channel = channel_at(layer, params["channel"])
    address = Unit(layer.name, channel)
    return {
        "unit": str(address),
        "aliases": [f"{alias}:{channel}" for alias in layer.aliases],
        "channel": channel,
        "layer": layer_facts(site, layer),
        "stats": _stats(site, address),
        "selectivity": _selectivity(site, layer, channel),
        "rankings": {name: ranking(site, layer, channel, name) for name in RANKINGS},
        "compare": _compare(site, layer, channel),
        "patterns": _patterns(site, layer, channel),
        "similar": _similar(site, layer, channel),
        "around": _around(site, layer, channel),
        "again": _again(site, address),
        "caveat": PROJECTION,
    }


def every_unit(site: Site) -> Iterator[Params]:
    names = tuple(layer.name for layer in site.atlas.layers)
    for layer in site.atlas.layers:
        slug = slugs(names)[layer.name]
        yield from ({"layer": slug, "channel": str(n)} for n in range(layer.channels))


def ranking(site: Site, layer: Layer, channel: int, ranked_by: str) -> Facts:
    """The hits of a channel, and the picture that has their projections in the same order."""
    rows = queries.hits(site.atlas, layer, channel, ranked_by=ranked_by)
    sizes = picture_sizes(site.atlas, [row[2] for row in rows])
    sheet = plate_path(site, layer.name, channel, ranked_by=ranked_by, what="projections")
    lit = any(row[7] is not None for row in rows)
    return {
        "projections": sheet if lit else None,
        "hits": [_hit(layer, row, sizes) for row in rows],
    }


def window(box: Box, size: Size) -> Box:
    """What a tile shows: the field, or all of the picture along an axis where that is smaller."""
    top, bottom = (0, size[0]) if box.height > size[0] else (box.top, box.bottom)
    left, right = (0, size[1]) if box.width > size[1] else (box.left, box.right)
    return Box(top, left, bottom, right)


def _hit(layer: Layer, row: tuple[object, ...], sizes: Mapping[int, Size]) -> Facts:
    rank, score, number, y, x, source, label, activation, note = row
    image, place = int(str(number)), (int(str(y)), int(str(x)))
    box = layer.field.box(*place)
    kept = sizes.get(image)
    return {
        "rank": rank,
        "score": score,
        "position": list(place),
        "box": _corners(box),
        "window": _corners(window(box, kept) if kept else box),
        "image": image,
        "source": source,
        "class": label,
        "href": image_path(image) if kept else None,
        "picture": picture_path(image) if kept else None,
        "size": list(kept) if kept else None,
        "projected": activation is not None,
        "notes": str(note).splitlines() if note else [],
    }


def _corners(box: Box) -> list[int]:
    return [box.top, box.left, box.bottom, box.right]


def _stats(site: Site, unit: Unit) -> Facts | None:
    """None where the scan has not come so far."""
    try:
        stats = site.atlas.stats(unit)
    except AtlasError:
        return None
    return {
        "images": stats.images,
        "positions": stats.positions,
        "mean": _number(stats.mean),
        "std": _number(stats.std),
        "maximum": _number(stats.maximum),
        "fired_images": stats.fired_images,
        "fired_image_share": stats.fired_image_share,
        "fired_positions": stats.fired_positions,
        "fired_position_share": stats.fired_position_share,
        "not_finite": stats.non_finite,
        "dead": stats.dead,
        "histogram": histogram_bars(stats),
        "classes": _classes(site, stats),
    }


def _classes(site: Site, stats: ChannelStats) -> list[Facts]:
    paths = label_paths(site)
    return [
        {
            "name": each.label,
            "images": each.images,
            "mean_maximum": _number(each.mean_maximum),
            "fired_share": _number(each.fired_share),
            "href": paths[each.label],
        }
        for each in stats.classes
    ]


def _selectivity(site: Site, layer: Layer, channel: int) -> float | None:
    blobs = queries.class_means_of(site.atlas, layer, [channel])
    found = selectivity(means_of(blobs)).tolist()
    return _number(found[0]) if found else None


def _patterns(site: Site, layer: Layer, channel: int) -> list[Facts]:
    """The pictures that were made to excite it; the first is shown."""
    return [
        {
            "recipe": recipe,
            "seed": seed,
            "steps": steps,
            "activation": activation,
            "notes": note.splitlines(),
            "caveats": caveat.splitlines(),
            "picture": pattern_path(site, layer.name, channel) if number == 0 else None,
        }
        for number, (recipe, seed, steps, activation, note, caveat) in enumerate(
            queries.patterns(site.atlas, layer, channel)
        )
    ]


def _similar(site: Site, layer: Layer, channel: int) -> list[Facts]:
    return [
        unit_facts(site, layer.name, like.channel)
        | {"shared": like.shared, "classes": _number(like.classes)}
        for like in similar(site.atlas, layer, channel)
    ]


def _around(site: Site, layer: Layer, channel: int) -> Facts:
    return around(
        channel,
        layer.channels,
        lambda n: {"unit": f"{layer.name}:{n}", "href": unit_path(site, layer.name, n)},
    )


def _compare(site: Site, layer: Layer, channel: int) -> str | None:
    """Where this unit is seen beside itself in the other atlas."""
    first = site.beside or site.atlas
    second = site.atlas if site.beside else site.other and site.other.atlas
    if not second or layer.name not in {one.name for one in common_layers(first, second)}:
        return None
    up = "../" if site.beside else ""
    return (
        f"{up}compare/{slugs(tuple(one.name for one in first.layers))[layer.name]}/{channel}.html"
    )


def _again(site: Site, unit: Unit) -> Facts:
    """How to make the picture of this unit again, on a terminal and in Python."""
    file = site.atlas.path.name
    return {
        "command": f"retroscope show {quote(file)} {quote(str(unit))}",
        "python": f"rs.draw(rs.open_atlas({file!r})[{str(unit)!r}]).save('plate.png')",
    }


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if isnan(value) else value
