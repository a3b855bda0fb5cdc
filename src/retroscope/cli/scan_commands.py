"""Commands that make an atlas."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retroscope.cli.options import aside, opened_from, runs_a_network
from retroscope.cli.output import check_atlas_place, counted
from retroscope.cli.pattern_commands import methods_named, put_patterns
from retroscope.cli.progress_bar import in_time, resumable
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas
    from retroscope.network import Network
    from retroscope.progress import Progress

_layers = click.option(
    "--layers",
    multiple=True,
    metavar="NAMES",
    help="Names, aliases, globs or kinds (conv relu pool), with commas between; conv if not given.",
)
_workers = click.option(
    "--workers", type=click.IntRange(min=1), help="Threads that read images; as processors."
)


@click.command(short_help="Find what excites every channel, in one pass over images.")
@click.argument("model")
@click.argument("images")
@click.option("--to", required=True, metavar="ATLAS", help="The file to make or to go on with.")
@_layers
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=9,
    show_default=True,
    help="How many hits of each channel to keep.",
)
@click.option("--labels", metavar="CSV", help="Classes: rows of path,class. Else the sub-folders.")
@click.option("--glob", metavar="PATTERN", help="Only these files of the folder, as '*.jpg'.")
@click.option(
    "--illustrate",
    default="all",
    show_default=True,
    metavar="all|max|none|N",
    help="Which hits of each channel get a projection; max: those by maximum.",
)
@click.option("--no-illustrate", is_flag=True, help="Short for --illustrate none.")
@click.option(
    "--precision",
    default="full",
    show_default=True,
    metavar="full|bf16",
    help="bf16 sweeps in narrow numbers and scores the candidates again in full.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Images at once; what fits.")
@_workers
@click.option("--restart", is_flag=True, help="Begin anew, whatever the file holds.")
@runs_a_network
def scan(
    model: str,
    images: str,
    *,
    layers: Sequence[str],
    illustrate: str,
    no_illustrate: bool,
    **options: Any,
) -> None:
    """Find for every channel of MODEL the IMAGES that excite it most.

    IMAGES is a folder, whose sub-folders are classes, or a text file of paths. Interrupted, the
    same command goes on where it was.
    """
    from retroscope.scanning.job import scan as run

    check_atlas_place(Path(options["to"]))
    net = opened_from(model, options)
    wanted = _names(layers) if layers else ["conv"]
    how_many = "none" if no_illustrate else illustrate
    with aside():
        words = partial(_estimate, net, images, wanted, illustrate=how_many, **options)
        with resumable(Path(options["to"])) as progress:
            atlas = run(
                net,
                images,
                layers=wanted,
                illustrate=how_many,
                progress=_after_saying(words, progress),
                **options,
            )
    with atlas:
        _say_end(atlas, was_done=progress.last is None)


@click.command(short_help="Project the winners of an atlas, or add patterns to it.")
@click.argument("atlas")
@click.argument("model")
@click.argument("images", required=False)
@_layers
@click.option(
    "--methods",
    default="deconv",
    show_default=True,
    metavar="NAMES",
    help="deconv, synthesize, or both with a comma between.",
)
@click.option("--recipe", default="olah", show_default=True, help="Of synthesize.")
@click.option("--steps", type=click.IntRange(min=1), help="Of synthesize; the recipe's own.")
@click.option(
    "--ranks", default="all", show_default=True, metavar="all|max|N", help="Hits of each channel."
)
@click.option(
    "--rules", default="deconvnet", show_default=True, help="deconvnet, guided or gradient."
)
@click.option("--labels", metavar="CSV", help="As for the scan.")
@click.option("--glob", metavar="PATTERN", help="As for the scan.")
@_workers
@runs_a_network
def illustrate(
    atlas: str,
    model: str,
    images: str | None = None,
    *,
    layers: Sequence[str],
    methods: str,
    recipe: str,
    steps: int | None,
    **options: Any,
) -> None:
    """Put the projections and patterns that ATLAS does not have yet into it, with the MODEL of its
    scan. IMAGES are those that it remembers, where none are given; patterns need none.
    """
    from retroscope.scanning.illustrate import illustrate as run

    wanted, chosen = methods_named(methods), _names(layers)
    net = opened_from(model, options)
    if "deconv" in wanted:
        with aside(), resumable(Path(atlas)) as progress:
            run(atlas, net, images, layers=chosen, progress=progress, **options)
        if progress.last is None:
            click.echo(f"{atlas} has all of these projections", err=True)
    if "synthesize" in wanted:
        put_patterns(atlas, net, chosen, recipe=recipe, steps=steps)
    click.echo(atlas)


def _names(layers: Sequence[str]) -> list[str]:
    found = [name for text in layers for name in text.replace(",", " ").split()]
    if layers and not found:
        raise RetroscopeError("--layers names none; name some layers, or a kind such as conv")
    return found


def _estimate(
    net: "Network",
    images: str,
    layers: Sequence[str],
    *,
    illustrate: str,
    top: int,
    glob: str | None,
    labels: str | None,
    precision: str,
    workers: int | None,
    **_others: object,
) -> str:
    from retroscope.scanning.estimate import estimate
    from retroscope.scanning.illustrate import ranks_of
    from retroscope.scanning.plan import chosen
    from retroscope.scanning.sources import pictures

    listed = pictures(images, glob=glob, labels=labels)
    picked = chosen(net.layers, layers, net)
    ranks = ranks_of(illustrate)
    facts = estimate(
        net, picked, listed, top=top, ranks=ranks, precision=precision, workers=workers
    )
    counts = (
        counted(facts.images, "image"),
        counted(len(picked), "layer"),
        counted(facts.channels, "channel"),
    )
    later = f"{in_time(facts.projecting)} for up to " if facts.projections else "up to "
    return (
        f"{', '.join(counts)}: about {in_time(facts.seconds)} for the pass and "
        f"{later}{counted(facts.projections, 'projection')}, "
        f"{_size(facts.memory)} of memory and {_size(facts.disk)} on disk"
    )


def _after_saying(
    words: "Callable[[], str]", progress: "Callable[[Progress], None]"
) -> "Callable[[Progress], None]":
    """A listener that says something as the pass begins: a scan that is refused has no estimate."""
    left = [words]

    def told(now: "Progress") -> None:
        if left and now.stage == "scan":
            click.echo(left.pop()(), err=True)
        progress(now)

    return told


def _size(count: float) -> str:
    if count < 1e6:
        return "under 1 MB"
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def _say_end(atlas: "Atlas", *, was_done: bool) -> None:
    if was_done:
        parts = counted(len(atlas.images), "image"), counted(len(atlas.layers), "layer")
        click.echo(f"{atlas.path} is complete: {', '.join(parts)}", err=True)
    facts = []
    for words, query in _FINDINGS.items():
        ((count,),) = atlas.sql(query)
        if count:
            facts.append(counted(int(str(count)), *words))
    if facts:
        click.echo(", ".join(facts), err=True)
    _say_unreadable(atlas)
    click.echo(str(atlas.path))


def _say_unreadable(atlas: "Atlas") -> None:
    """The first images that could not be read, each with why, and how to see all."""
    found = atlas.sql(_UNREADABLE)
    for key, why in found[:_NAMED]:
        click.echo(f"  {key!s}: {why!s}", err=True)
    if found[_NAMED:]:
        count = len(found) - _NAMED
        click.echo(f'  and {count} more: sqlite3 {atlas.path} "{_UNREADABLE}"', err=True)


_NAMED = 3
_UNREADABLE = "SELECT key, error FROM images WHERE status = 'unreadable' ORDER BY id"


_FINDINGS = {
    ("unreadable image",): "SELECT count(*) FROM images WHERE status = 'unreadable'",
    ("channel that never fires", "channels that never fire"): (
        "SELECT count(*) FROM channels WHERE dead"
    ),
    ("channel with values that are not finite", "channels with values that are not finite"): (
        "SELECT count(*) FROM channels WHERE non_finite > 0"
    ),
}


COMMANDS = (scan, illustrate)
