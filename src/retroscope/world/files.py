"""Writes a world: its pictures in folders by class, their labels, and where their parts are."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import PIL.Image

from retroscope.errors import RetroscopeError
from retroscope.world.naming import NUMBER_OF
from retroscope.world.scene import LABELS, Scene, scene

MOST, SEEDS = 1_000_000, 2**20
_APART = 2**40
"""How far apart the scenes of two worlds are, and the first of them from those for training."""

Progress = Callable[[int, int], None]


def scene_of(world: int, number: int, *, shortcut: bool = False) -> Scene:
    """A scene of the world of this seed; the network `demo` has seen none of them.

    >>> scene_of(0, 5).label
    'cat'
    """
    seed, label = (world + 1) * _APART + number, LABELS[number % len(LABELS)]
    return scene(seed, label=label, shortcut=shortcut)


def write_world(
    folder: str | Path,
    *,
    count: int,
    seed: int = 0,
    masks: bool = False,
    shortcut: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Writes `count` scenes as CLASS/NUMBER.png and, when all are there, `labels.csv`.

    With `masks` the folder FOLDER-parts has a picture of the same name for each scene, whose
    colours are numbers of parts, and `parts.csv`, which names them: it stands beside the folder,
    so that a scan of the folder reads pictures alone.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as home:
    ...     sorted(one.name for one in write_world(Path(home) / "world", count=2).iterdir())
    ['bicycle', 'bird', 'labels.csv']
    """
    target = Path(folder)
    beside = target.parent / f"{target.resolve().name}-parts" if target.name else target
    _check(count, seed, [target, beside] if masks else [target])
    rows: list[tuple[str, str]] = []
    for number in range(count):
        made = scene_of(seed, number, shortcut=shortcut)
        rows.append((f"{made.label}/{number:06}.png", made.label))
        _save(PIL.Image.fromarray(made.pixels), target / rows[-1][0])
        if masks:
            _save(_indexed(made), beside / rows[-1][0])
        if progress:
            progress(number + 1, count)
    if masks:
        numbers = ((number, part or "none") for part, number in NUMBER_OF.items())
        _write_table(beside / "parts.csv", ("number", "part"), numbers)
    _write_table(target / "labels.csv", ("path", "label"), rows)
    return target


def _check(count: int, seed: int, folders: Sequence[Path]) -> None:
    if not 1 <= count <= MOST:
        raise RetroscopeError(f"no world of {count} pictures; a count is from 1 to {MOST}")
    if not 0 <= seed < SEEDS:
        raise RetroscopeError(f"no world {seed}; a seed is a number from 0 to {SEEDS - 1}")
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise RetroscopeError(f"{str(folder)!r} is a file; name a new folder for the world")
        if folder.exists() and any(folder.iterdir()):
            raise RetroscopeError(
                f"the folder {str(folder)!r} is not empty; name a new one for the world"
            )


def _save(picture: PIL.Image.Image, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, compress_level=4)
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error})") from error


def _indexed(made: Scene) -> PIL.Image.Image:
    """The numbers of the parts as a picture whose colours tell them apart."""
    height, width = made.parts.shape
    picture = PIL.Image.frombytes("P", (width, height), made.parts.tobytes())
    colours = [(n * 67 % 256, n * 131 % 256, n * 29 % 256) for n in NUMBER_OF.values()]
    picture.putpalette([one for colour in colours for one in colour])
    return picture


def _write_table(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *rows])
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error})") from error
