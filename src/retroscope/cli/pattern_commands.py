"""Commands that show what a network looks for, without a picture of yours."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retroscope.cli.options import (
    aside,
    json_option,
    opened_from,
    output_option,
    runs_a_network,
)
from retroscope.cli.output import check_writable, counted, file_name, print_json, save, write
from retroscope.cli.progress_bar import in_time, resumable, shown_progress
from retroscope.errors import RetroscopeError, UnitError, did_you_mean

if TYPE_CHECKING:
    from retroscope.methods.synthesis.generation import Step
    from retroscope.methods.synthesis.objective import Objective
    from retroscope.network import Network
    from retroscope.progress import Progress
    from retroscope.results.values import Pattern
    from retroscope.unit import Unit


@click.command(short_help="Make the picture that a unit would most like to see.")
@click.argument("model")
@click.argument("unit", required=False)
@click.option("--class", "target", metavar="NAME", help="A class instead of a unit.")
@click.option(
    "--channels", metavar="0-63", help="Several channels of the layer UNIT, as 0-63 or 3,7,9."
)
@click.option(
    "--diversity",
    type=click.IntRange(min=2),
    metavar="N",
    help="N patterns of one unit, as different as they can be.",
)
@click.option(
    "--recipe",
    default="olah",
    show_default=True,
    help="olah, maco, yosinski, octaves or plain.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps; the recipe's, if not given.")
@click.option(
    "--size",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="The side of the picture; what the unit sees, if not given.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise it begins with.")
@click.option(
    "--seed-image", "start", metavar="IMAGE", help="A picture to begin with instead of noise."
)
@click.option("--atlas", metavar="ATLAS", help="Compare with its best natural image.")
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Write the picture after every N steps too.",
)
@click.option("--bare", is_flag=True, help="Only the picture, without words.")
@runs_a_network
@json_option
@output_option
def synthesize(
    model: str,
    unit: str | None = None,
    *,
    target: str | None,
    channels: str | None,
    diversity: int | None,
    atlas: str | None,
    save_every: int | None,
    bare: bool,
    as_json: bool,
    output: Path | None,
    **options: Any,
) -> None:
    """Make the picture that UNIT of MODEL would most like to see.

    UNIT is LAYER:CHANNEL, LAYER:CHANNEL@* for a whole map, LAYER:CHANNEL@Y,X, or a LAYER.
    """
    from retroscope.methods.synthesis.recipes import recipe_named

    named = _one_of(unit, target)
    recipe_named(options["recipe"])
    path = output or file_name(model, named.replace(" ", "-"), str(options["recipe"]))
    check_writable(path, [options["start"] or ""])
    wanted = _wanted(unit, target, channels)
    net = opened_from(model, options)
    naturals = _naturals(atlas, net, wanted)
    with aside(), shown_progress() as progress:
        watch = _watcher(progress, path, save_every, len(wanted))
        made = _made(net, wanted, diversity, watch=watch, **options)
    pairs = zip(made, naturals * (diversity or 1), strict=True)
    made = [replace(pattern, natural=natural) for pattern, natural in pairs]
    for said in dict.fromkeys(note for pattern in made for note in _said(pattern)):
        click.echo(said, err=True)
    if as_json:
        print_json(map(_row, made))
    if output is not None or not as_json:
        save(made[0] if len(made) == 1 else made, path, to_stderr=as_json, bare=bare)


@click.command(short_help="Draw the filters of a first layer.")
@click.argument("model")
@click.argument("layer", required=False)
@click.option("--tone", default="tile", show_default=True, help="tile, percentile or gamma.")
@click.option("--bare", is_flag=True, help="Only the filters, without words.")
@runs_a_network
@output_option
def filters(
    model: str,
    layer: str | None = None,
    *,
    tone: str,
    bare: bool,
    output: Path | None,
    **options: Any,
) -> None:
    """Draw the filters of a LAYER of MODEL that reads pixels: the first one, if not given."""
    from retroscope.methods.filters import filters as look
    from retroscope.render.tone import tone_named

    tone_named(tone)
    check_writable(output)
    with aside():
        found = look(opened_from(model, options), layer)
    save(found, output or file_name(model, found.layer.name, "filters"), tone=tone, bare=bare)


def _one_of(unit: str | None, target: str | None) -> str:
    """The unit or the class; one of them must be given."""
    if (unit is None) == (target is None):
        what = "neither a unit nor a class" if unit is None else f"both {unit!r} and a class"
        raise RetroscopeError(f"{what}; give LAYER:CHANNEL, a LAYER, or --class NAME")
    return unit or str(target)


def _wanted(unit: str | None, target: str | None, channels: str | None) -> "list[Unit | Objective]":
    from retroscope.methods.synthesis.objective import of_class
    from retroscope.unit import Unit

    if target is not None and channels is not None:
        raise RetroscopeError("--channels are those of a layer; leave out --class")
    if target is not None:
        return [of_class(target)]
    asked = Unit.parse(str(unit))
    if channels is None:
        return [asked]
    if asked.channel is not None:
        raise UnitError(
            f"--channels picks the channels itself; give the layer {asked.layer!r}, not {asked}"
        )
    return [Unit(asked.layer, channel) for channel in _numbers(channels)]


def _numbers(text: str) -> list[int]:
    """The numbers of `0-63` or `3,7,10-12`."""
    return [number for part in text.split(",") for number in _range(part.strip(), text)]


def _range(part: str, text: str) -> Iterator[int]:
    first, dash, last = part.partition("-")
    ends = [first, last if dash else first]
    if not all(end.strip().isdecimal() for end in ends) or int(ends[0]) > int(ends[1]):
        raise UnitError(f"cannot read the channels {text!r}; write 0-63, or 3,7,9")
    yield from range(int(ends[0]), int(ends[1]) + 1)


def _made(
    net: "Network",
    wanted: "Sequence[Unit | Objective]",
    diversity: int | None,
    *,
    start: str | None,
    **options: Any,
) -> "list[Pattern]":
    from retroscope.methods.synthesis.synthesize import synthesize_many, synthesize_varied

    if diversity is None:
        return synthesize_many(net, wanted, start=start, **options)
    if len(wanted) > 1 or start is not None:
        raise RetroscopeError(
            "--diversity makes several patterns of one unit from noise; leave out --channels and "
            "--seed-image"
        )
    return synthesize_varied(net, wanted[0], diversity, **options)


def _watcher(
    progress: "Callable[[Progress], None]", path: Path, save_every: int | None, count: int
) -> "Callable[[Step], None]":
    """Shows how far the work is, and writes the pictures on the way where that is asked for."""
    from retroscope.progress import Watch

    watches: list[Watch] = []

    def told(step: "Step") -> None:
        if not watches:
            watches.append(Watch("synthesize", step.total, progress))
        watches[0].at(step.done)
        if save_every is not None and step.step % save_every == 0:
            _save_step(step, path, count)

    return told


def _save_step(step: "Step", path: Path, count: int) -> None:
    from retroscope.render.panels import contact_sheet

    part = "" if len(step.rows) >= count else f".{step.rows[0]}-{step.rows[-1]}"
    place = path.with_name(f"{path.stem}.step{step.step:05}{part}{path.suffix}")
    write(
        contact_sheet(step.pictures(), scale=1, columns=min(8, len(step.rows))),
        place,
        to_stderr=True,
    )


def _naturals(
    atlas: str | None, net: "Network", wanted: "Sequence[Unit | Objective]"
) -> list[float | None]:
    """The best that a natural image of an atlas reaches, for each that is one channel's."""
    from retroscope.atlas.reader import open_atlas
    from retroscope.methods.atlas_match import refuse_other_weights
    from retroscope.unit import Unit

    if atlas is None:
        return [None] * len(wanted)
    with open_atlas(atlas) as scanned:
        refuse_other_weights(scanned, net)
        return [
            scanned.stats(Unit(each.layer, each.channel)).maximum
            if isinstance(each, Unit) and each.channel is not None
            else None
            for each in wanted
        ]


def _said(pattern: "Pattern") -> list[str]:
    natural = "" if pattern.natural is None else f", the best natural image {pattern.natural:.4g}"
    first = f"{pattern.objective}: activation {pattern.activation:.4g}{natural}"
    return [first, *(f"{pattern.objective}: {note}" for note in pattern.notes)]


def _row(pattern: "Pattern") -> dict[str, object]:
    return {
        "objective": pattern.objective,
        "unit": None if pattern.unit is None else str(pattern.unit),
        "activation": pattern.activation if isfinite(pattern.activation) else None,
        "natural": pattern.natural,
        "score": pattern.score,
        "started_at": pattern.started_at,
        "size": list(pattern.size),
        "recipe": pattern.recipe,
        "steps": pattern.steps,
        "seed": pattern.seed,
        "notes": list(pattern.notes),
        "caveats": list(pattern.caveats),
    }


METHODS = ("deconv", "synthesize")
"""What an atlas can be illustrated with."""


def methods_named(text: str) -> list[str]:
    """The methods of `deconv,synthesize`, one or both.

    >>> methods_named("deconv, synthesize")
    ['deconv', 'synthesize']
    """
    names = text.replace(",", " ").split()
    if not names:
        raise RetroscopeError(f"no method to illustrate with; there are {' and '.join(METHODS)}")
    for name in names:
        if name not in METHODS:
            hint = did_you_mean(name, METHODS) or f"there are {' and '.join(METHODS)}"
            raise RetroscopeError(f"an atlas is not illustrated with {name!r}; {hint}")
    return names


def put_patterns(atlas: str, net: "Network", layers: Sequence[str], **options: Any) -> None:
    """Puts the patterns of an atlas's channels into it; says first how long that takes."""
    from retroscope.scanning.pattern_pass import synthesize_into

    def estimate(count: int, seconds: float) -> None:
        click.echo(f"{counted(count, 'pattern')}: about {in_time(seconds)}", err=True)

    with aside(), resumable(Path(atlas)) as progress:
        synthesize_into(atlas, net, layers=layers, estimate=estimate, progress=progress, **options)
    if progress.last is None:
        click.echo(f"{atlas} has all of these patterns", err=True)


COMMANDS = (synthesize, filters)
