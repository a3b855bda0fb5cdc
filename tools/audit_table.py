"""Count the findings about the bundled networks: `python -m tools.audit_table docs/audit.md`.

Writes a table between the marks in the file: for each painted world, outside the training set, how
many units and classes each rule raises. With a folder as a second argument, the worlds and atlases
are kept there and used again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.marked_tables import main, markdown_table

import retroscope as rs
from retroscope.world.scene import WATERMARKED

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
    return markdown_table(_HEADER, [_row(world, _audit(world, home)) for world in WORLDS])


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


if __name__ == "__main__":
    main("audit_table.py", make_table)
