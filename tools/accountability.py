"""Hold every method to account on the painted world.

    python -m tools.accountability docs/accountability.md [IMAGES]

Writes the tables between the marks in the file. `IMAGES` is the number of scenes for the protocols;
the randomisation of weights uses a fifth of them.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path
from zlib import crc32

import numpy as np
from tools.explainers import BASELINES, METHODS, Explainer, Map

import retroscope as rs
from retroscope.accountability.part_removals import (
    FIRST_SEED,
    PartRemovals,
    removable_scenes,
    remove_parts,
)
from retroscope.accountability.protocol_scores import (
    COLUMNS,
    ProtocolScore,
    ShareExplainer,
    score_shares,
)
from retroscope.accountability.protocols import Shares, irrelevant_parts, part_shares, points_at
from retroscope.accountability.weight_randomisation import map_similarity, randomise_from_top
from retroscope.scanning.scoring.intervals import mean_interval
from retroscope.world import WATERMARKED

IMAGES, DRAWS, RANDOM_DRAWS = 60, 3, 10
"""Scenes, networks with random weights, and random explanations of each scene."""

CHECKS, SCORES = COLUMNS[:4], COLUMNS[4:]
Row = list[str]


def main() -> None:
    """Write the tables into the page."""
    page = Path(sys.argv[1])
    number = int(sys.argv[2]) if sys.argv[2:] else IMAGES
    net = rs.open_model("demo", device="cpu")
    images = list(removable_scenes(net, number))
    insert(page, {"facts": facts(images)})
    scores = score_methods(net, images)
    shortcut = score_shortcut(max(number * 2 // 5, 1))
    insert(page, {"scores": scores_table(scores, shortcut), "checks": checks_table(scores)})
    few = images[: max(number // 5, DRAWS + 1)]
    insert(page, {"randomisation": randomisation_table(net, few)})


# Explanations as shares of the parts


def shares_of(net: rs.Network, explainer: Explainer) -> ShareExplainer:
    """The shares of a method's heat on the parts of an image."""

    def explain(removals: PartRemovals, target: int) -> Shares:
        return part_shares(explainer.explain(net, removals.pixels, target), removals.masks)

    return explain


def random_shares(removals: PartRemovals, target: int, *, draw: int) -> Shares:
    """Random shares of the parts and of the rest of the image, all divisions equally likely."""
    random = np.random.default_rng([crc32(removals.pixels.tobytes()), target, draw])
    return random.dirichlet(np.ones(len(removals.parts) + 1))[:-1]


def true_drops(removals: PartRemovals, target: int) -> Shares:
    """How much the score really drops without each part, as a share of all drops."""
    return removals.drop_shares(target)


# Protocols


def score_methods(
    net: rs.Network, images: Sequence[PartRemovals]
) -> dict[str, dict[str, ProtocolScore]]:
    """The scores of baselines, methods and the true drops."""
    explainers = {
        name: shares_of(net, explainer) for name, explainer in (BASELINES | METHODS).items()
    }
    scores = {"random": score_random(images)}
    for name, explain in (explainers | {"true drops": true_drops}).items():
        scores[name] = score_shares(explain, images)
        report(f"{name}: {', '.join(f'{scores[name][c].value:.2f}' for c in COLUMNS)}")
    return scores


def score_random(images: Sequence[PartRemovals]) -> dict[str, ProtocolScore]:
    """The scores of random shares, over several draws for each image."""
    draws = {id(removals): count() for removals in images}

    def explain(removals: PartRemovals, target: int) -> Shares:
        return random_shares(removals, target, draw=next(draws[id(removals)]))

    return score_shares(explain, list(images) * RANDOM_DRAWS)


def score_shortcut(number: int) -> dict[str, tuple[float, float, float]]:
    """How often a method finds the watermark, with its interval, in images of `demo-shortcut`."""
    net = rs.open_model("demo-shortcut", device="cpu")
    images = list(islice(watermarked_scenes(net), number))
    explainers: dict[str, ShareExplainer] = {
        name: shares_of(net, explainer) for name, explainer in (BASELINES | METHODS).items()
    }
    explainers |= {"random": partial(random_shares, draw=0), "true drops": true_drops}
    results = {}
    for name, explain in explainers.items():
        points = np.array(
            [
                points_at(removals.parts, explain(removals, removals.predictions[0]), "watermark")
                for removals in images
            ]
        )
        results[name] = (float(points.mean()), *mean_interval(points))
        report(f"{name}: watermark {points.mean():.2f}")
    return results


def watermarked_scenes(net: rs.Network) -> Iterator[PartRemovals]:
    """Scenes of the class with the watermark, recognised with it and not without it."""
    for seed in count(FIRST_SEED):
        removals = remove_parts(net, seed, label=WATERMARKED, shortcut=True)
        if "watermark" not in removals.parts or len(removals.parts) < 2:
            continue
        watermark = 1 << removals.parts.index("watermark")
        target = net.labels.index(WATERMARKED)
        if removals.predictions[0] == target != removals.predictions[watermark]:
            yield removals


def facts(images: Sequence[PartRemovals]) -> str:
    """What the images are like, in one sentence."""
    parts = sum(len(removals.parts) for removals in images)
    irrelevant = sum(irrelevant_parts(removals).bit_count() for removals in images)
    rest = sum(0 in removals.sufficient_sets for removals in images)
    single = sum(
        any(kept.bit_count() == 1 for kept in removals.sufficient_sets) for removals in images
    )
    contrasts = sum(removals.contrast is not None for removals in images)
    sets = sum(2 ** len(removals.parts) for removals in images)
    return (
        f"{len(images)} scenes of {len({removals.label for removals in images})} classes with "
        f"{parts} parts, painted and scored without each of {sets} sets of parts. "
        f"{100 * irrelevant / parts:.0f} % of the parts are irrelevant to the prediction. In "
        f"{single} scenes one part alone suffices for it, in {rest} none is needed; "
        f"{contrasts} have a pair of classes for the contrast.\n"
    )


# Randomisation


def randomisation_table(net: rs.Network, images: Sequence[PartRemovals]) -> str:
    """Similarity of each method's map to the original by the last layer that is re-drawn."""
    chains = [list(randomise_from_top(net, draw)) for draw in range(DRAWS)]
    layers = [net.layer(name).aliases[0] for name, _ in chains[0]]
    head = ["method", *layers, "95 % of the last", "other image"]
    rows = []
    for name, explainer in METHODS.items():
        maps = [heat_of(explainer, net, removals) for removals in images]
        others = [map_similarity(maps[n], maps[n - 1]) for n in range(len(maps))]
        by_depth = [
            [
                map_similarity(heat_of(explainer, chains[n % DRAWS][depth][1], removals), maps[n])
                for n, removals in enumerate(images)
            ]
            for depth in range(len(layers))
        ]
        low, high = mean_interval(np.array(by_depth[-1])[:, 0])
        interval = f"{low:.2f} to {high:.2f}"
        rows.append([name, *map(pair, by_depth), interval, pair(others)])
        report(" ".join(rows[-1]))
    return table(head, rows)


def heat_of(explainer: Explainer, net: rs.Network, removals: PartRemovals) -> Map:
    """The heat of the class that `demo` predicts; values below zero do not count."""
    return np.maximum(explainer.explain(net, removals.pixels, removals.predictions[0]), 0)


def pair(similarities: Sequence[tuple[float, float]]) -> str:
    """The mean rank correlation and the mean cosine."""
    return " / ".join(f"{mean:.2f}" for mean in np.mean(similarities, axis=0))


# Tables


def scores_table(
    scores: Mapping[str, Mapping[str, ProtocolScore]],
    shortcut: Mapping[str, tuple[float, float, float]],
) -> str:
    rows = [
        [
            name,
            heat_kind(name),
            *(cell(name, row[column]) for column in SCORES),
            interval_cell(name, *shortcut[name]),
        ]
        for name, row in scores.items()
    ]
    return table(["method", "heat", *SCORES, "shortcut"], rows)


def checks_table(scores: Mapping[str, Mapping[str, ProtocolScore]]) -> str:
    rows = [[name, *(cell(name, row[check]) for check in CHECKS)] for name, row in scores.items()]
    return table(["method", *(check.replace("_", " ") for check in CHECKS)], rows)


def heat_kind(name: str) -> str:
    return METHODS[name].heat if name in METHODS else "-"


def cell(name: str, score: ProtocolScore) -> str:
    return interval_cell(name, score.value, score.low, score.high)


def interval_cell(name: str, value: float, low: float, high: float) -> str:
    """A value and its interval; random shares have none, because they are drawn several times."""
    return f"{value:.2f}" if name == "random" else f"{value:.2f} ({low:.2f}-{high:.2f})"


def table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def insert(page: Path, tables: Mapping[str, str]) -> None:
    page.write_text(update(page.read_text("utf-8"), tables), "utf-8")


def update(text: str, tables: Mapping[str, str], *, maker: str = "tools/accountability.py") -> str:
    """The page with each table between its marks, which name the script that makes it."""
    for name, content in tables.items():
        begin = re.escape(f"<!-- {name}, made by {maker} -->\n")
        text, replaced = re.subn(
            f"({begin}).*?(<!-- end -->)", partial(_insert, content), text, count=1, flags=re.DOTALL
        )
        if not replaced:
            raise SystemExit(f"the page has no marks for {name}")
    return text


def _insert(content: str, match: "re.Match[str]") -> str:
    return f"{match[1]}{content}{match[2]}"


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
