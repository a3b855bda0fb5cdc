"""The command that shows what an atlas holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.choices import RANKINGS
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
    default_path,
    print_json,
    write_drawing,
    write_image,
)
from retroscope.cli.parameter_types import format_channels, parse_channels
from retroscope.cli.progress_bar import show_progress
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas
    from retroscope.atlas.row_decoding import HitRow
    from retroscope.results.as_json import JsonObject
    from retroscope.results.plates import Patch
    from retroscope.unit import Unit


@dataclass(frozen=True)
class ShowRequest:
    """What to show of an atlas: a channel, the hits of a layer, or some channels of a layer."""

    atlas: "Atlas"
    address: "Unit"
    channels: tuple[int, ...] | None
    ranked_by: str

    @property
    def units(self) -> "list[Unit]":
        """The layer or the channels whose hits are shown."""
        from retroscope.unit import Unit

        if self.channels is None:
            return [self.address]
        return [Unit(self.address.layer, channel) for channel in self.channels]

    def hits(self, unit: "Unit") -> "list[tuple[HitRow, Patch]]":
        """The hits of a channel or a layer, with their patches."""
        rows = self.atlas.hits(unit, ranked_by=self.ranked_by)
        if unit.channel is not None:
            patches = self.atlas.plate(unit, ranked_by=self.ranked_by).patches
        else:
            top = self.atlas.top(unit.layer, ranked_by=self.ranked_by)
            patches = tuple(patch for _, patch in top)
        return list(zip(rows, patches, strict=True))


@click.command(
    short_help="Show the plate of a unit, or the strongest hits of a layer.",
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
    help="Channels of the layer UNIT to show plates of, as 0-15 or 3,7,10-12.",
)
@click.option(
    "--ranked-by",
    type=click.Choice(RANKINGS),
    default="max",
    show_default=True,
    help="Ranking of the hits: by maximum, or by mean over the map.",
)
@click.option("--context", is_flag=True, help="Draw whole images, the receptive field framed.")
@click.option(
    "--mosaics",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write 3x3 mosaics LAYER_im.png, LAYER_feat.png and LAYER_lit.png to this folder.",
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
@click.option(
    "--glob", metavar="PATTERN", help="With --images: only files of the folder that match."
)
@open_options
@json_option
@image_output_option
def show(
    atlas: str,
    unit: str,
    *,
    channels: tuple[int, ...] | None,
    ranked_by: str,
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
    """Show the plate of UNIT from ATLAS, or the strongest hits of a whole layer."""
    from retroscope.atlas.reader import open_atlas
    from retroscope.unit import Unit

    check_writable(output, [atlas])
    if mosaics is not None:
        check_parent(mosaics)
    address = Unit.parse(unit)
    if channels is not None:
        _check_channels(address, is_sheet_only=not (context or mosaics))
    _refuse_unused_options(as_json=as_json, mosaics=mosaics, output=output)
    if model is None:
        refuse_network_options("images", "glob")
    with open_atlas(atlas) as scanned:
        request = ShowRequest(scanned, address, channels, ranked_by)
        if model is None:
            _print_missing(request)
        else:
            _add_projections(request, model, opening, images=images, glob=glob)
        if mosaics is not None:
            _write_mosaics(request, mosaics, tone=tone, to_stderr=as_json)
        if as_json:
            print_json(_hits_json(request))
        if output is not None or not (as_json or mosaics):
            path = output or _default_path(Path(atlas).stem, unit, request, context=context)
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

    missing = _missing_units(request)
    refuse_second_writer(request.atlas.path)
    net = opening.open(model)
    if not missing and images is None:
        check_same_scan(request.atlas, net, repr(str(request.atlas.path)))
        return
    refuse_moved_images(request.atlas, images)
    with stdout_to_stderr(), show_progress() as progress:
        illustrate(
            request.atlas.path,
            net,
            images,
            units=missing,
            rules=rules_of_atlas(request.atlas, net),
            glob=glob,
            progress=progress,
        )
    if missing:
        added = count_noun(len(missing) - len(_missing_units(request)), "projection")
        click.echo(f"{added} added to {request.atlas.path}", err=True)


def _missing_units(request: ShowRequest) -> "list[Unit]":
    """The shown hits that have no projection."""
    return [unit for shown in request.units for unit in _missing_hits(request, shown)]


def _missing_hits(request: ShowRequest, unit: "Unit") -> "list[Unit]":
    from retroscope.atlas.queries import channel_queries

    if unit.channel is None:
        return [hit.unit for hit, patch in request.hits(unit) if patch.projection is None]
    atlas, ranked_by = request.atlas, request.ranked_by
    hits = atlas.hits(unit, ranked_by=ranked_by)
    rows = channel_queries.unit_hits(  # without images, of which a sheet has many
        atlas, atlas.layer(unit.layer), unit.channel, ranked_by=ranked_by, count=len(hits)
    )
    return [hit.unit for hit, row in zip(hits, rows, strict=True) if row.activation is None]


def _print_missing(request: ShowRequest) -> None:
    """How many of the shown hits have no projection, and how to make them."""
    from retroscope.render.captions import count_noun

    count = len(_missing_units(request))
    if count:
        hits, what = count_noun(count, "hit is", "hits are"), "it" if count == 1 else "them"
        click.echo(
            f"{hits} not projected yet; --model MODEL makes {what} and adds {what} to the atlas",
            err=True,
        )


def _default_path(atlas: str, unit: str, request: ShowRequest, *, context: bool) -> Path:
    channels = "" if request.channels is None else f"channels{format_channels(request.channels)}"
    method = ".".join(filter(None, [channels, "context" * context, request.ranked_by]))
    return default_path(Path(atlas).stem, unit, method)


def _draw(
    request: ShowRequest,
    path: Path,
    *,
    context: bool,
    options: Mapping[str, object],
    to_stderr: bool,
) -> None:
    atlas, unit = request.atlas, request.address
    if not context and (request.channels is not None or unit.channel is not None):
        plates = [atlas.plate(unit, ranked_by=request.ranked_by) for unit in request.units]
        result = plates[0] if request.channels is None else plates
        write_drawing(result, path, to_stderr=to_stderr, **options)
        return
    hits = request.hits(unit)
    if not hits:
        raise RetroscopeError(f"nothing excites {unit} in {str(atlas.path)!r}: it has no hits")
    if context:
        write_drawing(_hit_contexts(atlas, hits), path, to_stderr=to_stderr, **options)
        return
    patches, names = [patch for _, patch in hits], [str(hit.unit) for hit, _ in hits]
    heading = _layer_heading(request, len(hits))
    write_drawing(patches, path, to_stderr=to_stderr, **options, names=names, **heading)


def _hit_contexts(atlas: "Atlas", hits: "Sequence[tuple[HitRow, Patch]]") -> list[object]:
    from retroscope.render.context_figures import HitContext

    return [
        HitContext(
            atlas.image_pixels(hit.image),
            patch.projection,
            patch.box,
            patch.score,
            patch.source,
            hit.unit,
        )
        for hit, patch in hits
    ]


def _layer_heading(request: ShowRequest, count: int) -> dict[str, str]:
    """Title and subtitle of the strongest hits of a layer."""
    from retroscope.render.captions import count_noun, join_facts

    atlas, name = request.atlas, request.address.layer
    layer, model = atlas.layer(name), atlas.meta.get("model", "")
    names = name if name == layer.name else f"{name} ({layer.name})"
    hits = f"{count} strongest hits" if count > 1 else "the strongest hit"
    channels, images = count_noun(layer.channels, "channel"), count_noun(len(atlas.images), "image")
    return {
        "title": f"What excites {names} most" + (f" in {model}" if model else ""),
        "line_below": join_facts(
            layer.note, f"{hits} of {channels} in {images}", f"ranked by {request.ranked_by}"
        ),
    }


def _write_mosaics(request: ShowRequest, folder: Path, *, tone: str, to_stderr: bool) -> None:
    from retroscope.render.mosaics import mosaic

    unit = request.address
    patches = [patch for _, patch in request.hits(unit)]
    create_folder(folder)
    channel = "" if unit.channel is None else f"_{unit.channel}"
    kinds = {"patch": "im", "projection": "feat", "lit": "lit"}
    if patches and not any(patch.projection for patch in patches):
        kinds = {"patch": "im"}
    for kind, ending in kinds.items():
        path = folder / f"{unit.layer}{channel}_{ending}.png"
        write_image(mosaic(patches, kind=kind, tone=tone), path, to_stderr=to_stderr)


def _hits_json(request: ShowRequest) -> "JsonObject | list[JsonObject]":
    if request.channels is not None:
        return [_channel_json(request, unit) for unit in request.units]
    if request.address.channel is None:
        return [_hit_json(hit, patch) for hit, patch in request.hits(request.address)]
    return _channel_json(request, request.address)


def _channel_json(request: ShowRequest, unit: "Unit") -> "JsonObject":
    from retroscope.results.as_json import plate_json

    plate = request.atlas.plate(unit, ranked_by=request.ranked_by)
    hits = [_hit_json(hit, patch) for hit, patch in request.hits(unit)]
    return plate_json(plate) | {"hits": hits}


def _hit_json(hit: "HitRow", patch: "Patch") -> "JsonObject":
    """A hit with its unit, and the number and class of its image in the atlas."""
    from retroscope.results.as_json import patch_json

    return {"unit": str(hit.unit), "image": hit.image, "class": hit.label} | patch_json(patch)


COMMANDS = (show,)
