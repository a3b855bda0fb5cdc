"""Pictures compared with those that an eye has approved, in `tests/snapshots`.

`RETROSCOPE_UPDATE_SNAPSHOTS=1 pytest tests/render` draws them again: look at them before you
keep them.
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

FOLDER = Path(__file__).parents[1] / "snapshots"
UPDATE = "RETROSCOPE_UPDATE_SNAPSHOTS"
_CELL = 8
_FARTHEST_MEAN = 1.5
_FARTHEST_CELL = 40.0
_SIZE_SLACK = 6


def assert_looks_like(figure: Image.Image, name: str) -> None:
    """The figure is the approved one, up to how a machine sets its type."""
    path = FOLDER / f"{name}.png"
    if os.environ.get(UPDATE) == "1":
        figure.save(path, optimize=True)
    assert path.exists(), f"no snapshot {path}; {UPDATE}=1 draws it"
    with Image.open(path) as approved:
        difference = how_different(figure, approved.convert("RGB"))
    assert difference is None, f"{name}: {difference}; if it is meant, {UPDATE}=1 redraws it"


def how_different(figure: Image.Image, approved: Image.Image) -> str | None:
    """What tells two figures apart, or nothing.

    The mean catches a change of scale or colour. The worst small cell catches a missing word,
    which a mean over much paper would not.
    """
    if max(abs(a - b) for a, b in zip(figure.size, approved.size, strict=True)) > _SIZE_SLACK:
        return f"size {figure.size}, approved {approved.size}"
    distance = np.abs(_cells(figure.resize(approved.size)) - _cells(approved))
    if distance.mean() > _FARTHEST_MEAN or distance.max() > _FARTHEST_CELL:
        return f"differs by {distance.mean():.2f} on average, {distance.max():.0f} at worst"
    return None


def _cells(figure: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(figure.convert("RGB").reduce(_CELL), dtype=np.float64)
