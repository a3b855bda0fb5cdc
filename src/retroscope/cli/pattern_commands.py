"""Commands that show what a network looks for, without an image of the user's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retroscope.cli.choices import RECIPES
from retroscope.cli.options import (
    OpenOptions,
    examples,
    image_output_option,
    json_option,
    open_options,
    packed_options,
    refuse_drawing_options,
    stdout_to_stderr,
    tone_option,
)
from retroscope.cli.output import (
    check_writable,
    default_path,
    model_name,
    print_json,
    write_drawing,
    write_image,
)
from retroscope.cli.parameter_types import format_channels, parse_channels, parse_lengths
from retroscope.cli.progress_bar import format_duration, show_large_work, show_resumable_progress
from retroscope.errors import RetroscopeError, UnitError

if TYPE_CHECKING:
    from retroscope.atlas.reader import Atlas
    from retroscope.methods.synthesis.objectives import Objective
    from retroscope.methods.synthesis.render_patterns import SynthesisStep
    from retroscope.network import Network
    from retroscope.progress import Progress
    from retroscope.results.patterns import Pattern
    from retroscope.unit import Unit

recipe_option = click.option(
    "--recipe",
    type=click.Choice(RECIPES),
    default="zoom",
    show_default=True,
    help="Recipe of the synthesis.",
)
steps_option = click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="the recipe's",
    help="Optimisation steps.",
)


@dataclass(frozen=True)
class SynthesisOptions:
    """How patterns are made: keywords of `synthesize`, and how many patterns of one unit."""

    recipe: str
    steps: int | None
    size: int | tuple[int, ...] | None
    seed: int
    seed_image: str | None
    diversity: int | None


_synthesis_options = packed_options(
    "synthesis",
    SynthesisOptions,
    click.option(
        "--diversity",
        type=click.IntRange(min=2),
        metavar="N",
        help="Make N patterns of one unit that differ as much as possible.",
    ),
    recipe_option,
    steps_option,
    click.option(
        "--size",
        type=parse_lengths,
        metavar="PIXELS",
        show_default="the receptive field",
        help="Side of the pattern, or a length for each axis, such as 16x48 or 5x32x32.",
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        metavar="SEED",
        help="Seed of the initial noise.",
    ),
    click.option("--seed-image", metavar="IMAGE", help="Image to start from instead of noise."),
)


@click.command(
    short_help="Synthesize a pattern that makes a unit fire.",
    epilog=examples(
        "synthesize imagenet conv7:42", "synthesize imagenet conv7 --channels 0-3 --steps 128"
    ),
)
@click.argument("model")
@click.argument("unit", required=False)
@click.option(
    "--target",
    metavar="TARGET",
    help="Class to maximise instead of a unit, by name or number; of a segmenter also CLASS@Y,X; "
    "of any network a number among its outputs, such as output[0][3].",
)
@click.option(
    "--channels",
    type=parse_channels,
    metavar="LIST",
    help="Channels of the layer UNIT, such as 0-63 or 3,7,10-12.",
)
@_synthesis_options
@click.option("--atlas", metavar="ATLAS", help="Atlas of natural images to compare with.")
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also write the pattern after every N steps.",
)
@click.option("--bare", is_flag=True, help="Draw only the pattern, without text.")
@open_options
@json_option
@image_output_option
def synthesize(
    model: str,
    unit: str | None = None,
    *,
    target: str | None,
    channels: tuple[int, ...] | None,
    synthesis: SynthesisOptions,
    atlas: str | None,
    save_every: int | None,
    bare: bool,
    opening: OpenOptions,
    as_json: bool,
    output: Path | None,
) -> None:
    """Synthesize a pattern that makes UNIT of MODEL fire as much as possible.

    UNIT is LAYER:CHANNEL, LAYER:CHANNEL@* for a whole map, LAYER:CHANNEL@Y,X, or a LAYER. The
    pattern of a network of volumes or video is a volume.
    """
    from retroscope.results.as_json import pattern_json

    objectives = _parse_objectives(unit, target, channels)
    path = output or _default_path(model, unit or str(target), channels, synthesis)
    refuse_drawing_options(output, as_json=as_json)
    is_drawn = output is not None or not as_json
    check_writable(path if is_drawn or save_every else None, [synthesis.seed_image or ""])
    net = opening.open(model)
    naturals = _natural_maxima(atlas, net, objectives)
    with stdout_to_stderr(), show_large_work("step") as listener:
        progress = _report_steps(listener, path, save_every=save_every, count=len(objectives))
        patterns = _synthesize(net, objectives, synthesis, progress=progress)
    pairs = zip(patterns, naturals * (synthesis.diversity or 1), strict=True)
    patterns = [replace(pattern, natural=natural) for pattern, natural in pairs]
    for line in dict.fromkeys(line for pattern in patterns for line in _summarize(pattern)):
        click.echo(line, err=True)
    if as_json:
        print_json([pattern_json(pattern) for pattern in patterns])
    if is_drawn:
        result = patterns[0] if len(patterns) == 1 else patterns
        write_drawing(result, path, to_stderr=as_json, bare=bare)


@click.command(
    short_help="Draw the filters of a first layer.",
    epilog=examples("filters imagenet", "filters vgg16 conv1_1 --bare -o filters.png"),
)
@click.argument("model")
@click.argument("layer", required=False)
@tone_option(default="tile")
@click.option("--bare", is_flag=True, help="Draw only the filters, without text.")
@open_options
@json_option
@image_output_option
def filters(
    model: str,
    layer: str | None = None,
    *,
    tone: str,
    bare: bool,
    opening: OpenOptions,
    as_json: bool,
    output: Path | None,
) -> None:
    """Draw the filters of LAYER of MODEL, a convolution that reads pixels.

    LAYER defaults to the first convolution.
    """
    from retroscope.methods.filters import filters as read_filters
    from retroscope.results.as_json import filters_json

    refuse_drawing_options(output, as_json=as_json)
    check_writable(output)
    net = opening.open(model)
    with stdout_to_stderr():
        layer_filters = read_filters(net, layer)
    if as_json:
        print_json(filters_json(layer_filters))
    if output is not None or not as_json:
        path = output or default_path(model_name(model), layer_filters.layer.name, "filters")
        write_drawing(layer_filters, path, to_stderr=as_json, tone=tone, bare=bare)


def _default_path(
    model: str, subject: str, channels: Sequence[int] | None, options: SynthesisOptions
) -> Path:
    return default_path(
        model_name(model),
        subject,
        f"channels{format_channels(channels)}" if channels else "",
        options.recipe,
        f"diversity{options.diversity}" if options.diversity else "",
        f"from-{Path(options.seed_image).stem}" if options.seed_image else "",
    )


def _parse_objectives(
    unit: str | None, target: str | None, channels: Sequence[int] | None
) -> "list[Unit | Objective]":
    """What to maximise: a class, a number, a unit, or several channels of a layer."""
    from retroscope.methods.output_targets import is_path
    from retroscope.methods.synthesis.objectives import excite_class, excite_output
    from retroscope.unit import Unit

    if unit is not None and target is not None:
        raise RetroscopeError(f"got both {unit!r} and a target; give a unit, or --target TARGET")
    if target is not None:
        if channels is not None:
            raise RetroscopeError("--channels picks channels of a layer; leave out --target")
        return [excite_output(target) if is_path(target) else excite_class(target)]
    if unit is None:
        raise RetroscopeError(
            "no unit and no target given; give LAYER:CHANNEL, a LAYER, or --target TARGET"
        )
    address = Unit.parse(unit)
    if channels is None:
        return [address]
    if address.channel is not None:
        raise UnitError(
            f"--channels picks the channels; give the layer {address.layer!r}, not {address}"
        )
    return [Unit(address.layer, channel) for channel in channels]


def _synthesize(
    net: "Network",
    objectives: "Sequence[Unit | Objective]",
    options: SynthesisOptions,
    *,
    progress: "Callable[[SynthesisStep], None]",
) -> "list[Pattern]":
    from retroscope.methods.synthesis.synthesize import synthesize_many, synthesize_varied

    if options.diversity is None:
        return synthesize_many(
            net,
            objectives,
            recipe=options.recipe,
            steps=options.steps,
            size=options.size,
            seed=options.seed,
            seed_image=options.seed_image,
            progress=progress,
        )
    if len(objectives) > 1 or options.seed_image is not None:
        raise RetroscopeError(
            "--diversity makes several patterns of one unit from noise; leave out --channels and "
            "--seed-image"
        )
    return synthesize_varied(
        net,
        objectives[0],
        options.diversity,
        recipe=options.recipe,
        steps=options.steps,
        size=options.size,
        seed=options.seed,
        progress=progress,
    )


def _report_steps(
    listener: "Callable[[Progress], None]", path: Path, *, save_every: int | None, count: int
) -> "Callable[[SynthesisStep], None]":
    """A listener of the synthesis that shows progress and saves intermediate patterns."""
    from retroscope.progress import ProgressReporter

    reporters: list[ProgressReporter] = []

    def report(step: "SynthesisStep") -> None:
        if reporters:
            reporters[0].update(step.done)
        else:  # the first step, which is slow, knows how many there are
            reporters.append(
                ProgressReporter(
                    "synthesize",
                    step.total,
                    listener,
                    completed=step.done,
                    parts=step.parts,
                    memory_bytes=step.memory_bytes,
                )
            )
        if save_every is not None and step.step % save_every == 0:
            _save_step(step, path, count)

    return report


def _save_step(step: "SynthesisStep", path: Path, count: int) -> None:
    from retroscope.render.panels import contact_sheet
    from retroscope.render.pattern_figures import lay_out_slices

    part = "" if len(step.indices) >= count else f".{step.indices[0]}-{step.indices[-1]}"
    step_path = path.with_name(f"{path.stem}.step{step.step:05}{part}{path.suffix}")
    images = [lay_out_slices(image)[0] for image in step.images()]
    sheet = contact_sheet(images, scale=1, columns=min(8, len(step.indices)))
    write_image(sheet, step_path, to_stderr=True)


def _natural_maxima(
    atlas: str | None, net: "Network", objectives: "Sequence[Unit | Objective]"
) -> list[float | None]:
    """The maximum over the images of an atlas, for each objective that is a channel."""
    from retroscope.atlas.reader import open_atlas
    from retroscope.methods.atlas_match import check_same_scan

    if atlas is None:
        return [None] * len(objectives)
    with open_atlas(atlas) as scanned:
        check_same_scan(scanned, net)
        return [_natural_maximum(scanned, net, objective) for objective in objectives]


def _natural_maximum(atlas: "Atlas", net: "Network", objective: "Unit | Objective") -> float | None:
    """The maximum of a channel; its layer is one of the network, by the network's names."""
    from retroscope.methods.atlas_match import missing_layers_error
    from retroscope.unit import Unit

    if not isinstance(objective, Unit) or objective.channel is None:
        return None
    name = net.layer(objective.layer).name
    if name not in {layer.name for layer in atlas.layers}:
        raise missing_layers_error(atlas, [name])
    return atlas.stats(Unit(name, objective.channel)).maximum


def _summarize(pattern: "Pattern") -> list[str]:
    natural = "" if pattern.natural is None else f", best natural image {pattern.natural:.4g}"
    first = f"{pattern.objective}: activation {pattern.activation:.4g}{natural}"
    return [first, *(f"{pattern.objective}: {note}" for note in pattern.notes)]


def add_patterns(
    atlas: str, net: "Network", layers: Sequence[str], *, recipe: str, steps: int | None
) -> None:
    """Adds the missing patterns of an atlas's channels, after an estimate of the time."""
    from retroscope.render.captions import count_noun
    from retroscope.scanning.pattern_pass import synthesize_into

    def show_estimate(count: int, seconds: float) -> None:
        click.echo(f"{count_noun(count, 'pattern')}: about {format_duration(seconds)}", err=True)

    with stdout_to_stderr(), show_resumable_progress(Path(atlas)) as progress:
        synthesize_into(
            atlas,
            net,
            layers=layers,
            recipe=recipe,
            steps=steps,
            estimate=show_estimate,
            progress=progress,
        )
    if progress.last is None:
        click.echo(f"{atlas} already has all of these patterns", err=True)


COMMANDS = (synthesize, filters)
