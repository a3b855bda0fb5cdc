"""The command that looks into an atlas."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from retroscope.cli.options import (
    OPENING,
    aside,
    json_option,
    opened_from,
    output_option,
    runs_a_network,
)
from retroscope.cli.output import (
    check_writable,
    counted,
    file_name,
    make_folder,
    print_json,
    print_object,
    save,
    write,
)
from retroscope.cli.progress_bar import shown_progress
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas
    from retroscope.atlas.rows import HitRow
    from retroscope.results.values import Patch
    from retroscope.unit import Unit


@click.command(short_help="Show the plate of a unit, or the best of a layer.")
@click.argument("atlas")
@click.argument("unit")
@click.option("--channels", metavar="0-15", help="Plates of many channels of the layer UNIT.")
@click.option("--ranked-by", default="max", show_default=True, help="max or mean.")
@click.option("--context", is_flag=True, help="Whole images with the field's box.")
@click.option("--mosaics", metavar="DIR", help="Write 3x3 mosaics LAYER_im.png and LAYER_feat.png.")
@click.option("--tone", default="tile", show_default=True, help="tile, percentile or gamma.")
@click.option("--model", help="The scan's MODEL: projections that are missing are made, and kept.")
@click.option("--images", help="With --model: the scan's images, where the atlas does not tell.")
@click.option("--glob", metavar="PATTERN", help="With --images: as for the scan.")
@runs_a_network
@json_option
@output_option
def show(
    atlas: str,
    unit: str,
    *,
    channels: str | None,
    mosaics: str | None,
    as_json: bool,
    output: Path | None,
    **options: Any,
) -> None:
    """Show from ATLAS the plate of UNIT, or what excites its whole layer most."""
    from retroscope.atlas.reader import open_atlas
    from retroscope.render.tone import tone_named
    from retroscope.unit import Unit

    ranked_by, context, tone = (options.pop(name) for name in ("ranked_by", "context", "tone"))
    tone_named(tone)
    check_writable(output, [atlas])
    asked = Unit.parse(unit)
    _refuse_both(asked, channels, context=context, mosaics=mosaics)
    _refuse_without_model(options)
    with open_atlas(atlas) as opened_atlas:
        units = _units(opened_atlas, asked, channels)
        _illustrate_missing(opened_atlas, units or [asked], ranked_by, **options)
        if mosaics is not None:
            folder = Path(mosaics)
            hits = _hits(opened_atlas, asked, ranked_by)
            _write_mosaics(hits, asked, folder, tone=tone, to_stderr=as_json)
        if as_json:
            _print_hits(opened_atlas, asked, units, ranked_by)
        if output is not None or not (as_json or mosaics):
            thing, words = _thing(opened_atlas, asked, units, ranked_by=ranked_by, context=context)
            parts = ["" if channels is None else f"channels{channels}", "context" * context]
            path = output or file_name(atlas, unit, ".".join(filter(None, [*parts, ranked_by])))
            save(thing, path, to_stderr=as_json, tone=tone, **words)


def _refuse_both(
    asked: "Unit", channels: str | None, *, context: bool, mosaics: str | None
) -> None:
    if channels is None:
        return
    if asked.channel is not None:
        raise RetroscopeError(
            f"--channels picks the channels itself; give the layer {asked.layer!r}"
        )
    if context or mosaics is not None:
        raise RetroscopeError(
            "--channels makes a sheet of plates; for --context or --mosaics give one channel, "
            f"as {asked.layer}:0"
        )


def _refuse_without_model(options: dict[str, Any]) -> None:
    """Options of how a network is opened have no use where none is."""
    context = click.get_current_context()
    given = [
        name.replace("_", "-")
        for name in ("images", "glob", *OPENING)
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if given and options["model"] is None:
        raise RetroscopeError(
            f"--{given[0]} is of the network that projects what is missing; name it by --model"
        )


def _illustrate_missing(
    atlas: "Atlas", units: "Sequence[Unit]", ranked_by: str, *, model: str | None, **options: Any
) -> None:
    """Where a network is given, the shown hits that have no projection get one, for good."""
    if model is None:
        return
    from retroscope.scanning.illustrate import illustrate

    missing = [
        hit.unit
        for unit in units
        for hit, patch in _hits(atlas, unit, ranked_by)
        if patch.projection is None
    ]
    net = opened_from(model, options)
    images, glob = options["images"], options["glob"]
    with aside(), shown_progress() as progress:
        illustrate(atlas.path, net, images, units=missing, glob=glob, progress=progress)


def _thing(
    atlas: "Atlas", unit: "Unit", units: "list[Unit] | None", *, ranked_by: str, context: bool
) -> tuple[object, dict[str, object]]:
    """What is drawn, and what is said of it beyond what it tells itself."""
    if units is not None:
        return [atlas.plate(one, ranked_by=ranked_by) for one in units], {}
    if unit.channel is not None and not context:
        return atlas.plate(unit, ranked_by=ranked_by), {}
    hits = _hits(atlas, unit, ranked_by)
    if not hits:
        raise RetroscopeError(f"nothing excites {unit} in {str(atlas.path)!r}: it has no hits")
    if context:
        return _contexts(atlas, hits), {}
    return [patch for _, patch in hits], {
        "names": [str(hit.unit) for hit, _ in hits],
        **_heading(atlas, unit, ranked_by, len(hits)),
    }


def _contexts(atlas: "Atlas", hits: "Sequence[tuple[HitRow, Patch]]") -> list[object]:
    from retroscope.render.context import Context

    return [
        Context(
            atlas.picture(hit.image),
            patch.projection,
            patch.box,
            patch.score,
            patch.source,
            hit.unit,
        )
        for hit, patch in hits
    ]


def _heading(atlas: "Atlas", unit: "Unit", ranked_by: str, count: int) -> dict[str, object]:
    """What the patches of a layer are: a layer of which network, and the best out of how many."""
    layer, model = atlas.layer(unit.layer), atlas.meta.get("model", "")
    names = " = ".join(dict.fromkeys([unit.layer, layer.name]))
    hits = counted(count, "strongest hit") if count > 1 else "the strongest hit"
    channels, images = (
        counted(layer.channels, "channel"),
        counted(len(atlas.images), "image"),
    )
    return {
        "title": f"What excites {names} most" + (f" in {model}" if model else ""),
        "line_below": f"{hits} of {channels} in {images} · ranked by {ranked_by}",
    }


def _units(atlas: "Atlas", unit: "Unit", channels: str | None) -> "list[Unit] | None":
    """The channels that are asked for by their numbers."""
    from retroscope.unit import Unit

    if channels is None:
        return None
    span = _span(channels, atlas.layer(unit.layer).channels)
    return [Unit(unit.layer, channel) for channel in span]


def _span(text: str, count: int) -> range:
    first, dash, last = text.partition("-")
    ends = first, last if dash else first
    if not all(end.isascii() and end.isdecimal() for end in ends) or int(ends[0]) > int(ends[1]):
        raise RetroscopeError(f"cannot read the channels {text!r}; write 5 or 0-15")
    if int(ends[1]) >= count:
        raise RetroscopeError(f"no channel {ends[1]}; the layer has {count}, 0 to {count - 1}")
    return range(int(ends[0]), int(ends[1]) + 1)


def _hits(atlas: "Atlas", unit: "Unit", ranked_by: str) -> "list[tuple[HitRow, Patch]]":
    """Each shown hit of a channel or of a layer, and what its unit saw."""
    rows = atlas.hits(unit, ranked_by=ranked_by)
    if unit.channel is not None:
        patches = atlas.plate(unit, ranked_by=ranked_by).patches
    else:
        patches = tuple(patch for _, patch in atlas.top(unit.layer, ranked_by=ranked_by))
    return list(zip(rows, patches, strict=True))


def _write_mosaics(
    hits: "Sequence[tuple[HitRow, Patch]]",
    unit: "Unit",
    folder: Path,
    *,
    tone: str,
    to_stderr: bool,
) -> None:
    from retroscope.render.mosaics import mosaic

    patches = [patch for _, patch in hits]
    make_folder(folder)
    channel = "" if unit.channel is None else f"_{unit.channel}"
    for what, ending in (("patch", "im"), ("projection", "feat")):
        if what == "projection" and patches and not any(patch.projection for patch in patches):
            click.echo(
                f"no projections of {unit} yet; --model MODEL or 'retroscope illustrate' adds them",
                err=True,
            )
            continue
        path = folder / f"{unit.layer}{channel}_{ending}.png"
        write(mosaic(patches, what=what, tone=tone), path, to_stderr=to_stderr)


def _print_hits(atlas: "Atlas", unit: "Unit", units: "list[Unit] | None", ranked_by: str) -> None:
    if units is not None:
        print_json([_channel_facts(atlas, one, ranked_by) for one in units])
    elif unit.channel is None:
        print_json(_hit_row(*hit) for hit in _hits(atlas, unit, ranked_by))
    else:
        print_object(_channel_facts(atlas, unit, ranked_by))


def _channel_facts(atlas: "Atlas", unit: "Unit", ranked_by: str) -> dict[str, object]:
    layer, stats = atlas.layer(unit.layer).name, atlas.stats(unit)
    return {
        "unit": f"{layer}:{unit.channel}",
        "ranked_by": ranked_by,
        "images": stats.images,
        "mean": stats.mean,
        "std": stats.std,
        "maximum": stats.maximum,
        "fired_image_share": stats.fired_image_share,
        "fired_position_share": stats.fired_position_share,
        "dead": stats.dead,
        "classes": {one.label: one.mean_maximum for one in stats.classes},
        "hits": [_hit_row(*hit) for hit in _hits(atlas, unit, ranked_by)],
    }


def _hit_row(hit: "HitRow", patch: "Patch") -> dict[str, object]:
    box = patch.box
    return {
        "unit": str(hit.unit),
        "score": hit.score,
        "image": hit.image,
        "source": hit.key,
        "class": hit.label,
        "position": list(patch.position),
        "box": [box.top, box.left, box.bottom, box.right],
        "illustrated": patch.projection is not None,
    }


COMMANDS = (show,)
