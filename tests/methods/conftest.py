"""A small network, a picture in a file, and when two projections are the same."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from torch import Tensor, nn

from retroscope.network import Network
from retroscope.results.projections import Projection
from tests.conftest import built, numbers

SIZE = (24, 20)


def tiny() -> nn.Module:
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3, padding=1)
    pooled = [nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU()]
    return nn.Sequential(first, *pooled, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


@pytest.fixture
def net() -> Network:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    return Network(built(tiny), input_size=SIZE, mean=mean, std=std, name="tiny")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    path = tmp_path / "photo.png"
    PIL.Image.fromarray(pixels).save(path)
    return path


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    return numbers(3, *size, seed=seed).float()


def almost_same(one: Projection, other: Projection) -> bool:
    limit = 1e-5 * abs(other.pixels).max()
    return (one.unit, one.box) == (other.unit, other.box) and np.allclose(
        one.pixels, other.pixels, rtol=0, atol=limit
    )
