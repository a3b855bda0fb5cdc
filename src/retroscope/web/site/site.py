"""What the viewer shows: an atlas, maybe beside another one, and where its things are found."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.rows import Label
from retroscope.errors import RetroscopeError
from retroscope.results.values import Layer
from retroscope.web.site.urls import names_by_slug, slugs

Facts = dict[str, object]
"""What a page shows, as its JSON twin says it."""
Params = Mapping[str, str]
"""The parts of a URL that vary."""


class NotThereError(RetroscopeError):
    """A page that this site does not have."""


@dataclass(frozen=True, eq=False)
class Site:
    """An atlas to look at. `other` is the one that it is compared with, a site in the folder
    `other/` of this one; `beside` is, in that folder, the way back.
    """

    atlas: Atlas
    other: "Site | None" = None
    beside: Atlas | None = None

    @property
    def name(self) -> str:
        return self.atlas.path.stem


def compared(atlas: Atlas, other: Atlas | None = None) -> Site:
    """The site of an atlas, with the other one in it."""
    return Site(atlas, None if other is None else Site(other, beside=atlas))


@contextmanager
def opened_site(atlas: str | Path | Atlas, compare: str | Path | None = None) -> Iterator[Site]:
    """The site of an atlas, or of a file, with that of another file in it. What was opened here is
    closed at the end.
    """
    with ExitStack() as stack:
        own = atlas if isinstance(atlas, Atlas) else stack.enter_context(open_atlas(atlas))
        other = None if compare is None else stack.enter_context(open_atlas(compare))
        yield compared(own, other)


def layer_names(site: Site) -> tuple[str, ...]:
    return tuple(layer.name for layer in site.atlas.layers)


def layer_at(site: Site, slug: str) -> Layer:
    """The layer that a part of a URL stands for."""
    name = names_by_slug(layer_names(site)).get(slug)
    if name is None:
        raise NotThereError(f"no layer of the slug {slug!r}")
    return site.atlas.layer(name)


def channel_at(layer: Layer, text: str) -> int:
    channel = int(text)
    if channel >= layer.channels:
        raise NotThereError(f"no channel {channel} in {layer.name}")
    return channel


def label_at(site: Site, slug: str) -> Label:
    """The class that a part of a URL stands for."""
    labels = site.atlas.labels
    name = names_by_slug(tuple(label.name for label in labels)).get(slug)
    if name is None:
        raise NotThereError(f"no class of the slug {slug!r}")
    return site.atlas.label(name)


def layer_path(site: Site, layer: str, page: int = 1) -> str:
    """Where a layer's page is in the site, or a further one where it has many channels."""
    slug = slugs(layer_names(site))[layer]
    return f"layer/{slug}.html" if page == 1 else f"layer/{slug}/{page}.html"


def unit_path(site: Site, layer: str, channel: int) -> str:
    return f"unit/{slugs(layer_names(site))[layer]}/{channel}.html"


def plate_path(site: Site, layer: str, channel: int, *, ranked_by: str, what: str) -> str:
    """The picture of the nine patches or the nine projections of a channel."""
    return f"plate/{slugs(layer_names(site))[layer]}/{channel}.{ranked_by}.{what}.webp"


def unit_facts(site: Site, layer: str, channel: int) -> Facts:
    """What a link to a unit shows of it: its address, its page and its plate."""
    return {
        "unit": f"{layer}:{channel}",
        "channel": channel,
        "href": unit_path(site, layer, channel),
        "plate": plate_path(site, layer, channel, ranked_by="max", what="patches"),
    }


def around(at: int, count: int, facts: Callable[[int], Facts]) -> Facts:
    """What is before and behind a place in a row; None where the row ends."""
    wanted = {"previous": at - 1, "next": at + 1}
    return {name: facts(n) if 0 <= n < count else None for name, n in wanted.items()}


def pattern_path(site: Site, layer: str, channel: int) -> str:
    """The picture that was made to excite a channel."""
    return f"pattern/{slugs(layer_names(site))[layer]}/{channel}.webp"


def label_path(site: Site, name: str) -> str:
    return label_paths(site)[name]


def label_paths(site: Site) -> Mapping[str, str]:
    """Where the page of each class is: for pages with many, where asking for one by one is slow."""
    return _label_paths(tuple(label.name for label in site.atlas.labels))


@lru_cache(maxsize=8)
def _label_paths(names: tuple[str, ...]) -> Mapping[str, str]:
    return {name: f"class/{slug}.html" for name, slug in slugs(names).items()}


def image_path(image: int) -> str:
    return f"image/{image}.html"


def picture_path(image: int) -> str:
    return f"picture/{image}.webp"
