"""Figures compared with the snapshots in `tests/snapshots`, which a person has approved.

`RETROSCOPE_UPDATE_SNAPSHOTS=1 pytest tests/render` records them again: look at them before you
keep them.
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

FOLDER = Path(__file__).parents[1] / "snapshots"
UPDATE_VARIABLE = "RETROSCOPE_UPDATE_SNAPSHOTS"
_CELL_SIZE = 8
_MAX_MEAN_DIFFERENCE = 1.5
_MAX_CELL_DIFFERENCE = 40.0
_SIZE_SLACK = 6


def assert_looks_like(figure: Image.Image, name: str) -> None:
    """The figure equals the approved snapshot, up to differences in text rendering."""
    path = FOLDER / f"{name}.png"
    if os.environ.get(UPDATE_VARIABLE) == "1":
        figure.save(path, optimize=True)
    assert path.exists(), f"no snapshot {path}; {UPDATE_VARIABLE}=1 draws it"
    with Image.open(path) as approved:
        difference = describe_difference(figure, approved.convert("RGB"))
    assert difference is None, (
        f"{name}: {difference}; if it is meant, {UPDATE_VARIABLE}=1 redraws it"
    )


def describe_difference(figure: Image.Image, approved: Image.Image) -> str | None:
    """How two figures differ, or None.

    The mean over all cells catches a change of scale or colour. The maximum catches a missing
    word, which the mean over much paper would not.
    """
    if max(abs(a - b) for a, b in zip(figure.size, approved.size, strict=True)) > _SIZE_SLACK:
        return f"size {figure.size}, approved {approved.size}"
    distance = np.abs(_cells(figure.resize(approved.size)) - _cells(approved))
    if distance.mean() > _MAX_MEAN_DIFFERENCE or distance.max() > _MAX_CELL_DIFFERENCE:
        return f"differs by {distance.mean():.2f} on average, {distance.max():.0f} at worst"
    return None


def _cells(figure: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(figure.convert("RGB").reduce(_CELL_SIZE), dtype=np.float64)
