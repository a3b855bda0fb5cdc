"""Runners of every kind, and an end for tests that would hang."""

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from retroscope.scanning.runners.processes import Processes
from retroscope.scanning.runners.ray_cluster import RayCluster
from retroscope.scanning.runners.workers import Runner

SECONDS = 300


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


@pytest.fixture(params=["processes", "ray"])
def runner(request: pytest.FixtureRequest) -> Runner:
    """Two workers, of each kind."""
    if request.param == "processes":
        return Processes(2)
    request.getfixturevalue("local_ray")
    return RayCluster(workers=2)
