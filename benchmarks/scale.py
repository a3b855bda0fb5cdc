"""Scans on workers: their rates, what a kill costs, and the driver's time and memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.scale_runs import (
    WorkerScan,
    differing_tables,
    measure,
    run_with_killed_drivers,
    run_with_killed_workers,
)
from benchmarks.scale_simulation import DriverFacts, MergeOnly, Simulation, run_apart
from benchmarks.timing import (
    NOT_INSTALLED,
    NOT_MEASURED,
    at_least,
    at_most,
    describe_machine,
    markdown_table,
)

FLAT, GAIN = 5, 1.8
_HAS_PROC = Path("/proc/self/task").exists()


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `growth` are numbers of lots of `growth_images` images each.

    The rates of all `runners` are measured; kills and growth are of the `workers` alone.
    """

    rates: WorkerScan
    kills: WorkerScan
    runners: tuple[tuple[str, int], ...]
    workers: tuple[str, int]
    worker_kills: int
    driver_kills: int
    growth: tuple[int, int]
    growth_images: int
    simulation: Simulation
    merge: MergeOnly


FULL = Sizes(
    rates=WorkerScan("resnet18", 224, lots=16, lot_images=64),
    kills=WorkerScan("squeezenet1_1", 128, lots=40, lot_images=16),
    runners=(("processes", 1), ("processes", 2), ("ray", 1), ("ray", 2)),
    workers=("processes", 2),
    worker_kills=10,
    driver_kills=2,
    growth=(10, 200),
    growth_images=4,
    simulation=Simulation(),
    merge=MergeOnly(),
)
TINY = Sizes(
    rates=WorkerScan("demo", 48, lots=3, lot_images=2, batch_size=2),
    kills=WorkerScan("demo", 48, lots=6, lot_images=2, batch_size=2),
    runners=(),
    workers=("processes", 1),
    worker_kills=1,
    driver_kills=0,
    growth=(2, 3),
    growth_images=2,
    simulation=Simulation(3, 4, classes=2, layers=2, channels=4, batch_size=2, workers=1),
    merge=MergeOnly("demo", 3, 4, classes=2),
)


def report(sizes: Sizes = FULL) -> str:
    """The tables, in Markdown."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        parts = [_rates(sizes, folder), _kills(sizes, folder), _growth(sizes, folder)]
    return "\n\n".join(
        (
            "# Scans on workers",
            describe_machine("torchvision", "ray"),
            *parts,
            _simulation(sizes.simulation),
            _merging(sizes.merge),
        )
    )


def _rates(sizes: Sizes, folder: Path) -> str:
    """Scans of the same images in one process and on workers."""
    scan, photos = sizes.rates, folder / "rates"
    scan.write_images(photos)
    one = measure(scan, photos, folder / "one process.atlas")
    rows = [["`scan`, one process", f"{one.rate:.1f}", "", "", f"{one.total:.1f}"]]
    single = dict[str, float]()
    for on, workers in sizes.runners:
        name = f"{on}, {workers} {'worker' if workers == 1 else 'workers'}"
        if on == "ray" and find_spec("ray") is None:
            rows.append([name, NOT_INSTALLED, "", "", ""])
            continue
        run = measure(replace(scan, on=on, workers=workers), photos, folder / f"{name}.atlas")
        single.setdefault(on, run.rate)
        gain = run.rate / single[on]
        cell = "" if workers == 1 else f"{gain:.2f}; {at_least(GAIN, gain)}"
        rows.append([name, f"{run.rate:.1f}", cell, f"{run.merge:.2f}", f"{run.total:.1f}"])
    header = (
        *("runner", "images/s from the first lot on", "two workers to one; target"),
        *("s merging", "s, whole scan"),
    )
    return (
        f"## Workers\n\n{scan.model} at {scan.pixels} pixels, {scan.lots} lots of "
        f"{scan.lot_images} images; one thread of torch in each process. A whole scan includes the "
        "start of the workers and of Ray.\n\n" + markdown_table(header, rows)
    )


def _kills(sizes: Sizes, folder: Path) -> str:
    """Scans with kills, whose atlases are compared with that of one process."""
    on, workers = sizes.workers
    scan, photos = replace(sizes.kills, on=on, workers=workers), folder / "kills"
    scan.write_images(photos)
    measure(sizes.kills, photos, folder / "one.atlas")
    undisturbed = measure(scan, photos, folder / "undisturbed.atlas").total
    rows = []
    runs = {
        "worker": (run_with_killed_workers, sizes.worker_kills),
        "driver": (run_with_killed_drivers, sizes.driver_kills),
    }
    for process, (run, kills) in runs.items():
        if not kills:
            continue
        if not _HAS_PROC:
            rows.append([process, NOT_MEASURED, "", "", at_most(0, None)])
            continue
        to = folder / f"killed-{process}.atlas"
        killed = run(scan, photos, to, kills)
        lost = (killed.seconds - undisturbed) / max(killed.kills, 1)
        differing = len(differing_tables(folder / "one.atlas", to))
        rows.append(
            [
                process,
                str(killed.kills),
                f"{killed.seconds:.1f}",
                f"{lost:.1f}",
                at_most(0, differing, " tables differ from `scan`'s"),
            ]
        )
    header = ("killed", "kills", "s, all runs together", "s lost for each", "target")
    return (
        f"## Kills\n\n{scan.model} at {scan.pixels} pixels, {scan.lots} lots of {scan.lot_images} "
        f"images, on {scan.on}, {scan.workers} workers; SIGKILL at random moments of the first "
        f"pass. Without kills it takes {undisturbed:.1f} s; the seconds include the start of the "
        "driver.\n\n" + markdown_table(header, rows)
    )


def _growth(sizes: Sizes, folder: Path) -> str:
    on, workers = sizes.workers
    runs = []
    for lots in sizes.growth:
        scan = replace(
            sizes.kills, lots=lots, lot_images=sizes.growth_images, on=on, workers=workers
        )
        scan.write_images(folder / f"{lots} lots")
        runs.append(measure(scan, folder / f"{lots} lots", folder / f"{lots}.atlas"))
    first, last = runs
    growth = 100 * (last.megabytes / first.megabytes - 1)
    rows = [
        [str(lots), f"{run.merge:.2f}", f"{run.megabytes:.0f}", "", ""]
        for lots, run in zip(sizes.growth, runs, strict=True)
    ]
    rows[-1][3:] = [f"{growth:+.1f} %", at_most(FLAT, growth, " %")]
    header = ("shards", "s merging", "MB, peak of the driver", "growth", "target")
    return (
        f"## The driver's memory\n\nThe same network, lots of one shard of {sizes.growth_images} "
        f"images, {workers} workers.\n\n" + markdown_table(header, rows)
    )


def _run_in_folder(functions: Sequence[str], sizes: object) -> list[Any]:
    with TemporaryDirectory() as name:
        return [run_apart(function, sizes, Path(name)) for function in functions]


def _simulation(sizes: Simulation) -> str:
    facts = DriverFacts(**_run_in_folder(["simulate"], sizes)[0])
    rows = [
        [name, f"{facts.seconds[step]:.1f}", f"{facts.peaks[step]:.0f}"]
        for step, name in {
            "plan": "plan",
            "sweep": f"sweep of {sizes.shards} lots, {sizes.workers} workers",
            "merge": "merge into the atlas",
            "check": "comparison of the images with the atlas",
        }.items()
    ]
    images = sizes.shards * sizes.shard_images
    return (
        f"## {images:,} images in {sizes.shards:,} shards, simulated\n\n"
        f"Measured: a plan of {sizes.shards:,} tars, each listed by its worker and a lot of its "
        f"own; {sizes.workers} processes, segments, merge and atlas are those of any scan. "
        f"Replaced: the network, by {sizes.layers} layers of {sizes.channels} channels that "
        "multiply, and the images, by noise of 2x2 pixels that is made, not read. Each tar has "
        f"{sizes.classes} classes; tars of the same classes are one file.\n\n"
        + markdown_table(("step", "s", "MB, peak of the driver so far"), rows)
        + f"\n\nThe driver's peak is {facts.peaks['start']:.0f} MB before the scan. The plan takes "
        f"{facts.plan_megabytes:.1f} MB without segments, the segments "
        f"{facts.segments_megabytes:,.0f} MB, the atlas {facts.atlas_megabytes:.0f} MB."
    )


def _merging(sizes: MergeOnly) -> str:
    channels, facts = _run_in_folder(["write_invented_segments", "merge_segments"], sizes)
    seconds, peaks = facts["seconds"], facts["peaks"]
    fold = seconds["fold"] / sizes.segments
    rest = seconds["merge"] - seconds["fold"]
    row = [
        str(sizes.segments),
        f"{facts['segments_megabytes']:,.0f}",
        f"{seconds['fold']:.1f}",
        f"{rest:.1f}",
        *(f"{peaks[step]:.0f}" for step in ("start", "fold", "merge")),
    ]
    header = (
        *("segments", "MB of segments", "s folding", "s writing the atlas"),
        *("MB, peak before", "MB, peak folding", "MB, peak of all"),
    )
    return (
        f"## Merging {channels:,} channels\n\nMeasured: segments of {sizes.model}'s channels, "
        f"each with {sizes.images} images in {sizes.classes} classes of its own, "
        f"{sizes.segments * sizes.classes:,} classes in all. Their numbers are invented.\n\n"
        + markdown_table(header, [row])
        + f"\n\nComputed: {fold * 1000:.0f} s fold 1,000 such segments, at {fold * 1000:.0f} ms "
        f"each. A segment with images of all {sizes.segments * sizes.classes:,} classes would have "
        f"up to {sizes.segments * sizes.classes * channels * 25 / 1e6:,.0f} MB more: 25 bytes for "
        "each class and channel, fewer where the sums are small."
    )
