"""On pictures whose truth is known, Grad-CAM's heat lies on the object and on its parts."""

from statistics import fmean, median

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from tools.heat_table import FIRST, LEAST_PART

import retroscope as rs
from retroscope.world import Scene

COUNT = 40
Map = npt.NDArray[np.floating]


@pytest.fixture(scope="module")
def heated() -> list[tuple[Scene, Map]]:
    """Scenes of every class, each with the positive heat of its true class."""
    net = rs.open_model("demo", device="cpu")
    scenes = [rs.scene(FIRST + number) for number in range(COUNT)]
    requests = [(scene.label, PIL.Image.fromarray(scene.pixels)) for scene in scenes]
    heats = [np.maximum(heat.full(), 0) for heat in rs.cam_many(net, requests)]
    return list(zip(scenes, heats, strict=True))


def test_the_object_has_more_of_the_heat_than_of_the_picture(
    heated: list[tuple[Scene, Map]],
) -> None:
    found = [
        (heat[object_of(one)].sum() / heat.sum(), object_of(one).mean()) for one, heat in heated
    ]
    assert fmean(share for share, _ in found) > 1.5 * fmean(area for _, area in found)
    assert fmean(share > area for share, area in found) > 0.9


def test_so_have_its_parts(heated: list[tuple[Scene, Map]]) -> None:
    density = [
        heat[mask].sum() / heat.sum() / mask.mean()
        for one, heat in heated
        for mask in one.masks.values()
        if mask.sum() >= LEAST_PART
    ]
    assert median(density) > 1.5


def object_of(shown: Scene) -> npt.NDArray[np.bool_]:
    return np.asarray(np.any(list(shown.masks.values()), axis=0))
