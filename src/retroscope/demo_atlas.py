"""The demo: paint a world, scan it with the bundled network, and find the clearest units."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from retroscope.argument_types import check_arguments
from retroscope.atlas.reader import Atlas
from retroscope.errors import RetroscopeError
from retroscope.progress import ProgressListener, ignore_progress, progress_callback
from retroscope.results.plates import Plate
from retroscope.scanning.job import scan
from retroscope.unit import Unit
from retroscope.world import write_world
from retroscope.world.atomic_folder import is_free, remove_abandoned
from retroscope.world.part_map import PartMap, dominant_part, most_common_part
from retroscope.world.world_files import WorldMetadata, check_world, read_world_metadata
from retroscope.zoo import open_model

IMAGES_FOLDER, PARTS_FOLDER = "world", "world-parts"
DEFAULT_COUNT = 500
"""Images of a demo unless a count is given."""
_LAST_LAYERS = 3
_MIN_PATCHES, _MIN_SHARE = 6, 2 / 3
"""In how many patches, and in what share of all, a unit must show a part to be its detector."""


@dataclass(frozen=True)
class PartDetector:
    """A channel whose patches show one part: its share of `patches`, and the classes of these."""

    unit: Unit
    part: str
    share: float
    classes: tuple[str, ...]
    patches: int


@check_arguments
def demo(
    folder: str | Path = "retroscope-demo",
    *,
    count: int | None = None,
    seed: int | None = None,
    progress: ProgressListener = ignore_progress,
) -> Atlas:
    """Paint a world, scan it with the bundled network, and project the strongest patches.

    All files are written to the folder, and a second call reuses them. A new world has 500 images
    of seed 0 by default. If the folder holds a world of another count or seed than requested, the
    call raises an error.
    """
    home = Path(folder)
    _paint_world(home, count, seed, progress)
    net, atlas = open_model("demo"), home / "demo.atlas"
    return scan(
        net, home / IMAGES_FOLDER, to=atlas, glob="*.png", projections="all", progress=progress
    )


def _paint_world(
    home: Path, count: int | None, seed: int | None, progress: ProgressListener
) -> None:
    """Paint the world unless the folder holds it already."""
    images, parts = home / IMAGES_FOLDER, home / PARTS_FOLDER
    remove_abandoned(images)
    remove_abandoned(parts)
    metadata = read_world_metadata(images)
    if metadata is not None:
        _check_same_world(home, metadata, count, seed)
        return
    count, seed = DEFAULT_COUNT if count is None else count, seed or 0
    check_world(count, seed)
    for path in (images, parts):
        if path.exists() and not (path.is_dir() and is_free(path)):
            raise RetroscopeError(
                f"{str(path)!r} is in the way of the demo's world; name another folder"
            )
    write_world(
        images, count=count, seed=seed, masks=True, progress=progress_callback("paint", progress)
    )


def _check_same_world(
    home: Path, metadata: WorldMetadata, count: int | None, seed: int | None
) -> None:
    """Raise an error if another count or seed is requested than the folder's world has."""
    if count in (None, metadata.count) and seed in (None, metadata.seed):
        return
    seed_text = "an unknown seed" if metadata.seed is None else f"seed {metadata.seed}"
    images = "image" if metadata.count == 1 else "images"
    raise RetroscopeError(
        f"{str(home)!r} holds a world of {metadata.count} {images} of {seed_text}; name another "
        "folder"
    )


def find_part_detectors(atlas: Atlas, *, count: int = 3) -> list[PartDetector]:
    """The channels of the last layers that show one part most clearly, one for each part.

    The clearest channels show a part in all of their patches, in objects of several classes. With
    few images, or for rare parts, there may be none.
    """
    detectors = sorted(filter(_is_clear, _candidates(atlas)), key=_clarity, reverse=True)
    best: dict[str, PartDetector] = {}
    for detector in detectors:
        best.setdefault(detector.part, detector)
    return list(best.values())[:count]


def _is_clear(detector: PartDetector) -> bool:
    matches = detector.patches * detector.share
    return matches >= _MIN_PATCHES and detector.share >= _MIN_SHARE


def _clarity(detector: PartDetector) -> tuple[float, int]:
    return detector.share, len(detector.classes)


def _candidates(atlas: Atlas) -> Iterator[PartDetector]:
    part_maps = _PartMaps(atlas.path.parent / PARTS_FOLDER)
    for layer in atlas.layers[-_LAST_LAYERS:]:
        for channel in range(layer.channels):
            unit = Unit(layer.name, channel)
            if not atlas.stats(unit).dead:
                yield _detect_part(atlas.plate(unit), part_maps)


def _detect_part(plate: Plate, part_maps: "_PartMaps") -> PartDetector:
    parts = [
        dominant_part(patch.projection, part_maps.read(patch.source))
        for patch in plate.patches
        if patch.projection is not None
    ]
    part, share = most_common_part(parts)
    classes = dict.fromkeys(patch.source.partition("/")[0] for patch in plate.patches)
    return PartDetector(plate.unit, part, share, tuple(classes), len(parts))


class _PartMaps:
    """The part maps of the images, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cache: dict[str, PartMap] = {}

    def read(self, source: str) -> PartMap:
        if source not in self._cache:
            with PIL.Image.open(self._folder / source) as image:
                self._cache[source] = np.asarray(image)
        return self._cache[source]
