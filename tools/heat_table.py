"""How much of each method's heat lies on the object, in the world whose truth is known.

    python tools/heat_table.py [MODEL] [PICTURES] > table.md

For each picture and its true class: the share of the positive heat inside the object's mask, and
inside that of each of its parts, against the share of the picture that the mask covers. Heat that
knows nothing has a ratio of 1; uniform, centre and Sobel are baselines without a network.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

import numpy as np
import numpy.typing as npt
import PIL.Image

import retroscope as rs
from retroscope.methods.cam.cam import cam
from retroscope.methods.cam.cam_methods import CAM_METHODS as CAMS
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.saliency import SALIENCY_METHODS as SALIENCIES
from retroscope.methods.saliency import saliency
from retroscope.world import Scene, scene

Map = npt.NDArray[np.floating]
Heat = Callable[[Scene], Map]

FIRST = 1_000_000
"""The seed of the first picture, far from those that the network was trained on."""
LEAST_PART = 16
"""Pixels; smaller parts are under the grain of any heat map here."""
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
    """Prints the table."""
    model = sys.argv[1] if len(sys.argv) > 1 else "demo"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    net = rs.open_model(model, device="cpu")
    scenes = [scene(FIRST + number) for number in range(count)]
    print(f"{model}, {count} pictures, the heat of each picture's true class.\n")
    for line in (HEADS, ["---"] * len(HEADS), *rows(net, scenes)):
        print("| " + " | ".join(line) + " |")


def rows(net: rs.Network, scenes: list[Scene]) -> Iterator[list[str]]:
    """A row for each baseline and method."""
    for name, heat in (BASELINES | methods(net)).items():
        found = [measured(np.maximum(heat(one), 0), one) for one in scenes]
        shares, areas, hits = zip(*((m.share, m.area, m.peak) for m in found), strict=True)
        parts = [ratio for m in found for ratio in m.parts]
        above = fmean(share > area for share, area in zip(shares, areas, strict=True))
        yield [
            name,
            *(f"{100 * number:.0f} %" for number in (fmean(shares), fmean(areas))),
            f"{fmean(shares) / fmean(areas):.2f}",
            *(f"{100 * number:.0f} %" for number in (above, fmean(hits))),
            f"{median(parts):.2f}",
        ]


@dataclass(frozen=True)
class Measured:
    """How a heat map lies on a scene: its share on the object, the object's area, and its parts."""

    share: float
    area: float
    peak: bool
    parts: tuple[float, ...]


def measured(heat: Map, shown: Scene) -> Measured:
    """What a heat map has on the object, and how dense it is on each part."""
    thing = object_of(shown)
    masks = [mask for mask in _own(shown) if mask.sum() >= LEAST_PART]
    dense = tuple(_share(heat, mask) / float(mask.mean()) for mask in masks)
    peak = bool(thing.flat[int(heat.argmax())])
    return Measured(_share(heat, thing), float(thing.mean()), peak, dense)


def object_of(shown: Scene) -> npt.NDArray[np.bool_]:
    """Where the object is: all its parts; a watermark is none of them."""
    return np.asarray(np.any(_own(shown), axis=0))


def _own(shown: Scene) -> list[npt.NDArray[np.bool_]]:
    return [mask for name, mask in shown.masks.items() if name != "watermark"]


def _share(heat: Map, mask: npt.NDArray[np.bool_]) -> float:
    """The share of the heat inside a mask; no heat at all is even heat."""
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total > 0 else float(mask.mean())


def methods(net: rs.Network) -> dict[str, Heat]:
    """Every method, as a function of a scene."""

    def by_cam(method: str, shown: Scene) -> Map:
        return cam(net, _image(shown), method=method, target=shown.label).full()

    def by_saliency(method: str, shown: Scene) -> Map:
        return saliency(net, _image(shown), method=method, target=shown.label).full()

    def by_occlusion(shown: Scene) -> Map:
        return occlusion(net, _image(shown), target=shown.label, size=16, stride=8).heat.full()

    found: dict[str, Heat] = {name: partial(by_cam, name) for name in CAMS}
    found |= {name: partial(by_saliency, name) for name in SALIENCIES}
    return found | {"occlusion": by_occlusion}


def _image(shown: Scene) -> PIL.Image.Image:
    return PIL.Image.fromarray(shown.pixels)


def _uniform(shown: Scene) -> Map:
    return np.ones(shown.parts.shape)


def _centre(shown: Scene) -> Map:
    """A Gaussian in the middle, a quarter of the picture wide."""
    axes = (np.linspace(-0.5, 0.5, length) for length in shown.parts.shape)
    y, x = np.meshgrid(*axes, indexing="ij")
    return np.asarray(np.exp(-(y**2 + x**2) / (2 * 0.25**2)))


def _sobel(shown: Scene) -> Map:
    """How much brightness changes from pixel to pixel."""
    grey = np.pad(shown.pixels.mean(axis=2), 1, mode="edge")
    down = grey[2:] - grey[:-2]
    right = grey[:, 2:] - grey[:, :-2]
    y = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    x = right[:-2] + 2 * right[1:-1] + right[2:]
    return np.asarray(np.hypot(y, x))


BASELINES: dict[str, Heat] = {"uniform": _uniform, "centre": _centre, "Sobel": _sobel}


if __name__ == "__main__":
    main()
