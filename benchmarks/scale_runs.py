"""Scans on workers in processes of their own, which are measured or killed."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import perf_counter, sleep

import numpy as np
import PIL.Image
import torch

import retroscope as rs
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import TABLES
from retroscope.progress import Progress
from retroscope.scanning.distributed.scan_on_workers import DistributedScan
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.illustrate import NO_RANKS
from retroscope.scanning.lots.network_source import NetworkSource
from retroscope.scanning.lots.plan_folder import PlanFolder, plan_beside
from retroscope.scanning.sources import listing
from retroscope.scanning.sources.scan_source import ScanSource

LONGEST = 600.0


@dataclass(frozen=True)
class WorkerScan:
    """A scan of images of noise, in lots of one shard. Without `on`, it is that of one process."""

    model: str
    pixels: int
    lots: int
    lot_images: int
    on: str | None = None
    workers: int = 1
    batch_size: int = 16

    def write_images(self, folder: Path) -> None:
        """The images, in two classes."""
        generator = np.random.default_rng(0)
        side = self.pixels // 8
        for label in range(2):
            (folder / f"class{label}").mkdir(parents=True, exist_ok=True)
        for number in range(self.lots * self.lot_images):
            noise = generator.integers(0, 256, (side, side, 3), np.uint8)
            image = PIL.Image.fromarray(noise).resize((self.pixels, self.pixels))
            image.save(folder / f"class{number % 2}" / f"{number:06}.jpg")


@dataclass(frozen=True)
class ScanTimes:
    """Images a second from the first lot on, seconds of the merge and of all, and the peak."""

    rate: float
    merge: float
    total: float
    megabytes: float


def run_scan(scan: WorkerScan, photos: str, to: str) -> None:
    """Scans, and prints the times and the peak memory of this process as JSON."""
    setattr(listing, "IMAGES_PER_SHARD", scan.lot_images)  # noqa: B010 - not a name it exports
    torch.set_num_threads(1)
    times: dict[str, list[tuple[float, int]]] = {"scan": [], "merge": []}

    def note(progress: Progress) -> None:
        times.setdefault(progress.stage, []).append((perf_counter(), progress.completed))

    options = {"input_size": scan.pixels, "random_weights": 0}
    if scan.model == "demo":
        del options["random_weights"]
    net, start = rs.open_model(scan.model, **options), perf_counter()  # type: ignore[arg-type]
    if scan.on is None:
        rs.scan(
            net, photos, to=to, batch_size=scan.batch_size, projections="none", progress=note
        ).close()
    else:
        named = NetworkSource.named(scan.model, **options)
        DistributedScan(
            net,
            ScanSource(photos),
            Path(to),
            WorkerOptions(scan.on, scan.workers, threads=1, network=named),
            lot_images=scan.lot_images,
            batch_size=scan.batch_size,
        ).run(ranks=NO_RANKS, restart=False, progress=note).close()
    total = perf_counter() - start
    print(json.dumps([_rate(times["scan"]), _duration(times["merge"]), total, peak_megabytes()]))


def _rate(moments: list[tuple[float, int]]) -> float:
    if not moments:  # an earlier driver has swept all lots
        return 0.0
    first = next((moment for moment in moments if moment[1]), moments[-1])
    last = moments[-1]
    return (last[1] - first[1]) / max(last[0] - first[0], 1e-9)


def _duration(moments: list[tuple[float, int]]) -> float:
    return moments[-1][0] - moments[0][0] if moments else 0.0


def peak_megabytes() -> float:
    """The peak of this process so far; `getrusage` would include that of the parent."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(scan: WorkerScan, photos: Path, to: Path) -> ScanTimes:
    """The times of a scan, in a separate process."""
    driver = _start(scan, photos, to)
    return ScanTimes(*json.loads(_finish(driver).splitlines()[-1]))


@dataclass(frozen=True)
class KilledRun:
    """How many processes were killed by SIGKILL, and the seconds of all runs together."""

    kills: int
    seconds: float


def run_with_killed_workers(scan: WorkerScan, photos: Path, to: Path, kills: int) -> KilledRun:
    """The scan, while a worker is killed again and again, at random moments."""
    random, killed, start = Random(0), 0, perf_counter()  # noqa: S311
    driver = _start(scan, photos, to)
    for number in range(kills):
        if _wait_for_lots(driver, to, (number + 1) * scan.lots // (kills + 1)):
            sleep(random.random() / 4)
            workers = _children(driver.pid)
            if workers:
                os.kill(random.choice(workers), signal.SIGKILL)
                killed += 1
    _finish(driver)
    return KilledRun(killed, perf_counter() - start)


def run_with_killed_drivers(scan: WorkerScan, photos: Path, to: Path, kills: int) -> KilledRun:
    """The same command again and again, of which all but the last are killed."""
    random, killed, start = Random(0), 0, perf_counter()  # noqa: S311
    for number in range(kills):
        driver = _start(scan, photos, to)
        _wait_for_lots(driver, to, (number + 1) * scan.lots // (kills + 1))
        sleep(random.random() / 4)
        driver.kill()
        driver.communicate()
        killed += driver.returncode == -signal.SIGKILL
    _finish(_start(scan, photos, to))
    return KilledRun(killed, perf_counter() - start)


def differing_tables(first: Path, second: Path) -> list[str]:
    """The tables of two atlases whose rows are not the same."""
    with closing(open_atlas(first)) as one, closing(open_atlas(second)) as other:
        return [
            name for name in TABLES if name != "meta" and _rows(one, name) != _rows(other, name)
        ]


def _rows(atlas: Atlas, table: str) -> list[str]:
    return sorted(repr(tuple(row)) for row in atlas.sql(f"SELECT * FROM {table}"))  # noqa: S608


def _start(scan: WorkerScan, photos: Path, to: Path) -> subprocess.Popen[str]:
    call = f"run_scan({scan!r}, {str(photos)!r}, {str(to)!r})"
    program = f"from benchmarks.scale_runs import WorkerScan, run_scan; {call}"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _finish(driver: "subprocess.Popen[str]") -> str:
    out, err = driver.communicate(timeout=LONGEST)
    if driver.returncode:
        raise RuntimeError(f"a scan has ended with {driver.returncode}: {err[-2000:]}")
    return out


def _wait_for_lots(driver: "subprocess.Popen[str]", to: Path, count: int) -> bool:
    """Whether so many lots are swept before the driver ends."""
    lots = PlanFolder(plan_beside(to)).lots
    while driver.poll() is None:
        if len(list(lots.glob("*.seg"))) >= count:
            return True
        sleep(0.01)
    return False


def _children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in listed.read_text().split()]
