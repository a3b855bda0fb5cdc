"""URLs of the viewer: the table of patterns, and the paths made from it and read by it.

A path is relative to the root of the site and is also a file name, valid on any system. An exported
site has pages and images of units in packs, and addresses in them. Pages, templates and scripts get
every path from here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from retroscope.atlas.queries.reader_queries import Label
from retroscope.results.layers import Layer
from retroscope.web.site.site import PageNotFoundError, Params, Site

PAGE_URLS = {
    "network": "index",
    "layer": "layer/{layer}",
    "layer_page": "layer/{layer}/{page}",
    "unit": "unit/{layer}/{channel}",
    "classes": "classes",
    "class": "class/{label}",
    "images": "images",
    "images_page": "images/{page}",
    "image": "image/{image}",
    "comparison": "compare",
    "layer_comparison": "compare/{layer}",
    "unit_comparison": "compare/{layer}/{channel}",
    "my_image": "mine",
    "findings": "findings",
    "names": "names",
    "notes": "notes",
}
"""Pages by name: the path without its ending, `.html` or `.json`."""
FILE_URLS = {
    "search_index": "names.js",
    "model": "model.js",
    "image_list": "images.js",
    "note_list": "notes.js",
    "layer_columns": "layer/{layer}.js",
    "plate": "plate/{layer}/{channel}.{ranked_by}.{kind}.webp",
    "pattern": "pattern/{layer}/{channel}.webp",
    "image_file": "image/{image}.webp",
    "image_slice": "image/{image}.slice.webp",
    "asset": "static/{file}",
}
"""All other files by name."""
LIVE_URLS = {
    "analysis": "analyze",
    "class_plate": "plate/{layer}/{channel}.class/{label}.{kind}.webp",
    "note": "note",
    "projection": "project",
    "projection_estimate": "project/estimate",
    "projection_job": "project/{job}.html",
    "projection_stop": "project/{job}/stop",
}
"""What only a server answers: any, one with a network attached, or one for this machine alone."""
JSON_ENDING = ".json"
OTHER_FOLDER = "other{number}/"
"""The folder with the site of an atlas that the first one is compared with. The first of these has
no number.
"""


@dataclass(frozen=True)
class PackedPages:
    """Pages that an exported site has in packs, `size` in each; `key` is what tells them apart.

    All packs of a folder have a page that opens them: its address names a page by its key.
    """

    folder: str
    key: str
    size: int

    @property
    def opener(self) -> str:
        return f"{self.folder}index.html"

    @property
    def address(self) -> str:
        return f"{self.opener}?{self.key}={{{self.key}}}"

    @property
    def script(self) -> str:
        return f"{self.folder}{{pack}}.js"

    @property
    def facts(self) -> str:
        return f"{self.folder}{{pack}}{JSON_ENDING}"

    def pack(self, params: Params) -> str:
        """The numbers of the pages that share a pack with one."""
        return pack_range(int(params[self.key]), self.size)


PACKED_PAGES = {
    "unit": PackedPages("unit/{layer}/", "channel", 32),
    "image": PackedPages("image/", "image", 8),
    "unit_comparison": PackedPages("compare/{layer}/", "channel", 32),
}
"""The pages of an exported site that are in packs, by name."""
PACKED_IMAGES = {
    "plate": "plate/{layer}/{ranked_by}.{kind}.{pack}.js",
    "pattern": "pattern/{layer}/{pack}.js",
}
"""The packs with the images of an exported site, by name. The address of an image has its channel
after a `#`.
"""
PACK_SIZES = {"max.patches": 16, "other": 64}
"""Channels of a pack of images, by ranking and kind. Pages show patches of single units of many
layers; the smaller their packs, the less of them is read in vain.
"""

PARAM_PATTERNS = {
    "layer": r"[A-Za-z0-9._~-]{1,100}",
    "label": r"[A-Za-z0-9._~-]{1,100}",
    "file": r"[a-z_]{1,20}\.[a-z]{2,5}",
    "channel": r"0|[1-9][0-9]{0,8}",
    "image": r"0|[1-9][0-9]{0,8}",
    "job": r"[1-9][0-9]{0,8}",
    "page": r"[2-9]|[1-9][0-9]{1,5}",
    "ranked_by": r"max|mean|min|sample",
    "kind": r"patches|projections|lit|contrast|projections-gamma|contrast-gamma"
    r"|projections-slices|lit-slices",
}
"""Regular expressions of the variable parts; a URL with anything else is not found."""

_PATTERNS = {name: f"{path}.html" for name, path in PAGE_URLS.items()} | FILE_URLS | LIVE_URLS
_PACKED_PATTERNS = _PATTERNS | {
    **{name: pages.address for name, pages in PACKED_PAGES.items()},
    **{name: f"{pack}#{{channel}}" for name, pack in PACKED_IMAGES.items()},
}
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_MAX_SLUG = 80


def url_for(site: Site, name: str, **values: object) -> str:
    """The path of a page or file. A layer and a class (`label`) are given by name.

    `url_for(site, "unit", layer="features.0", channel=3)` is `unit/features.0/3.html`.
    """
    parts = _parts(site, values)
    if site.is_packed and name in PACKED_IMAGES:
        parts["pack"] = image_pack(int(parts["channel"]), parts.get("ranked_by"), parts.get("kind"))
    return _patterns(site)[name].format_map(parts)


def url_template(site: Site, name: str, **values: object) -> str:
    """A path to complete: a part without a value stays `{channel}`.

    Scripts do, and `complete_url`.
    """
    return _patterns(site)[name].format_map(_OpenParts(_parts(site, values)))


def complete_url(template: str, channel: int, **parts: str) -> str:
    """The path of an image by its template; the pack of an exported site follows from the rest."""
    if "{pack}" in template:
        parts["pack"] = image_pack(channel, parts.get("ranked_by"), parts.get("kind"))
    return template.format(channel=channel, **parts)


def image_pack(channel: int, ranked_by: str | None = None, kind: str | None = None) -> str:
    """The channels whose images share a pack.

    >>> image_pack(70), image_pack(70, "max", "patches")
    ('64-127', '64-79')
    """
    return pack_range(channel, PACK_SIZES.get(f"{ranked_by}.{kind}", PACK_SIZES["other"]))


def pack_range(number: int, size: int) -> str:
    """The numbers that share a pack of this size with one."""
    first = number - number % size
    return f"{first}-{first + size - 1}"


def page_url(site: Site, name: str, page: int, **values: object) -> str:
    """The path of a page of a list: the first is `name`, the others are `name_page`."""
    if page == 1:
        return url_for(site, name, **values)
    return url_for(site, f"{name}_page", page=page, **values)


def label_urls(site: Site) -> dict[str, str]:
    """The path of the page of each class, by name; faster than many calls of `url_for`."""
    pattern = _PATTERNS["class"]
    return {name: pattern.format(label=slug) for name, slug in label_slugs(site).items()}


def page_path(name: str, params: Params) -> str:
    """The path of a page from a server, by the variable parts of its URL."""
    return f"{PAGE_URLS[name].format_map(params)}.html"


def json_url(path: str) -> str:
    """The JSON twin of a page.

    >>> json_url("unit/features.0/3.html")
    'unit/features.0/3.json'
    """
    return path.removesuffix(".html") + JSON_ENDING


def twin_url(site: Site, name: str, params: Params) -> str:
    """The file with the facts of a page; an exported site has those of a pack in one."""
    if site.is_packed and name in PACKED_PAGES:
        pages = PACKED_PAGES[name]
        return pages.facts.format_map({**params, "pack": pages.pack(params)})
    return json_url(page_path(name, params))


def site_folder(site: Site) -> str:
    """The folder of a site in that of the first atlas; empty for the first atlas itself."""
    if site.number == 0:
        return ""
    return OTHER_FOLDER.format(number=site.number if site.number > 1 else "")


def from_first(site: Site, path: str) -> str:
    """A path of this site, as the site of the first atlas reaches it."""
    return site_folder(site) + path


def to_first(site: Site, path: str) -> str:
    """A path of the first atlas's site, as this site reaches it."""
    return "../" * site_folder(site).count("/") + path


def match_url(pattern: str, path: str) -> Params | None:
    """The variable parts of a path, or None if it does not have this pattern.

    >>> match_url("unit/{layer}/{channel}", "unit/conv5/12")
    {'layer': 'conv5', 'channel': '12'}
    """
    match = _compile(pattern).fullmatch(path)
    return None if match is None else match.groupdict()


def layer_slugs(site: Site) -> Mapping[str, str]:
    return slugs(tuple(layer.name for layer in site.atlas.layers))


def label_slugs(site: Site) -> Mapping[str, str]:
    return slugs(tuple(label.name for label in site.atlas.labels))


def find_layer_by_slug(site: Site, slug: str) -> Layer:
    name = _names_by_slug(tuple(layer.name for layer in site.atlas.layers)).get(slug)
    if name is None:
        raise PageNotFoundError(f"no layer {slug!r} in this atlas")
    return site.atlas.layer(name)


def find_label_by_slug(site: Site, slug: str) -> Label:
    name = _names_by_slug(tuple(label.name for label in site.atlas.labels)).get(slug)
    if name is None:
        raise PageNotFoundError(f"no class {slug!r} in this atlas")
    return site.atlas.label(name)


def parse_channel(layer: Layer, text: str) -> int:
    channel = int(text)
    if channel >= layer.channels:
        raise PageNotFoundError(f"no channel {channel} in {layer.name}")
    return channel


@lru_cache(maxsize=32)
def slugs(names: tuple[str, ...]) -> Mapping[str, str]:
    """A URL part for each name, unique even where file names ignore case.

    Most names stay as they are. A name with unsafe characters, or equal to an earlier one but for
    case, gets a tilde and its number appended.

    >>> slugs(("features.0", "add #1", "Features.0"))["Features.0"]
    'Features.0~2'
    """
    slug_by_name: dict[str, str] = {}
    lowercase: set[str] = set()
    for number, name in enumerate(names):
        slug = _sanitize(name)
        if slug != name or slug.lower() in lowercase:
            slug = f"{slug}~{number}"
        lowercase.add(slug.lower())
        slug_by_name[name] = slug
    return slug_by_name


class _OpenParts(dict[str, str]):
    """Leaves a part that has no value in its braces."""

    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


def _patterns(site: Site) -> Mapping[str, str]:
    return _PACKED_PATTERNS if site.is_packed else _PATTERNS


def _parts(site: Site, values: Mapping[str, object]) -> dict[str, str]:
    parts = {key: str(value) for key, value in values.items()}
    if "layer" in parts:
        parts["layer"] = layer_slugs(site)[parts["layer"]]
    if "label" in parts:
        parts["label"] = label_slugs(site)[parts["label"]]
    return parts


@lru_cache(maxsize=64)
def _compile(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", pattern)
    expressions = (
        f"(?P<{piece}>{PARAM_PATTERNS[piece]})" if n % 2 else re.escape(piece)
        for n, piece in enumerate(pieces)
    )
    return re.compile("".join(expressions))


@lru_cache(maxsize=32)
def _names_by_slug(names: tuple[str, ...]) -> Mapping[str, str]:
    return {slug: name for name, slug in slugs(names).items()}


def _sanitize(name: str) -> str:
    """Characters that every system allows, no reserved device name, no dot at either end."""
    safe = _UNSAFE.sub("_", name)[:_MAX_SLUG].strip(".")
    return f"_{safe}" if not safe or _DEVICE.fullmatch(safe.lower()) else safe
