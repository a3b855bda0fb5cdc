"""How far projections depend on their unit and their image, and what they keep of the activation.

`python -m tools.projection_table [PHOTOGRAPH ...]` prints tables for the network `imagenet` and
photographs of scikit-image. For each photograph and layer it takes the position of the highest
summed activation inside the outer 15 % of the map, and the strongest channels there.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from math import isnan, nan
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from skimage import data
from torchvision.transforms.functional import gaussian_blur

import retroscope as rs
from retroscope.engine.rules import RULE_BOOKS

Pixels = npt.NDArray[Any]

PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "rocket")
LAYERS = ("block3.expand.relu", "block8.expand.relu", "block12.expand.relu", "head.relu")
CHANNELS = 6
KEPT_CHANNELS = 2
SHARES = (0.05, 0.1, 0.2, 0.35, 0.5)
NOISE = 0.03
BLUR = 2.0
"""Pixels are ranked by the size of the projection, blurred by this standard deviation."""


def photograph(name: str) -> Pixels:
    """A photograph as RGB, pixels from 0 to 255."""
    pixels = np.asarray(getattr(data, name)())
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def blur(size: Pixels) -> Pixels:
    """Smoothed, so that a pixel between two strong ones counts as strong."""
    kernel = 2 * round(3 * BLUR) + 1
    blurred = gaussian_blur(torch.from_numpy(size)[None], [kernel, kernel], [BLUR, BLUR])
    return np.asarray(blurred[0])


def similarity(first: Pixels, second: Pixels) -> float:
    """The size of the cosine between two projections."""
    a, b = first.ravel().astype(float), second.ravel().astype(float)
    size = np.sqrt((a @ a) * (b @ b))
    return float(abs(a @ b) / size) if size else float("nan")


def strongest_units(net: rs.Network, layer: str, image: torch.Tensor) -> list[rs.Unit]:
    """The strongest channels at the position of the highest sum, away from the border."""
    maps = rs.activations(net, layer, image).maps
    sums = maps.sum(0)
    y_border, x_border = (round(0.15 * length) for length in sums.shape)
    inner = np.full_like(sums, -np.inf)
    part = slice(y_border, -y_border or None), slice(x_border, -x_border or None)
    inner[part] = sums[part]
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    channels = np.argsort(-maps[:, y, x])[:CHANNELS]
    return [rs.Unit(layer, int(channel), (int(y), int(x))) for channel in channels]


def project(
    net: rs.Network, units: Iterable[rs.Unit], image: torch.Tensor, rules: str
) -> list[Pixels]:
    """The projections of some units in one image, of the size of the image."""
    requests = [(unit, image) for unit in units]
    return [projection.full() for projection in rs.deconv_many(net, requests, rules=rules)]


def keeps(net: rs.Network, unit: rs.Unit, image: torch.Tensor, size: Pixels) -> float:
    """The share of the activation that the strongest pixels keep, less that of random ones."""
    layer = net.layer(unit.layer)
    assert unit.position is not None
    box = layer.field.box(*unit.position).clip(*image.shape[1:])
    inside = np.zeros(size.shape, bool)
    inside[box.top : box.bottom, box.left : box.right] = True
    noise = np.random.default_rng(0).random(size.shape)
    areas = []
    for ranking in (size, noise):
        order = np.argsort(-np.where(inside, ranking, -np.inf), axis=None)
        masks = []
        for share in SHARES:
            mask = ~inside
            mask.ravel()[order[: round(share * inside.sum())]] = True
            masks.append(image * torch.from_numpy(mask).to(image))  # zero is the mean colour
        maps = [rs.activations(net, unit.layer, masked).maps for masked in masks]
        start = activation(net, unit, image)
        kept = [float(m[(unit.channel, *unit.position)]) / start for m in maps]
        area = np.trapezoid(np.minimum(kept, 1.5), np.array(SHARES))
        areas.append(float(area) / (SHARES[-1] - SHARES[0]))
    return areas[0] - areas[1]


def activation(net: rs.Network, unit: rs.Unit, image: torch.Tensor) -> float:
    """The activation of a unit at its position."""
    assert unit.position is not None
    return float(rs.activations(net, unit.layer, image).maps[(unit.channel, *unit.position)])


def middle(numbers: Iterable[float]) -> float:
    """The median of those that are numbers: an empty projection has no cosine."""
    return median([number for number in numbers if not isnan(number)] or [nan])


def rows(photographs: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """For each rule book its numbers at each layer: units / images / reliability, kept."""
    net = rs.open_model("imagenet")
    images = {name: net.prepare(photograph(name)).tensor for name in photographs}
    deviation = NOISE / 0.5
    noisy = {
        name: [
            image + deviation * torch.randn(image.shape, generator=torch.Generator().manual_seed(n))
            for n in (1, 2)
        ]
        for name, image in images.items()
    }
    units = {
        (layer, name): strongest_units(net, layer, images[name])
        for layer in LAYERS
        for name in photographs
    }
    for rules in RULE_BOOKS:
        cells = []
        for layer in LAYERS:
            among_units, among_images, reliable, kept = [], [], [], []
            for name, image in images.items():
                of_layer = units[layer, name]
                projections = project(net, of_layer, image, rules)
                among_units += [similarity(a, b) for a, b in combinations(projections, 2)]
                for other in photographs:
                    if other != name:
                        others = project(net, of_layer[:3], images[other], rules)
                        pairs = zip(projections, others, strict=False)
                        among_images += [similarity(a, b) for a, b in pairs]
                twins = [project(net, of_layer[:3], twin, rules) for twin in noisy[name]]
                reliable += [similarity(a, b) for a, b in zip(*twins, strict=True)]
                pairs_kept = zip(of_layer[:KEPT_CHANNELS], projections, strict=False)
                for unit, projection in pairs_kept:
                    size = blur(np.abs(projection).sum(2))
                    kept.append(keeps(net, unit, image, size))
            numbers = map(middle, (among_units, among_images, reliable))
            text = " / ".join(f"{number:.2f}" for number in numbers)
            cells.append(f"{text}; {np.mean(kept):.2f}")
        yield rules, cells


def main() -> None:
    """Prints the table."""
    photographs = sys.argv[1:] or list(PHOTOGRAPHS)
    print("| rules |", " | ".join(LAYERS), "|")
    print("|---|" + "---|" * len(LAYERS))
    for rules, cells in rows(photographs):
        print(f"| {rules} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
