"""Options of commands that can do their work on several workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from retroscope.cli.options import OpenOptions, refuse_options

if TYPE_CHECKING:
    from retroscope.scanning.distributed.worker_options import WorkerOptions

on_option = click.option(
    "--on",
    metavar="processes|ray|ray://HOST:PORT",
    show_default="this process",
    help="Share the work among workers: processes on this machine, or Ray, on this machine or on a "
    "cluster.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="one per CPU; with --on, per GPU if the network runs on one",
    help="Image-loading threads; with --on, workers.",
)
gpus_per_worker_option = click.option(
    "--gpus-per-worker",
    type=click.FloatRange(min=0),
    metavar="G",
    show_default="1 if the network runs on a GPU",
    help="With --on, GPUs per worker; with 0.5, two workers share one.",
)


def parse_workers(
    on: str | None,
    model: str,
    *,
    opening: OpenOptions,
    workers: int | None,
    gpus_per_worker: float | None,
) -> "WorkerOptions | None":
    """The workers that a command asks for, which open MODEL as it does; None for this process."""
    if on is None:
        refuse_options(("gpus_per_worker",), "is for workers; add --on, or leave it out")
        return None
    from retroscope.scanning.distributed.worker_options import WorkerOptions
    from retroscope.scanning.lots.network_source import NetworkSource

    network = NetworkSource.named(model, **opening.keywords)
    return WorkerOptions(on, workers, gpus_per_worker, opening.threads, network)


@contextmanager
def print_unswept_lots() -> Iterator[None]:
    """Reports lots that could not be swept, and ends the command with status 1."""
    from retroscope.scanning.distributed.first_pass import SweepError

    try:
        yield
    except SweepError as error:
        for reason in error.reasons:
            click.echo(f"retroscope: {reason}", err=True)
        click.echo(f"retroscope: {error}", err=True)
        raise click.exceptions.Exit(1) from None
