"""Class activation maps, each by its definition, a number at a time, in double precision.

`A` are a layer's maps (channels, height, width), `G` the gradient of the class's score by them.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Scores = Callable[[Array], float]
"""The score that follows from maps of the layer."""


def places(maps: Array) -> Iterator[tuple[int, int]]:
    return product(range(maps.shape[1]), range(maps.shape[2]))


def weighed(weights: list[float], maps: Array) -> Array:
    """relu(sum over k of w_k A_k)"""
    heat = np.zeros(maps.shape[1:])
    for y, x in places(maps):
        total = sum(weight * plane[y, x] for weight, plane in zip(weights, maps, strict=True))
        heat[y, x] = max(total, 0)
    return heat


def gradcam(A: Array, G: Array) -> Array:  # noqa: N803
    return weighed([sum(g[y, x] for y, x in places(G)) / g.size for g in G], A)


def gradcam_pp(A: Array, G: Array) -> Array:  # noqa: N803
    """w_k = sum of relu(g) g^2 / (2 g^2 + sum(A_k) g^3)"""
    weights = []
    for a, g in zip(A, G, strict=True):
        total, weight = a.sum(), 0.0
        for y, x in places(G):
            if g[y, x] > 0:
                below = 2 * g[y, x] ** 2 + total * g[y, x] ** 3
                weight += g[y, x] ** 2 / below * g[y, x]
        weights.append(weight)
    return weighed(weights, A)


def xgradcam(A: Array, G: Array) -> Array:  # noqa: N803
    """w_k = sum of A_k / sum(A_k) g; a map that sums to nothing weighs nothing"""
    weights = []
    for a, g in zip(A, G, strict=True):
        shares = [a[y, x] / a.sum() * g[y, x] for y, x in places(A)] if a.sum() else []
        weights.append(sum(shares))
    return weighed(weights, A)


def hirescam(A: Array, G: Array) -> Array:  # noqa: N803
    heat = np.zeros(A.shape[1:])
    for y, x in places(A):
        heat[y, x] = max(sum(a[y, x] * g[y, x] for a, g in zip(A, G, strict=True)), 0)
    return heat


def layercam(A: Array, G: Array) -> Array:  # noqa: N803
    heat = np.zeros(A.shape[1:])
    for y, x in places(A):
        heat[y, x] = max(sum(a[y, x] * max(g[y, x], 0) for a, g in zip(A, G, strict=True)), 0)
    return heat


def eigencam(A: Array, _G: Array) -> Array:  # noqa: N803
    """Centred positions along the eigenvector of their covariance with the largest eigenvalue."""
    points = np.array([A[:, y, x] for y, x in places(A)])
    centred = points - points.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    along = centred @ vectors[:, values.argmax()]
    if (along * centred.sum(axis=1)).sum() < 0:
        along = -along
    heat: Array = np.maximum(along, 0).reshape(A.shape[1:])
    return heat


def ablationcam(A: Array, scores: Scores) -> Array:  # noqa: N803
    """w_k = (y - y without A_k) / y"""
    whole, weights = scores(A), []
    for k in range(len(A)):
        without = A.copy()
        without[k] = 0
        weights.append((whole - scores(without)) / whole)
    return weighed(weights, A)


def scorecam(A: Array, picture: Array, scores: Scores) -> Array:  # noqa: N803
    """w = softmax over k of the score of the picture times A_k, enlarged and scaled to 0..1"""
    seen = []
    for a in A:
        mask = enlarged(a, picture.shape[1:])
        low, high = mask.min(), mask.max()
        mask = (mask - low) / (high - low) if high > low else np.zeros_like(mask)
        seen.append(scores(picture * mask))
    powers = np.exp(np.array(seen) - max(seen))
    return weighed(list(powers / powers.sum()), A)


def enlarged(plane: Array, size: tuple[int, ...]) -> Array:
    """Bilinear, corner pixels upon corner pixels."""
    found = np.zeros(size)
    for y, x in product(range(size[0]), range(size[1])):
        down = y * (plane.shape[0] - 1) / max(size[0] - 1, 1)
        right = x * (plane.shape[1] - 1) / max(size[1] - 1, 1)
        for row, column in product(range(plane.shape[0]), range(plane.shape[1])):
            share = max(1 - abs(down - row), 0) * max(1 - abs(right - column), 0)
            found[y, x] += share * plane[row, column]
    return found
