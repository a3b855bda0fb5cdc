"""Drivers that are processes of their own, so that they can be killed."""

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

ROOT = Path(__file__).parents[3]
DRIVER = """
import signal, sys
from contextlib import closing
from pathlib import Path
from retroscope.scanning.runners.dispatch import run
from retroscope.scanning.runners.processes import Processes
from retroscope.scanning.runners.ray_cluster import RayCluster
from tests.scanning.runners.works import Sleeper
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores Ctrl-C
kind, folder, seconds = sys.argv[1:]
runner = Processes(2) if kind == "processes" else RayCluster(workers=2)
with closing(run(Sleeper(Path(folder)), [float(seconds)] * 2, runner=runner)) as outcomes:
    print(*outcomes)
"""


def start_driver(kind: str, folder: Path, *, seconds: float) -> subprocess.Popen[str]:
    """A script without a guard for `__main__`, as users write them."""
    script = folder / "script.py"
    script.write_text(DRIVER)
    return subprocess.Popen(
        [sys.executable, str(script), kind, str(folder), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def worker_ids(folder: Path) -> list[int]:
    """The processes of the workers that have begun a task."""
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]


def wait_for_workers(folder: Path, count: int) -> list[int]:
    end = monotonic() + 60
    while len(worker_ids(folder)) < count:
        assert monotonic() < end, "no worker has begun"
        sleep(0.05)
    return worker_ids(folder)


def wait_for_end(processes: list[int]) -> None:
    """Fails if one of the processes is still there after a while."""
    end = monotonic() + 30
    while alive := [process for process in processes if is_alive(process)]:
        assert monotonic() < end, f"orphans: {alive}"
        sleep(0.1)


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
