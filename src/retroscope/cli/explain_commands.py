"""Commands that explain one image: which class, and which pixels speak for it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.choices import CAM_METHODS, FILLS, SALIENCY_METHODS
from retroscope.cli.options import (
    TARGET_FORMS,
    HeatOptions,
    OpenOptions,
    colours_option,
    examples,
    heat_options,
    json_option,
    layers_option,
    number_option,
    open_options,
    output_option,
    refuse_drawing_options,
    refuse_options,
    stdout_to_stderr,
    target_option,
    tone_option,
)
from retroscope.cli.output import (
    PAGE_SUFFIXES,
    check_writable,
    default_path,
    model_name,
    print_json,
    write_bytes,
    write_drawing,
)
from retroscope.cli.parameter_types import parse_fill, parse_lengths
from retroscope.cli.progress_bar import show_large_work
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
    default="auto",
    show_default=True,
    help="Class activation map to compute. auto: gradcam for a class of the image, layercam for a "
    "box, a segment or a pixel.",
)


_OPTIONS_OF_METHOD = {"smoothgrad": ("samples", "noise", "seed"), "integrated": ("steps",)}
"""Options of one saliency method, which the others ignore."""


@click.command(
    short_help="Show which pixels the score of a class or unit depends on.",
    epilog=examples(
        "saliency imagenet cat.jpg --method smoothgrad", "saliency imagenet cat.jpg --unit conv7:42"
    ),
)
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
@number_option("--samples", 25, metavar="N", description="Noisy copies for smoothgrad.")
@number_option(
    "--noise",
    0.15,
    metavar="FRACTION",
    description="Noise for smoothgrad, as a fraction of the input range.",
)
@number_option("--steps", 64, metavar="N", description="Integration steps for integrated.")
@number_option("--seed", 0, metavar="SEED", description="Seed of the noise.")
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

    for method_name, names in _OPTIONS_OF_METHOD.items():
        if method_name != method:
            reason = f"has no effect on {method}; use it with --method {method_name}"
            refuse_options(names, reason)
    _check_drawing(drawing, image)
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
    path = default_path(Path(image).stem, model_name(model), str(heat.target), heat.method)
    _report(heat, path, drawing, over=image if original else None)


@click.command(
    short_help="Highlight the regions of an image that support a class.",
    epilog=examples("cam imagenet cat.jpg", "cam imagenet cat.jpg --method layercam --layer conv7"),
)
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
    metavar="TARGET",
    show_default="the most probable class, the most confident box or the largest segment",
    help=f"{TARGET_FORMS} Repeat it to compare targets.",
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
    """Highlight the regions of IMAGE that support a class, a box or a segment.

    The maps of a layer are weighted and added up.
    """
    from retroscope.methods.cam.cam import cam_many

    if len(target) > 1 and original:
        raise RetroscopeError(
            "--original draws one heat map; give one --target, or leave out --original"
        )
    _check_drawing(drawing, image)
    net = opening.open(model)
    with stdout_to_stderr():
        requests = [(spec, image) for spec in target or (None,)]
        heats = list(cam_many(net, requests, method=method, layer=layer))
    if len(heats) == 1:
        heat = heats[0]
        path = default_path(
            Path(image).stem, model_name(model), str(heat.target), layer or "", heat.method
        )
        _report(heat, path, drawing, over=image if original else None)
    else:
        classes = f"{len(heats)}-classes"
        methods = "-".join(dict.fromkeys(heat.method for heat in heats))
        path = default_path(Path(image).stem, model_name(model), classes, layer or "", methods)
        _report(heats, path, drawing)


@click.command(
    short_help="Cover each part of an image and watch the class scores.",
    epilog=examples(
        "occlusion imagenet cat.jpg", "occlusion imagenet cat.jpg --size 48 --stride 16"
    ),
)
@click.argument("model")
@click.argument("image")
@target_option
@click.option(
    "--size",
    type=parse_lengths,
    metavar="PIXELS",
    show_default="32; for volumes a quarter of each axis",
    help="Side of the occluder, or a side for each axis, as 16x48 or 4x28x28.",
)
@click.option(
    "--stride",
    type=parse_lengths,
    metavar="PIXELS",
    show_default="8; for volumes half of the occluder",
    help="Step between two positions of the occluder, or a step for each axis.",
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
    size: int | tuple[int, ...] | None,
    stride: int | tuple[int, ...] | None,
    fill: str,
    opening: OpenOptions,
    drawing: HeatOptions,
) -> None:
    """Show how the probability of a class changes as a square covers each part of IMAGE.

    A volume or a clip is covered by a box, which moves along all three axes.
    """
    from retroscope.methods.occlusion.occlusion import occlusion as compute_occlusion

    _check_drawing(drawing, image)
    net = opening.open(model)
    with stdout_to_stderr(), show_large_work("position") as progress:
        result = compute_occlusion(
            net, image, target=target, size=size, stride=stride, fill=fill, progress=progress
        )
    path = default_path(Path(image).stem, model_name(model), str(result.target), "occlusion")
    _report(result, path, drawing)


@click.command(
    short_help="Explain an image on one page: classes, heat map, unusual units.",
    epilog=examples(
        "explain imagenet cat.jpg", "explain imagenet cat.jpg --no-contrast -o cat.html"
    ),
)
@click.argument("model")
@click.argument("image")
@click.option(
    "--atlas",
    metavar="ATLAS",
    help="Atlas of other images to compare with; `retroscope scan` creates one.",
)
@layers_option("Layers to search for unusual units.", shown_default="the last of each map size")
@number_option("--top", 4, metavar="N", description="Unusual units per layer.")
@click.option(
    "--contrast/--no-contrast",
    default=True,
    show_default=True,
    help="Show what each unit adds to the other channels at its position; more than doubles the "
    "time.",
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

    The page shows the most probable classes, a heat map of one of them, the units of each layer
    that respond unusually, what made them fire, and what each adds to the others at its position.
    For a detector or a segmenter, each box or segment has its own heat map.

    Write a web page with -o FILE.html.
    """
    from retroscope.methods.explain import explain as compute_explanation

    refuse_drawing_options(output, as_json=as_json)
    is_drawn = output is not None or not as_json
    path = output or default_path(Path(image).stem, model_name(model), "explained")
    check_writable(path if is_drawn else None, [image], accept_page=True)
    with _open_optional_atlas(atlas) as reference:
        net = opening.open(model)
        with stdout_to_stderr(), show_large_work("projection") as progress:
            explanation = compute_explanation(
                net,
                image,
                atlas=reference,
                layers=layers,
                top=top,
                target=target,
                method=method,
                contrast=contrast,
                progress=progress,
            )
    if as_json:
        from retroscope.results.as_json import explanation_json

        print_json(explanation_json(explanation))
    if not is_drawn:
        return
    write = _write_page if path.suffix.lower() in PAGE_SUFFIXES else write_drawing
    write(explanation, path, to_stderr=as_json, colours=colours, tone=tone)


def _check_drawing(drawing: HeatOptions, image: str) -> None:
    """Raises before the work starts if its drawing has no file, or could not be written there."""
    refuse_drawing_options(drawing.output, as_json=drawing.as_json)
    output = drawing.output
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


COMMANDS = (explain, cam, saliency, occlusion)
