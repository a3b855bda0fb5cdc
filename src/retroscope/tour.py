"""The whole way on the embedded world: pictures, a scan, and the plates that tell most."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import PIL.Image

from retroscope.atlas.progress import Progress, Watch, silent
from retroscope.atlas.reader import Atlas
from retroscope.atlas.scan import scan
from retroscope.errors import RetroscopeError
from retroscope.results import Plate
from retroscope.unit import Unit
from retroscope.world import write_world
from retroscope.world.truth import Parts, agreed, shown_part
from retroscope.zoo import open_model

WORLD, TRUTH, LABELS = "world", "world-parts", "labels.csv"
_LAST_LAYERS = 3


@dataclass(frozen=True)
class Telling:
    """A channel whose plate shows one part, in how many of its patches, and in which classes."""

    unit: Unit
    part: str
    share: float
    classes: tuple[str, ...]


def demo(
    folder: str | Path = "retroscope-demo",
    *,
    count: int = 500,
    seed: int = 0,
    progress: Callable[[Progress], None] = silent,
) -> Atlas:
    """Paints a world, scans the network that comes with it, and projects all winners.

    Everything lands in the folder; called again, what is there is used.
    """
    home = Path(folder)
    _paint(home, count, seed, progress)
    net, atlas = open_model("demo"), home / "demo.atlas"
    return scan(net, home / WORLD, to=atlas, glob="*.png", progress=progress)


def _paint(home: Path, count: int, seed: int, progress: Callable[[Progress], None]) -> None:
    """The world is painted aside and put in its place whole."""
    if (home / WORLD / LABELS).is_file():
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        aside = Path(mkdtemp(prefix=".painting-", dir=home))
    except OSError as error:
        reason = "it is a file" if home.is_file() else error.strerror
        raise RetroscopeError(f"cannot make the folder {str(home)!r}: {reason}") from error
    watch = Watch("paint", count, progress)
    write_world(
        aside / WORLD, count=count, seed=seed, masks=True, progress=lambda done, _: watch.at(done)
    )
    for name in (TRUTH, WORLD):
        _put(aside / name, home / name)
    aside.rmdir()


def _put(made: Path, place: Path) -> None:
    try:
        made.replace(place)
    except OSError as error:
        raise RetroscopeError(
            f"{str(place)!r} is in the way of the demo's world; name another folder"
        ) from error


def telling(atlas: Atlas, *, count: int = 3) -> list[Telling]:
    """The channels of the last layers whose plates tell most, each of another part.

    A channel tells much that shows one part in all of its patches, in objects of several classes.
    """
    found = sorted(_candidates(atlas), key=_worth, reverse=True)
    best: dict[str, Telling] = {}
    for one in found:
        best.setdefault(one.part, one)
    return list(best.values())[:count]


def _worth(one: Telling) -> tuple[float, int]:
    return one.share, len(one.classes)


def _candidates(atlas: Atlas) -> Iterator[Telling]:
    truth = _Truth(atlas.path.parent / TRUTH)
    for layer in atlas.layers[-_LAST_LAYERS:]:
        for channel in range(layer.channels):
            unit = Unit(layer.name, channel)
            if not atlas.stats(unit).dead:
                yield _told(atlas.plate(unit), truth)


def _told(plate: Plate, truth: "_Truth") -> Telling:
    shown = [
        shown_part(patch.projection, truth.parts(patch.source))
        for patch in plate.patches
        if patch.projection is not None
    ]
    part, share = agreed(shown)
    classes = dict.fromkeys(patch.source.partition("/")[0] for patch in plate.patches)
    return Telling(plate.unit, part, share, tuple(classes))


class _Truth:
    """The parts of each picture, read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, Parts] = {}

    def parts(self, source: str) -> Parts:
        if source not in self._kept:
            with PIL.Image.open(self._folder / source) as picture:
                self._kept[source] = np.asarray(picture)
        return self._kept[source]
