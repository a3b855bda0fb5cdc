"""Which runner the user names, and how many workers it has by default."""

from retroscope.argument_types import shorten
from retroscope.errors import RetroscopeError
from retroscope.scanning.runners.gpus import count_workers
from retroscope.scanning.runners.processes import Processes
from retroscope.scanning.runners.ray_cluster import RayCluster
from retroscope.scanning.runners.work import RunnerError
from retroscope.scanning.runners.workers import Runner

PROCESSES, RAY, RAY_ADDRESS = "processes", "ray", "ray://"


def choose_runner(
    on: str,
    *,
    workers: int | None = None,
    gpus_per_worker: float = 0.0,
    threads: int | None = None,
) -> Runner:
    """The runner of a name: `processes`, `ray`, or the `ray://HOST:PORT` of a cluster.

    >>> choose_runner("processes", workers=3, threads=2)
    Processes(workers=3, gpus_per_worker=0.0, threads=2)
    """
    refuse_unknown_runner(on)
    if gpus_per_worker < 0:
        raise RetroscopeError(
            f"a worker cannot have {gpus_per_worker:g} GPUs; give 0 or more",
            parameter="gpus_per_worker",
        )
    if on == PROCESSES:
        return Processes(
            workers or count_workers(gpus_per_worker, threads), gpus_per_worker, threads
        )
    address = on if on.startswith(RAY_ADDRESS) else None
    return RayCluster(address, workers, gpus_per_worker, threads)


def refuse_unknown_runner(on: str) -> None:
    """Raises unless a name is that of a runner."""
    is_known = isinstance(on, str) and (
        on in (PROCESSES, RAY) or (on.startswith(RAY_ADDRESS) and ":" in on[len(RAY_ADDRESS) :])
    )
    if not is_known:
        raise RunnerError(
            f"cannot run on {shorten(on)}; choose from {PROCESSES}, {RAY}, or "
            f"{RAY_ADDRESS}HOST:PORT for a cluster that runs",
            parameter="on",
        )
