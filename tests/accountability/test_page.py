"""The page has every method in every table: losers stay in it."""

import re
from pathlib import Path

import pytest
from tools.explainers import BASELINES, METHODS

PAGE = (Path(__file__).parents[2] / "docs/accountability.md").read_text("utf-8")
COMPARISONS = {"random", *BASELINES, "true drops"}


def rows(name: str) -> list[str]:
    """The first cell of each row of a table, but for its head."""
    begin = f"<!-- {name}, made by tools/accountability.py -->"
    table = PAGE.partition(begin)[2].partition("<!-- end -->")[0]
    return re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[2:]


@pytest.mark.parametrize("name", ["scores", "checks"])
def test_the_protocols_have_a_row_for_each_method_and_comparison(name: str) -> None:
    assert sorted(rows(name)) == sorted({*METHODS, *COMPARISONS})


def test_the_randomisation_has_a_row_for_each_method() -> None:
    assert rows("randomisation") == list(METHODS)
