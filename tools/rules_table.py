"""Writes the rules of an audit into a page: `python tools/rules_table.py FILE`."""

import sys
from pathlib import Path

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
    before, rest = page.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{rules_table()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(update(path.read_text("utf-8")), "utf-8")
