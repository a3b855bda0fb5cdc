"""A scan on one worker and on two, and the driver's memory as lots grow in number."""

import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import PIL.Image

import retroscope as rs
from benchmarks.timing import describe_machine, markdown_table
from retroscope.progress import Progress
from retroscope.scanning.distributed.scan_on_workers import DistributedScan, ScanSource
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.illustrate import NO_RANKS
from retroscope.scanning.lots.network_source import NetworkSource
from retroscope.scanning.sources import listing


@dataclass(frozen=True)
class Sizes:
    """How much is measured. A lot is a shard of `shard_images` images."""

    model: str = "squeezenet1_1"
    pixels: int = 224
    shard_images: int = 32
    lots: tuple[int, ...] = (10, 50, 200)
    workers: tuple[int, ...] = (1, 2)


FULL, TINY = Sizes(), Sizes("demo", 48, 4, (2, 3), (1, 2))


def report(sizes: Sizes = FULL) -> str:
    """The tables, in Markdown."""
    few = sizes.lots[0]
    rates = [[str(workers), *measure(sizes, few, workers)[:2]] for workers in sizes.workers]
    growth = [[str(lots), *measure(sizes, lots, sizes.workers[-1])[1:]] for lots in sizes.lots]
    return "\n\n".join(
        (
            "# Scans on workers",
            describe_machine("torchvision"),
            f"{sizes.model}, lots of {sizes.shard_images} images, a thread of torch in each "
            "worker.",
            f"## Workers, {few} lots",
            markdown_table(("workers", "images/s from the first lot on", "s merging"), rates),
            "## Lots",
            markdown_table(("lots", "s merging", "MB, peak of the driver"), growth),
        )
    )


def measure(sizes: Sizes, lots: int, workers: int) -> list[str]:
    """Images a second, seconds of merging, and megabytes of the driver, in a separate process."""
    call = f"run_scan({sizes.model!r}, {sizes.pixels}, {sizes.shard_images}, {lots}, {workers})"
    program = f"from benchmarks.scale import run_scan; {call}"
    process = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return process.stdout.splitlines()[-1].split()


def run_scan(model: str, pixels: int, shard_images: int, lots: int, workers: int) -> None:  # noqa: PLR0917
    """Scans images of noise on workers, and prints what was measured."""
    setattr(listing, "IMAGES_PER_SHARD", shard_images)  # noqa: B010 - not a name it exports
    times: dict[str, list[tuple[float, int]]] = {}

    def note(progress: Progress) -> None:
        times.setdefault(progress.stage, []).append((perf_counter(), progress.completed))

    options = {"random_weights": 0} if model != "demo" else {}
    with TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        generator = np.random.default_rng(0)
        for number in range(lots * shard_images):
            noise = generator.integers(0, 256, (pixels // 8, pixels // 8, 3), np.uint8)
            image = PIL.Image.fromarray(noise).resize((pixels, pixels))
            image.save(photos / f"{number:06}.jpg")
        scan = DistributedScan(
            rs.open_model(model, **options),  # type: ignore[arg-type]
            ScanSource(photos),
            Path(folder) / "a.atlas",
            WorkerOptions(
                "processes", workers, threads=1, network=NetworkSource.named(model, **options)
            ),
            lot_images=shard_images,
            batch_size=16,
        )
        scan.run(ranks=NO_RANKS, restart=False, progress=note).close()
    first = next(entry for entry in times["scan"] if entry[1])
    last = times["scan"][-1]
    rate = (last[1] - first[1]) / max(last[0] - first[0], 1e-9)
    merging = times["merge"][-1][0] - times["merge"][0][0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{rate:.1f} {merging:.2f} {peak:.0f}")
