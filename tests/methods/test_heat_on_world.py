"""On scenes with known masks, the heat of Grad-CAM lies on the object and on its parts."""

from statistics import fmean, median

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from tools.heat_table import FIRST, MIN_PART_PIXELS

import retroscope as rs
from retroscope.world import Scene

COUNT = 40
Map = npt.NDArray[np.floating]


@pytest.fixture(scope="module")
def heat_of_scenes() -> list[tuple[Scene, Map]]:
    """Scenes of every class, each with the positive heat of its true class."""
    net = rs.open_model("demo", device="cpu")
    scenes = [rs.scene(FIRST + number) for number in range(COUNT)]
    requests = [(scene.label, PIL.Image.fromarray(scene.pixels)) for scene in scenes]
    heats = [np.maximum(heat.full(), 0) for heat in rs.cam_many(net, requests)]
    return list(zip(scenes, heats, strict=True))


def test_the_object_has_a_larger_share_of_the_heat_than_of_the_image(
    heat_of_scenes: list[tuple[Scene, Map]],
) -> None:
    masks = [object_mask(scene) for scene, _ in heat_of_scenes]
    shares = [
        heat[mask].sum() / heat.sum() for mask, (_, heat) in zip(masks, heat_of_scenes, strict=True)
    ]
    areas = [mask.mean() for mask in masks]
    assert fmean(shares) > 1.5 * fmean(areas)
    assert fmean(share > area for share, area in zip(shares, areas, strict=True)) > 0.9


def test_parts_have_a_larger_share_of_the_heat_than_of_the_image(
    heat_of_scenes: list[tuple[Scene, Map]],
) -> None:
    density = [
        heat[mask].sum() / heat.sum() / mask.mean()
        for scene, heat in heat_of_scenes
        for mask in scene.masks.values()
        if mask.sum() >= MIN_PART_PIXELS
    ]
    assert median(density) > 1.5


def object_mask(scene: Scene) -> npt.NDArray[np.bool_]:
    return np.asarray(np.any(list(scene.masks.values()), axis=0))
