"""Commands that make an atlas and look into one."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retroscope.cli.options import aside, json_option, opened, output_option, runs_a_network
from retroscope.cli.progress import in_time, shown_progress
from retroscope.cli.writing import check_writable, file_name, print_json, print_object, save
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas
    from retroscope.network import Network
    from retroscope.results import Patch
    from retroscope.unit import Unit

_layers = click.option(
    "--layers",
    multiple=True,
    metavar="NAMES",
    help="Names, aliases, globs or kinds (conv relu pool), with commas between; conv if not given.",
)
_workers = click.option(
    "--workers", type=click.IntRange(min=1), help="Threads that read images; as processors."
)


@click.command(short_help="Find what excites every channel, in one pass over images.")
@click.argument("model")
@click.argument("images")
@click.option("--to", required=True, metavar="ATLAS", help="The file to make or to go on with.")
@_layers
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=9,
    show_default=True,
    help="How many hits of each channel to keep.",
)
@click.option("--labels", metavar="CSV", help="Classes: rows of path,class. Else the sub-folders.")
@click.option("--glob", metavar="PATTERN", help="Only these files of the folder, as '*.jpg'.")
@click.option(
    "--illustrate",
    default="all",
    show_default=True,
    metavar="all|none|N",
    help="How many hits of each channel get a projection.",
)
@click.option("--no-illustrate", is_flag=True, help="Short for --illustrate none.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images at once; what fits.")
@_workers
@click.option("--restart", is_flag=True, help="Begin anew, whatever the file holds.")
@runs_a_network
def scan(
    model: str,
    images: str,
    *,
    layers: Sequence[str],
    illustrate: str,
    no_illustrate: bool,
    **options: Any,
) -> None:
    """Find for every channel of MODEL the IMAGES that excite it most.

    IMAGES is a folder, whose sub-folders are classes, or a text file of paths. Interrupted, the
    same command goes on where it was.
    """
    from retroscope.atlas.scan import scan as run

    net = _opened_from(model, options)
    wanted = _names(layers) or ["conv"]
    with aside():
        _say_estimate(net, images, wanted, options)
        with shown_progress() as progress:
            atlas = run(
                net,
                images,
                layers=wanted,
                illustrate="none" if no_illustrate else illustrate,
                progress=progress,
                **options,
            )
    with atlas:
        _say_end(atlas)


@click.command(short_help="Project the winners of a scanned atlas.")
@click.argument("atlas")
@click.argument("model")
@click.argument("images")
@_layers
@click.option(
    "--ranks", default="all", show_default=True, metavar="all|N", help="Hits of each channel."
)
@click.option(
    "--rules", default="deconvnet", show_default=True, help="deconvnet, guided or gradient."
)
@_workers
@runs_a_network
def illustrate(
    atlas: str, model: str, images: str, *, layers: Sequence[str], **options: Any
) -> None:
    """Put the projections that ATLAS does not have yet into it, with the MODEL and IMAGES of its
    scan.
    """
    from retroscope.atlas.illustrate import illustrate as run

    net = _opened_from(model, options)
    with aside(), shown_progress() as progress:
        run(atlas, net, images, layers=_names(layers), progress=progress, **options)
    click.echo(atlas)


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
    check_writable(output)
    with open_atlas(atlas) as opened_atlas:
        asked = Unit.parse(unit)
        if mosaics is not None:
            _write_mosaics(opened_atlas, asked, Path(mosaics), ranked_by=ranked_by, tone=tone)
        if as_json:
            _print_hits(opened_atlas, asked, ranked_by)
        if output is not None or not (as_json or mosaics):
            thing = _thing(opened_atlas, asked, channels, ranked_by=ranked_by, context=context)
            path = output or file_name(atlas, unit, "context" if context else ranked_by)
            save(thing, path, to_stderr=as_json, tone=tone)


def _opened_from(model: str, options: dict[str, Any]) -> "Network":
    """The network of a command's options, which are taken out of them."""
    names = ("random_weights", "device", "resize", "threads")
    with aside():
        return opened(model, **{name: options.pop(name) for name in names})


def _names(layers: Iterable[str]) -> list[str]:
    return [name for text in layers for name in text.replace(",", " ").split()]


def _say_estimate(
    net: "Network", images: str, layers: Sequence[str], options: dict[str, Any]
) -> None:
    from retroscope.atlas.estimate import estimate
    from retroscope.atlas.plan import chosen
    from retroscope.atlas.sources import pictures

    listed = pictures(images, glob=options["glob"], labels=options["labels"])
    picked = chosen(net.layers, layers, net)
    facts = estimate(net, picked, len(listed.keys), top=options["top"], classes=len(listed.names))
    click.echo(
        f"{facts.images} images, {len(picked)} layers, {facts.channels} channels: about "
        f"{in_time(facts.seconds)} for the pass, {_size(facts.memory)} of memory, "
        f"up to {facts.projections} projections and {_size(facts.disk)} on disk",
        err=True,
    )


def _size(count: float) -> str:
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def _say_end(atlas: "Atlas") -> None:
    facts = []
    for words, query in _FINDINGS.items():
        ((count,),) = atlas.sql(query)
        if count:
            facts.append(f"{count!r} {words}")
    if facts:
        click.echo(", ".join(facts), err=True)
    click.echo(str(atlas.path))


_FINDINGS = {
    "unreadable images": "SELECT count(*) FROM images WHERE status = 'unreadable'",
    "channels that never fire": "SELECT count(*) FROM channels WHERE dead",
    "channels with values that are not finite": (
        "SELECT count(*) FROM channels WHERE non_finite > 0"
    ),
}


def _thing(
    atlas: "Atlas", unit: "Unit", channels: str | None, *, ranked_by: str, context: bool
) -> object:
    from retroscope.render.context import Context
    from retroscope.unit import Unit

    if channels is not None:
        span = _span(channels, atlas.layer(unit.layer).channels)
        units = [Unit(unit.layer, channel) for channel in span]
        return [atlas.plate(one, ranked_by=ranked_by) for one in units]
    pairs = _pairs(atlas, unit, ranked_by)
    if context:
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
    if unit.channel is None:
        return [patch for _, patch in pairs]
    return atlas.plate(unit, ranked_by=ranked_by)


def _span(text: str, count: int) -> range:
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        raise RetroscopeError(f"cannot read the channels {text!r}; write 5 or 0-15")
    stop = int(last or first) + 1
    if int(first) >= count:
        raise RetroscopeError(f"no channel {first}; the layer has {count}, 0 to {count - 1}")
    return range(int(first), min(stop, count))


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
    atlas: "Atlas", unit: "Unit", folder: Path, *, ranked_by: str, tone: str
) -> None:
    from retroscope.render.mosaics import mosaic

    patches = [patch for _, patch in _pairs(atlas, unit, ranked_by)]
    channel = "" if unit.channel is None else f"_{unit.channel}"
    for what, ending in (("patch", "im"), ("projection", "feat")):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{unit.layer}{channel}_{ending}.png"
        mosaic(patches, what=what, tone=tone).save(path)
        click.echo(str(path))


def _print_hits(atlas: "Atlas", unit: "Unit", ranked_by: str) -> None:
    rows = [_hit_row(one, patch) for one, patch in _pairs(atlas, unit, ranked_by)]
    if unit.channel is None:
        print_json(rows)
        return
    stats = atlas.stats(unit)
    print_object(
        {
            "unit": str(unit),
            "ranked_by": ranked_by,
            "images": stats.images,
            "mean": stats.mean,
            "std": stats.std,
            "maximum": stats.maximum,
            "fired_image_share": stats.fired_image_share,
            "fired_position_share": stats.fired_position_share,
            "dead": stats.dead,
            "classes": {one.label: one.mean_maximum for one in stats.classes},
            "hits": rows,
        }
    )


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


COMMANDS = (scan, illustrate, show)
