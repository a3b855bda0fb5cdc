"""Patterns against the best natural images: `python tools/pattern_table.py ATLAS MODEL PAGE.md`.

Makes the pattern of every channel of the atlas's layers and writes a table between the marks in
the page: in how many of the live channels the pattern excites more than the best image of the
atlas does, and by how much. `--recipe`, `--steps` and `--layers` choose others than the usual.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import retroscope as rs
from retroscope.methods.synthesis.render_patterns import StepListener, SynthesisStep
from retroscope.methods.synthesis.synthesize import synthesize_many
from retroscope.results.layers import Layer
from retroscope.results.patterns import Pattern

MARKS = "<!-- made by tools/pattern_table.py -->\n", "<!-- end -->"
AT_ONCE = 32


@dataclass(frozen=True)
class Row:
    """The live channels of a layer: how many, how many patterns win, and the median ratio."""

    layer: str
    field: int
    channels: int
    live: int
    wins: int
    ratio: float


def compared(net: rs.Network, atlas: rs.Atlas, layer: Layer, options: argparse.Namespace) -> Row:
    """The patterns of a layer beside the best images of its channels."""
    patterns = made(net, atlas, layer, options)
    wins = sum(pattern.activation > (pattern.natural or 0) for pattern in patterns)
    ratios = [pattern.activation / pattern.natural for pattern in patterns if pattern.natural]
    middle = median(ratios) if ratios else float("nan")
    return Row(
        layer.aliases[0] if layer.aliases else layer.name,
        layer.field.y.size,
        layer.channels,
        len(patterns),
        wins,
        middle,
    )


def made(
    net: rs.Network, atlas: rs.Atlas, layer: Layer, options: argparse.Namespace
) -> list[Pattern]:
    """The patterns of the live channels, each with the best that an image reaches."""
    units = [rs.Unit(layer.name, channel) for channel in range(layer.channels)]
    natural = {unit: atlas.stats(unit).maximum for unit in units}
    live = [unit for unit in units if natural[unit] > 0]
    found: list[Pattern] = []
    for start in range(0, len(live), AT_ONCE):
        some = live[start : start + AT_ONCE]
        found += synthesize_many(
            net, some, recipe=options.recipe, steps=options.steps, progress=told(layer, start, live)
        )
    return [replace(one, natural=natural[unit]) for unit, one in zip(live, found, strict=True)]


def told(layer: Layer, start: int, live: Sequence[rs.Unit]) -> StepListener:
    """Prints when a batch begins."""

    def tell(step: SynthesisStep) -> None:
        if step.step == 1:
            print(f"{layer.name}: {start + len(step.indices)} of {len(live)}", flush=True)

    return tell


def page(rows: Sequence[Row], atlas: rs.Atlas, options: argparse.Namespace) -> str:
    """The table in Markdown."""
    head = "| layer | sees | live channels | pattern beats the best image | median ratio |"
    lines = [head, "|---|---|---|---|---|", *map(_line, rows)]
    live, wins = sum(row.live for row in rows), sum(row.wins for row in rows)
    total = f"| all | | {live} | {_share(wins, live)} | |"
    steps = f", {options.steps} steps" if options.steps else ""
    said = (
        f"`{options.recipe}`{steps}, `{options.model}`, best of {len(atlas.images)} images, "
        "each pattern as large as what its unit sees:"
    )
    return "\n".join([said, "", *lines, total, ""])


def _line(row: Row) -> str:
    live = f"{row.live} of {row.channels}"
    won = _share(row.wins, row.live)
    return f"| {row.layer} | {row.field} px | {live} | {won} | {row.ratio:.2f} |"


def _share(wins: int, live: int) -> str:
    return f"{wins} ({wins / live:.0%})" if live else "-"


def between_marks(text: str, table: str) -> str:
    """The page with another table between its marks, or at its end."""
    start, end = MARKS
    before, mark, rest = text.partition(start)
    after = rest.partition(end)[2] if mark else "\n"
    return f"{before}{start}{table}{end}{after}"


def main() -> None:
    """Makes the patterns and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("atlas", "model", "page"):
        parser.add_argument(name)
    parser.add_argument("--recipe", default="olah")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--layers", default="")
    options = parser.parse_args()
    net = rs.open_model(options.model, device="cpu")
    with rs.open_atlas(options.atlas) as atlas:
        names = options.layers.split(",") if options.layers else [one.name for one in atlas.layers]
        layers = [atlas.layer(name) for name in names]
        table = page([compared(net, atlas, layer, options) for layer in layers], atlas, options)
    path = Path(options.page)
    text = path.read_text("utf-8") if path.exists() else ""
    path.write_text(between_marks(text, table), "utf-8")
    print(table)


if __name__ == "__main__":
    main()
