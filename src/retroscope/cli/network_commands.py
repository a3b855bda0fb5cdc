"""Commands that look through a network at pictures."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retroscope.cli.options import aside, json_option, opened, output_option, runs_a_network
from retroscope.cli.output import check_writable, file_name, print_json, print_table, save
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.network import Network
    from retroscope.results.values import Projection


@click.command(short_help="List the layers of a network and their receptive fields.")
@click.argument("model")
@runs_a_network
@json_option
@output_option
def layers(model: str, *, as_json: bool, output: Path | None, **network: Any) -> None:
    """List the layers of MODEL: names, kind, channels, size and receptive field.

    The field is size/stride/start in pixels: unit i sees SIZE pixels from START + i * STRIDE.
    """
    from retroscope.render.layer_rows import layer_rows

    check_writable(output)
    with aside():
        net = opened(model, **network)
        found = net.layers
    if not found:
        raise RetroscopeError(f"{net.name} runs no operation that is a layer")
    if as_json:
        print_json(layer_rows(found))
    elif output is None:
        print_table(found)
    if output is not None:
        save(list(found), output, to_stderr=as_json, title=net.name)


@click.command()
@click.argument("model")
@click.argument("layer")
@click.argument("image")
@runs_a_network
@output_option
def activations(model: str, layer: str, image: str, *, output: Path | None, **network: Any) -> None:
    """Draw all maps of LAYER for IMAGE, 16 in a row."""
    from retroscope.methods.activations import activations as look

    check_writable(output, [image])
    with aside():
        seen = look(opened(model, **network), layer, image)
    save(seen, output or file_name(image, layer, "activations"))


@click.command(short_help="Show what in a picture made a unit fire.")
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
@runs_a_network
@json_option
@output_option
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
    from retroscope.engine.rules import rule_book
    from retroscope.methods.deconv.deconv import deconv_many
    from retroscope.render.tone import tone_named

    tone_named(tone)
    rule_book(rules)
    check_writable(output, images)
    with aside():
        net = opened(model, **network)
        wanted = [(one, image) for image in images for one in _units(net, unit, image, top)]
        shown = list(deconv_many(net, wanted, rules=rules))
    if as_json:
        print_json(map(_projection_row, shown))
    if output is not None or not as_json:
        thing = shown[0] if len(shown) == 1 else shown
        what = rules if top is None else f"top{top}.{rules}"
        save(
            thing,
            output or file_name(images[0], unit, what),
            to_stderr=as_json,
            tone=tone,
            bare=bare,
        )


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


COMMANDS = (layers, activations, deconv)
