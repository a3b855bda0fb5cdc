"""What the tests of scans need: a pass in bf16 on any machine, and a local Ray."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch

from tests.scanning.ray_head import QUIET, RayHead, start_head

NO_RAY = "Ray is not installed: pip install 'retroscope[ray]'"


@pytest.fixture
def bf16_on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a pass in bf16 run where it is slow: its numbers are the same everywhere."""
    monkeypatch.setattr("retroscope.scanning.precision.has_bf16_instructions", is_any_device)


def is_any_device(_device: torch.device) -> bool:
    return True


@pytest.fixture(scope="session")
def local_ray() -> Iterator[RayHead]:
    """A Ray of three processors on this machine, to which this process is connected.

    The tests that use it are run by one process: `tests/conftest.py` sees to it.
    """
    if find_spec("ray") is None:
        pytest.skip(NO_RAY)
    with start_head(cpus=3) as head, pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        import ray

        ray.init(address=head.address, log_to_driver=False)
        yield head
        ray.shutdown()
