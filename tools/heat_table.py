"""Measure how much heat of each method lies on the object, in the synthetic world.

    python tools/heat_table.py [MODEL] [IMAGES] > table.md

For each image and its true class: the share of the positive heat inside the mask of the object, and
of each of its parts, relative to the share of the image that the mask covers. Uninformative heat
has a ratio of 1. The baselines uniform, centre and Sobel use no network.
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
from retroscope.methods.cam.cam_methods import CAM_METHODS
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.saliency import SALIENCY_METHODS, saliency
from retroscope.world import Scene, scene

Map = npt.NDArray[np.floating]
Heat = Callable[[Scene], Map]

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
    for name, heat in (BASELINES | methods(net)).items():
        scores = [measure(np.maximum(heat(painted), 0), painted) for painted in scenes]
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


def methods(net: rs.Network) -> dict[str, Heat]:
    """Each method as a function of a scene."""

    def cam_heat(method: str, painted: Scene) -> Map:
        return cam(net, _image(painted), method=method, target=painted.label).full()

    def saliency_heat(method: str, painted: Scene) -> Map:
        return saliency(net, _image(painted), method=method, target=painted.label).full()

    def occlusion_heat(painted: Scene) -> Map:
        return occlusion(net, _image(painted), target=painted.label, size=16, stride=8).heat.full()

    heats: dict[str, Heat] = {name: partial(cam_heat, name) for name in CAM_METHODS}
    heats |= {name: partial(saliency_heat, name) for name in SALIENCY_METHODS}
    return heats | {"occlusion": occlusion_heat}


def _image(painted: Scene) -> PIL.Image.Image:
    return PIL.Image.fromarray(painted.pixels)


def _uniform(painted: Scene) -> Map:
    return np.ones(painted.parts.shape)


def _centre(painted: Scene) -> Map:
    """A centred Gaussian, a quarter of the image wide."""
    axes = (np.linspace(-0.5, 0.5, length) for length in painted.parts.shape)
    y, x = np.meshgrid(*axes, indexing="ij")
    return np.asarray(np.exp(-(y**2 + x**2) / (2 * 0.25**2)))


def _sobel(painted: Scene) -> Map:
    """The magnitude of the brightness gradient."""
    grey = np.pad(painted.pixels.mean(axis=2), 1, mode="edge")
    down = grey[2:] - grey[:-2]
    right = grey[:, 2:] - grey[:, :-2]
    y = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    x = right[:-2] + 2 * right[1:-1] + right[2:]
    return np.asarray(np.hypot(y, x))


BASELINES: dict[str, Heat] = {"uniform": _uniform, "centre": _centre, "Sobel": _sobel}


if __name__ == "__main__":
    main()
