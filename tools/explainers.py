"""Each method of the library as one function: the heat of a class at every pixel of an image."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

import retroscope as rs
from retroscope.imaging.decoding import RGB
from retroscope.methods.cam.cam_methods import CAM_METHODS
from retroscope.methods.saliency import SALIENCY_METHODS

Map = npt.NDArray[np.floating]
Explain = Callable[[rs.Network, RGB, int], Map]
"""The heat of a class, by its index, at every pixel (height, width)."""

OCCLUDER, STRIDE = 16, 8
"""Of images of 96 pixels."""


@dataclass(frozen=True)
class Explainer:
    """A method, and how its heat comes about: its positive values, or the size of its signal."""

    explain: Explain
    heat: str = "positive"


def cam_heat(method: str, net: rs.Network, image: RGB, target: int) -> Map:
    return np.asarray(rs.cam(net, image, method=method, target=target).full())


def saliency_heat(method: str, net: rs.Network, image: RGB, target: int) -> Map:
    return np.asarray(rs.saliency(net, image, method=method, target=target).full())


def occlusion_heat(net: rs.Network, image: RGB, target: int) -> Map:
    occluded = rs.occlusion(net, image, target=target, size=OCCLUDER, stride=STRIDE)
    return np.asarray(occluded.heat.full())


def projection_heat(rules: str, net: rs.Network, image: RGB, target: int) -> Map:
    """The size of the projection of the unit of a class, summed over the colours."""
    projection = rs.deconv(net, rs.Unit(net.layers[-1].name, target), image, rules=rules)
    return np.asarray(np.abs(projection.full()).sum(axis=2))


def uniform_heat(_net: rs.Network, image: RGB, _target: int) -> Map:
    return np.ones(image.shape[:2])


def centre_heat(_net: rs.Network, image: RGB, _target: int) -> Map:
    """A centred Gaussian, a quarter of the image wide."""
    axes = (np.linspace(-0.5, 0.5, length) for length in image.shape[:2])
    y, x = np.meshgrid(*axes, indexing="ij")
    return np.asarray(np.exp(-(y**2 + x**2) / (2 * 0.25**2)))


def sobel_heat(_net: rs.Network, image: RGB, _target: int) -> Map:
    """The magnitude of the brightness gradient."""
    grey = np.pad(image.mean(axis=2), 1, mode="edge")
    down = grey[2:] - grey[:-2]
    right = grey[:, 2:] - grey[:, :-2]
    y = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    x = right[:-2] + 2 * right[1:-1] + right[2:]
    return np.asarray(np.hypot(y, x))


BASELINES = {
    "uniform": Explainer(uniform_heat),
    "centre": Explainer(centre_heat),
    "Sobel": Explainer(sobel_heat),
}
"""Maps that know nothing of the network."""

HEAT_MAPS = {
    **{
        name: Explainer(partial(cam_heat, name), "size" if method.guided else "positive")
        for name, method in CAM_METHODS.items()
    },
    **{
        name: Explainer(partial(saliency_heat, name), "positive" if method.is_signed else "size")
        for name, method in SALIENCY_METHODS.items()
    },
    "occlusion": Explainer(occlusion_heat),
}
"""Class activation maps, saliency and occlusion."""

PROJECTIONS = {
    rules: Explainer(partial(projection_heat, rules), "size")
    for rules in ("deconvnet", "relevance", "contrast")
}
"""Projections of the unit of the class in the last layer."""

METHODS = HEAT_MAPS | PROJECTIONS
"""Every method that is held to account."""
