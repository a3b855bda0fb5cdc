"""Writes the columns of table `channels` into a page: `python -m tools.statistics_table FILE`."""

import sys
from pathlib import Path

from tools.marked_tables import replace_between

from retroscope.results.statistics import stored_statistics

START, END = "<!-- statistics -->", "<!-- /statistics -->"


def statistics_table() -> str:
    """The columns in Markdown: the key, a row for each statistic, and the class."""
    rows = [
        ("layer, channel", "the channel"),
        *((row.name, row.doc) for row in stored_statistics()),
        ("top_label", "the class with the highest mean maximum, or NULL"),
    ]
    lines = [f"| {column} | {meaning} |" for column, meaning in rows]
    return "\n".join(["| column | meaning |", "|---|---|", *lines])


def update(page: str) -> str:
    """The page with the table of today between its markers."""
    return replace_between(page, START, f"\n{statistics_table()}\n", END)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(update(path.read_text("utf-8")), "utf-8")
