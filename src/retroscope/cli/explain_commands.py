"""Commands that explain one image: which class, and which pixels speak for it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.choices import CAM_METHODS, FILLS, SALIENCY_METHODS
from retroscope.cli.options import (
    HeatOptions,
    OpenOptions,
    colours_option,
    heat_options,
    json_option,
    layers_option,
    open_options,
    output_option,
    stdout_to_stderr,
    target_option,
    tone_option,
)
from retroscope.cli.output import (
    PAGE_SUFFIXES,
    check_writable,
    default_path,
    print_json,
    write_bytes,
    write_drawing,
)
from retroscope.cli.parameter_types import parse_fill
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas
    from retroscope.results.explanations import Explanation

_original_option = click.option(
    "--original", is_flag=True, help="Draw the heat over the image file at its full size."
)
_cam_method_option = click.option(
    "--method",
    type=click.Choice(CAM_METHODS),
    default="gradcam",
    show_default=True,
    help="Class activation map to compute.",
)


@click.command(short_help="Show which pixels the score of a class or unit depends on.")
@click.argument("model")
@click.argument("image")
@click.option(
    "--method",
    type=click.Choice(SALIENCY_METHODS),
    default="gradient",
    show_default=True,
    help="Saliency method.",
)
@target_option
@click.option("--unit", metavar="UNIT", help="Unit to explain instead of a class.")
@click.option(
    "--samples",
    type=int,
    metavar="N",
    default=25,
    show_default=True,
    help="Noisy copies for smoothgrad.",
)
@click.option(
    "--noise",
    type=float,
    metavar="FRACTION",
    default=0.15,
    show_default=True,
    help="Noise for smoothgrad, as a fraction of the input range.",
)
@click.option(
    "--steps",
    type=int,
    metavar="N",
    default=64,
    show_default=True,
    help="Integration steps for integrated.",
)
@click.option(
    "--seed", type=int, metavar="SEED", default=0, show_default=True, help="Seed of the noise."
)
@_original_option
@open_options
@heat_options
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
    original: bool,
    opening: OpenOptions,
    drawing: HeatOptions,
) -> None:
    """Show which pixels of IMAGE the score of a class, or of a unit, depends on.

    With --json, "values" is null, because there is one for every pixel; in Python, the result of
    rs.saliency() has them.
    """
    from retroscope.methods.saliency import saliency as compute_saliency

    _check_output(drawing.output, image)
    net = opening.open(model)
    with stdout_to_stderr():
        heat = compute_saliency(
            net,
            image,
            method=method,
            target=target,
            unit=unit,
            samples=samples,
            noise=noise,
            steps=steps,
            seed=seed,
        )
    path = default_path(image, str(heat.target), heat.method)
    _report(heat, path, drawing, over=image if original else None)


@click.command(short_help="Highlight the regions of an image that support a class.")
@click.argument("model")
@click.argument("image")
@_cam_method_option
@click.option(
    "--layer",
    metavar="LAYER",
    show_default="the last maps before the head",
    help="Layer whose maps are weighted.",
)
@click.option(
    "--target",
    multiple=True,
    metavar="CLASS",
    show_default="the most probable",
    help="Class to explain, by name or number; repeat it to compare classes.",
)
@_original_option
@open_options
@heat_options
def cam(
    model: str,
    image: str,
    *,
    method: str,
    layer: str | None,
    target: Sequence[str],
    original: bool,
    opening: OpenOptions,
    drawing: HeatOptions,
) -> None:
    """Highlight the regions of IMAGE that support a class, by weighting the maps of a layer."""
    from retroscope.methods.cam.cam import cam_many

    if len(target) > 1 and original:
        raise RetroscopeError(
            "--original draws one class; give one --target, or leave out --original"
        )
    _check_output(drawing.output, image)
    net = opening.open(model)
    with stdout_to_stderr():
        requests = [(class_name, image) for class_name in target or (None,)]
        heats = list(cam_many(net, requests, method=method, layer=layer))
    if len(heats) == 1:
        heat = heats[0]
        path = default_path(image, str(heat.target), heat.method)
        _report(heat, path, drawing, over=image if original else None)
    else:
        path = default_path(image, f"{len(heats)}-classes", method)
        _report(heats, path, drawing)


@click.command(short_help="Cover each part of an image and watch the class scores.")
@click.argument("model")
@click.argument("image")
@target_option
@click.option(
    "--size",
    type=int,
    metavar="PIXELS",
    default=32,
    show_default=True,
    help="Side of the occluder.",
)
@click.option(
    "--stride",
    type=int,
    metavar="PIXELS",
    default=8,
    show_default=True,
    help="Step between two positions of the occluder.",
)
@click.option(
    "--fill",
    type=parse_fill,
    default="grey",
    show_default=True,
    metavar=f"{'|'.join(FILLS)}|NUMBER",
    help="What covers the pixels; a number is in the units of the network's input.",
)
@open_options
@heat_options
def occlusion(
    model: str,
    image: str,
    *,
    target: str | None,
    size: int,
    stride: int,
    fill: str,
    opening: OpenOptions,
    drawing: HeatOptions,
) -> None:
    """Show how the probability of a class changes as a square covers each part of IMAGE."""
    from retroscope.methods.occlusion.occlusion import occlusion as compute_occlusion

    _check_output(drawing.output, image)
    net = opening.open(model)
    with stdout_to_stderr():
        result = compute_occlusion(net, image, target=target, size=size, stride=stride, fill=fill)
    path = default_path(image, str(result.target), "occlusion")
    _report(result, path, drawing)


@click.command(short_help="Explain an image on one page: classes, heat map, unusual units.")
@click.argument("model")
@click.argument("image")
@click.option(
    "--atlas",
    metavar="ATLAS",
    help="Atlas of other images to compare with; `retroscope scan` creates one.",
)
@layers_option("Layers to search for unusual units.", shown_default="the last of each map size")
@click.option(
    "--top", type=int, default=4, show_default=True, metavar="N", help="Unusual units per layer."
)
@click.option(
    "--contrast/--no-contrast",
    default=True,
    show_default=True,
    help="Show what each unit adds to the other channels at its position. It takes longer than "
    "all the rest.",
)
@target_option
@_cam_method_option
@colours_option
@tone_option()
@open_options
@json_option
@output_option("Image file, or .html file, to write.", shown_default="named after the image")
def explain(
    model: str,
    image: str,
    *,
    atlas: str | None,
    layers: Sequence[str],
    top: int,
    contrast: bool,
    target: str | None,
    method: str,
    colours: str,
    tone: str,
    opening: OpenOptions,
    as_json: bool,
    output: Path | None,
) -> None:
    """Explain IMAGE on one page.

    It shows the most probable classes, a heat map of one of them, the units of each layer that
    respond unusually, what made them fire, and what each adds to the others at its position.

    Write it as a web page with -o FILE.html.
    """
    from retroscope.methods.explain import explain as compute_explanation

    check_writable(output, [image], accept_page=True)
    with _open_optional_atlas(atlas) as reference:
        net = opening.open(model)
        with stdout_to_stderr():
            explanation = compute_explanation(
                net,
                image,
                atlas=reference,
                layers=layers,
                top=top,
                target=target,
                method=method,
                contrast=contrast,
            )
    if as_json:
        from retroscope.results.as_json import explanation_json

        print_json(explanation_json(explanation))
    if output is None and as_json:
        return
    path = output or Path(f"{Path(image).stem}.explained.png")
    if path.suffix.lower() in PAGE_SUFFIXES:
        _write_page(explanation, path, to_stderr=as_json, colours=colours, tone=tone)
    else:
        write_drawing(explanation, path, to_stderr=as_json, colours=colours, tone=tone)


def _check_output(output: Path | None, image: str) -> None:
    if output is not None and output.suffix.lower() in PAGE_SUFFIXES:
        raise RetroscopeError(
            f"cannot write {str(output)!r}: only `retroscope explain` writes web pages"
        )
    check_writable(output, [image])


@contextmanager
def _open_optional_atlas(path: str | None) -> "Iterator[Atlas | None]":
    from retroscope.atlas.reader import open_atlas

    if path is None:
        yield None
        return
    with open_atlas(path) as atlas:
        yield atlas


def _report(
    result: object,
    path: Path,
    drawing: HeatOptions,
    *,
    over: str | None = None,
) -> None:
    """Prints the JSON if it is asked for, and draws the result unless JSON alone is."""
    from retroscope.results.as_json import as_json

    if drawing.as_json:
        print_json(as_json(result))
    if drawing.output is None and drawing.as_json:
        return
    write_drawing(
        result,
        drawing.output or path,
        to_stderr=drawing.as_json,
        colours=drawing.colours,
        bare=drawing.bare,
        **({} if over is None else {"over": over}),
    )


def _write_page(
    explanation: "Explanation", path: Path, *, to_stderr: bool, colours: str, tone: str
) -> None:
    from retroscope.web.site.explanation_page import explanation_html

    page = explanation_html(explanation, colours=colours, tone=tone)
    write_bytes(page.encode(), path, to_stderr=to_stderr)


COMMANDS = (saliency, cam, occlusion, explain)
