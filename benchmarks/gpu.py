"""A GPU in under eight minutes: equality with the processor, then sweeps, projections, reading.

`python -m benchmarks gpu` needs a CUDA device; with `--device cpu` every line of it runs on tiny
sizes. Times are elapsed times with the GPU synchronised before and after. Events on the GPU would
leave out the processor's work between kernels, which is what a sweep waits for.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from time import perf_counter

import torch

import retroscope as rs
from benchmarks.gpu_equality import (
    Row,
    compare_given_maps,
    compare_projections,
    compare_sweeps,
    copy_to,
    describe_failure,
    open_calibrated,
    prepare_batches,
    sweep_batches,
)
from benchmarks.gpu_rates import time_projections, time_reading, time_statistics, time_sweep
from benchmarks.timing import describe_machine, markdown_table
from retroscope.engine.isolation import without_tf32
from retroscope.errors import RetroscopeError
from retroscope.scanning.layer_choice import scan_layers

HEADER = ("what", "measured", "compared with", "ratio", "target")
FAILURES = (RuntimeError, ValueError, TypeError, OSError, ImportError, RetroscopeError)
"""What a part of the measurements may raise without the others being lost."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `max_seconds`: no part starts later than that."""

    models: tuple[str, str] = ("resnet50", "vgg16")
    pixels: int = 224
    equality_images: int = 128
    units: int = 8
    batch: int = 64
    batches: int = 8
    rounds: int = 5
    statistics_repeats: int = 20
    projection_images: int = 8
    hits_per_image: int = 24
    files: int = 1024
    workers: tuple[int, ...] = (1, 4, 16)
    backend: str = "inductor"
    max_seconds: float = 450


FULL = Sizes()
TINY = Sizes(
    ("demo", "squeezenet1_1"),
    pixels=48,
    equality_images=12,
    units=2,
    batch=2,
    batches=2,
    rounds=1,
    statistics_repeats=1,
    projection_images=1,
    hits_per_image=2,
    files=4,
    workers=(1, 2),
    backend="eager",
)


@dataclass(frozen=True)
class Part:
    """Some rows of the table, and the program that measures them."""

    name: str
    measure: Callable[[], list[Row]]


Measurement = Callable[[rs.Network, torch.device, Sizes], list[Row]]


def report(sizes: Sizes = FULL, *, device: str = "cuda") -> str:
    """The table, in Markdown."""
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device; --device cpu checks on tiny sizes that this runs")
    start = perf_counter()
    with without_tf32():
        rows, left_out = run_parts(
            list_parts(sizes, torch.device(device)), max_seconds=sizes.max_seconds
        )
    missing = ", ".join(left_out) or "nothing"
    return "\n\n".join(
        (
            "# On a GPU",
            describe_machine("torchvision", "triton"),
            markdown_table(HEADER, [row.cells for row in rows]),
            f"{perf_counter() - start:.0f} seconds; left out for lack of time: {missing}.",
            f"Medians of {sizes.rounds} alternating rounds after a warm-up, weights from a seed, "
            f"images of noise at {sizes.pixels} px in batches of {sizes.batch}. Differences are "
            "in standard deviations of the channel on the processor. float32 is without TF32 in "
            "all programs, as in a scan. Forward passes are `model(x)` "
            "of images on the GPU, in inference mode, channels last; `compiled` is "
            "`torch.compile(model)`. A sweep starts from images in the processor's memory.",
        )
    )


def run_parts(
    parts: Sequence[Part], *, max_seconds: float, clock: Callable[[], float] = perf_counter
) -> tuple[list[Row], list[str]]:
    """The rows of all parts that start in time, and the names of the others.

    A part that fails has its error in the table. Rows are printed as they come.
    """
    rows, left_out, start = list[Row](), list[str](), clock()
    for part in parts:
        if clock() - start > max_seconds:
            left_out.append(part.name)
            continue
        try:
            measured = part.measure()
        except FAILURES as error:
            measured = [Row(part.name, f"failed: {describe_failure(error)}")]
        for row in measured:
            print(f"{clock() - start:6.1f} s  {' | '.join(row.cells)}", file=sys.stderr, flush=True)
        rows += measured
    return rows, left_out


def list_parts(sizes: Sizes, device: torch.device) -> list[Part]:
    """All parts, the most telling first, so that those left out matter least."""
    open_net = cache(partial(open_calibrated, pixels=sizes.pixels))
    first, second = sizes.models

    def part(what: str, measure: Measurement, name: str) -> Part:
        return Part(f"{name}, {what}", lambda: measure(open_net(name), device, sizes))

    def sweep(name: str, dtype: str) -> Part:
        return part(f"sweep in {dtype}", partial(_time_sweep, dtype=dtype), name)

    statistics = partial(
        time_statistics,
        device,
        images=sizes.batch,
        rounds=sizes.rounds,
        repeats=sizes.statistics_repeats,
    )
    return [
        Part("given maps", lambda: compare_given_maps(device)),
        *(part("equality", _compare, name) for name in sizes.models),
        sweep(first, "bfloat16"),
        Part("statistics", statistics),
        sweep(first, "float32"),
        part("projections", _time_projections, first),
        part("reading", _time_reading, first),
        sweep(second, "bfloat16"),
        part("projections", _time_projections, second),
        sweep(first, "float16"),
        sweep(second, "float16"),
        sweep(second, "float32"),
    ]


def _compare(net: rs.Network, device: torch.device, sizes: Sizes) -> list[Row]:
    copy, layers = copy_to(net, device), scan_layers(net)
    size = min(sizes.batch, sizes.equality_images)
    batches = prepare_batches(net, size, count=sizes.equality_images // size, pixels=sizes.pixels)
    sweeps = sweep_batches(net, layers, batches), sweep_batches(copy, layers, batches)
    return [
        *compare_sweeps(net.name, *sweeps),
        *compare_projections(net.name, (net, copy), batches[0], units=sizes.units),
    ]


def _time_sweep(net: rs.Network, device: torch.device, sizes: Sizes, *, dtype: str) -> list[Row]:
    return time_sweep(
        net,
        device,
        dtype,
        batch=sizes.batch,
        batches=sizes.batches,
        rounds=sizes.rounds,
        backend=sizes.backend,
    )


def _time_projections(net: rs.Network, device: torch.device, sizes: Sizes) -> list[Row]:
    return time_projections(
        net,
        device,
        images=sizes.projection_images,
        hits=sizes.hits_per_image,
        rounds=sizes.rounds,
    )


def _time_reading(net: rs.Network, device: torch.device, sizes: Sizes) -> list[Row]:
    return time_reading(
        net,
        device,
        "bfloat16",
        files=sizes.files,
        batch=sizes.batch,
        workers=sizes.workers,
    )
