"""Runners of every kind, and an end for tests that would hang."""

import signal
from collections.abc import Iterator
from importlib.util import find_spec
from types import FrameType

import pytest

from retroscope.scanning.runners.processes import Processes
from retroscope.scanning.runners.ray_cluster import RayCluster
from retroscope.scanning.runners.workers import Runner

SECONDS = 300
NO_RAY = "Ray is not installed: pip install 'retroscope[ray]'"


@pytest.fixture(autouse=True)
def _time_limit() -> Iterator[None]:
    """A loop that never ends fails."""

    def fail(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"no end after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray of three processors on this machine, for all tests of a process.

    The tests that use it are in one group: `--dist loadgroup` starts it once.
    """
    if find_spec("ray") is None:
        pytest.skip(NO_RAY)
    import os

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    ray.init(
        address="local",
        num_cpus=3,
        include_dashboard=False,
        object_store_memory=100_000_000,
        log_to_driver=False,
    )
    yield
    ray.shutdown()


@pytest.fixture(params=["processes", pytest.param("ray", marks=pytest.mark.xdist_group("ray"))])
def runner(request: pytest.FixtureRequest) -> Runner:
    """Two workers, of each kind."""
    if request.param == "processes":
        return Processes(2)
    request.getfixturevalue("local_ray")
    return RayCluster(workers=2)
