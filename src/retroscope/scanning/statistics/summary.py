"""The summary of a batch of maps, by the fastest way that the device and the maps allow."""

import warnings
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import torch

from retroscope.scanning.statistics.batch_summary import BatchSummary
from retroscope.scanning.statistics.fused_summary import can_fuse, summarise_at_once
from retroscope.scanning.statistics.plain_summary import (
    Scratch,
    summarise_finite_values,
    summarise_plainly,
)

_PROGRAMS_PER_PROCESSOR = 8
"""Enough programs of the kernel to keep each multiprocessor of a GPU busy."""


def summarise(maps: torch.Tensor, scratch: Scratch | None = None) -> BatchSummary:
    """The summary of a batch of maps (images, channels, height, width)."""
    if can_fuse(maps):
        return summarise_at_once(maps)
    kernel = _gpu_kernel(maps.device) if maps.is_cuda else None
    if kernel is not None and kernel.can_reduce(maps):
        return _summarise_on_gpu(kernel, maps)
    return summarise_plainly(maps, scratch or Scratch())


def _summarise_on_gpu(kernel: ModuleType, maps: torch.Tensor) -> BatchSummary:
    processors = torch.cuda.get_device_properties(maps.device).multi_processor_count
    summary: BatchSummary = kernel.summarise_by_kernel(
        maps, programs=_PROGRAMS_PER_PROCESSOR * processors
    )
    return summary


@cache
def _gpu_kernel(device: torch.device) -> ModuleType | None:
    """The module of the kernel, if it runs on this GPU and is right there."""
    if find_spec("triton") is None:
        return None
    from retroscope.scanning.statistics import triton_summary

    maps = _trial_maps().to(device)
    try:
        differences = different_columns(_summarise_on_gpu(triton_summary, maps), maps)
    except Exception as error:  # noqa: BLE001  # whatever a compiler or a driver raises
        differences = [f"{type(error).__name__}: {error}"]
    if differences:
        warnings.warn(
            f"the statistics kernel does not work on {torch.cuda.get_device_name(device)} "
            f"({', '.join(differences)}); torch computes the statistics instead, which takes "
            "longer",
            stacklevel=2,
        )
        return None
    return triton_summary


def different_columns(summary: BatchSummary, maps: torch.Tensor) -> list[str]:
    """The columns of a summary with peaks that are not those of the plain one of these maps.

    Sums may differ by rounding.
    """
    columns = vars(summary)
    rounding = {"total": 1e-5, "squares": 1e-5}
    return [
        name
        for name, expected in vars(summarise_finite_values(maps)).items()
        if not torch.allclose(
            columns[name].double(),
            expected.double(),
            rtol=rounding.get(name, 0),
            atol=rounding.get(name, 0),
        )
    ]


def _trial_maps() -> torch.Tensor:
    """Maps with ties, and with values that are not finite."""
    maps = torch.randn(2, 70, 30, 30, generator=torch.Generator().manual_seed(0), device="cpu")
    maps = (4 * maps).round() / 4
    maps[0, 0, 3, 3], maps[0, 1, 2, 2], maps[1, 2] = torch.nan, torch.inf, -torch.inf
    return maps.contiguous(memory_format=torch.channels_last)
