"""Commands that look at what a network computes for an image."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.options import (
    OpenOptions,
    examples,
    image_output_option,
    json_option,
    open_options,
    output_option,
    refuse_drawing_options,
    rules_option,
    stdout_to_stderr,
    tone_option,
    view_option,
)
from retroscope.cli.output import (
    check_writable,
    default_path,
    model_name,
    print_json,
    print_layer_table,
    write_drawing,
)
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.network import Network
    from retroscope.unit import Unit


@click.command(
    short_help="List the layers of a network and their receptive fields.",
    epilog=examples("layers vgg16", "layers resnet50.pth --arch resnet50 -o layers.png"),
)
@click.argument("model")
@open_options
@json_option
@output_option("Image file to draw the table to, instead of printing it.")
def layers(model: str, *, opening: OpenOptions, as_json: bool, output: Path | None) -> None:
    """List the layers of MODEL with their names, kind, channels, size and receptive field.

    A field is SIZE/STRIDE/START in pixels: unit i sees SIZE pixels, starting at START + i * STRIDE.
    A size of 14x14 +1 means one token besides the maps, such as a class token.
    """
    from retroscope.results.as_json import layer_json
    from retroscope.results.layers import describe_notes, describe_unlisted

    check_writable(output)
    net = opening.open_to_list(model)
    with stdout_to_stderr():
        network_layers = net.layers
    for sentence in describe_unlisted(net.unlisted):
        click.echo(sentence, err=True)
    if not network_layers:
        raise RetroscopeError(f"{net.name} runs no operation that is a layer")
    if as_json:
        print_json([layer_json(layer) for layer in network_layers])
    elif output is None:
        print_layer_table(network_layers)
        for sentence in describe_notes(network_layers):
            click.echo(sentence)
    if output is not None:
        write_drawing(list(network_layers), output, to_stderr=as_json, title=net.name)


@click.command(
    short_help="Draw all maps of a layer for an image.",
    epilog=examples(
        "activations imagenet conv5 cat.jpg", "activations imagenet conv5 cat.jpg -o maps.webp"
    ),
)
@click.argument("model")
@click.argument("layer")
@click.argument("image")
@open_options
@json_option
@image_output_option
def activations(
    model: str,
    layer: str,
    image: str,
    *,
    opening: OpenOptions,
    as_json: bool,
    output: Path | None,
) -> None:
    """Draw all maps of LAYER for IMAGE, 16 in a row."""
    from retroscope.methods.activations import activations as compute_activations
    from retroscope.results.as_json import activations_json

    check_writable(output, [image])
    net = opening.open(model)
    with stdout_to_stderr():
        maps = compute_activations(net, layer, image)
    if as_json:
        print_json(activations_json(maps))
    if output is not None or not as_json:
        path = output or default_path(Path(image).stem, model_name(model), layer, "activations")
        write_drawing(maps, path, to_stderr=as_json)


@click.command(
    short_help="Show what in an image made a unit fire.",
    epilog=examples(
        "deconv imagenet conv7:42 cat.jpg", "deconv imagenet conv7 cat.jpg --top 12 -o units.png"
    ),
)
@click.argument("model")
@click.argument("unit")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@rules_option
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="Project the N strongest channels of a layer in each image; UNIT is then a layer.",
)
@click.option(
    "--shifts",
    type=click.IntRange(min=1, max=16),
    default=1,
    show_default=True,
    metavar="N",
    help="Average over N x N shifts of the image by one pixel. 4 removes most of the grid that "
    "strided convolutions leave, and takes 16 times as long.",
)
@tone_option()
@view_option
@click.option("--bare", is_flag=True, help="Short for --view projection.")
@open_options
@json_option
@image_output_option
def deconv(
    model: str,
    unit: str,
    images: Sequence[str],
    *,
    rules: str,
    top: int | None,
    shifts: int,
    tone: str,
    view: str | None,
    bare: bool,
    opening: OpenOptions,
    as_json: bool,
    output: Path | None,
) -> None:
    """Project the activation of UNIT back to the pixels of each IMAGE."""
    from retroscope.methods.deconv.deconv import deconv_many
    from retroscope.results.as_json import projection_json

    refuse_drawing_options(output, as_json=as_json)
    check_writable(output, images)
    net = opening.open(model)
    with stdout_to_stderr():
        chosen = [
            (address, image, notes)
            for image in images
            for address, notes in _select_units(net, unit, image, top=top)
        ]
        requests = [(address, image) for address, image, _ in chosen]
        projections = [
            replace(projection, notes=(*projection.notes, *notes))
            for projection, (_, _, notes) in zip(
                deconv_many(net, requests, rules=rules, shifts=shifts), chosen, strict=True
            )
        ]
    if as_json:
        print_json([projection_json(projection) for projection in projections])
    if output is not None or not as_json:
        more = f"and-{len(images) - 1}-more" if images[1:] else ""
        strongest, used_rules = f"top{top}" if top else "", projections[0].rules
        parts = more, model_name(model), unit, strongest, used_rules
        path = output or default_path(Path(images[0]).stem, *parts)
        result = projections[0] if len(projections) == 1 else projections
        write_drawing(result, path, to_stderr=as_json, tone=tone, view=view, bare=bare)


def _select_units(
    net: "Network", unit: str, image: str, *, top: int | None
) -> "Sequence[tuple[str | Unit, Sequence[str]]]":
    """The unit as given, or the strongest channels of the layer in this image, with notes.

    If others are as strong as the last ones, a line says so.
    """
    if top is None:
        return [(unit, ())]
    from retroscope.methods.activations import activations as compute_activations
    from retroscope.unit import Unit

    address = Unit.parse(unit)
    if address.channel is not None:
        raise RetroscopeError(f"--top picks the channels; give the layer {address.layer!r}")
    maps = compute_activations(net, address.layer, image)
    units, tie = maps.strongest(top), maps.describe_ties(top)
    if not tie:
        return [(strongest, ()) for strongest in units]
    click.echo(f"{image}: {tie}", err=True)
    peaks = [float(maps.maps[strongest.channel][strongest.position]) for strongest in units]
    return [
        (strongest, (tie,) if peak == peaks[-1] else ())
        for strongest, peak in zip(units, peaks, strict=True)
    ]


COMMANDS = (layers, activations, deconv)
