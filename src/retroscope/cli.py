"""The command line: each command is a function of the library, with its words."""

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retroscope import __version__
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from PIL.Image import Image as Drawing

    from retroscope.network import Network
    from retroscope.results import Layer, Projection

Command = Callable[..., None]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="retroscope")
def main() -> None:
    """A microscope that looks back through a convolutional network.

    MODEL is a torchvision name (vgg16), timm/NAME, package.module:factory or file.py:factory.
    UNIT is LAYER:CHANNEL, LAYER:CHANNEL@Y,X or LAYER:CHANNEL@* for a whole map; `layers` lists
    the layers. For example:

    \b
        retroscope layers vgg16
        retroscope deconv vgg16 conv5_3:42 cat.jpg -o unit.png
        retroscope deconv vgg16 conv5_3 cat.jpg --top 12
    """


def run() -> None:
    """The console script: what a user did wrong is one line and exit status 2."""
    warnings.filterwarnings("ignore", module="PIL")  # damaged tags of a readable picture
    try:
        main(prog_name="retroscope", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
    except click.ClickException as error:
        _fail(_in_one_line(error), error.exit_code)
    except RetroscopeError as error:
        _fail(str(error), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has enough
        sys.exit(0)


def _in_one_line(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "retroscope"
    return f'{error.format_message()} "{command} --help" tells more.'


def _fail(line: str, status: int) -> None:
    click.echo(f"retroscope: {line}", err=True)
    sys.exit(status)


def _runs_a_network(command: Command) -> Command:
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


_output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The picture to write."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


def _opened(model: str, threads: int | None, **options: Any) -> "Network":
    import torch

    from retroscope.zoo import open_model

    if threads is not None:
        torch.set_num_threads(threads)
    return open_model(model, **options)


@main.command()
@click.argument("model")
@_runs_a_network
@_as_json
@_output
def layers(model: str, *, as_json: bool, output: Path | None, **network: Any) -> None:
    """List the layers of MODEL: names, kind, channels, size and receptive field.

    The field is size/stride/start in pixels: unit i sees SIZE pixels from START + i * STRIDE.
    """
    from retroscope.render.table import layer_rows

    net = _opened(model, **network)
    if as_json:
        click.echo(json.dumps(layer_rows(net.layers), indent=1))
    elif output is None:
        _print_table(net.layers)
    if output is not None:
        _save(list(net.layers), output, title=net.name)


@main.command()
@click.argument("model")
@click.argument("layer")
@click.argument("image")
@_runs_a_network
@_output
def activations(model: str, layer: str, image: str, *, output: Path | None, **network: Any) -> None:
    """Draw all maps of LAYER for IMAGE, 16 in a row."""
    from retroscope.methods.activations import activations as look

    seen = look(_opened(model, **network), layer, image)
    _save(seen, output or _file_name(image, seen.layer.name, "activations"))


@main.command()
@click.argument("model")
@click.argument("unit")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--rules", default="deconvnet", show_default=True, help="deconvnet, guided or gradient."
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="The N strongest channels of the layer UNIT in each image.",
)
@click.option("--tone", default="tile", show_default=True, help="tile, percentile or gamma.")
@click.option("--bare", is_flag=True, help="Only the projection, without patch and words.")
@_runs_a_network
@_as_json
@_output
def deconv(
    model: str,
    unit: str,
    images: Sequence[str],
    *,
    rules: str,
    top: int | None,
    tone: str,
    bare: bool,
    as_json: bool,
    output: Path | None,
    **network: Any,
) -> None:
    """Show what in each IMAGE made UNIT fire, back in the space of the pixels."""
    from retroscope.methods.deconv import deconv_many
    from retroscope.render.tone import tone_named

    tone_named(tone)
    net = _opened(model, **network)
    wanted = [(one, image) for image in images for one in _units(net, unit, image, top)]
    shown = list(deconv_many(net, wanted, rules=rules))
    if as_json:
        click.echo(json.dumps([_projection_row(one) for one in shown], indent=1))
    if output is not None or not as_json:
        thing = shown[0] if len(shown) == 1 else shown
        _save(thing, output or _file_name(images[0], unit, rules), tone=tone, bare=bare)


def _units(net: "Network", unit: str, image: str, top: int | None) -> list[Any]:
    if top is None:
        return [unit]
    from retroscope.methods.activations import activations as look
    from retroscope.unit import Unit

    asked = Unit.parse(unit)
    if asked.channel is not None:
        raise RetroscopeError(f"--top picks the channels itself; give the layer {asked.layer!r}")
    return look(net, asked.layer, image).strongest(top)


def _projection_row(shown: "Projection") -> dict[str, object]:
    box = shown.box
    return {
        "unit": str(shown.unit),
        "activation": shown.activation if isfinite(shown.activation) else None,
        "box": [box.top, box.left, box.bottom, box.right],
        "rules": shown.rules,
        "source": shown.source,
        "notes": list(shown.notes),
    }


def _print_table(rows: Sequence["Layer"]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from retroscope.render.table import FIELD_KEY, LAYER_COLUMNS, layer_cells

    table = Table(*LAYER_COLUMNS, box=SIMPLE_HEAD, caption=FIELD_KEY, pad_edge=False)
    for row in rows:
        table.add_row(*layer_cells(row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=Console(width=100_000).measure(table).maximum)
    console.print(table)


def _file_name(image: str, unit: str, what: str) -> Path:
    safe = unit.replace("/", "_").replace(":", "_").replace("*", "all").replace("@", "_at_")
    return Path(f"{Path(image).stem}.{safe}.{what}.png")


def _save(thing: Any, path: Path, **options: Any) -> None:
    from retroscope.render.draw import draw

    drawing: Drawing = draw(thing, **options)
    try:
        drawing.save(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RetroscopeError(f"cannot write {str(path)!r}: {reason}") from error
    click.echo(str(path), err=True)


if __name__ == "__main__":
    run()
