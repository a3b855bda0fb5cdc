"""Options that commands share, and the network that they open."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from retroscope.network import Network

Command = Callable[..., None]


def runs_a_network(command: Command) -> Command:
    """The options of every command that runs a network."""
    for option in reversed(
        (
            click.option(
                "--random-weights",
                type=int,
                metavar="SEED",
                help="Initialise the network by a seed; nothing is downloaded.",
            ),
            click.option(
                "--device", default="auto", help="auto, cpu, cuda or mps.", show_default=True
            ),
            click.option(
                "--resize",
                default="network",
                show_default=True,
                help="How pictures get to the input size: network (its own way), stretch or crop.",
            ),
            click.option(
                "--threads",
                type=click.IntRange(min=1),
                help="Processor threads; all, if not given.",
            ),
        )
    ):
        command = option(command)
    return command


output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The picture to write."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


def aside() -> AbstractContextManager[object]:
    """What a user's own network prints must not get into what we print."""
    return redirect_stdout(sys.stderr)


def opened(model: str, threads: int | None, **options: Any) -> "Network":
    import torch

    from retroscope.zoo import open_model

    if threads is not None:
        torch.set_num_threads(threads)
    return open_model(model, **options)
