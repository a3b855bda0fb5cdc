"""Scans whose convolutions are replaced: what remains is the work of the driver."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import PIL.Image
import torch

import retroscope as rs
from benchmarks.scale_runs import peak_megabytes
from benchmarks.stub_network import StubOptions, stub_network
from retroscope.atlas.image_blobs import encode_image
from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.progress import Progress
from retroscope.scanning.distributed.scan_on_workers import DistributedScan
from retroscope.scanning.illustrate import NO_RANKS
from retroscope.scanning.lots.make_plan import make_plan
from retroscope.scanning.lots.merge_segments import merge_lots
from retroscope.scanning.lots.plan_folder import LotTask, PlanFolder, plan_beside
from retroscope.scanning.lots.segment import (
    SHARD_BITS,
    LotImages,
    LotStage,
    Segment,
    SegmentFacts,
    write_segment,
)
from retroscope.scanning.sources.image_list import key_hash
from retroscope.scanning.sources.scan_source import ScanSource
from retroscope.scanning.statistics.batch_images import BatchImages, SweptImage
from retroscope.scanning.statistics.sweep import Sweep
from retroscope.scanning.statistics.topk import TopK

CLASSES = 1000


@dataclass(frozen=True)
class Simulation:
    """Shards of so many images; the images of a shard are of `classes` classes.

    The stub network has `layers` of `channels`.
    """

    shards: int = 1000
    shard_images: int = 1280
    classes: int = 2
    layers: int = 4
    channels: int = 256
    batch_size: int = 320
    workers: int = 2


@dataclass(frozen=True)
class DriverFacts:
    """Of a driver: seconds and its peak in megabytes until the end of each step, and files."""

    seconds: dict[str, float]
    peaks: dict[str, float]
    plan_megabytes: float
    segments_megabytes: float
    atlas_megabytes: float


@dataclass
class _Watch:
    """Notes when stages begin and end, the peak of this process then, and the plan's files."""

    folder: PlanFolder
    moments: dict[str, list[float]] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    plan_bytes: int = 0
    segment_bytes: int = 0

    def __call__(self, progress: Progress) -> None:
        if progress.stage == "scan" and "scan" not in self.moments:
            self.plan_bytes = _count_bytes(self.folder.path, "*")
            self.peaks["plan"] = peak_megabytes()
        if progress.stage == "merge" and "merge" not in self.moments:
            self.segment_bytes = _count_bytes(self.folder.path, "*.seg")
        self.moments.setdefault(progress.stage, []).append(perf_counter())
        self.peaks[progress.stage] = peak_megabytes()


def _count_bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def run_apart(function: str, sizes: object, folder: Path) -> Any:
    """What a function of this module prints as JSON, in a process of its own."""
    name = type(sizes).__name__
    code = (
        f"from pathlib import Path; from benchmarks.scale_simulation import {name}, {function}; "
        f"{function}({sizes!r}, Path({str(folder)!r}))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(process.stdout.splitlines()[-1])


def simulate(simulation: Simulation, folder: Path) -> None:
    """Scans by the real plan, workers, merge and atlas; prints the facts of this process."""
    torch.set_num_threads(1)
    write_shards(folder / "shards", simulation)
    net, to = stub_network(simulation.layers, simulation.channels), folder / "a.atlas"
    watch = _Watch(PlanFolder(plan_beside(to)))
    scan = DistributedScan(
        net,
        ScanSource(str(folder / "shards" / "*.tar")),
        to,
        StubOptions("processes", simulation.workers, threads=1),
        lot_images=1,
        batch_size=simulation.batch_size,
    )
    base, start = peak_megabytes(), perf_counter()
    scan.run(ranks=NO_RANKS, restart=False, progress=watch).close()
    print(json.dumps(asdict(_driver_facts(watch, to, base=base, start=start))))


def _driver_facts(watch: _Watch, to: Path, *, base: float, start: float) -> DriverFacts:
    ends = [start, watch.moments["scan"][0], watch.moments["scan"][-1], watch.moments["merge"][-1]]
    steps = zip(("plan", "sweep", "merge", "check"), pairwise([*ends, perf_counter()]), strict=True)
    peaks = {
        "start": base,
        "plan": watch.peaks["plan"],
        "sweep": watch.peaks["scan"],
        "merge": watch.peaks["merge"],
    }
    return DriverFacts(
        {step: end - begin for step, (begin, end) in steps},
        {**peaks, "check": peak_megabytes()},
        watch.plan_bytes / 1e6,
        watch.segment_bytes / 1e6,
        to.stat().st_size / 1e6,
    )


def write_shards(folder: Path, simulation: Simulation) -> None:
    """Tars as WebDataset packs them; those of the same classes are links to one file."""
    folder.mkdir()
    groups = max(min(CLASSES // simulation.classes, simulation.shards), 1)
    content = BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(content, "JPEG")
    for shard in range(simulation.shards):
        path = folder / f"{shard:06}.tar"
        if shard >= groups:
            os.link(folder / f"{shard % groups:06}.tar", path)
            continue
        with tarfile.open(path, "w") as tar:
            for image in range(simulation.shard_images):
                label = shard * simulation.classes + image % simulation.classes
                member = tarfile.TarInfo(f"n{label:08}/{image:06}.jpg")
                member.size = len(content.getvalue())
                tar.addfile(member, BytesIO(content.getvalue()))


@dataclass(frozen=True)
class MergeOnly:
    """Segments of a network's channels that are written without a sweep.

    Each has `images` images of `classes` classes that no other segment has.
    """

    model: str = "resnet50"
    segments: int = 100
    images: int = 64
    classes: int = 10


def write_invented_segments(sizes: MergeOnly, folder: Path) -> None:
    """Plans, and writes the segments; prints how many channels they have."""
    torch.set_num_threads(1)
    options = {} if sizes.model == "demo" else {"random_weights": 0}
    net = rs.open_model(sizes.model, **options)  # type: ignore[arg-type]
    write_shards(folder / "shards", Simulation(sizes.segments, sizes.images, sizes.classes))
    tars = str(folder / "shards" / "*.tar")
    planned = PlanFolder(folder / "p.plan")
    plan = make_plan(net, tars, to=planned.path, lot_images=1, batch_size=sizes.images)
    channels = sum(layer.channels for layer in plan.layers)
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(sizes.images, channels, 2, 2, generator=generator)
    labels = [number % sizes.classes for number in range(sizes.images)]
    swept = [
        SweptImage(number, key_hash(str(number)), label) for number, label in enumerate(labels)
    ]
    images = BatchImages.of(swept)
    sweep = Sweep.empty(channels, top=plan.top)
    sweep = sweep.add(sweep.summarise(maps, images), images)
    for lot in range(sizes.segments):
        facts = SegmentFacts(plan.id, lot, LotStage.SCAN, plan.machine)
        segment = _invent_segment(sweep, facts, labels, classes=sizes.classes)
        write_segment(planned.segment(LotTask(lot)), segment)
    print(json.dumps(channels))


def _invent_segment(
    sweep: Sweep, facts: SegmentFacts, labels: Sequence[int], *, classes: int
) -> Segment:
    """The sweep as that of another lot, whose rankings are those of other channels."""
    first = facts.lot << SHARD_BITS
    numbers = range(first, first + len(labels))
    images = LotImages(
        class_names=[f"n{facts.lot * classes + label:08}" for label in range(classes)],
        files=[ImageFileRow(number, 100, number, bytes(8)) for number in numbers],
    )
    images.add_list(first, [f"{facts.lot}/{number}" for number in range(len(labels))], labels)
    webp = encode_image(np.zeros((8, 8, 3), np.uint8))
    by_max, by_mean, by_min = (
        TopK(*(column.roll(facts.lot, 0) for column in vars(ranking).values()))
        for ranking in (sweep.by_max, sweep.by_mean, sweep.by_min)
    )
    sweep = replace(sweep, by_max=by_max, by_mean=by_mean, by_min=by_min)
    sweep = sweep.renumber(lambda images: np.asarray(images) + first)
    return Segment(facts, sweep, images, dict.fromkeys(numbers, webp))


def merge_segments(sizes: MergeOnly, folder: Path) -> None:
    """Merges the segments; prints the seconds and peaks of folding and of all."""
    moments, peaks, to = [], [peak_megabytes()], folder / "a.atlas"

    def note(_progress: Progress) -> None:
        moments.append(perf_counter())
        peaks.append(peak_megabytes())

    start = perf_counter()
    merge_lots(folder / "p.plan", to=to, progress=note).close()
    facts = DriverFacts(
        {"fold": moments[sizes.segments - 1] - start, "merge": perf_counter() - start},
        {"start": peaks[0], "fold": peaks[sizes.segments], "merge": peak_megabytes()},
        0,
        _count_bytes(folder / "p.plan", "*.seg") / 1e6,
        to.stat().st_size / 1e6,
    )
    print(json.dumps(asdict(facts)))
