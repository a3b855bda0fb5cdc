"""Networks of several inputs in single precision, and what comes with each image of a folder."""

from pathlib import Path

import retroscope as rs
from tests.conftest import built
from tests.reference.several_inputs import Conditioned, Pair
from tests.scanning.scans import MEAN, SIDE, STD, smooth_image

FACTORY = "from tests.scanning.pairs import pair, conditioned\n"
"""A file of networks that workers open by its name."""


def pair() -> rs.Network:
    """Two images."""
    return rs.Network(
        built(Pair),
        input_size=(SIDE, SIDE),
        mean=MEAN,
        std=STD,
        inputs={"left": "image", "right": "image"},
        name="pair",
    )


def conditioned() -> rs.Network:
    """An image and two numbers."""
    return rs.Network(
        built(Conditioned),
        input_size=(SIDE, SIDE),
        mean=MEAN,
        std=STD,
        inputs={"image": "image", "numbers": rs.NumberInput(2)},
        name="conditioned",
    )


def write_partners(photos: Path, folder: Path) -> Path:
    """An image for each of a folder, under its name with another ending."""
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        partner = folder / path.relative_to(photos).with_suffix(".bmp")
        partner.parent.mkdir(parents=True, exist_ok=True)
        smooth_image(number + 50, SIDE).save(partner)
    return folder


def write_table(photos: Path, table: Path, *, factor: float = 1.0) -> Path:
    """Two numbers for each image of a folder."""
    paths = sorted(path.relative_to(photos) for path in photos.rglob("*.png"))
    rows = [f"{path},{factor * n / 7} {-n}" for n, path in enumerate(paths)]
    table.write_text("\n".join(["image,numbers", *rows]))
    return table
