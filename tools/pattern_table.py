"""Compare patterns with natural images: `python -m tools.pattern_table ATLAS MODEL PAGE`.

Synthesizes the pattern of every live channel of the atlas, and writes a table between the marks in
the page: in how many channels the pattern reaches a higher activation than the best image of the
atlas, and how much higher.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from tools.marked_tables import made_by, update_file

import retroscope as rs
from retroscope.methods.synthesis.recipes import DEFAULT_RECIPE
from retroscope.methods.synthesis.render_patterns import StepListener, SynthesisStep
from retroscope.methods.synthesis.synthesize import synthesize_many
from retroscope.results.layers import Layer
from retroscope.results.patterns import Pattern

BATCH_SIZE = 32


@dataclass(frozen=True)
class Row:
    """The live channels of a layer: how many, how many patterns win, and the median ratio."""

    layer: str
    field: int
    channels: int
    live: int
    wins: int
    ratio: float


def compare_layer(
    net: rs.Network, atlas: rs.Atlas, layer: Layer, options: argparse.Namespace
) -> Row:
    """Compare the patterns of a layer with the best images of its channels."""
    patterns = synthesize_live_channels(net, atlas, layer, options)
    wins = sum(pattern.activation > (pattern.natural or 0) for pattern in patterns)
    ratios = [pattern.activation / pattern.natural for pattern in patterns if pattern.natural]
    return Row(
        layer.aliases[0] if layer.aliases else layer.name,
        layer.field.y.size,
        layer.channels,
        len(patterns),
        wins,
        median(ratios) if ratios else float("nan"),
    )


def synthesize_live_channels(
    net: rs.Network, atlas: rs.Atlas, layer: Layer, options: argparse.Namespace
) -> list[Pattern]:
    """The patterns of the live channels, each with the maximum of the natural images."""
    units = [rs.Unit(layer.name, channel) for channel in range(layer.channels)]
    natural = {unit: atlas.stats(unit).maximum for unit in units}
    live = [unit for unit in units if natural[unit] > 0]
    patterns: list[Pattern] = []
    for start in range(0, len(live), BATCH_SIZE):
        patterns += synthesize_many(
            net,
            live[start : start + BATCH_SIZE],
            recipe=options.recipe,
            steps=options.steps,
            progress=print_batches(layer, start, live),
        )
    pairs = zip(live, patterns, strict=True)
    return [replace(pattern, natural=natural[unit]) for unit, pattern in pairs]


def print_batches(layer: Layer, start: int, live: Sequence[rs.Unit]) -> StepListener:
    """A listener that prints a line when a batch begins."""

    def listener(step: SynthesisStep) -> None:
        if step.step == 1:
            print(f"{layer.name}: {start + len(step.indices)} of {len(live)}", flush=True)

    return listener


def page(rows: Sequence[Row], atlas: rs.Atlas, options: argparse.Namespace) -> str:
    """The table in Markdown."""
    head = "| layer | field | live channels | pattern beats the best image | median ratio |"
    lines = [head, "|---|---|---|---|---|", *map(_line, rows)]
    live, wins = sum(row.live for row in rows), sum(row.wins for row in rows)
    total = f"| all | | {live} | {_share(wins, live)} | |"
    steps = f", {options.steps} steps" if options.steps else ""
    caption = (
        f"`{options.recipe}`{steps}, `{options.model}`, best of {len(atlas.images)} images, "
        "each pattern as large as its unit's receptive field:"
    )
    return "\n".join([caption, "", *lines, total, ""])


def _line(row: Row) -> str:
    live = f"{row.live} of {row.channels}"
    wins = _share(row.wins, row.live)
    return f"| {row.layer} | {row.field} px | {live} | {wins} | {row.ratio:.2f} |"


def _share(wins: int, live: int) -> str:
    return f"{wins} ({wins / live:.0%})" if live else "-"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("atlas", "model", "page"):
        parser.add_argument(name)
    parser.add_argument("--recipe", default=DEFAULT_RECIPE)
    parser.add_argument("--steps", type=int, help="default: the recipe's")
    parser.add_argument("--layers", default="", help="names with commas; default: all")
    options = parser.parse_args()
    net = rs.open_model(options.model, device="cpu")
    with rs.open_atlas(options.atlas) as atlas:
        names = (
            options.layers.split(",") if options.layers else [layer.name for layer in atlas.layers]
        )
        layers = [atlas.layer(name) for name in names]
        table = page(
            [compare_layer(net, atlas, layer, options) for layer in layers], atlas, options
        )
    update_file(Path(options.page), made_by("pattern_table.py"), table)
    print(table)


if __name__ == "__main__":
    main()
