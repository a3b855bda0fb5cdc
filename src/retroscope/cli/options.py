"""Options that commands share: how a network is opened, and where the answer goes."""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from retroscope.cli.choices import COLOURS, RESIZES, RULES, TONES, VIEWS
from retroscope.cli.input_values import hold_inputs, parse_inputs, scanned_sources
from retroscope.cli.parameter_types import (
    parse_bands,
    parse_device,
    parse_names,
    parse_numbers,
    parse_size,
)
from retroscope.errors import RetroscopeError

if TYPE_CHECKING:
    from retroscope.network import Network

CommandFunction = Callable[..., None]
Decorator = Callable[[CommandFunction], CommandFunction]


@dataclass(frozen=True)
class OpenOptions:
    """How a command opens its network: the keywords of `open_model`, and threads."""

    arch: str | None
    random_weights: int | None
    device: str
    resize: str
    input_size: tuple[int, ...] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    bands: tuple[int, ...] | None
    value_range: tuple[float, ...] | None
    inputs: dict[str, str]
    threads: int | None

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords of `open_model`."""
        return {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if entry.name not in ("threads", "inputs")
        }

    def open(self, model: str) -> "Network":
        """Opens the network, with its other inputs held, and reports what was inferred about it."""
        net = self._open(model)
        return hold_inputs(net, self.inputs) if self.inputs else net

    def open_to_scan(self, model: str) -> "Network":
        """Opens the network with those inputs held that do not come with each image."""
        sources, net = scanned_sources(self.inputs), self._open(model)
        held = {name: text for name, text in self.inputs.items() if name not in sources}
        return hold_inputs(net, held) if held else net

    def _open(self, model: str) -> "Network":
        with stdout_to_stderr(), pause_garbage_collection():
            import torch

            from retroscope.zoo import open_model

            if self.threads is not None:
                torch.set_num_threads(self.threads)
            net = open_model(model, **self.keywords)
        for inference in filter(None, (*net.inferred, net.preprocessing.pixel_rule)):
            click.echo(f"{model}: {inference}", err=True)
        return net

    def open_to_list(self, model: str) -> "Network":
        """Opens the network for its layers alone: weights are not drawn at random."""
        with pause_garbage_collection():
            from retroscope.zoo.torchvision_models import leave_weights_zero
        with leave_weights_zero():
            return self.open(model)


@contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Keeps Python from looking for unused cycles among the objects that imports create.

    torch and torchvision create half a million, which stay, and are looked through at every import.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def refuse_options(names: Iterable[str], reason: str) -> None:
    """Raises if one of these options of the current command is given; it would have no effect."""
    context = click.get_current_context()
    for entry in context.command.params:
        is_given = context.get_parameter_source(str(entry.name)) is not ParameterSource.DEFAULT
        if entry.name in names and is_given:
            is_option = isinstance(entry, click.Option)
            label = entry.opts[0] if is_option else entry.make_metavar(context).strip("[]")
            raise RetroscopeError(f"{label} {reason}")


def refuse_network_options(*names: str) -> None:
    """Raises if an option is given that has no effect without a network: one of these, or one that
    opens it.
    """
    opening = (field.name for field in fields(OpenOptions))
    refuse_options({*names, *opening}, "needs a network; name it with --model")


DRAWING_OPTIONS = frozenset({"colours", "bare", "original", "tone", "view", "lit", "context"})


def refuse_drawing_options(output: Path | None, *, as_json: bool) -> None:
    """Raises if an option of a drawing is given and nothing is drawn."""
    if as_json and output is None:
        refuse_options(
            DRAWING_OPTIONS, "changes a drawing; with --json, name the file to draw with -o"
        )


def add_option(text: str, parameter: str) -> str:
    """A text of the library, with the option of this command that stands for a parameter."""
    options = {entry.name: entry.opts[-1] for entry in click.get_current_context().command.params}
    return f"{text} ({options[parameter]})" if parameter in options else text


@dataclass(frozen=True)
class HeatOptions:
    """How a heat map is drawn and where it is written."""

    output: Path | None
    as_json: bool
    bare: bool
    colours: str


def examples(*commands: str) -> str:
    """The end of the help of a command: what can be typed."""
    return "\n".join(("\b", "Examples:", *(f"  retroscope {command}" for command in commands)))


def stdout_to_stderr() -> AbstractContextManager[object]:
    """Keeps what a user's own network prints out of the command's output."""
    return redirect_stdout(sys.stderr)


def packed_options(parameter: str, kind: type, *options: Decorator) -> Decorator:
    """Adds options to a command, which receives them as one value of this dataclass."""
    names = [field.name for field in fields(kind)]

    def decorate(command: CommandFunction) -> CommandFunction:
        @wraps(command)
        def call(**parameters: Any) -> None:
            values = {name: parameters.pop(name) for name in names}
            command(**parameters, **{parameter: kind(**values)})

        decorated: CommandFunction = call
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="one per CPU",
    help="CPU threads for torch.",
)
open_options = packed_options(
    "opening",
    OpenOptions,
    click.option(
        "--arch",
        metavar="NAME",
        help="Architecture of the weight file, if it cannot be inferred.",
    ),
    click.option(
        "--random-weights",
        type=int,
        metavar="SEED",
        help="Initialise the weights from this seed instead of downloading them.",
    ),
    click.option(
        "--device",
        type=parse_device,
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|mps",
        help="Device to run on; cuda:1 picks one of several.",
    ),
    click.option(
        "--resize",
        type=click.Choice(RESIZES),
        default="network",
        show_default=True,
        help="How to fit images to the input size. network: like the network's preprocessing; "
        "stretch: change the proportions; crop: cut out the centre; whole: keep the whole image, "
        "at its own size; letterbox: fit the whole image between grey bars.",
    ),
    click.option(
        "--input-size",
        type=parse_size,
        metavar="HxW",
        show_default="the network's",
        help="Input size in pixels; DxHxW for volumes and video.",
    ),
    click.option(
        "--mean",
        type=parse_numbers,
        metavar="R,G,B",
        show_default="the network's",
        help="Per-channel mean for pixels scaled to 0-1.",
    ),
    click.option(
        "--std",
        type=parse_numbers,
        metavar="R,G,B",
        show_default="the network's",
        help="Per-channel standard deviation for pixels scaled to 0-1.",
    ),
    click.option(
        "--bands",
        type=parse_bands,
        metavar="R,G,B",
        show_default="1,2,3",
        help="Channels to show of images that have many, counted from 1; one is shown in grey.",
    ),
    click.option(
        "--value-range",
        type=parse_numbers,
        metavar="LOW,HIGH",
        show_default="the range of the file's type",
        help="Pixel values that count as 0 and 1; --mean and --std are then in the same units.",
    ),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME=VALUE",
        callback=parse_inputs,
        help="Other input of a network that takes several: an image, numbers, or a .npy file; "
        "for a scan also a folder of files named like the images, or a CSV file. Repeat it for "
        "more.",
    ),
    threads_option,
)


def output_option(description: str, *, shown_default: str = "") -> Decorator:
    """`-o` with the file that a command writes."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        show_default=shown_default or False,
        help=description,
    )


def number_option(name: str, default: float, *, metavar: str, description: str) -> Decorator:
    """An option that takes a number of the type of its default."""
    return click.option(
        name,
        type=type(default),
        default=default,
        show_default=True,
        metavar=metavar,
        help=description,
    )


image_output_option = output_option("Image file to write.", shown_default="named after the inputs")
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the result as JSON; draw only if -o is given.",
)
colours_option = click.option(
    "--colours",
    type=click.Choice(COLOURS),
    default="inferno",
    show_default=True,
    help="Colour scale of the heat map.",
)
heat_options = packed_options(
    "drawing",
    HeatOptions,
    colours_option,
    click.option("--bare", is_flag=True, help="Draw only the heat over the image, without text."),
    json_option,
    image_output_option,
)
view_option = click.option(
    "--view",
    type=click.Choice(VIEWS),
    help="Draw only this image of each projection, without text: the projection itself, or the "
    "patch lit by it.",
)
rules_option = click.option(
    "--rules",
    type=click.Choice(RULES),
    default="auto",
    show_default=True,
    help="Backward rules of the projection. auto: deconvnet where max pooling makes it depend on "
    "the image, else relevance. contrast: what sets the unit apart from the other channels at its "
    "position.",
)
TARGET_FORMS = (
    "Class by name or number from 0; of a detector box:N, from 1 for the most confident, or "
    "box:Y0,X0,Y1,X1[:CLASS], or mask:N if it predicts masks; of a segmenter CLASS@Y,X, "
    "CLASS@MASK.png, or CLASS@Z,Y,X in a volume; of any network a number among its outputs, such "
    "as output[0][3]."
)
target_option = click.option(
    "--target",
    metavar="TARGET",
    show_default="the most probable class, the most confident box or the largest segment",
    help=TARGET_FORMS,
)


def tone_option(default: str = TONES[0]) -> Decorator:
    """`--tone`."""
    return click.option(
        "--tone",
        type=click.Choice(TONES),
        default=default,
        show_default=True,
        help="How to scale signed values to colours. robust: by the 99th percentile of the nonzero "
        "values in a tile, lifting faint ones; tile: by the largest value; percentile: by the "
        "99.5th percentile; gamma: by the square root.",
    )


def layers_option(
    description: str, *, default: tuple[str, ...] = (), shown_default: str = ""
) -> Decorator:
    """`--layers`, repeatable, with commas between names."""
    return click.option(
        "--layers",
        multiple=True,
        metavar="NAMES",
        default=default,
        callback=parse_names,
        show_default=shown_default or True,
        help=description,
    )
