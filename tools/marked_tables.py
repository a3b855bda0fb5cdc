"""Tables that a script writes into a page of the documentation, between two marks."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

END = "<!-- end -->"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    >>> print(markdown_table(["layer", "mis"], [["relu1", "0.95"]]), end="")
    | layer | mis |
    | --- | --- |
    | relu1 | 0.95 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def made_by(script: str) -> str:
    """The mark before the table of a script, which is a file of `tools`."""
    return f"<!-- made by tools/{script} -->\n"


def replace_between(page: str, begin: str, content: str, end: str = END) -> str:
    """The page with this content between two marks, of which it must have the first once.

    >>> replace_between("a <!-- b -->old<!-- end --> c", "<!-- b -->", "new")
    'a <!-- b -->new<!-- end --> c'
    """
    before, *rest = page.split(begin)
    if len(rest) != 1 or end not in rest[0]:
        raise SystemExit(f"the page needs a line {begin.strip()}, once, and {end} after its table")
    after = rest[0].partition(end)[2]
    return f"{before}{begin}{content}{end}{after}"


def update_file(path: Path, begin: str, content: str, end: str = END) -> None:
    """Replaces what is between two marks of a page."""
    path.write_text(replace_between(path.read_text("utf-8"), begin, content, end), "utf-8")


def main(script: str, make_table: Callable[[Path], str]) -> None:
    """Runs `SCRIPT PAGE [FOLDER]`: writes the table of a script into a page.

    What the script computes is kept in the folder, and used again; by default it is deleted.
    """
    page, *folders = map(Path, sys.argv[1:])
    with TemporaryDirectory() as temporary:
        table = make_table(next(iter(folders), Path(temporary)))
    update_file(page, made_by(script), table)
