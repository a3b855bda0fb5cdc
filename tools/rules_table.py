"""Writes the rules of an audit into a page: `python -m tools.rules_table FILE`."""

import sys
from pathlib import Path

from tools.marked_tables import replace_between

from retroscope.auditing.audit_rules import RULES

START, END = "<!-- rules -->", "<!-- /rules -->"


def rules_table() -> str:
    """The rules in Markdown, the most severe first."""
    rows = (
        f"| `{rule.name}` | {rule.severity} | {rule.title} | {rule.threshold} |" for rule in RULES
    )
    head = "| rule | severity | finds | raised if |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def update(page: str) -> str:
    """The page with the table of today between its markers."""
    return replace_between(page, START, f"\n{rules_table()}\n", END)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(update(path.read_text("utf-8")), "utf-8")
