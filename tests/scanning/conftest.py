"""What the tests of a pass in bf16 need on machines that would refuse it."""

import pytest
import torch


@pytest.fixture
def bf16_on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a pass in bf16 run where it is slow: its numbers are the same everywhere."""
    monkeypatch.setattr("retroscope.scanning.precision.has_bf16_instructions", is_any_device)


def is_any_device(_device: torch.device) -> bool:
    return True
