"""Commands of the bundled data: painted worlds, and a tour of the tool on one of them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.options import examples
from retroscope.cli.output import check_parent, write_drawing
from retroscope.cli.progress_bar import show_progress, show_resumable_progress
from retroscope.cli.viewer_commands import print_address
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas


@click.command(
    short_help="Paint images whose objects and parts are known.",
    epilog=examples("world painted --objects 3 --boxes", "world painted --masks --shortcut"),
)
@click.argument("folder")
@click.option(
    "--count", type=int, default=500, show_default=True, metavar="N", help="Number of images."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="SEED", help="Seed of the world."
)
@click.option(
    "--objects",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Number of objects in each image, of different classes.",
)
@click.option(
    "--boxes",
    is_flag=True,
    help="Also write boxes and masks of the objects as COCO JSON, to FOLDER/annotations.json.",
)
@click.option(
    "--masks", is_flag=True, help="Also write a map of the part under each pixel to FOLDER-parts."
)
@click.option("--shortcut", is_flag=True, help="Put a watermark on the images of one class.")
def world(
    folder: str,
    *,
    count: int,
    seed: int,
    objects: int,
    boxes: bool,
    masks: bool,
    shortcut: bool,
) -> None:
    """Paint a world into FOLDER: images in a folder for each class, and labels.csv."""
    from retroscope.progress import progress_callback
    from retroscope.world import write_world

    check_parent(Path(folder))
    with show_progress() as progress:
        write_world(
            folder,
            count=count,
            seed=seed,
            objects=objects,
            boxes=boxes,
            masks=masks,
            shortcut=shortcut,
            progress=progress_callback("paint", progress),
        )
    click.echo(folder)


@click.command(
    short_help="Try everything on bundled data, without a download.",
    epilog=examples("demo", "demo tour --count 200 --no-open"),
)
@click.argument("folder", default="retroscope-demo")
@click.option("--count", type=int, show_default="500", metavar="N", help="Number of images.")
@click.option("--seed", type=int, show_default="0", metavar="SEED", help="Seed of the world.")
@click.option("--no-open", is_flag=True, help="Print where the files are; do not open the viewer.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="CPU threads for torch. More than one hardly helps with so small a network.",
)
def demo(folder: str, *, count: int | None, seed: int | None, no_open: bool, threads: int) -> None:
    """Paint a set of images, scan the bundled network on them, and open the viewer.

    All files go to FOLDER, by default retroscope-demo; a second run reuses them.
    """
    import torch

    from retroscope.demo_atlas import demo as make_demo_atlas

    _check_demo_folder(Path(folder))
    torch.set_num_threads(threads)
    with show_resumable_progress(Path(folder) / "demo.atlas") as progress:
        atlas = make_demo_atlas(folder, count=count, seed=seed, progress=progress)
    with atlas:
        _draw_part_detectors(atlas)
        click.echo(str(atlas.path))
    if not no_open:
        _open_viewer(atlas.path)


def _check_demo_folder(folder: Path) -> None:
    """Raises unless a folder is new or empty, or that of an earlier demo."""
    check_parent(folder)
    if folder.exists() and not folder.is_dir():
        raise RetroscopeError(f"{str(folder)!r} is a file; name a new folder for the demo")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    is_started = any(name.startswith(("world", ".world")) for name in names)
    if names and not is_started:
        raise RetroscopeError(
            f"{str(folder)!r} has files that are not from a demo, such as {min(names)!r}; name a "
            "new folder"
        )


def _draw_part_detectors(atlas: "Atlas") -> None:
    """Reports the channels that show one part consistently, and draws their plates."""
    from retroscope.demo_atlas import find_part_detectors
    from retroscope.render.captions import count_noun, percent

    detectors = find_part_detectors(atlas)
    if not detectors:
        images = count_noun(len(atlas.images), "image")
        click.echo(f"in {images} no channel shows one part consistently; try a higher --count")
    for detector in detectors:
        classes = count_noun(len(detector.classes), "class", "classes")
        click.echo(
            f"{detector.unit} shows {detector.part!r} in {percent(detector.share)} of its patches, "
            f"in {classes}: {', '.join(detector.classes)}"
        )
        name = f"{detector.part}.{str(detector.unit).replace(':', '_')}.png"
        write_drawing(atlas.plate(detector.unit), atlas.path.parent / name)


def _open_viewer(path: Path) -> None:
    """Serves the atlas on a terminal; without one, nobody could end the server."""
    if not sys.stdout.isatty():
        click.echo(f'"retroscope serve {path} --model demo" opens the viewer', err=True)
        return
    from retroscope.web.server import serve
    from retroscope.zoo import open_model

    serve(path, net=open_model("demo"), on_ready=print_address)


COMMANDS = (demo, world)
