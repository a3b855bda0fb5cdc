"""The command that looks into an atlas."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.options import json_option, output_option
from retroscope.cli.writing import (
    check_writable,
    file_name,
    make_folder,
    print_json,
    print_object,
    save,
    write,
)
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas
    from retroscope.results import Patch
    from retroscope.unit import Unit


@click.command(short_help="Show the plate of a unit, or the best of a layer.")
@click.argument("atlas")
@click.argument("unit")
@click.option("--channels", metavar="0-15", help="Plates of many channels of the layer UNIT.")
@click.option("--ranked-by", default="max", show_default=True, help="max or mean.")
@click.option("--context", is_flag=True, help="Whole images with the field's box.")
@click.option("--mosaics", metavar="DIR", help="Write 3x3 mosaics LAYER_im.png and LAYER_feat.png.")
@click.option("--tone", default="tile", show_default=True, help="tile, percentile or gamma.")
@json_option
@output_option
def show(
    atlas: str,
    unit: str,
    *,
    channels: str | None,
    ranked_by: str,
    context: bool,
    mosaics: str | None,
    tone: str,
    as_json: bool,
    output: Path | None,
) -> None:
    """Show from ATLAS the plate of UNIT, or what excites its whole layer most."""
    from retroscope.atlas.reader import open_atlas
    from retroscope.render.tone import tone_named
    from retroscope.unit import Unit

    tone_named(tone)
    check_writable(output, [atlas])
    asked = Unit.parse(unit)
    _refuse_both(asked, channels, context=context, mosaics=mosaics)
    with open_atlas(atlas) as opened_atlas:
        units = _units(opened_atlas, asked, channels)
        if mosaics is not None:
            _write_mosaics(
                opened_atlas,
                asked,
                Path(mosaics),
                ranked_by=ranked_by,
                tone=tone,
                to_stderr=as_json,
            )
        if as_json:
            _print_hits(opened_atlas, asked, units, ranked_by)
        if output is not None or not (as_json or mosaics):
            thing = _thing(opened_atlas, asked, units, ranked_by=ranked_by, context=context)
            parts = ["" if channels is None else f"channels{channels}", "context" * context]
            path = output or file_name(atlas, unit, ".".join(filter(None, [*parts, ranked_by])))
            of_layer = asked.channel is None and units is None and not context
            heading = f"What excites {asked.layer} most, by {ranked_by}"
            options = {"title": heading} if of_layer else {}
            save(thing, path, to_stderr=as_json, tone=tone, **options)


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


def _thing(
    atlas: "Atlas", unit: "Unit", units: "list[Unit] | None", *, ranked_by: str, context: bool
) -> object:
    from retroscope.render.context import Context

    if units is not None:
        return [atlas.plate(one, ranked_by=ranked_by) for one in units]
    if unit.channel is not None and not context:
        return atlas.plate(unit, ranked_by=ranked_by)
    pairs = _pairs(atlas, unit, ranked_by)
    if not pairs:
        raise RetroscopeError(f"nothing excites {unit} in {str(atlas.path)!r}: it has no hits")
    if not context:
        return [patch for _, patch in pairs]
    return [
        Context(
            atlas.picture(_image_number(atlas, one, patch, ranked_by)),
            patch.projection,
            patch.box,
            patch.score,
            patch.source,
            one,
        )
        for one, patch in pairs
    ]


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


def _pairs(atlas: "Atlas", unit: "Unit", ranked_by: str) -> "list[tuple[Unit, Patch]]":
    """Each hit with the unit that it excites."""
    from retroscope.unit import Unit

    if unit.channel is None:
        return list(atlas.top(unit.layer, ranked_by=ranked_by))
    plate = atlas.plate(unit, ranked_by=ranked_by)
    return [(Unit(plate.unit.layer, unit.channel, one.position), one) for one in plate.patches]


def _image_number(atlas: "Atlas", unit: "Unit", patch: "Patch", ranked_by: str) -> int:
    rows = atlas.sql(
        "SELECT hits.image FROM hits JOIN layers ON layers.id = hits.layer "
        "JOIN images ON images.id = hits.image WHERE layers.name = ? AND channel = ? "
        "AND ranked_by = ? AND images.key = ?",
        unit.layer,
        unit.channel,
        ranked_by,
        patch.source,
    )
    return int(str(rows[0][0]))


def _write_mosaics(
    atlas: "Atlas", unit: "Unit", folder: Path, *, ranked_by: str, tone: str, to_stderr: bool
) -> None:
    from retroscope.render.mosaics import mosaic

    patches = [patch for _, patch in _pairs(atlas, unit, ranked_by)]
    make_folder(folder)
    channel = "" if unit.channel is None else f"_{unit.channel}"
    for what, ending in (("patch", "im"), ("projection", "feat")):
        if what == "projection" and patches and not any(patch.projection for patch in patches):
            click.echo(f"no projections of {unit} yet; 'retroscope illustrate' adds them", err=True)
            continue
        path = folder / f"{unit.layer}{channel}_{ending}.png"
        write(mosaic(patches, what=what, tone=tone), path, to_stderr=to_stderr)


def _print_hits(atlas: "Atlas", unit: "Unit", units: "list[Unit] | None", ranked_by: str) -> None:
    if units is not None:
        print_json([_channel_facts(atlas, one, ranked_by) for one in units])
    elif unit.channel is None:
        print_json(_hit_row(one, patch) for one, patch in _pairs(atlas, unit, ranked_by))
    else:
        print_object(_channel_facts(atlas, unit, ranked_by))


def _channel_facts(atlas: "Atlas", unit: "Unit", ranked_by: str) -> dict[str, object]:
    plate = atlas.plate(unit, ranked_by=ranked_by)
    stats = plate.stats
    return {
        "unit": str(plate.unit),
        "ranked_by": ranked_by,
        "images": stats.images,
        "mean": stats.mean,
        "std": stats.std,
        "maximum": stats.maximum,
        "fired_image_share": stats.fired_image_share,
        "fired_position_share": stats.fired_position_share,
        "dead": stats.dead,
        "classes": {one.label: one.mean_maximum for one in stats.classes},
        "hits": [_hit_row(one, patch) for one, patch in _pairs(atlas, unit, ranked_by)],
    }


def _hit_row(unit: "Unit", patch: "Patch") -> dict[str, object]:
    box = patch.box
    return {
        "unit": str(unit),
        "score": patch.score,
        "source": patch.source,
        "position": list(patch.position),
        "box": [box.top, box.left, box.bottom, box.right],
        "illustrated": patch.projection is not None,
    }


COMMANDS = (show,)
