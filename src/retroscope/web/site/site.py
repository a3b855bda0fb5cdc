"""The viewer's site: an atlas, alone or compared with others."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.errors import RetroscopeError
from retroscope.results.as_json import JsonObject
from retroscope.results.slice_stacks import volume_size
from retroscope.web.site.comparison import common_layers
from retroscope.web.site.notes import Notes, notes_of

Facts = JsonObject
"""What a page shows: the context of its template, and the content of its `.json` twin."""
Params = Mapping[str, str]
"""The variable parts of a URL, by name."""


class PageNotFoundError(RetroscopeError):
    """The site has no page or file at this URL."""


@dataclass(frozen=True, eq=False)
class Site:
    """An atlas to show.

    `others` are the atlases that it is compared with: each is a site of its own, in a folder of
    this one. `compared` are all atlases of a comparison, none for an atlas alone; this is the one
    with the number `number`. `notes` are shown if there are any. `can_project` says that a network
    behind the pages makes missing projections, `answers_queries` that a server reads what follows
    the `?` of a URL, `is_packed` that it is written as files, with many units in each.
    """

    atlas: Atlas
    name: str
    others: "tuple[Site, ...]" = ()
    number: int = 0
    compared: tuple[Atlas, ...] = ()
    notes: Notes | None = None
    can_project: bool = False
    answers_queries: bool = False
    is_packed: bool = False

    @property
    def volume(self) -> tuple[int, int, int] | None:
        """Slices, height and width of the volumes that the atlas is of; None for images."""
        return volume_size(self.atlas.meta.get("preprocessing"))


def make_site(atlas: Atlas, *others: Atlas) -> Site:
    """The site of an atlas, with the sites of those that it is compared with inside."""
    compared = (atlas, *others) if others else ()
    names = _distinct_names([atlas.path, *(other.path for other in others)])
    return Site(
        atlas,
        names[0],
        tuple(
            Site(other, names[number], number=number, compared=compared)
            for number, other in enumerate(others, start=1)
        ),
        compared=compared,
    )


def pack_site(site: Site) -> Site:
    """The site as it is written to files."""
    others = tuple(replace(other, is_packed=True) for other in site.others)
    return replace(site, others=others, is_packed=True)


@contextmanager
def open_site(
    atlas: str | Path | Atlas,
    compare: str | Path | Sequence[str | Path] = (),
    *,
    notes: bool = False,
) -> Iterator[Site]:
    """Opens an atlas, and those to compare it with, as a site.

    With `notes`, the stars and notes beside the atlas are shown.

    Files opened here are closed at the end; an `Atlas` that was passed in stays open.
    """
    paths = (compare,) if isinstance(compare, str | Path) else compare
    with ExitStack() as stack:
        first = atlas if isinstance(atlas, Atlas) else stack.enter_context(open_atlas(atlas))
        others = [stack.enter_context(open_atlas(path)) for path in paths]
        _check_common_layers(first, others)
        site = make_site(first, *others)
        yield replace(site, notes=notes_of(first.path)) if notes else site


def _check_common_layers(first: Atlas, others: Sequence[Atlas]) -> None:
    """Refuses atlases that have nothing to compare."""
    for other in others:
        if not common_layers(first, other):
            raise RetroscopeError(
                f"{other.path.name!r} has no layer of {first.path.name!r} with as many channels; "
                "compare atlases of one network",
                parameter="compare",
            )


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """The stem of each file; with its folder, then also its number, where that is not distinct."""
    stems = [path.stem for path in paths]
    full = [f"{path.absolute().parent.name}/{path.stem}" for path in paths]
    stem_counts, full_counts = Counter(stems), Counter(full)
    return [
        stem if stem_counts[stem] == 1 else name if full_counts[name] == 1 else f"{stem} ({number})"
        for number, (stem, name) in enumerate(zip(stems, full, strict=True), start=1)
    ]
