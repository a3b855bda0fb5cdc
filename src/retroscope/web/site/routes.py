"""The pages and files of a site: one table that the server answers from and the export writes."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from retroscope.atlas.file_versions import hold_versions
from retroscope.web.site import site_files
from retroscope.web.site.pages import (
    audit_pages,
    class_pages,
    comparison_pages,
    image_pages,
    layer_pages,
    network_pages,
    note_pages,
    unit_pages,
)
from retroscope.web.site.site import Facts, PageNotFoundError, Params, Site
from retroscope.web.site.templating import render_anywhere, render_page
from retroscope.web.site.urls import (
    FILE_URLS,
    LIVE_URLS,
    PAGE_URLS,
    PARAM_PATTERNS,
    from_first,
    json_url,
    match_url,
    page_path,
    site_folder,
    twin_url,
)


@dataclass(frozen=True)
class Page:
    """A page, served as HTML and as JSON: its facts, its template, and all its parameters.

    `name` is its row in `PAGE_URLS`. With `reads_query`, the parameters after the `?` of a URL are
    among those of the facts.
    """

    name: str
    facts: Callable[[Site, Params], Facts]
    template: str
    list_params: Callable[[Site], Iterable[Params]]
    reads_query: bool = False


@dataclass(frozen=True)
class SiteFile:
    """Any other file: its content and all its parameters. `name` is its row in `FILE_URLS`."""

    name: str
    content: Callable[[Site, Params], bytes]
    list_params: Callable[[Site], Iterable[Params]]
    reads_query: bool = False


@dataclass(frozen=True)
class SiteResponse:
    """The content of a URL."""

    body: bytes
    media_type: str


NO_QUERY: Params = MappingProxyType({})


def single(_site: Site) -> list[Params]:
    """The parameters of a page that exists once."""
    return [{}]


PAGES = (
    Page("network", network_pages.network, "network.html", single),
    Page("layer", layer_pages.layer, "layer.html", layer_pages.list_layers, reads_query=True),
    Page(
        "layer_page",
        layer_pages.layer,
        "layer.html",
        layer_pages.list_layer_pages,
        reads_query=True,
    ),
    Page("unit", unit_pages.unit, "unit.html", unit_pages.list_units, reads_query=True),
    Page("classes", class_pages.classes, "classes.html", single),
    Page("class", class_pages.label, "class.html", class_pages.list_labels),
    Page("images", image_pages.images, "images.html", single),
    Page("images_page", image_pages.images, "images.html", image_pages.list_images_pages),
    Page("image", image_pages.image, "image.html", image_pages.list_hit_images),
    Page("comparison", comparison_pages.comparison, "compare.html", comparison_pages.list_once),
    Page(
        "layer_comparison",
        comparison_pages.layer_comparison,
        "compare_layer.html",
        comparison_pages.list_layers,
    ),
    Page(
        "unit_comparison",
        comparison_pages.unit_comparison,
        "compare_unit.html",
        comparison_pages.list_units,
    ),
    Page("my_image", network_pages.my_image, "my_image.html", single),
    Page("findings", audit_pages.findings, "findings.html", single),
    Page("names", network_pages.names, "names.html", single),
    Page("notes", note_pages.notes, "notes.html", note_pages.list_once),
)
FILES = (
    SiteFile("search_index", network_pages.search_index_script, single),
    SiteFile("model", network_pages.no_model_script, single),
    SiteFile("image_list", image_pages.list_script, single),
    SiteFile("note_list", note_pages.notes_script, note_pages.list_once),
    SiteFile("layer_columns", layer_pages.columns_script, layer_pages.list_layers, True),
    SiteFile("plate", site_files.plate, site_files.list_plates),
    SiteFile("pattern", site_files.pattern, site_files.list_patterns),
    SiteFile("image_file", site_files.image_file, image_pages.list_hit_images),
    SiteFile("image_slice", site_files.image_slice, image_pages.list_volumes),
    SiteFile("asset", site_files.asset, site_files.list_assets),
)
SERVED_FILES = (SiteFile("class_plate", site_files.plate, single),)
"""Files that an export leaves out: one for each channel and class would be too many."""
_FILE_PATTERNS = FILE_URLS | LIVE_URLS
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "webp": "image/webp",
    "svg": "image/svg+xml",
}


def respond(site: Site, path: str, query: Params = NO_QUERY) -> SiteResponse:
    """The page or file at a path, which has no leading slash; `query` is what follows its `?`."""
    for other in site.others:
        if path.startswith(folder := site_folder(other)):
            return respond(other, path.removeprefix(folder), query)
    media_type = MEDIA_TYPES.get(path.rpartition(".")[2])
    with hold_versions():
        body = None if media_type is None else _body(site, path, query)
    if body is None or media_type is None:
        raise PageNotFoundError(f"no page {path!r}")
    return SiteResponse(body, media_type)


def not_found_page(site: Site, reason: str) -> SiteResponse:
    """What a server sends in place of a page that does not exist."""
    body = render_anywhere("not_found.html", {"reason": reason}, site=site)
    return SiteResponse(body, MEDIA_TYPES["html"])


def projection_job_page(site: Site, facts: Facts) -> bytes:
    """The page about projections at work, which a server with a network has; `path` is its own."""
    path, twin = str(facts["path"]), str(facts["json"])
    return render_page("projection_job.html", facts, site=site, path=path, twin=twin)


def opener_page(site: Site, facts: Facts, path: str) -> bytes:
    """The page of an exported site that opens those in the packs beside it."""
    return render_page("opener.html", facts, site=site, path=path)


def list_paths(site: Site) -> Iterator[str]:
    """The path of every page and file of a site."""
    for page in PAGES:
        for params in page.list_params(site):
            path = page_path(page.name, params)
            yield from (path, json_url(path))
    for file in FILES:
        pattern = FILE_URLS[file.name]
        yield from (pattern.format_map(params) for params in file.list_params(site))
    for other in site.others:
        yield from (from_first(other, path) for path in list_paths(other))


def _body(site: Site, path: str, query: Params) -> bytes | None:
    options = {name: value for name, value in query.items() if name not in PARAM_PATTERNS}
    for file in (*FILES, *SERVED_FILES):
        if (params := match_url(_FILE_PATTERNS[file.name], path)) is not None:
            return file.content(site, {**options, **params} if file.reads_query else params)
    stem, _, ending = path.rpartition(".")
    if ending not in {"html", "json"}:
        return None
    for page in PAGES:
        if (params := match_url(PAGE_URLS[page.name], stem)) is not None:
            facts = page.facts(site, {**options, **params} if page.reads_query else params)
            if ending == "json":
                return _encode_json(facts)
            twin = twin_url(site, page.name, params)
            return render_page(page.template, facts, site=site, path=path, twin=twin)
    return None


def _encode_json(facts: Facts) -> bytes:
    return json.dumps(facts, allow_nan=False, separators=(",", ":")).encode()
