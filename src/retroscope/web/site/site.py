"""The viewer's site: an atlas, alone or compared with a second one."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.errors import RetroscopeError
from retroscope.results.as_json import JsonObject

Facts = JsonObject
"""What a page shows: the context of its template, and the content of its `.json` twin."""
Params = Mapping[str, str]
"""The variable parts of a URL, by name."""


class PageNotFoundError(RetroscopeError):
    """The site has no page or file at this URL."""


@dataclass(frozen=True, eq=False)
class Site:
    """An atlas to show.

    `second` is the atlas it is compared with: a site of its own, in the folder `other/` of this
    one. The site of a second atlas has the atlas it is compared with as its `first`.
    """

    atlas: Atlas
    second: "Site | None" = None
    first: Atlas | None = None

    @property
    def name(self) -> str:
        return self.atlas.path.stem


def make_site(atlas: Atlas, second: Atlas | None = None) -> Site:
    """The site of an atlas, with the site of a second atlas inside."""
    return Site(atlas, None if second is None else Site(second, first=atlas))


@contextmanager
def open_site(atlas: str | Path | Atlas, compare: str | Path | None = None) -> Iterator[Site]:
    """Opens an atlas, and the one to compare it with, as a site.

    Files opened here are closed at the end; an `Atlas` that was passed in stays open.
    """
    with ExitStack() as stack:
        first = atlas if isinstance(atlas, Atlas) else stack.enter_context(open_atlas(atlas))
        second = None if compare is None else stack.enter_context(open_atlas(compare))
        yield make_site(first, second)
