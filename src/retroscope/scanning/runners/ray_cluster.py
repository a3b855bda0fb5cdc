"""Workers that are actors of Ray, on this machine or on a cluster.

Ray places them and starts their processes. What is retried, and when, the loop decides: Ray is told
to restart nothing. Tasks and results are small, and images never enter its object store.
"""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from typing import Any

from retroscope.errors import describe_error
from retroscope.scanning.runners.gpus import count_workers
from retroscope.scanning.runners.processes import pickle_work
from retroscope.scanning.runners.ray_worker import RayWorker
from retroscope.scanning.runners.work import RunnerError, Work
from retroscope.scanning.runners.workers import Died, Report, WorkerPool, WorkError

OBJECT_STORE_BYTES = 200_000_000
_SECONDS_TO_CONNECT = 10.0


@dataclass(frozen=True)
class RayCluster:
    """Actors on the cluster at an address such as `ray://HOST:PORT`.

    Without an address, on the one that runs already, in this process or at `RAY_ADDRESS`, or else
    on this machine alone. Without `workers`, as many as the cluster has room for.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float = 0.0
    threads: int | None = None

    @property
    def resources(self) -> Mapping[str, float]:
        """What a worker needs, in Ray's words."""
        return {"CPU": self.threads or 1, "GPU": self.gpus_per_worker}

    @contextmanager
    def open_pool(self, work: Work[Any, Any]) -> Iterator[WorkerPool]:
        """Actors for this work. What this starts, it ends; a cluster that ran before goes on."""
        pickled = pickle_work(work)
        ray = _import_ray()
        was_running = ray.is_initialized()
        if was_running and self.address:
            raise RunnerError(
                f"this process is connected to Ray already, which {self.address} may not be; "
                "leave the address out, or call ray.shutdown() first",
                parameter="on",
            )
        if not was_running:
            _connect(ray, self)
        try:
            pool = _RayPool(ray, self, pickled)
            try:
                yield pool
            finally:
                pool.close()
        finally:
            if not was_running:
                ray.shutdown()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise RunnerError(
            "Ray is not installed; `pip install 'retroscope[ray]'`, or run on processes",
            parameter="on",
        ) from error
    return ray


def _connect(ray: Any, runner: RayCluster) -> None:
    address = runner.address or ("auto" if os.environ.get("RAY_ADDRESS") else None)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        workers = runner.workers or count_workers(runner.gpus_per_worker, runner.threads)
        ray.init(
            address="local",
            num_cpus=int(workers * runner.resources["CPU"]),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **quiet,
        )
        return
    name = runner.address or os.environ["RAY_ADDRESS"]
    _refuse_silent_address(name)
    try:
        ray.init(address=address, **quiet)
    except Exception as error:  # Ray's client raises whatever its parts do
        raise _unreachable(name, describe_error(error)) from error


def _refuse_silent_address(address: str) -> None:
    """Raises at once if nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise _unreachable(address, describe_error(error)) from error


def _unreachable(address: str, reason: str) -> RunnerError:
    return RunnerError(
        f"cannot reach Ray at {address} ({reason}); `ray status` shows there whether it runs; a "
        "cluster that asks for a token needs RAY_AUTH_MODE=token here",
        parameter="on",
    )


class _RayPool:
    def __init__(self, ray: Any, runner: RayCluster, work: bytes) -> None:
        self._ray, self._work, self._numbers = ray, work, count()
        self._actors: dict[int, Any] = {}
        self._answers: dict[Any, int] = {}
        self.capacity = _capacity(ray, runner)
        self._actor_class = ray.remote(RayWorker).options(
            num_cpus=runner.resources["CPU"],
            num_gpus=runner.resources["GPU"],
            max_restarts=0,
            max_task_retries=0,
        )

    def start_worker(self) -> int:
        number = next(self._numbers)
        actor = self._actor_class.remote(self._work, list(sys.path), version("retroscope"))
        self._actors[number] = actor
        self._answers[actor.open.remote()] = number
        return number

    def send(self, worker: int, task: object) -> None:
        self._answers[self._actors[worker].do.remote(task)] = worker

    def wait(self, seconds: float) -> Sequence[tuple[int, Report]]:
        answers = list(self._answers)
        ready, _ = self._ray.wait(answers, timeout=seconds)
        if len(answers) > 1 and ready:
            ready, _ = self._ray.wait(answers, num_returns=len(answers), timeout=0)
        return [(self._answers.pop(answer), self._read(answer)) for answer in ready]

    def _read(self, answer: object) -> Report:
        """What a worker has answered; what Ray raises instead is that it is lost."""
        try:
            report: Report = self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            return WorkError(describe_error(error.cause or error), str(error))
        except self._ray.exceptions.RayError as error:
            return Died(_describe_loss(error))
        return report

    def kill(self, worker: int) -> None:
        self._ray.kill(self._actors.pop(worker), no_restart=True)
        self._answers = {
            answer: number for answer, number in self._answers.items() if number != worker
        }

    def close(self) -> None:
        """Ends all."""
        for worker in list(self._actors):
            self.kill(worker)


def _capacity(ray: Any, runner: RayCluster) -> int:
    """How many workers there are to be; refuses a worker that no machine has room for."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(_room(node, runner.resources) for node in nodes)
    if room:
        return runner.workers or room
    needs = ", ".join(f"{amount:g} {name}" for name, amount in runner.resources.items() if amount)
    largest = [f"{max(node.get(name, 0) for node in nodes):g} {name}" for name in runner.resources]
    raise RunnerError(
        f"no machine of the cluster has room for a worker of {needs}; they have up to "
        f"{', '.join(largest)}",
        parameter="gpus_per_worker" if runner.gpus_per_worker else "",
    )


def _room(node: Mapping[str, float], needs: Mapping[str, float]) -> int:
    return int(min(node.get(name, 0.0) // amount for name, amount in needs.items() if amount))


def _describe_loss(error: Exception) -> str:
    """The end of an actor in one line: Ray writes many."""
    cause = getattr(error, "error_msg", None) or str(error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
