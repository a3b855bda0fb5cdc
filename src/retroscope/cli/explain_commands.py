"""Commands that explain one picture: why this class, and where it is seen."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retroscope.cli.options import aside, json_option, opened, output_option, runs_a_network
from retroscope.cli.output import (
    PAGES,
    check_writable,
    file_name,
    print_json,
    print_object,
    put,
    save,
)
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas
    from retroscope.network import Network
    from retroscope.results.heat_maps import Explanation, HeatMap

_target = click.option(
    "--target", metavar="CLASS", help="A class by name or number; the most probable one."
)
_colours = click.option(
    "--colours", default="inferno", show_default=True, help="inferno, magma, viridis or jet."
)
_bare = click.option("--bare", is_flag=True, help="Only the heat over the picture, without words.")


def _draws_heat(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that draws heat."""
    for option in (output_option, json_option, runs_a_network, _bare, _colours):
        command = option(command)
    return command


_original = click.option(
    "--original", is_flag=True, help="Lay the heat over the picture file, at its own size."
)


@click.command(short_help="Show which pixels a class or a unit answers to.")
@click.argument("model")
@click.argument("image")
@click.option(
    "--method",
    default="gradient",
    show_default=True,
    help="gradient, smoothgrad, guided, input_x_gradient or integrated.",
)
@_target
@click.option("--unit", metavar="UNIT", help="A unit instead of a class.")
@click.option("--samples", type=int, default=25, show_default=True, help="Of smoothgrad.")
@click.option("--noise", type=float, default=0.15, show_default=True, help="Of smoothgrad.")
@click.option("--steps", type=int, default=64, show_default=True, help="Of integrated.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
@_original
@_draws_heat
def saliency(
    model: str,
    image: str,
    *,
    method: str,
    target: str | None,
    unit: str | None,
    samples: int,
    noise: float,
    steps: int,
    seed: int,
    **options: Any,
) -> None:
    """Show which pixels of IMAGE the score of a class, or of a UNIT, answers to."""
    from retroscope.methods.saliency import saliency as look

    asked: Options = {"samples": samples, "noise": noise, "steps": steps, "seed": seed}
    with _looking(model, image, options) as (net, drawing):
        heat = look(net, image, method=method, target=target, unit=unit, **asked)
    _give_heat(heat, image, drawing)


@click.command(short_help="Show where in a picture a class is seen.")
@click.argument("model")
@click.argument("image")
@click.option(
    "--method",
    default="gradcam",
    show_default=True,
    help="gradcam, gradcam++, hirescam, layercam, xgradcam, eigencam, scorecam, ablationcam or "
    "guided-gradcam.",
)
@click.option("--layer", metavar="LAYER", help="The last maps before the head, if not given.")
@click.option(
    "--target",
    multiple=True,
    metavar="CLASS",
    help="A class by name or number; the most probable one. Several stand side by side.",
)
@_original
@_draws_heat
def cam(
    model: str,
    image: str,
    *,
    method: str,
    layer: str | None,
    target: tuple[str, ...],
    **options: Any,
) -> None:
    """Show where in IMAGE a class is seen, by the maps of a layer."""
    from retroscope.methods.cam.cam import cam_many

    if len(target) > 1 and options["original"]:
        raise RetroscopeError(
            "several classes over the original; give one --target, or no --original"
        )
    with _looking(model, image, options) as (net, drawing):
        asked = [(image, each) for each in target or (None,)]
        heats = list(cam_many(net, asked, method=method, layer=layer))
    if len(heats) == 1:
        _give_heat(heats[0], image, drawing)
    else:
        _give_heats(heats, image, drawing)


@click.command(short_help="Cover each part of a picture and see what the network says.")
@click.argument("model")
@click.argument("image")
@_target
@click.option("--size", type=int, default=32, show_default=True, help="Of the occluder, in pixels.")
@click.option("--stride", type=int, default=8, show_default=True, help="From one to the next.")
@click.option(
    "--fill", default="grey", show_default=True, help="grey, mean, blur, or a number for the input."
)
@_draws_heat
def occlusion(
    model: str,
    image: str,
    *,
    target: str | None,
    size: int,
    stride: int,
    fill: str,
    **options: Any,
) -> None:
    """Show what the network says while a square covers each place of IMAGE."""
    from retroscope.methods.occlusion.occlusion import occlusion as look

    with _looking(model, image, options) as (net, drawing):
        shown = look(net, image, target=target, size=size, stride=stride, fill=fill)
    if drawing["as_json"]:
        from retroscope.results.as_json import occlusion_facts

        print_object(occlusion_facts(shown))
    _draw(shown, _path(drawing, image, str(shown.target), "occlusion"), drawing)


@click.command(short_help="One page on one picture: classes, heat, unusual units.")
@click.argument("model")
@click.argument("image")
@click.option("--atlas", metavar="ATLAS", help="Other images to compare with; `scan` makes it.")
@click.option("--layers", multiple=True, metavar="LAYER", help="The last of each size of map.")
@click.option("--units", type=int, default=4, show_default=True, help="Of each layer.")
@_target
@click.option("--method", default="gradcam", show_default=True, help="Of the heat map; see `cam`.")
@_colours
@runs_a_network
@json_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The page: .html, or a picture."
)
def explain(
    model: str,
    image: str,
    *,
    atlas: str | None,
    layers: Sequence[str],
    units: int,
    target: str | None,
    method: str,
    **options: Any,
) -> None:
    """Explain IMAGE on one page: what it is taken for, where that is seen, which units of each
    layer respond unusually, and what made them fire.
    """
    from retroscope.methods.explain import explain as look

    with _atlas(atlas) as other, _looking(model, image, options) as (net, drawing):
        told = look(
            net, image, atlas=other, layers=layers, units=units, target=target, method=method
        )
    if drawing["as_json"]:
        from retroscope.results.as_json import explanation_facts

        print_object(explanation_facts(told))
    if drawing["output"] is None and drawing["as_json"]:
        return
    path = drawing["output"] or Path(f"{Path(image).stem}.explained.png")
    if path.suffix.lower() in PAGES:
        _write_html(told, path, drawing)
    else:
        save(told, path, to_stderr=drawing["as_json"], colours=drawing["colours"])


Options = dict[str, Any]
_FACE = ("output", "as_json", "bare", "colours", "original")


def _apart(options: Options) -> tuple[Options, Options]:
    """What is asked of the drawing, and what opens the network."""
    drawing = {name: options[name] for name in _FACE if name in options}
    return drawing, {name: one for name, one in options.items() if name not in _FACE}


@contextmanager
def _looking(model: str, image: str, options: Options) -> "Iterator[tuple[Network, Options]]":
    """The network, and what is asked of the drawing; what it prints stays out of the answer."""
    drawing, network = _apart(options)
    _check(drawing, image)
    with aside():
        yield opened(model, **network), drawing


def _check(drawing: Options, image: str) -> None:
    """Says before the work what would be in the way after it."""
    from retroscope.render.colours import scale_named

    scale_named(drawing["colours"])
    output, is_page = drawing["output"], "bare" not in drawing
    if output is not None and output.suffix.lower() in PAGES and not is_page:
        raise RetroscopeError(f"cannot write {str(output)!r}: only `explain` writes pages")
    check_writable(output, [image], or_page=is_page)


@contextmanager
def _atlas(path: str | None) -> "Iterator[Atlas | None]":
    from retroscope.atlas.reader import open_atlas

    if path is None:
        yield None
        return
    with open_atlas(path) as opened_atlas:
        yield opened_atlas


def _give_heat(heat: "HeatMap", image: str, drawing: Options) -> None:
    if drawing["as_json"]:
        from retroscope.results.as_json import heat_facts

        print_object(heat_facts(heat))
    more = {"over": image} if drawing["original"] else {}
    _draw(heat, _path(drawing, image, str(heat.target), heat.method), drawing, **more)


def _give_heats(heats: "Sequence[HeatMap]", image: str, drawing: Options) -> None:
    if drawing["as_json"]:
        from retroscope.results.as_json import heat_facts

        print_json(map(heat_facts, heats))
    path = _path(drawing, image, f"{len(heats)}-classes", heats[0].method)
    _draw(heats, path, drawing)


def _draw(thing: object, path: Path | None, drawing: Options, **more: object) -> None:
    if path is not None:
        save(
            thing,
            path,
            to_stderr=drawing["as_json"],
            colours=drawing["colours"],
            bare=drawing["bare"],
            **more,
        )


def _path(drawing: Options, image: str, target: str, what: str) -> Path | None:
    """Where the picture goes: nowhere, if only JSON was asked for."""
    path: Path | None = drawing["output"]
    if path is None and not drawing["as_json"]:
        path = file_name(image, target.replace(" ", "-"), what)
    return path


def _write_html(told: "Explanation", path: Path, drawing: Options) -> None:
    from retroscope.render.report_html import html_report

    page = html_report(told, colours=drawing["colours"])
    put(page.encode(), path, to_stderr=drawing["as_json"])


COMMANDS = (saliency, cam, occlusion, explain)
