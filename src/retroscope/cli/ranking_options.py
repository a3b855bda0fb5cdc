"""Options that choose the hits of a ranking or of a class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from retroscope.cli.options import Decorator, refuse_options
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas


def class_option(description: str, *, multiple: bool = False) -> Decorator:
    """`--class`, the name of a class, or of several."""
    return click.option("--class", "label", metavar="NAME", multiple=multiple, help=description)


def refuse_ranking_beside_class(label: str | Sequence[str] | None) -> None:
    """Raises if both a class and a ranking are named."""
    if label:
        refuse_options({"ranked_by"}, "has no effect with --class, which ranks by maximum")


def check_ranking(
    atlas: "Atlas", ranked_by: str | Sequence[str], label: str | Sequence[str] | None
) -> None:
    """Raises before any work if the atlas does not have the rankings or the classes."""
    from retroscope.atlas.ranking_lookup import MissingClassesError, find_rankings

    try:
        find_rankings(atlas, ranked_by, label)
    except MissingClassesError as error:
        advice = "'retroscope scan --per-class N' finds them"
        raise RetroscopeError(f"{error.reason}; {advice}") from error
