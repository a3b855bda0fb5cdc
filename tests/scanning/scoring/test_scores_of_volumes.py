"""Numbers of units of volumes: for one slice those of the image, and those of loops over voxels."""

from itertools import product
from math import isnan
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.geometry import Box
from retroscope.network import Network
from retroscope.results.unit_numbers import UnitNumber
from retroscope.scanning.scoring.faithfulness import (
    SHARES,
    area_under,
    blob_strength,
    faithfulness_numbers,
    kept_count,
)
from retroscope.unit import Unit
from tests.conftest import built
from tests.methods.test_volumes import as_3d

COUNT, SIDE, DEPTH = 22, 12, 4
LAYERS = ["1", "4"]


def flat_module() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    )


def deep_module() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool3d((1, 2, 2))),
        *(nn.Conv3d(3, 4, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)),
    )


def network(module: nn.Module, size: tuple[int, ...]) -> Network:
    return Network(module.double(), input_size=size, mean=[0.4], std=[0.5], name="net")


def write_volumes(folder: Path, size: tuple[int, ...]) -> Path:
    folder.mkdir()
    for number in range(COUNT):
        values = np.random.default_rng(number).random(size)
        np.save(folder / f"{number:02}.npy", values.astype(np.float32))
    return folder


def scored(net: Network, images: Path, *numbers: str) -> rs.Atlas:
    to = images.with_suffix(".atlas")
    rs.scan(net, images, to=to, layers=LAYERS, projections="none").close()
    rs.score(to, net, numbers=numbers, hits=4)
    return rs.open_atlas(to)


def numbers_of(atlas: rs.Atlas) -> dict[tuple[str, str], UnitNumber]:
    return {
        (str(number.unit), number.name): number
        for layer in LAYERS
        for number in atlas.numbers(layer)
    }


def test_a_volume_of_one_slice_has_the_numbers_of_the_image(tmp_path: Path) -> None:
    flat = built(flat_module)
    assert isinstance(flat, nn.Sequential)
    images = write_volumes(tmp_path / "images", (SIDE, SIDE))
    slices = write_volumes(tmp_path / "slices", (1, SIDE, SIDE))
    deep = network(as_3d(flat), (1, SIDE, SIDE))
    with (
        scored(network(flat, (SIDE, SIDE)), images) as of_images,
        scored(deep, slices) as of_slices,
    ):
        expected, found = numbers_of(of_images), numbers_of(of_slices)
    assert found.keys() == expected.keys()
    assert sum(not isnan(number.value) for number in found.values()) > 40
    for key, number in found.items():
        for name in ("value", "low", "high", "chance"):
            own, other = getattr(number, name), getattr(expected[key], name)
            np.testing.assert_allclose(own, other, rtol=0, atol=1e-5, err_msg=f"{key} {name}")


def _activation(module: nn.Module, unit: Unit, image: torch.Tensor) -> float:
    recorded: list[torch.Tensor] = []
    handle = module.get_submodule(unit.layer).register_forward_hook(
        lambda _module, _inputs, output: recorded.append(output.clone())
    )
    with torch.no_grad():
        module(image[None])
    handle.remove()
    assert unit.position is not None
    return float(recorded[0][(0, unit.channel, *unit.position)])


def test_the_curve_of_a_projection_is_that_of_copied_voxels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    areas: list[float] = []

    def record(by_mask: dict[str, float]) -> dict[str, float]:
        areas.append(by_mask["projection"])
        return faithfulness_numbers(by_mask)

    monkeypatch.setattr("retroscope.scanning.scoring.hit_numbers.faithfulness_numbers", record)
    folder = write_volumes(tmp_path / "volumes", (DEPTH, SIDE, SIDE))
    net = network(built(deep_module), (DEPTH, SIDE, SIDE))
    files = sorted(folder.iterdir())
    inputs = [net.prepare(file).tensor for file in files]
    colour = torch.stack(inputs).mean(dim=(0, 2, 3, 4))
    with scored(net, folder, "faithfulness", "patch") as atlas:
        expected = []
        for layer in LAYERS:
            for channel in range(atlas.layer(layer).channels):
                for hit in atlas.hits(f"{layer}:{channel}")[:4]:
                    image = inputs[hit.image]
                    projection = rs.deconv(net, hit.unit, files[hit.image], rules=atlas.rules)
                    strength = np.abs(projection.full()).sum(axis=3)
                    voxels = list(product(*(range(*ends) for ends in projection.box.intervals(3))))
                    voxels.sort(key=lambda voxel: -strength[voxel])
                    shares = []
                    for share in SHARES:
                        shown = colour[:, None, None, None].expand_as(image).clone()
                        for z, y, x in voxels[: kept_count(len(voxels), share)]:
                            shown[:, z, y, x] = image[:, z, y, x]
                        shares.append(_activation(net.module, hit.unit, shown))
                    full = _activation(net.module, hit.unit, image)
                    expected.append(area_under(np.clip(np.array(shares) / full, 0, 1)))
        kept = [
            number.value for key, number in numbers_of(atlas).items() if key[1] == "patch_share"
        ]
    np.testing.assert_allclose(areas, expected, atol=1e-5)
    defined = [share for share in kept if not isnan(share)]
    assert len(defined) > 3
    np.testing.assert_allclose(defined, 1)  # a unit reads nothing but its patch


def test_a_blob_in_a_volume_is_a_ball_around_the_middle_of_the_field() -> None:
    field, visible = Box(1, -2, 6, 5, 0, 5), Box(1, 0, 6, 5, 0, 4)
    strength = blob_strength(field, visible, 3)
    middle = (2, 3, 1)
    for z, y, x in product(range(4), range(5), range(5)):
        squares = (z - middle[0]) ** 2 + (y + 1 - middle[1]) ** 2 + (x - middle[2]) ** 2
        assert strength[z, y, x] == -squares
