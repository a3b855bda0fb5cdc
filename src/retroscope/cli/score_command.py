"""The command that adds numbers and names to an atlas."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.choices import SCORES
from retroscope.cli.input_values import scanned_sources
from retroscope.cli.options import (
    OpenOptions,
    examples,
    layers_option,
    open_options,
    packed_options,
    refuse_options,
    stdout_to_stderr,
)
from retroscope.cli.output import check_atlas
from retroscope.cli.parameter_types import parse_scores
from retroscope.cli.progress_bar import format_duration, show_resumable_progress
from retroscope.cli.scan_options import glob_option
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.scanning.scoring.request import ScoreRequest
    from retroscope.scanning.scoring.score import MissingNumbers


@dataclass(frozen=True)
class ScoreOptions:
    """What `score` computes, and from what."""

    layers: tuple[str, ...]
    numbers: tuple[str, ...] | None
    masks: str | None
    embedding: str | None
    hits: int
    glob: str | None
    workers: int | None


_score_options = packed_options(
    "options",
    ScoreOptions,
    layers_option(
        "Layers by name, alias, glob or kind (conv, relu, pool), separated by commas.",
        shown_default="all layers of the atlas",
    ),
    click.option(
        "--numbers",
        type=parse_scores,
        metavar="NAMES",
        show_default="all; dissection with --masks",
        help=f"Numbers to compute: {', '.join(SCORES)}, separated by commas.",
    ),
    click.option(
        "--masks",
        metavar="DIR",
        help="Label images of concepts with a CSV file of number,name: names each unit after the "
        "concept that it matches best (network dissection).",
    ),
    click.option(
        "--embedding",
        metavar="MODEL",
        show_default="the scanned network",
        help="Network that measures how similar two images are, for mis and monosemanticity.",
    ),
    click.option(
        "--hits",
        type=click.IntRange(min=1),
        default=9,
        show_default=True,
        metavar="N",
        help="Hits of each channel to look at, for faithfulness, dependence and patch.",
    ),
    glob_option,
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        show_default="one per CPU",
        help="Image-loading threads.",
    ),
)


@click.command(
    short_help="Add numbers and names to the units of an atlas.",
    epilog=examples(
        "score world.atlas demo --masks world-parts --numbers dissection,mis",
        "score photos.atlas --names names.csv",
    ),
)
@click.argument("atlas")
@click.argument("model", required=False)
@click.argument("images", required=False)
@_score_options
@click.option(
    "--names",
    metavar="CSV",
    help="Names of units, in a CSV file with the columns unit and name. Needs no MODEL.",
)
@open_options
def score(
    atlas: str,
    model: str | None = None,
    images: str | None = None,
    *,
    options: ScoreOptions,
    names: str | None,
    opening: OpenOptions,
) -> None:
    """Add numbers that say how far to trust each unit of ATLAS, and names.

    MODEL is the network that was scanned. Without IMAGES, the images are read from where the scan
    read them. Interrupt it at any time; run the same command to resume.
    """
    from retroscope.atlas.write_lock import refuse_second_writer

    if model is None and names is None:
        raise RetroscopeError("no network given; name the MODEL that was scanned, or give --names")
    if model is None:
        _refuse_options_of_numbers()
    check_atlas(atlas)
    refuse_second_writer(Path(atlas))
    if names is not None:
        _add_names(atlas, names)
    if model is not None:
        _add_numbers(atlas, model, images, options=options, opening=opening)
    click.echo(atlas)


def _refuse_options_of_numbers() -> None:
    """Raises if an option is given that has no effect on names alone."""
    names = [field.name for kind in (ScoreOptions, OpenOptions) for field in fields(kind)]
    refuse_options({"images", *names}, "is for numbers, which need the MODEL; name it")


def _add_names(atlas: str, names: str) -> None:
    from retroscope.render.captions import count_noun
    from retroscope.scanning.scoring.unit_names import name_units

    count = name_units(atlas, names)
    click.echo(f"{count_noun(count, 'name')} added to {atlas}", err=True)


def _add_numbers(
    atlas: str, model: str, images: str | None, *, options: ScoreOptions, opening: OpenOptions
) -> None:
    from retroscope.scanning.freed_memory import keep_freed_memory
    from retroscope.scanning.scoring.score import score as add_numbers

    keep_freed_memory()
    net, sources = opening.open_to_scan(model), scanned_sources(opening.inputs)
    alone = replace(opening, inputs={})
    embedding = None if options.embedding is None else alone.open(options.embedding)
    with stdout_to_stderr(), show_resumable_progress(Path(atlas)) as progress:
        add_numbers(
            atlas,
            net,
            images,
            inputs=sources,
            layers=options.layers,
            numbers=options.numbers or (),
            masks=options.masks,
            embedding=embedding,
            hits=options.hits,
            glob=options.glob,
            workers=options.workers,
            before=_print_estimate,
            progress=progress,
        )
    if progress.last is None:
        click.echo(f"{atlas} already has all of these numbers", err=True)


def _print_estimate(request: "ScoreRequest", work: "Sequence[MissingNumbers]") -> None:
    """What will be computed and how long it takes; what to know about the images and masks."""
    from retroscope.render.captions import count_noun
    from retroscope.scanning.scoring.time_estimate import estimate_score

    estimate = estimate_score(request, work)
    groups = ", ".join(dict.fromkeys(entry.group for entry in work))
    channels = count_noun(estimate.channels, "channel")
    click.echo(f"{groups} of {channels}: about {format_duration(estimate.seconds)}", err=True)
    if request.masks is not None:
        count, images = len(request.masked_images.indices), len(request.images.indices)
        if count < images:
            click.echo(f"{images - count} of {images} images have no mask", err=True)


COMMANDS = (score,)
