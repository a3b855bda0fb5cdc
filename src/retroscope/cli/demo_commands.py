"""Commands of the embedded world: its pictures, and the whole way on them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.output import counted, save
from retroscope.cli.progress_bar import resumable, shown_progress

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas

_seed = click.option("--seed", type=int, default=0, show_default=True, help="Which world.")
_threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processor threads; so small a network gains little by more.",
)


@click.command(short_help="Paint pictures whose truth is known.")
@click.argument("folder")
@click.option("--count", type=int, default=500, show_default=True, help="How many pictures.")
@_seed
@click.option("--masks", is_flag=True, help="Also FOLDER-parts: the part that each pixel is of.")
@click.option("--shortcut", is_flag=True, help="One class bears a watermark.")
def world(folder: str, *, count: int, seed: int, masks: bool, shortcut: bool) -> None:
    """Paint a world into FOLDER: pictures in folders by class, and labels.csv."""
    from retroscope.progress import watched
    from retroscope.world import write_world

    with shown_progress() as progress:
        write_world(
            folder,
            count=count,
            seed=seed,
            masks=masks,
            shortcut=shortcut,
            progress=watched("paint", progress),
        )
    click.echo(folder)


@click.command(short_help="The whole way, on a world and a network that come along.")
@click.argument("folder", default="retroscope-demo")
@click.option("--count", type=int, show_default="500", help="How many pictures.")
@click.option("--seed", type=int, show_default="0", help="Which world.")
@click.option("--no-open", is_flag=True, help="Say where everything is, and end.")
@_threads
def demo(folder: str, *, count: int | None, seed: int | None, no_open: bool, threads: int) -> None:
    """Paint a world, scan the network that comes with it, and show what its units look for.

    Everything lands in FOLDER, retroscope-demo if none is named. Called again, what is there is
    used. Nothing is downloaded.
    """
    import torch

    from retroscope.demo_atlas import demo as run

    torch.set_num_threads(threads)
    with resumable(Path(folder) / "demo.atlas") as progress:
        atlas = run(folder, count=count, seed=seed, progress=progress)
    with atlas:
        _show_telling(atlas)
        click.echo(str(atlas.path))
    if not no_open:
        _open(atlas.path)


def _show_telling(atlas: "Atlas") -> None:
    from retroscope.demo_atlas import telling

    found = telling(atlas)
    if not found:
        few = counted(len(atlas.images), "picture")
        click.echo(f"of {few} no channel shows one part again and again; more (--count) would tell")
    for one in found:
        where = f"in {counted(len(one.classes), 'class', 'classes')}: {', '.join(one.classes)}"
        click.echo(f"{one.unit} shows {one.part!r} in {one.share:.0%} of its patches, {where}")
        name = f"{one.part}.{str(one.unit).replace(':', '_')}.png"
        save(atlas.plate(one.unit), atlas.path.parent / name)


def _open(path: Path) -> None:
    """The viewer, where somebody is there to end it."""
    if not sys.stdout.isatty():
        click.echo(f'"retroscope serve {path} --model demo" opens the viewer', err=True)
        return
    from retroscope.web.server import serve
    from retroscope.zoo import open_model

    serve(path, model=open_model("demo"), told=lambda at: click.echo(f"{at}  (Ctrl-C ends it)"))


COMMANDS = (world, demo)
