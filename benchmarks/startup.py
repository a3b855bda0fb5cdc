"""Commands from their start to their end, and the demo from its start to the first page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import PIL.Image

from benchmarks.commands import fetch, serve, time_command
from benchmarks.timing import at_most, describe_machine, markdown_table
from retroscope.world import scene

IMAGE, UNIT = "image.png", "conv5:3"
_LAYERS = ("layers", "vgg16", "--random-weights", "0")
COMMANDS: dict[str, tuple[float, tuple[str, ...]]] = {
    "`retroscope --help`": (0.15, ("--help",)),
    f"`retroscope deconv demo {UNIT} {IMAGE}`": (3, ("deconv", "demo", UNIT, IMAGE)),
    "`retroscope layers vgg16 --random-weights 0`": (
        4,
        ("layers", "vgg16", "--random-weights", "0"),
    ),
}
"""Each row: its target in seconds, and the arguments."""
DEMO_TARGET = 60


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `images` are those of the demo; None is its default."""

    rounds: int = 5
    images: int | None = None
    demo_rounds: int = 3


FULL, TINY = Sizes(), Sizes(rounds=1, images=12, demo_rounds=1)


def report(sizes: Sizes = FULL) -> str:
    """The table, in Markdown."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        PIL.Image.fromarray(scene(0).pixels).save(folder / IMAGE)
        rows = [
            _row(label, target, partial(_repeat_command, arguments, folder, sizes.rounds))
            for label, (target, arguments) in COMMANDS.items()
        ]
        demos = partial(_repeat_demo, sizes, folder)
        rows.append(_row("`retroscope demo`, then `serve`, to the first page", DEMO_TARGET, demos))
    header = ("command", "runs", "median, s", "slowest, s", "target of the median")
    return "\n\n".join(
        (
            "# From the start of a command",
            describe_machine("torchvision", "click"),
            markdown_table(header, rows),
            "Elapsed time of a process of its own, Python and all imports included. The files are "
            "in the cache of the disk, except in the first run of all.",
        )
    )


def _row(label: str, target: float, run: Callable[[], list[float]]) -> list[object]:
    times = run()
    middle = median(times)
    slowest = f"{max(times):.2f}"
    return [label, len(times), f"{middle:.2f}", slowest, at_most(target, middle, " s")]


def _repeat_command(arguments: Sequence[str], folder: Path, rounds: int) -> list[float]:
    return [time_command(*arguments, folder=folder) for _ in range(rounds)]


def _repeat_demo(sizes: Sizes, folder: Path) -> list[float]:
    """The demo in a new folder each time, and the first page of its atlas."""
    count = () if sizes.images is None else ("--count", str(sizes.images))
    times = []
    for number in range(sizes.demo_rounds):
        name = f"demo-{number}"
        start = perf_counter()
        time_command("demo", name, "--no-open", *count, folder=folder)
        with serve(folder / name / "demo.atlas") as address:
            fetch(address)
            times.append(perf_counter() - start)
    return times
