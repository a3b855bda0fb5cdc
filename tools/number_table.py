"""Score `demo` and its untrained checkpoint: `python -m tools.number_table docs/numbers.md`.

Writes a table between the marks in the file. Both networks are scored on one painted world, whose
images `demo` was not trained on, with the embedding of `demo` for both. Of a unit with a name, the
share of its nine best hits is counted whose projection lies mostly on the part of this name.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from tools.marked_tables import main, markdown_table

import retroscope as rs
from retroscope.results.unit_numbers import UnitNumber
from retroscope.world.part_map import PART_NUMBERS, dominant_part

NETWORKS, IMAGES, SEED, HITS = ("demo", "demo@0"), 400, 7, 3
PASSES = ["mis", "monosemanticity"]
_MEDIANS = (
    "mis", "monosemanticity", "concept_iou", "faithfulness", "faithfulness_over_blob",
    "dependence_on_image", "dependence_on_unit", "dependence_on_weights",
)  # fmt: skip


def score_networks(home: Path) -> dict[str, Path]:
    """The atlases of both networks, with all numbers; a folder that has them is used again."""
    world, demo = home / "world", rs.open_model("demo")
    if not world.exists():
        rs.write_world(world, count=IMAGES, seed=SEED, masks=True)
    atlases = {name: home / f"{name}.atlas" for name in NETWORKS}
    for name, path in atlases.items():
        net = rs.open_model(name)
        rs.scan(net, world, to=path, projections="none").close()
        rs.score(path, net, numbers=PASSES, masks=home / "world-parts", embedding=demo)
        rs.score(path, net, numbers=["faithfulness", "dependence"], hits=HITS)
    _project_named_units(atlases["demo"], demo)
    return atlases


def _project_named_units(path: Path, net: rs.Network) -> None:
    with rs.open_atlas(path) as atlas:
        units = [name.unit for layer in atlas.layers for name in atlas.names(layer.name)]
    rs.illustrate(path, net, units=units, projections="max")


def make_table(home: Path) -> str:
    """A row for each layer: trained / untrained."""
    paths = score_networks(home)
    with rs.open_atlas(paths["demo"]) as trained, rs.open_atlas(paths["demo@0"]) as untrained:
        rows = [
            [
                layer.aliases[0] if layer.aliases else layer.name,
                *(_pair(name, layer.name, trained, untrained) for name in _MEDIANS),
                f"{len(trained.names(layer.name))} / {len(untrained.names(layer.name))}",
                _agreement(trained, layer.name, home / "world-parts"),
            ]
            for layer in trained.layers
        ]
    header = ["layer", *_MEDIANS, "named units", "hits on the named part"]
    return markdown_table(header, rows)


def _pair(name: str, layer: str, *atlases: rs.Atlas) -> str:
    return " / ".join(_median(atlas.numbers(layer), name) for atlas in atlases)


def _median(numbers: Sequence[UnitNumber], name: str) -> str:
    values = [number.value for number in numbers if number.name == name]
    return f"{np.nanmedian(values):.2f}" if np.isfinite(values).any() else "-"


def _agreement(atlas: rs.Atlas, layer: str, masks: Path) -> str:
    """The share of the hits of named units whose projection lies mostly on the part of the name."""
    shares = []
    for name in atlas.names(layer):
        for patch in atlas.plate(name.unit).patches:
            if patch.projection is not None:
                with PIL.Image.open(masks / patch.source) as image:
                    part = dominant_part(patch.projection, np.asarray(image))
                shares.append(part == PART_NUMBERS[name.name])
    return f"{np.mean(shares):.2f}" if shares else "-"


if __name__ == "__main__":
    main("number_table.py", make_table)
