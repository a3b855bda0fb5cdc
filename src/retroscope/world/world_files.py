"""Writes a world: its pictures in folders by class, their labels, and where their parts are."""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import PIL.Image

from retroscope.errors import RetroscopeError
from retroscope.world.atomic_folder import is_free, painted_aside
from retroscope.world.part_names import NUMBER_OF
from retroscope.world.scene import LABELS, Scene, scene

MOST, SEEDS = 1_000_000, 2**20
_APART = 2**40
"""How far apart the scenes of two worlds are, and the first of them from those for training."""

LABELS_FILE, MADE_FILE = "labels.csv", "world.json"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Made:
    """What a written world is of; one from before `world.json` does not tell its seed."""

    count: int
    seed: int | None
    shortcut: bool = False


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
    """Writes `count` scenes as CLASS/NUMBER.png, `world.json`, and `labels.csv`.

    All are painted aside, and are in the folder when all are there; interrupted, none is.

    With `masks` the folder FOLDER-parts has a picture of the same name for each scene, whose
    colours are numbers of parts, and `parts.csv`, which names them: it stands beside the folder,
    so that a scan of the folder reads pictures alone.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as home:
    ...     sorted(one.name for one in write_world(Path(home) / "world", count=2).iterdir())
    ['bicycle', 'bird', 'labels.csv', 'world.json']
    """
    target = Path(folder) if Path(folder).name not in ("", "..") else Path(folder).resolve()
    places = [target, target.with_name(f"{target.name}-parts")] if masks else [target]
    check_world(count, seed)
    _refuse_used(places)
    with ExitStack() as stack:  # the labels are in their place last
        own, *beside = [stack.enter_context(painted_aside(place)) for place in places]
        rows = _paint(own, beside, Made(count, seed, shortcut), progress or _silent)
        for parts in beside:
            numbers = ((number, part or "none") for part, number in NUMBER_OF.items())
            _write_table(parts / "parts.csv", ("number", "part"), numbers)
        _write_text(own / MADE_FILE, json.dumps(asdict(Made(count, seed, shortcut))))
        _write_table(own / LABELS_FILE, ("path", "label"), rows)
    return Path(folder)


def _silent(_done: int, _count: int) -> None:
    """Tells nobody."""


def _paint(
    own: Path, beside: Sequence[Path], world: Made, progress: Progress
) -> list[tuple[str, str]]:
    """The pictures of a world, and those of its parts; their paths and classes."""
    rows: list[tuple[str, str]] = []
    progress(0, world.count)
    assert world.seed is not None
    for number in range(world.count):
        made = scene_of(world.seed, number, shortcut=world.shortcut)
        rows.append((f"{made.label}/{number:06}.png", made.label))
        _save(PIL.Image.fromarray(made.pixels), own / rows[-1][0])
        for parts in beside:
            _save(_indexed(made), parts / rows[-1][0])
        progress(number + 1, world.count)
    return rows


def world_in(folder: Path) -> Made | None:
    """What the world in a folder is of; None where there is none, or not all of one.

    >>> world_in(Path("nowhere")) is None
    True
    """
    labels, made = folder / LABELS_FILE, folder / MADE_FILE
    try:
        if made.is_file() and labels.is_file():
            return Made(**json.loads(made.read_text("utf-8")))
        return Made(len(labels.read_text("utf-8").splitlines()) - 1, None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RetroscopeError(
            f"cannot tell what world {str(folder)!r} holds ({error}); name another folder"
        ) from error


def check_world(count: int, seed: int) -> None:
    """Raises where there is no such world."""
    if not 1 <= count <= MOST:
        raise RetroscopeError(f"no world of {count} pictures; a count is from 1 to {MOST}")
    if not 0 <= seed < SEEDS:
        raise RetroscopeError(f"no world {seed}; a seed is a number from 0 to {SEEDS - 1}")


def _refuse_used(folders: Sequence[Path]) -> None:
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise RetroscopeError(f"{str(folder)!r} is a file; name a new folder for the world")
        if not is_free(folder):
            raise RetroscopeError(
                f"the folder {str(folder)!r} is not empty; name a new one for the world"
            )


def _save(picture: PIL.Image.Image, path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
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


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n", "utf-8")
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error})") from error


def _write_table(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *rows])
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error})") from error
