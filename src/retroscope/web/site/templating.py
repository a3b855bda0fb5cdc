"""Renders the facts of a page with its Jinja template."""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from shlex import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from retroscope import __version__
from retroscope.render.captions import count_noun
from retroscope.web.site.markup_filters import (
    bar_path,
    hit_rows,
    image_attributes,
    image_source,
    ring,
    slice_words,
    tiles,
)
from retroscope.web.site.site import Facts, Site
from retroscope.web.site.text_filters import (
    add_breaks,
    format_fraction,
    format_number,
    format_percent,
    format_settings,
    keep_options,
)
from retroscope.web.site.urls import PACK_SIZES, to_first, url_for

_FIRST_PAGES = frozenset({"comparison"})
"""Pages that only the first of several compared atlases has."""


def load_templates() -> None:
    """Compiles all templates, so the first reader does not wait for it."""
    for name in _environment().list_templates():
        _environment().get_template(name)


def render_page(template: str, facts: Facts, *, site: Site, path: str, twin: str = "") -> bytes:
    """The HTML of the page at `path`; its links are relative to that path.

    `twin` is the file with its facts, in the same folder.
    """
    json_link = twin.rpartition("/")[2]
    return _render(template, facts, site, root="../" * path.count("/"), path=path, json=json_link)


def render_anywhere(template: str, facts: Facts, *, site: Site) -> bytes:
    """The HTML of a page without a path of its own, for any path of a server."""
    return _render(template, facts, site, root="/", path="", json="")


def _render(template: str, facts: Facts, site: Site, *, root: str, path: str, json: str) -> bytes:
    text = (
        _environment()
        .get_template(template)
        .render(
            facts,
            root=root,
            path=path,
            link=_link_maker(site, root),
            json_link=json,
            site_name=site.name,
            is_first=site.number == 0,
            is_compared=bool(site.compared),
            has_classes=bool(site.atlas.labels),
            has_notes=site.notes is not None,
            can_project=site.can_project,
            answers_queries=site.answers_queries,
            is_packed=site.is_packed,
            is_of_volumes=site.volume is not None,
            pack_sizes=PACK_SIZES,
            version=__version__,
        )
    )
    return text.encode("utf-8", "replace")


def render_file(template: str, facts: Facts) -> str:
    """The HTML of a page that is a file of its own, with the styles of the viewer in it."""
    folder = Path(__file__).parent / "assets"
    styles = "".join((folder / name).read_text("utf-8") for name in ("tokens.css", "app.css"))
    return _environment().get_template(template).render(facts, styles=styles, version=__version__)


def _link_maker(site: Site, root: str) -> Callable[..., str]:
    """`link("unit", layer=..., channel=...)` for the templates: `url_for`, relative to a page."""

    def link(name: str, **values: object) -> str:
        path = url_for(site, name, **values)
        return root + (to_first(site, path) if name in _FIRST_PAGES else path)

    return link


_SCRIPT_KEYS = (
    *("rank", "score", "class", "source", "notes", "position"),
    *("box", "middle", "size", "href", "src", "slices"),
)
"""What the scripts of a page read of a hit."""


def _script_hits(hits: Sequence[Facts]) -> Markup:
    """Hits as JSON inside a script element: no `<` in it can end the element."""
    facts = [{key: hit[key] for key in _SCRIPT_KEYS if key in hit} for hit in hits]
    text = json.dumps(facts, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - no tag can end it


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "number": format_number,
        "fraction": format_fraction,
        "percent": format_percent,
        "breakable": add_breaks,
        "keep_options": keep_options,
        "settings": format_settings,
        "shell": quote,
        "bar_path": bar_path,
        "tiles": tiles,
        "ring": ring,
        "image_source": image_source,
        "hit_rows": hit_rows,
        "image_attributes": image_attributes,
        "slice_words": slice_words,
        "script_hits": _script_hits,
    }
    environment.globals |= {"count_noun": count_noun}
    return environment
