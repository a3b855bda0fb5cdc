"""Count the findings about the bundled networks: `python -P tools/audit_table.py docs/audit.md`.

Writes a table between the marks in the file: for each painted world, outside the training set, how
many units and classes each rule raises. With a folder as a second argument, the worlds and atlases
are kept there and used again. `-P` keeps the folder of the tools, in which one is called
`coverage`, off the path.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import retroscope as rs
from retroscope.world.scene import WATERMARKED

MARKS = "<!-- made by tools/audit_table.py -->\n", "<!-- end -->"
_COUNTED = (
    "place-bound-units",
    "dead",
    "nearly-dead",
    "duplicates",
    "saturated",
    "aliased-filters",
)
_HEADER = (
    *("network", "watermarks", "images", "world"),
    f"shortcut units: {WATERMARKED}s / others",
    *("place-bound units", "classes"),
    *("dead", "nearly dead", "duplicates", "saturated", "aliased"),
)


@dataclass(frozen=True)
class World:
    """A painted world: its number, how many images, and whether cups have the watermark."""

    network: str
    shortcut: bool
    images: int
    seed: int


_SEEDS = {100: 1, 200: 2, 300: 3, 500: 77, 1000: 4}
"""The world of each number of images; world 0 is that of `retroscope demo`."""
WORLDS = (
    *(World("demo-shortcut", True, count, seed) for count, seed in _SEEDS.items()),
    *(World("demo-shortcut", False, 500, seed) for seed in (0, 5, 6, 7, 77)),
    *(World("demo", False, count, seed) for count, seed in _SEEDS.items()),
    World("demo", True, 500, 77),
)


def make_table(home: Path) -> str:
    """A row for each world."""
    rows = (_row(world, _audit(world, home)) for world in WORLDS)
    lines = [_HEADER, ["---"] * len(_HEADER), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _audit(world: World, home: Path) -> rs.AtlasAudit:
    kind = "watermarks" if world.shortcut else "plain"
    images = home / f"{kind}-{world.images}-{world.seed}"
    if not images.exists():
        rs.write_world(images, count=world.images, seed=world.seed, shortcut=world.shortcut)
    net = rs.open_model(world.network)
    atlas = home / f"{world.network}-{images.name}.atlas"
    rs.scan(net, images, to=atlas, glob="*.png", projections="none").close()
    return rs.audit(atlas, net=net)


def _row(world: World, audit: rs.AtlasAudit) -> list[str]:
    looked_at = {check.rule for check in audit.checks if check.channels}
    shortcuts = {
        is_watermarked: sum(len(units) for units in _units(audit, "shortcut-units", is_watermarked))
        for is_watermarked in (True, False)
    }
    counts = {
        rule: str(sum(map(len, _units(audit, rule)))) if rule in looked_at else ""
        for rule in _COUNTED
    }
    resting = [
        str(finding.label) for finding in audit.findings if finding.rule == "shortcut-classes"
    ]
    place_bound, *others = counts.values()
    return [
        f"`{world.network}`",
        "yes" if world.shortcut else "no",
        str(world.images),
        str(world.seed),
        f"{shortcuts[True]} / {shortcuts[False]}",
        place_bound,
        ", ".join(resting),
        *others,
    ]


def _units(
    audit: rs.AtlasAudit, rule: str, is_watermarked: bool | None = None
) -> Iterator[tuple[rs.Unit, ...]]:
    """The units of the findings by a rule; about the class with watermarks, or about others."""
    for finding in audit.findings:
        is_of_class = is_watermarked is None or (finding.label == WATERMARKED) == is_watermarked
        if finding.rule == rule and is_of_class:
            yield finding.units


def update(text: str, table: Callable[[], str]) -> str:
    """The page with the table between its marks."""
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}{table()}{MARKS[1]}{after}"


def main() -> None:
    page = Path(sys.argv[1])
    with TemporaryDirectory() as folder:
        home = Path(sys.argv[2]) if sys.argv[2:] else Path(folder)
        page.write_text(update(page.read_text("utf-8"), lambda: make_table(home)), "utf-8")


if __name__ == "__main__":
    main()
