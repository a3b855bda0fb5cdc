"""Commands that create an atlas and add to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retroscope.cli.choices import ILLUSTRATION_METHODS, RANKINGS, RANKS
from retroscope.cli.estimate_lines import describe_estimate
from retroscope.cli.input_values import scanned_sources
from retroscope.cli.on_workers import (
    gpus_per_worker_option,
    on_option,
    parse_workers,
    print_unswept_lots,
    workers_option,
)
from retroscope.cli.options import (
    OpenOptions,
    examples,
    layers_option,
    open_options,
    packed_options,
    refuse_options,
    rules_option,
    stdout_to_stderr,
)
from retroscope.cli.output import check_atlas_writable
from retroscope.cli.parameter_types import parse_methods, parse_ranks
from retroscope.cli.pattern_commands import add_patterns, recipe_option, steps_option
from retroscope.cli.progress_bar import show_resumable_progress
from retroscope.cli.ranking_options import (
    check_ranking,
    class_option,
    refuse_ranking_beside_class,
)
from retroscope.cli.scan_options import (
    LAYERS_HELP,
    SWEEP_OPTIONS,
    SweepOptions,
    glob_option,
    labels_option,
)

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas
    from retroscope.network import Network
    from retroscope.progress import Progress
    from retroscope.scanning.distributed.worker_options import WorkerOptions


def _projections_option(
    default: str, time: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--projections",
        type=parse_ranks,
        default=default,
        show_default=True,
        metavar=f"{'|'.join(RANKS)}|N",
        help=f"Hits of each channel to project. auto: the best first, for {time}; max: all but "
        "those ranked by mean only.",
    )


@dataclass(frozen=True)
class ScanOptions(SweepOptions):
    """The keywords of `scan`."""

    to: str
    projections: str
    workers: int | None
    on: str | None
    gpus_per_worker: float | None
    restart: bool


_scan_options = packed_options(
    "options",
    ScanOptions,
    click.option(
        "--to", required=True, metavar="ATLAS", help="Atlas file to create, or to resume."
    ),
    *SWEEP_OPTIONS,
    _projections_option("auto", "three times as long as the pass, but at least two minutes"),
    workers_option,
    on_option,
    gpus_per_worker_option,
    click.option(
        "--restart", is_flag=True, help="Discard what the atlas file holds and start over."
    ),
)


@click.command(
    short_help="Find what excites every channel, in one pass over images.",
    epilog=examples(
        "scan imagenet photos --to photos.atlas --layers conv5,conv7",
        "scan resnet50 photos --to r50.atlas --projections 4",
    ),
)
@click.argument("model")
@click.argument("images")
@_scan_options
@open_options
def scan(model: str, images: str, *, options: ScanOptions, opening: OpenOptions) -> None:
    """Find the IMAGES that excite each channel of MODEL most.

    IMAGES is a folder whose sub-folders are classes; a text file of paths; tar, zip or Parquet
    files, such as 'train-{000..146}.tar'; a URL of any of these; or hf:NAME:SPLIT.

    Interrupt it at any time; run the same command to resume.
    """
    from retroscope.scanning.freed_memory import keep_freed_memory

    check_atlas_writable(Path(options.to))
    keep_freed_memory()
    net, inputs = opening.open_to_scan(model), scanned_sources(opening.inputs)
    on = parse_workers(
        options.on,
        model,
        opening=opening,
        workers=options.workers,
        gpus_per_worker=options.gpus_per_worker,
    )
    with stdout_to_stderr(), show_resumable_progress(Path(options.to)) as progress:
        describe = partial(describe_estimate, net, images, options, on=on, inputs=inputs)
        listener = _print_before_pass(describe, progress)
        with print_unswept_lots():
            atlas = _scan(net, images, options, on=on, inputs=inputs, progress=listener)
    with atlas:
        is_timed = options.projections == "auto"
        _print_summary(atlas, was_complete=progress.last is None, is_timed=is_timed)


@dataclass(frozen=True)
class ProjectionOptions:
    """Which projections `illustrate` adds, and from what."""

    projections: str
    ranked_by: tuple[str, ...]
    label: tuple[str, ...]
    rules: str
    labels: str | None
    glob: str | None
    workers: int | None

    @property
    def keywords(self) -> dict[str, Any]:
        """All options as keywords of the library."""
        return vars(self) | {"ranked_by": self.ranked_by or None, "label": self.label or None}


_projection_options = packed_options(
    "options",
    ProjectionOptions,
    _projections_option("all", "two minutes"),
    click.option(
        "--ranked-by",
        type=click.Choice(RANKINGS),
        multiple=True,
        show_default="max and mean",
        help="Ranking whose hits to project; repeat the option for several.",
    ),
    class_option(
        "Project the best images of this class instead; repeat the option for several.",
        multiple=True,
    ),
    rules_option,
    labels_option,
    glob_option,
    workers_option,
)


@click.command(
    short_help="Add projections or patterns to an atlas.",
    epilog=examples(
        "illustrate photos.atlas imagenet",
        "illustrate photos.atlas imagenet --layers conv7 --methods synthesize",
    ),
)
@click.argument("atlas")
@click.argument("model")
@click.argument("images", required=False)
@layers_option(LAYERS_HELP, shown_default="all layers of the atlas")
@click.option(
    "--methods",
    type=parse_methods,
    default="deconv",
    show_default=True,
    metavar=",".join(ILLUSTRATION_METHODS),
    help="What to add: projections, patterns, or both.",
)
@recipe_option
@steps_option
@_projection_options
@on_option
@gpus_per_worker_option
@open_options
def illustrate(
    atlas: str,
    model: str,
    images: str | None = None,
    *,
    layers: Sequence[str],
    methods: Sequence[str],
    recipe: str,
    steps: int | None,
    options: ProjectionOptions,
    on: str | None,
    gpus_per_worker: float | None,
    opening: OpenOptions,
) -> None:
    """Add the projections and patterns that ATLAS lacks, using the MODEL that was scanned.

    Without IMAGES, the images are read from where the scan read them. Patterns need no images.
    """
    from retroscope.atlas.write_lock import refuse_second_writer
    from retroscope.scanning.freed_memory import keep_freed_memory
    from retroscope.scanning.illustrate import illustrate as add_projections

    keep_freed_memory()
    _refuse_unused_options(methods)
    _check_ranking(atlas, options)
    refuse_second_writer(Path(atlas))
    net, inputs = opening.open_to_scan(model), scanned_sources(opening.inputs)
    if "deconv" in methods:
        with stdout_to_stderr(), show_resumable_progress(Path(atlas)) as progress:
            add_projections(
                atlas,
                net,
                images,
                inputs=inputs,
                layers=layers,
                on=parse_workers(
                    on,
                    model,
                    opening=opening,
                    workers=options.workers,
                    gpus_per_worker=gpus_per_worker,
                ),
                progress=progress,
                **options.keywords,
            )
        if progress.last is None:
            click.echo(f"{atlas} already has all of these projections", err=True)
    if "synthesize" in methods:
        add_patterns(atlas, net, layers, recipe=recipe, steps=steps)
    click.echo(atlas)


def _check_ranking(atlas: str, options: ProjectionOptions) -> None:
    from retroscope.atlas.reader import open_atlas

    refuse_ranking_beside_class(options.label)
    with open_atlas(atlas) as scanned:
        check_ranking(scanned, options.ranked_by or RANKINGS[0], options.label or None)


def _refuse_unused_options(methods: Sequence[str]) -> None:
    """Raises if an option is given for a method of `illustrate` that is not."""
    if "deconv" not in methods:
        names = ["images", "projections", "ranked_by", "label", "rules", "labels", "glob"]
        names += ["workers", "on"]
        refuse_options(names, "is for projections; add deconv to --methods, or leave it out")
    if "synthesize" not in methods:
        refuse_options(
            ("recipe", "steps"), "is for patterns; add synthesize to --methods, or leave it out"
        )


def _scan(
    net: "Network",
    images: str,
    options: ScanOptions,
    *,
    on: "WorkerOptions | None",
    inputs: dict[str, str],
    progress: "Callable[[Progress], None]",
) -> "Atlas":
    from retroscope.scanning.job import scan as run_scan

    keywords = {**options.keywords, "on": on, "inputs": inputs}
    del keywords["gpus_per_worker"]  # which `on` contains
    return run_scan(net, images, **keywords, progress=progress)


def _print_before_pass(
    describe: "Callable[[], str]", progress: "Callable[[Progress], None]"
) -> "Callable[[Progress], None]":
    """A listener that prints a line when the pass starts, which a refused scan never does."""
    pending = [describe]

    def listen(state: "Progress") -> None:
        if pending and state.stage == "scan":
            click.echo(pending.pop()(), err=True)
        progress(state)

    return listen


def _print_summary(atlas: "Atlas", *, was_complete: bool, is_timed: bool) -> None:
    from retroscope.render.captions import count_noun

    if was_complete:
        parts = count_noun(len(atlas.images), "image"), count_noun(len(atlas.layers), "layer")
        click.echo(f"{atlas.path} is complete: {', '.join(parts)}", err=True)
    if is_timed:
        _print_missing_projections(atlas)
    problems = _describe_problems(atlas)
    if problems:
        click.echo(", ".join(problems), err=True)
    _print_unreadable(atlas)
    click.echo(str(atlas.path))


def _print_missing_projections(atlas: "Atlas") -> None:
    """How many hits are not projected yet, and how to make them."""
    from retroscope.atlas.queries.reader_queries import projection_counts

    counts = projection_counts(atlas, atlas.rules)
    if counts.projected < counts.hits:
        click.echo(
            f"{counts.projected:,} of {counts.hits:,} hits have a projection, the best of each "
            f"channel first; `retroscope illustrate {atlas.path} MODEL` makes the others",
            err=True,
        )


def _describe_problems(atlas: "Atlas") -> list[str]:
    from retroscope.atlas.queries.reader_queries import scan_findings
    from retroscope.render.captions import count_noun

    findings = scan_findings(atlas)
    not_finite = "with values that are not finite"
    problems = (
        (findings.unreadable_images, "unreadable image", "unreadable images"),
        (findings.dead_channels, "channel that never fires", "channels that never fire"),
        (findings.non_finite_channels, f"channel {not_finite}", f"channels {not_finite}"),
    )
    return [count_noun(count, noun, plural) for count, noun, plural in problems if count]


def _print_unreadable(atlas: "Atlas") -> None:
    """The first images that cannot be read, with the reason, and how to list the others."""
    from retroscope.atlas.queries.reader_queries import UNREADABLE_IMAGES

    images = UNREADABLE_IMAGES(atlas)
    for image in images[:_MAX_UNREADABLE_LINES]:
        click.echo(f"  {image.key}: {image.error}", err=True)
    if images[_MAX_UNREADABLE_LINES:]:
        count = len(images) - _MAX_UNREADABLE_LINES
        query = UNREADABLE_IMAGES.text
        click.echo(f'  and {count} more: sqlite3 {atlas.path} "{query}"', err=True)


_MAX_UNREADABLE_LINES = 3

COMMANDS = (scan, illustrate)
