"""The command that shows what an atlas holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.choices import RANKINGS
from retroscope.cli.input_values import scanned_sources
from retroscope.cli.options import (
    OpenOptions,
    examples,
    image_output_option,
    json_option,
    open_options,
    refuse_drawing_options,
    refuse_network_options,
    refuse_options,
    stdout_to_stderr,
    tone_option,
)
from retroscope.cli.output import (
    check_parent,
    check_writable,
    create_folder,
    print_json,
    write_drawing,
    write_image,
)
from retroscope.cli.parameter_types import parse_channels
from retroscope.cli.progress_bar import show_progress
from retroscope.cli.ranking_options import (
    check_ranking,
    class_option,
    refuse_ranking_beside_class,
)
from retroscope.cli.show_request import (
    ShowRequest,
    drawing_path,
    hits_json,
    layer_heading,
    mosaic_stem,
    why_no_hits,
)
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.row_decoding import HitRow
    from retroscope.results.plates import Patch
    from retroscope.unit import Unit


@click.command(
    short_help="Show the plate of a unit, or the best hits of a layer.",
    epilog=examples(
        "show photos.atlas conv7:42", "show photos.atlas conv7 --channels 0-15 -o sheet.png"
    ),
)
@click.argument("atlas")
@click.argument("unit")
@click.option(
    "--channels",
    type=parse_channels,
    metavar="LIST",
    help="Channels of the layer UNIT to show plates of, such as 0-15 or 3,7,10-12.",
)
@click.option(
    "--ranked-by",
    type=click.Choice(RANKINGS),
    default="max",
    show_default=True,
    help="Ranking of the hits: by maximum, by mean over the map, by minimum, or a sample: the "
    "images at quantiles of the maxima in a random sample, and a random one.",
)
@class_option("Show the best images of this class instead; scan with --per-class for them.")
@click.option(
    "--context",
    is_flag=True,
    help="Draw whole images with the receptive field framed; for volumes, all slices of each "
    "patch.",
)
@click.option(
    "--mosaics",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write 3x3 mosaics LAYER_im.png, LAYER_feat.png and LAYER_lit.png to this folder; with "
    "--class, LAYER_CLASS_im.png and so on.",
)
@tone_option()
@click.option(
    "--lit/--no-lit",
    default=None,
    show_default="on, but not on a sheet of --channels",
    help="Draw the patches, or with --context the images, lit by their projections beside them.",
)
@click.option(
    "--model",
    metavar="MODEL",
    help="Network of the scan; computes the missing projections and adds them to the atlas.",
)
@click.option(
    "--images",
    metavar="IMAGES",
    show_default="where the scan read them",
    help="With --model: images of the scan.",
)
@click.option("--glob", metavar="PATTERN", help="With --images: read only files that match.")
@open_options
@json_option
@image_output_option
def show(
    atlas: str,
    unit: str,
    *,
    channels: tuple[int, ...] | None,
    ranked_by: str,
    label: str | None,
    context: bool,
    mosaics: Path | None,
    tone: str,
    lit: bool | None,
    model: str | None,
    images: str | None,
    glob: str | None,
    opening: OpenOptions,
    as_json: bool,
    output: Path | None,
) -> None:
    """Show the plate of UNIT from ATLAS, or the best hits of a whole layer."""
    from retroscope.atlas.reader import open_atlas
    from retroscope.unit import Unit

    check_writable(output, [atlas])
    if mosaics is not None:
        check_parent(mosaics)
    address = Unit.parse(unit)
    if channels is not None:
        _check_channels(address, is_sheet_only=not (context or mosaics))
    _refuse_unused_options(as_json=as_json, mosaics=mosaics, output=output)
    refuse_ranking_beside_class(label)
    if model is None:
        refuse_network_options("images", "glob")
    with open_atlas(atlas) as scanned:
        request = ShowRequest(scanned, address, channels, ranked_by, label)
        check_ranking(scanned, ranked_by, label)
        if model is None:
            _print_missing(request)
        else:
            _add_projections(request, model, opening, images=images, glob=glob)
        if mosaics is not None:
            _write_mosaics(request, mosaics, tone=tone, to_stderr=as_json)
        if as_json:
            print_json(hits_json(request))
        if output is not None or not (as_json or mosaics):
            path = output or drawing_path(request, unit, context=context)
            options = {"tone": tone} if lit is None else {"tone": tone, "lit": lit}
            _draw(request, path, context=context, options=options, to_stderr=as_json)


def _refuse_unused_options(*, as_json: bool, mosaics: Path | None, output: Path | None) -> None:
    if mosaics is None:
        refuse_drawing_options(output, as_json=as_json)
    elif output is None:
        refuse_options({"lit", "context"}, "changes a drawing; beside --mosaics, name it with -o")


def _check_channels(address: "Unit", *, is_sheet_only: bool) -> None:
    if address.channel is not None:
        raise RetroscopeError(f"--channels picks the channels; give the layer {address.layer!r}")
    if not is_sheet_only:
        raise RetroscopeError(
            "--channels draws a sheet of plates; for --context or --mosaics give one channel, "
            f"as {address.layer}:0"
        )


def _add_projections(
    request: ShowRequest,
    model: str,
    opening: OpenOptions,
    *,
    images: str | None,
    glob: str | None,
) -> None:
    """Computes the missing projections of the shown hits and stores them in the atlas.

    They are by the rules of those that the atlas shows.
    """
    from retroscope.atlas.write_lock import refuse_second_writer
    from retroscope.methods.atlas_match import check_same_scan, rules_of_atlas
    from retroscope.render.captions import count_noun
    from retroscope.scanning.illustrate import illustrate
    from retroscope.scanning.image_files import refuse_moved_images

    missing = _missing_hits(request)
    refuse_second_writer(request.atlas.path)
    net = opening.open_to_scan(model)
    if not missing and images is None:
        check_same_scan(request.atlas, net, repr(str(request.atlas.path)))
        return
    refuse_moved_images(request.atlas, images)
    with stdout_to_stderr(), show_progress() as progress:
        illustrate(
            request.atlas.path,
            net,
            images,
            inputs=scanned_sources(opening.inputs),
            units=sorted({unit for unit, _ in missing}, key=str),
            ranked_by=request.ranked_by,
            label=request.label,
            rules=rules_of_atlas(request.atlas, net),
            glob=glob,
            progress=progress,
        )
    if missing:
        added = count_noun(len(missing) - len(_missing_hits(request)), "projection")
        click.echo(f"{added} added to {request.atlas.path}", err=True)


def _missing_hits(request: ShowRequest) -> "set[tuple[Unit, int]]":
    """The units and images of the shown hits that have no projection."""
    return {hit for shown in request.units for hit in _missing_hits_of(request, shown)}


def _missing_hits_of(request: ShowRequest, unit: "Unit") -> "list[tuple[Unit, int]]":
    from retroscope.atlas.queries import hit_queries
    from retroscope.atlas.ranking_lookup import find_ranking

    if unit.channel is None:
        patches = request.hits(unit)
        return [(hit.unit, hit.image) for hit, patch in patches if patch.projection is None]
    atlas = request.atlas
    ranking = find_ranking(atlas, request.ranked_by, request.label)
    hits = atlas.hits(unit, ranked_by=request.ranked_by, label=request.label)
    rows = hit_queries.unit_hits(  # without images, of which a sheet has many
        atlas, atlas.layer(unit.layer), unit.channel, rankings=[ranking], count=len(hits)
    )[ranking]
    pairs = zip(hits, rows, strict=True)
    return [(hit.unit, hit.image) for hit, row in pairs if row.activation is None]


def _print_missing(request: ShowRequest) -> None:
    """How many of the shown hits have no projection, and how to make them."""
    from retroscope.render.captions import count_noun

    count = len(_missing_hits(request))
    if count:
        hits, what = count_noun(count, "hit is", "hits are"), "it" if count == 1 else "them"
        click.echo(
            f"{hits} not projected yet; --model MODEL makes {what} and adds {what} to the atlas",
            err=True,
        )


def _draw(
    request: ShowRequest,
    path: Path,
    *,
    context: bool,
    options: Mapping[str, object],
    to_stderr: bool,
) -> None:
    unit = request.address
    if not context and (request.channels is not None or unit.channel is not None):
        plates = [request.plate(unit) for unit in request.units]
        result = plates[0] if request.channels is None else plates
        write_drawing(result, path, to_stderr=to_stderr, **options)
        return
    hits = request.hits(unit)
    if not hits:
        raise RetroscopeError(why_no_hits(request))
    if context:
        write_drawing(_hit_contexts(request, hits), path, to_stderr=to_stderr, **options)
        return
    patches, names = [patch for _, patch in hits], [str(hit.unit) for hit, _ in hits]
    heading = layer_heading(request, len(hits))
    write_drawing(patches, path, to_stderr=to_stderr, **options, names=names, **heading)


def _hit_contexts(request: ShowRequest, hits: "Sequence[tuple[HitRow, Patch]]") -> list[object]:
    from retroscope.render.context_figures import HitContext
    from retroscope.render.strip_figures import HitSlices

    is_sampled = request.label is None and request.ranked_by == "sample"
    if any(patch.is_volume for _, patch in hits):
        return [HitSlices(patch, hit.unit, is_sampled) for hit, patch in hits]
    return [
        HitContext(
            request.atlas.image_pixels(hit.image),
            patch.projection,
            patch.box,
            patch.score,
            patch.source,
            hit.unit,
            patch.quantile,
            is_sampled,
        )
        for hit, patch in hits
    ]


def _write_mosaics(request: ShowRequest, folder: Path, *, tone: str, to_stderr: bool) -> None:
    from retroscope.render.mosaics import mosaic

    patches = [patch for _, patch in request.hits(request.address)]
    create_folder(folder)
    kinds = {"patch": "im", "projection": "feat", "lit": "lit"}
    if patches and not any(patch.projection for patch in patches):
        kinds = {"patch": "im"}
    for kind, ending in kinds.items():
        path = folder / f"{mosaic_stem(request)}_{ending}.png"
        write_image(mosaic(patches, kind=kind, tone=tone), path, to_stderr=to_stderr)


COMMANDS = (show,)
