"""What the tests of scans need: a pass in bf16 on any machine, and a local Ray."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch

NO_RAY = "Ray is not installed: pip install 'retroscope[ray]'"


@pytest.fixture
def bf16_on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a pass in bf16 run where it is slow: its numbers are the same everywhere."""
    monkeypatch.setattr("retroscope.scanning.precision.has_bf16_instructions", is_any_device)


def is_any_device(_device: torch.device) -> bool:
    return True


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
