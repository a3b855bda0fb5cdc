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
OPENING = (
    *("arch", "random_weights", "device", "resize", "input_size", "mean", "std"),
    "threads",
)
"""What `runs_a_network` adds: how a network is opened."""


def _size(text: str) -> tuple[int, int]:
    """`96`, or `96x128`: height and width."""
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise click.BadParameter(f"{text!r} is no size; write 96, or 96x128 for height and width")
    return int(sides[0]), int(sides[-1])


def _numbers(text: str) -> tuple[float, ...]:
    """`.5,.5,.5`: a number for each channel."""
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no list of numbers; write .5,.5,.5") from error


def runs_a_network(command: Command) -> Command:
    """The options of every command that runs a network."""
    for option in reversed(_NETWORK):
        command = option(command)
    return command


_NETWORK = (
    click.option(
        "--arch", metavar="NAME", help="Whose network a weight file is, where it cannot be told."
    ),
    click.option(
        "--random-weights",
        type=int,
        metavar="SEED",
        help="Initialise the network by a seed; nothing is downloaded.",
    ),
    click.option("--device", default="auto", help="auto, cpu, cuda or mps.", show_default=True),
    click.option(
        "--resize",
        default="network",
        show_default=True,
        help="How pictures get to the input size: network (its own way), stretch or crop.",
    ),
    click.option(
        "--input-size", type=_size, metavar="HxW", help="Another size than the network's own."
    ),
    click.option("--mean", type=_numbers, metavar="R,G,B", help="Taken from pixels of 0 to 1."),
    click.option("--std", type=_numbers, metavar="R,G,B", help="Divides them then."),
    click.option(
        "--threads", type=click.IntRange(min=1), help="Processor threads; all, if not given."
    ),
)


output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The picture to write."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


def aside() -> AbstractContextManager[object]:
    """What a user's own network prints must not get into what we print."""
    return redirect_stdout(sys.stderr)


def opened_from(model: str, options: dict[str, Any]) -> "Network":
    """The network of a command's options, which are taken out of them."""
    with aside():
        return opened(model, **{name: options.pop(name) for name in OPENING})


def opened(model: str, threads: int | None, **options: Any) -> "Network":
    """The network that a command's options ask for; what was found out about it is said."""
    import torch

    from retroscope.zoo import open_model

    if threads is not None:
        torch.set_num_threads(threads)
    net = open_model(model, **options)
    for decided in net.decided:
        click.echo(f"{model}: {decided}", err=True)
    return net
