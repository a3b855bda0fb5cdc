"""Measure how much heat of each method lies on the object, in the synthetic world.

    python -m tools.heat_table [MODEL] [IMAGES] > table.md

For each image and its true class: the share of the positive heat inside the mask of the object, and
of each of its parts, relative to the share of the image that the mask covers. Uninformative heat
has a ratio of 1. The baselines uniform, centre and Sobel use no network.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np
import numpy.typing as npt
from tools.explainers import BASELINES, HEAT_MAPS, Map

import retroscope as rs
from retroscope.world import Scene, scene

FIRST = 1_000_000
"""The seed of the first image, outside the training set."""
MIN_PART_PIXELS = 16
"""Smaller parts are below the resolution of the heat maps."""
HEADS = (
    "method",
    "on the object",
    "its area",
    "ratio",
    "images above area",
    "peak on it",
    "on a part, ratio (median)",
)


def main() -> None:
    """Print the table."""
    model = sys.argv[1] if len(sys.argv) > 1 else "demo"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    net = rs.open_model(model, device="cpu")
    scenes = [scene(FIRST + number) for number in range(count)]
    print(f"{model}, {count} images, the heat of each image's true class.\n")
    for line in (HEADS, ["---"] * len(HEADS), *rows(net, scenes)):
        print("| " + " | ".join(line) + " |")


def rows(net: rs.Network, scenes: list[Scene]) -> Iterator[list[str]]:
    """A row for each baseline and method."""
    targets = [net.labels.index(painted.label) for painted in scenes]
    for name, explainer in (BASELINES | HEAT_MAPS).items():
        scores = [
            measure(np.maximum(explainer.explain(net, painted.pixels, target), 0), painted)
            for painted, target in zip(scenes, targets, strict=True)
        ]
        shares, areas, hits = zip(*((m.share, m.area, m.peak) for m in scores), strict=True)
        parts = [ratio for m in scores for ratio in m.parts]
        above = fmean(share > area for share, area in zip(shares, areas, strict=True))
        yield [
            name,
            *(f"{100 * number:.0f} %" for number in (fmean(shares), fmean(areas))),
            f"{fmean(shares) / fmean(areas):.2f}",
            *(f"{100 * number:.0f} %" for number in (above, fmean(hits))),
            f"{median(parts):.2f}",
        ]


@dataclass(frozen=True)
class HeatScore:
    """The share of heat on the object, its area, whether the peak is on it, and the part ratios."""

    share: float
    area: float
    peak: bool
    parts: tuple[float, ...]


def measure(heat: Map, painted: Scene) -> HeatScore:
    """Measure the heat on the object and on each part."""
    mask_of_object = object_mask(painted)
    masks = [mask for mask in _part_masks(painted) if mask.sum() >= MIN_PART_PIXELS]
    ratios = tuple(_share(heat, mask) / float(mask.mean()) for mask in masks)
    peak = bool(mask_of_object.flat[int(heat.argmax())])
    return HeatScore(_share(heat, mask_of_object), float(mask_of_object.mean()), peak, ratios)


def object_mask(painted: Scene) -> npt.NDArray[np.bool_]:
    """The pixels of all parts of the object; a watermark is not one of them."""
    return np.asarray(np.any(_part_masks(painted), axis=0))


def _part_masks(painted: Scene) -> list[npt.NDArray[np.bool_]]:
    return [mask for name, mask in painted.masks.items() if name != "watermark"]


def _share(heat: Map, mask: npt.NDArray[np.bool_]) -> float:
    """The share of the heat inside a mask; a map without heat counts as uniform."""
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total > 0 else float(mask.mean())


if __name__ == "__main__":
    main()
