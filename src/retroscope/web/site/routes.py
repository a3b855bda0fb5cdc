"""The one list of pages and files that a site is made of: the server answers them, and the export
writes them.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from retroscope.web.site import plate_images
from retroscope.web.site.pages import (
    class_pages,
    comparison_pages,
    image_pages,
    layer_pages,
    network_page,
    own_image_page,
    search_index,
    unit_pages,
)
from retroscope.web.site.site import Facts, NotThereError, Params, Site
from retroscope.web.site.static_files import every_static, static
from retroscope.web.site.templating import rendered

PARTS = {
    "layer": r"[A-Za-z0-9._~-]{1,100}",
    "label": r"[A-Za-z0-9._~-]{1,100}",
    "name": r"[a-z]{1,20}\.[a-z]{2,5}",
    "channel": r"0|[1-9][0-9]{0,8}",
    "image": r"0|[1-9][0-9]{0,8}",
    "page": r"[2-9]|[1-9][0-9]{1,5}",
    "ranked_by": r"max|mean",
    "what": "|".join(plate_images.KINDS),
}
"""What each part of a URL that varies may look like; nothing else is ever looked up."""


@dataclass(frozen=True)
class Page:
    """A page: its URL without an ending, the facts on it, its template, and all that there are.

    It is there as `.html` and as `.json`.
    """

    pattern: str
    facts: Callable[[Site, Params], Facts]
    template: str
    every: Callable[[Site], Iterable[Params]]


@dataclass(frozen=True)
class File:
    """Anything else: its URL, its bytes, and all that there are."""

    pattern: str
    content: Callable[[Site, Params], bytes]
    every: Callable[[Site], Iterable[Params]]


@dataclass(frozen=True)
class Answer:
    """What a URL holds."""

    body: bytes
    kind: str


def once(_site: Site) -> list[Params]:
    """There is one of it."""
    return [{}]


PAGES = (
    Page("index", network_page.network, "network.html", once),
    Page("layer/{layer}", layer_pages.layer, "layer.html", layer_pages.every_layer),
    Page("layer/{layer}/{page}", layer_pages.layer, "layer.html", layer_pages.every_page),
    Page("unit/{layer}/{channel}", unit_pages.unit, "unit.html", unit_pages.every_unit),
    Page("classes", class_pages.classes, "classes.html", once),
    Page("class/{label}", class_pages.label, "class.html", class_pages.every_label),
    Page("images", image_pages.gallery, "images.html", once),
    Page("images/{page}", image_pages.gallery, "images.html", image_pages.every_page),
    Page("image/{image}", image_pages.image, "image.html", image_pages.every_image),
    Page("compare", comparison_pages.overview, "compare.html", comparison_pages.once),
    Page(
        "compare/{layer}",
        comparison_pages.layer,
        "compare_layer.html",
        comparison_pages.every_layer,
    ),
    Page(
        "compare/{layer}/{channel}",
        comparison_pages.unit,
        "compare_unit.html",
        comparison_pages.every_unit,
    ),
    Page("mine", own_image_page.mine, "mine.html", once),
    Page("names", search_index.everything, "names.html", once),
)
FILES = (
    File("names.js", search_index.script, once),
    File("model.js", own_image_page.no_model, once),
    File("layer/{layer}.js", layer_pages.script, layer_pages.every_layer),
    File(
        "plate/{layer}/{channel}.{ranked_by}.{what}.webp",
        plate_images.plate,
        plate_images.every_plate,
    ),
    File("pattern/{layer}/{channel}.webp", plate_images.pattern, plate_images.every_pattern),
    File("picture/{image}.webp", plate_images.picture, plate_images.every_picture),
    File("static/{name}", static, every_static),
)
KINDS = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "webp": "image/webp",
    "svg": "image/svg+xml",
}
OTHER = "other/"


def answer(site: Site, path: str) -> Answer:
    """What the site holds at a path, which has no slash in front.

    Raises NotThereError where there is nothing.
    """
    if path.startswith(OTHER) and site.other is not None:
        return answer(site.other, path.removeprefix(OTHER))
    kind = KINDS.get(path.rpartition(".")[2])
    body = None if kind is None else _body(site, path)
    if body is None or kind is None:
        raise NotThereError(f"no page {path!r}")
    return Answer(body, kind)


def every_path(site: Site) -> Iterator[str]:
    """All paths that the site answers."""
    for page in PAGES:
        for params in page.every(site):
            bare = page.pattern.format_map(params)
            yield from (f"{bare}.html", f"{bare}.json")
    for file in FILES:
        yield from (file.pattern.format_map(params) for params in file.every(site))
    if site.other is not None:
        yield from (OTHER + path for path in every_path(site.other))


def _body(site: Site, path: str) -> bytes | None:
    for file in FILES:
        if found := _matched(file.pattern, path):
            return file.content(site, found.groupdict())
    bare, _, ending = path.rpartition(".")
    for page in PAGES:
        if ending in {"html", "json"} and (found := _matched(page.pattern, bare)):
            facts = page.facts(site, found.groupdict())
            return rendered(page.template, facts, site, path) if ending == "html" else _json(facts)
    return None


def _matched(pattern: str, path: str) -> re.Match[str] | None:
    return _compiled(pattern).fullmatch(path)


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", pattern)
    parts = (
        f"(?P<{piece}>{PARTS[piece]})" if n % 2 else re.escape(piece)
        for n, piece in enumerate(pieces)
    )
    return re.compile("".join(parts))


def _json(facts: Facts) -> bytes:
    return json.dumps(facts, allow_nan=False, separators=(",", ":")).encode()
