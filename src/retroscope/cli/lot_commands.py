"""Commands for a scan that several processes or machines do together."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from retroscope.cli.input_values import scanned_sources
from retroscope.cli.options import (
    OpenOptions,
    examples,
    open_options,
    packed_options,
    stdout_to_stderr,
)
from retroscope.cli.parameter_types import parse_part
from retroscope.cli.progress_bar import show_progress
from retroscope.cli.scan_options import SWEEP_OPTIONS, SweepOptions, workers_option

if TYPE_CHECKING:
    from retroscope.scanning.lots.sweep_part import SweepSummary
    from retroscope.scanning.lots.sweep_plan import SweepPlan


@dataclass(frozen=True)
class PlanOptions(SweepOptions):
    """The keywords of `make_plan`."""

    to: str
    lot_images: int | None
    restart: bool


_plan_options = packed_options(
    "options",
    PlanOptions,
    click.option("--to", required=True, metavar="PLAN", help="Folder to create for the plan."),
    *SWEEP_OPTIONS,
    click.option(
        "--lot-images",
        type=click.IntRange(min=1),
        metavar="N",
        show_default="as many as this machine sweeps in two minutes",
        help="Images per lot, the unit of work.",
    ),
    click.option(
        "--restart", is_flag=True, help="Discard the plan in the folder and all that was swept."
    ),
)


@click.command(
    short_help="Plan a scan for several processes or machines.",
    epilog=examples(
        "plan resnet50 photos --to r50.plan",
        "plan resnet50 'train-{000..146}.tar' --to r50.plan --lot-images 5000",
    ),
)
@click.argument("model")
@click.argument("images")
@_plan_options
@open_options
def plan(model: str, images: str, *, options: PlanOptions, opening: OpenOptions) -> None:
    """Plan a scan of the IMAGES with MODEL, for several processes or machines.

    The plan is a folder that all of them must see. `sweep` does the work, all of it or a part, and
    `merge` makes the atlas. Running `plan` again with the same arguments finds the plan.
    """
    from retroscope.scanning.lots.make_plan import make_plan
    from retroscope.scanning.lots.network_source import NetworkSource

    net, inputs = opening.open_to_scan(model), scanned_sources(opening.inputs)
    opened = NetworkSource.named(model, **opening.keywords)
    with stdout_to_stderr():
        made = make_plan(
            net,
            images,
            opened=opened,
            inputs=inputs,
            threads=opening.threads,
            **options.keywords,
        )
    click.echo(_describe_plan(made), err=True)
    click.echo(options.to)


def _describe_plan(made: "SweepPlan") -> str:
    """How much work it is, and in what pieces."""
    from retroscope.render.captions import count_noun

    images, lots = made.images, len(made.lots)
    counts = [count_noun(made.lot_starts[-1], "shard"), count_noun(lots, "lot")]
    if images is None:  # a tar says how many it has only when it is read
        return ", ".join(counts)
    line = ", ".join([count_noun(images, "image"), *counts])
    return f"{line} of about {count_noun(max(made.lot_images), 'image')}"


@click.command(
    short_help="Sweep the images of a plan, or a part of them.",
    epilog=examples(
        "sweep r50.plan",
        "sweep r50.plan --part 3/16",
    ),
)
@click.argument("plan_folder", metavar="PLAN")
@click.option(
    "--part",
    type=parse_part,
    default="1/1",
    show_default="all lots",
    metavar="K/N",
    help="Sweep every N-th lot from the K-th on, such as 3/16; other processes sweep the others.",
)
@workers_option
def sweep(plan_folder: str, *, part: tuple[int, int], workers: int | None) -> None:
    """Sweep the lots of PLAN that no process has swept yet.

    Run it for as many parts as you like, at any time and on any machine that sees the folder.
    Interrupt it at any time; run the same command to resume. When no lot is missing, `merge` makes
    the atlas.
    """
    from retroscope.scanning.freed_memory import keep_freed_memory
    from retroscope.scanning.lots.sweep_part import sweep as sweep_lots

    keep_freed_memory()
    with stdout_to_stderr(), print_warnings(), show_progress() as progress:
        summary = sweep_lots(plan_folder, part=part, workers=workers, progress=progress)
    for line in _describe_summary(plan_folder, summary):
        click.echo(line, err=True)
    if summary.failures:
        raise click.exceptions.Exit(1)
    click.echo(plan_folder)


@contextmanager
def print_warnings() -> Iterator[None]:
    """Prints what the library warns of as a line of its own, without the place in its code."""

    def show(message: Warning | str, *_place: object, **_line: object) -> None:
        click.echo(f"retroscope: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _describe_summary(plan: str, summary: "SweepSummary") -> Iterator[str]:
    """What could not be swept, and what is left to do."""
    from retroscope.render.captions import count_noun

    if summary.unreadable:
        yield count_noun(summary.unreadable, "unreadable image")
    for task, reason in summary.failures.items():
        yield f"retroscope: lot {task.lot}: {reason}"
    for lot, reason in summary.skipped.items():
        yield f"lot {lot} is skipped: {reason}"
    if summary.failures:
        yield (
            f"{count_noun(len(summary.failures), 'lot')} could not be swept; what was swept is "
            "saved; run the same command to try again"
        )
    missing = len({task.lot for task in summary.missing})
    if missing:
        yield f"{missing} of {count_noun(summary.lots, 'lot')} missing"
    if summary.is_waiting:
        yield (
            "when no lot is missing, the same command scores the candidates of the pass in full "
            "precision"
        )
    if not missing:
        option = " --allow-missing" if summary.skipped else ""
        yield f"no lot is missing; `retroscope merge {plan} --to ATLAS{option}` makes the atlas"


COMMANDS = (plan, sweep)
