"""The whole way on the embedded world: pictures, a scan, and the plates that tell most."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from retroscope.atlas.reader import Atlas
from retroscope.errors import RetroscopeError
from retroscope.progress import Listener, silent, watched
from retroscope.results.values import Plate
from retroscope.scanning.job import scan
from retroscope.unit import Unit
from retroscope.world import write_world
from retroscope.world.atomic_folder import clear_left, is_free
from retroscope.world.truth import Parts, agreed, shown_part
from retroscope.world.world_files import Made, check_world, world_in
from retroscope.zoo import open_model

WORLD, TRUTH = "world", "world-parts"
COUNT = 500
"""How many pictures a demo has of its own accord."""
_LAST_LAYERS = 3
_ENOUGH, _MOSTLY = 6, 2 / 3
"""In how many patches, and in what share of them, a part is to be seen for a plate to tell it."""


@dataclass(frozen=True)
class Telling:
    """A channel whose plate shows one part: in what share of how many patches, in which classes."""

    unit: Unit
    part: str
    share: float
    classes: tuple[str, ...]
    patches: int


def demo(
    folder: str | Path = "retroscope-demo",
    *,
    count: int | None = None,
    seed: int | None = None,
    progress: Listener = silent,
) -> Atlas:
    """Paints a world, scans the network that comes with it, and projects all winners.

    Everything lands in the folder; called again, what is there is used. The world is of 500
    pictures of seed 0 where nothing else is asked; one that is there and is of others is refused.
    """
    home = Path(folder)
    _paint(home, count, seed, progress)
    net, atlas = open_model("demo"), home / "demo.atlas"
    return scan(net, home / WORLD, to=atlas, glob="*.png", progress=progress)


def _paint(home: Path, count: int | None, seed: int | None, progress: Listener) -> None:
    """The world, where it is not there yet."""
    place, truth = home / WORLD, home / TRUTH
    clear_left(place)
    clear_left(truth)
    made = world_in(place)
    if made is not None:
        _refuse_other(home, made, count, seed)
        return
    check_world(COUNT if count is None else count, seed or 0)
    for one in (place, truth):
        if one.exists() and not (one.is_dir() and is_free(one)):
            raise RetroscopeError(
                f"{str(one)!r} is in the way of the demo's world; name another folder"
            )
    write_world(
        place,
        count=COUNT if count is None else count,
        seed=seed or 0,
        masks=True,
        progress=watched("paint", progress),
    )


def _refuse_other(home: Path, made: Made, count: int | None, seed: int | None) -> None:
    """A world that is there is used, where none or the same is asked for."""
    if count in (None, made.count) and seed in (None, made.seed):
        return
    which = "of a seed that it does not tell" if made.seed is None else f"of seed {made.seed}"
    pictures = "picture" if made.count == 1 else "pictures"
    raise RetroscopeError(
        f"{str(home)!r} holds a world of {made.count} {pictures} {which}; name another folder"
    )


def telling(atlas: Atlas, *, count: int = 3) -> list[Telling]:
    """The channels of the last layers whose plates tell most, each of another part.

    A channel tells much that shows one part in all of its patches, in objects of several classes.
    Of few pictures, or of a part that is seldom in them, none tells anything.
    """
    found = sorted(filter(_tells, _candidates(atlas)), key=_worth, reverse=True)
    best: dict[str, Telling] = {}
    for one in found:
        best.setdefault(one.part, one)
    return list(best.values())[:count]


def _tells(one: Telling) -> bool:
    return one.patches * one.share >= _ENOUGH and one.share >= _MOSTLY


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
    return Telling(plate.unit, part, share, tuple(classes), len(shown))


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
