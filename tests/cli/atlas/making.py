"""What the folder holds, and questions to the atlases in it."""

from pathlib import Path

import retroscope as rs
from tests.cli.terminal import picture

NETS = """
import torch
from torch import nn


def tiny(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.ReLU()
    )
    net.input_size = (32, 40)
    return net


def other():
    return tiny(1)


class Unseeded(nn.Module):
    input_size = (32, 40)

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.first(x)


def perceptron():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.ReLU(), nn.Linear(4, 2))
    net.input_size = 8
    return net


def fails():
    raise ValueError("no weights today")


def not_a_number():
    net = tiny()
    nn.init.constant_(net[0].weight, float("nan"))
    return net
"""
TINY = "nets.py:tiny"
SCANNED = ["scan", TINY, "images", "--to", "new.atlas"]


def pictures(folder: Path) -> None:
    """Six pictures each of two classes, and a file that is none."""
    for number in range(12):
        place = folder / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture(36, 44, number).save(place / f"{number}.png")
    (folder / "images" / "a" / "broken.jpg").write_bytes(b"\xff\xd8nope")


def names(path: str = "new.atlas") -> list[str]:
    with rs.open_atlas(path) as atlas:
        return [layer.name for layer in atlas.layers]


def count(table: str, path: str = "new.atlas") -> int:
    with rs.open_atlas(path) as atlas:
        ((found,),) = atlas.sql(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
        return int(str(found))
