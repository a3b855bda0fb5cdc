"""Write a world to disk: images in folders by class, labels, metadata, part maps and boxes."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import PIL.Image

from retroscope.argument_types import check_arguments
from retroscope.errors import RetroscopeError
from retroscope.world.atomic_folder import atomic_folder, is_free
from retroscope.world.coco import coco_lines
from retroscope.world.part_map import PART_NUMBERS
from retroscope.world.scene import LABELS, Scene, check_objects, scene

MAX_COUNT, SEED_COUNT = 1_000_000, 2**20
_SEED_SPACING = 2**40
"""Distance between the scene seeds of two worlds; scenes of the training set have seeds below."""

LABELS_FILE, METADATA_FILE, COCO_FILE = "labels.csv", "world.json", "annotations.json"

CountListener = Callable[[int, int], None]
"""Called with the number of images written and their total."""


@dataclass(frozen=True)
class WorldMetadata:
    """The parameters of a written world; worlds older than `world.json` have no seed."""

    count: int
    seed: int | None
    shortcut: bool = False
    objects: int = 1


def world_scene(world: int, number: int, *, objects: int = 1, shortcut: bool = False) -> Scene:
    """A scene of the world with this seed; the network `demo` was trained on none of them.

    >>> world_scene(0, 5).label
    'cat'
    """
    seed, label = (world + 1) * _SEED_SPACING + number, LABELS[number % len(LABELS)]
    return scene(seed, label=label, objects=objects, shortcut=shortcut)


@check_arguments
def write_world(
    folder: str | Path,
    *,
    count: int,
    seed: int = 0,
    objects: int = 1,
    boxes: bool = False,
    masks: bool = False,
    shortcut: bool = False,
    progress: CountListener | None = None,
) -> Path:
    """Write `count` scenes as CLASS/NUMBER.png, with `world.json` and `labels.csv`.

    The folder appears when it is complete; an interrupted call leaves nothing behind.

    `objects` is the number of objects in each image, of different classes; the folder and the label
    are those of the first. `boxes` also writes `annotations.json`, with the box, the class and the
    mask of each object that is visible, as COCO JSON.

    `masks` also writes FOLDER-parts, with a palette image of part numbers for each scene and their
    names in `parts.csv`. It lies beside the folder, so a scan of the folder reads images only.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as home:
    ...     sorted(path.name for path in write_world(Path(home) / "world", count=2).iterdir())
    ['bicycle', 'bird', 'labels.csv', 'world.json']
    """
    target = Path(folder) if Path(folder).name not in ("", "..") else Path(folder).resolve()
    targets = [target, target.with_name(f"{target.name}-parts")] if masks else [target]
    check_world(count, seed)
    check_objects(objects)
    _refuse_occupied(targets)
    metadata = WorldMetadata(count, seed, shortcut, objects)
    with ExitStack() as stack:  # exits in reverse, so the labels are moved last
        images, *part_maps = [stack.enter_context(atomic_folder(path)) for path in targets]
        scenes = _write_scenes(images, part_maps, metadata, progress or _ignore_count)
        rows = _write_annotations(images, scenes) if boxes else [_row(*pair) for pair in scenes]
        for parts in part_maps:
            part_rows = ((number, part or "none") for part, number in PART_NUMBERS.items())
            _write_table(parts / "parts.csv", ("number", "part"), part_rows)
        _write_text(images / METADATA_FILE, json.dumps(asdict(metadata)))
        _write_table(images / LABELS_FILE, ("path", "label"), rows)
    return Path(folder)


def _ignore_count(_done: int, _total: int) -> None:
    """The listener if none is given."""


def _write_scenes(
    images: Path, part_maps: Sequence[Path], metadata: WorldMetadata, progress: CountListener
) -> Iterator[tuple[str, Scene]]:
    """Write each image and its part map, and yield its path and scene."""
    progress(0, metadata.count)
    assert metadata.seed is not None
    for number in range(metadata.count):
        painted = world_scene(
            metadata.seed, number, objects=metadata.objects, shortcut=metadata.shortcut
        )
        path = f"{painted.label}/{number:06}.png"
        _save(PIL.Image.fromarray(painted.pixels), images / path)
        for parts in part_maps:
            _save(_as_palette_image(painted), parts / path)
        yield path, painted
        progress(number + 1, metadata.count)


def _write_annotations(images: Path, scenes: Iterable[tuple[str, Scene]]) -> list[tuple[str, str]]:
    """Write the COCO file while the scenes come in; return the path and label of each."""
    rows: list[tuple[str, str]] = []

    def record() -> Iterator[tuple[str, Scene]]:
        for path, painted in scenes:
            rows.append(_row(path, painted))
            yield path, painted

    path = images / COCO_FILE
    try:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(coco_lines(record()))
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error})") from error
    return rows


def _row(path: str, painted: Scene) -> tuple[str, str]:
    """The path and the label of a scene, as in the table of labels."""
    return path, painted.label


def read_world_metadata(folder: Path) -> WorldMetadata | None:
    """The metadata of the world in a folder; None if there is no complete world.

    >>> read_world_metadata(Path("nowhere")) is None
    True
    """
    labels, metadata = folder / LABELS_FILE, folder / METADATA_FILE
    try:
        if metadata.is_file() and labels.is_file():
            return WorldMetadata(**json.loads(metadata.read_text("utf-8")))
        return WorldMetadata(len(labels.read_text("utf-8").splitlines()) - 1, None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RetroscopeError(
            f"cannot read the world in {str(folder)!r} ({error}); name another folder"
        ) from error


def check_world(count: int, seed: int) -> None:
    """Raise an error for a count or a seed that is out of range."""
    if not 1 <= count <= MAX_COUNT:
        raise RetroscopeError(f"no world of {count} images; a count is from 1 to {MAX_COUNT}")
    if not 0 <= seed < SEED_COUNT:
        raise RetroscopeError(f"no world {seed}; a seed is a number from 0 to {SEED_COUNT - 1}")


def _refuse_occupied(folders: Sequence[Path]) -> None:
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise RetroscopeError(f"{str(folder)!r} is a file; name a new folder for the world")
        if not is_free(folder):
            raise RetroscopeError(
                f"the folder {str(folder)!r} is not empty; name a new folder for the world"
            )


def _save(image: PIL.Image.Image, path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        image.save(path, compress_level=4)
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error})") from error


def _as_palette_image(painted: Scene) -> PIL.Image.Image:
    """The part map as a palette image with a distinct colour for each part."""
    height, width = painted.parts.shape
    image = PIL.Image.frombytes("P", (width, height), painted.parts.tobytes())
    colours = [(n * 67 % 256, n * 131 % 256, n * 29 % 256) for n in PART_NUMBERS.values()]
    image.putpalette([level for colour in colours for level in colour])
    return image


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n", "utf-8")
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error})") from error


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(path)!r} ({error})") from error
