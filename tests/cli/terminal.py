"""What a command answers, and whether the picture that it wrote is the right one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

import retroscope as rs


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str


Retroscope = Callable[..., Said]


def picture(height: int = 48, width: int = 90, seed: int = 0) -> PIL.Image.Image:
    """Noise: no two seeds are alike."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


def pixels_of(path: str | Path) -> npt.NDArray[np.uint8]:
    with PIL.Image.open(path) as shown:
        return np.asarray(shown.convert("RGB"))


def check_is_drawing(path: str | Path, of: object, **options: Any) -> None:
    """The file holds what the library draws of the same result."""
    np.testing.assert_array_equal(pixels_of(path), np.asarray(rs.draw(of, **options)))
