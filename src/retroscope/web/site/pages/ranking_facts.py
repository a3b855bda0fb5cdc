"""What the rankings of an atlas are called, and what each shows."""

from collections.abc import Iterable

from retroscope.atlas.schema import Ranking
from retroscope.results.plates import SAMPLE_QUANTILES
from retroscope.web.site.site import Facts

_QUANTILES = ", ".join(f"{quantile:g}" for quantile in SAMPLE_QUANTILES)
_WORDS = {
    Ranking.MAX: ("max", "Best", "The images that excite the unit most at one position.", ""),
    Ranking.MEAN: ("mean", "Best by mean", "The images that excite the whole map most.", ""),
    Ranking.SAMPLE: (
        "middle",
        "Middle",
        "What typically excites the unit: the images of a random sample at the quantiles "
        f"{_QUANTILES} of its maxima, and a random one.",
        "The scan has no sample of this unit.",
    ),
    Ranking.MIN: (
        "min",
        "Least",
        "The images that inhibit the unit most at one position.",
        "No image takes this unit below zero.",
    ),
}
"""The word of each ranking in a choice, its title, a sentence about it, and what it means if there
are no hits; in the order of pages."""


def ranking_facts(rankings: Iterable[str]) -> list[Facts]:
    """The words of some rankings, in the order in which pages show them."""
    stored = set(rankings)
    return [ranking_words(ranking) for ranking in _WORDS if ranking in stored]


def ranking_words(ranking: Ranking) -> Facts:
    """The words of a ranking."""
    word, title, doc, empty = _WORDS[ranking]
    return {"name": ranking.value, "word": word, "title": title, "doc": doc, "empty": empty}


def class_words(label: str) -> Facts:
    """The words of the best images of a class."""
    return {
        "name": "class",
        "title": f"Best of {label}",
        "doc": "The images of this class that excite the unit most at one position.",
        "empty": "No image of this class excites this unit.",
    }
