"""The summary of a batch of maps in one read of them, on a processor."""

from math import isfinite

import torch

from retroscope.scanning.statistics.batch_summary import BatchSummary, map_sizes
from retroscope.scanning.statistics.compiled_loops import compiled_loops
from retroscope.scanning.statistics.plain_summary import summarise_finite_values

_OUTPUTS = {
    "maximum": torch.float32,
    "minimum": torch.float32,
    "total": torch.float64,
    "squares": torch.float64,
    "fired_positions": torch.int64,
    "peaks": torch.int64,
    "troughs": torch.int64,
}


def can_fuse(maps: torch.Tensor) -> bool:
    """Whether these maps can be summarised in one read: float32, channels last, on a processor."""
    return (
        maps.device.type == "cpu"
        and maps.dtype == torch.float32
        and maps.numel() > 0
        and maps.permute(0, 2, 3, 1).is_contiguous()
        and compiled_loops() is not None
    )


def summarise_at_once(maps: torch.Tensor) -> BatchSummary:
    """The summary, with peaks and troughs, of maps that `can_fuse`."""
    loops = compiled_loops()
    assert loops is not None
    rows = maps.detach().permute(0, 2, 3, 1).flatten(1, 2).numpy()
    columns = {name: torch.empty(maps.shape[:2], dtype=dtype) for name, dtype in _OUTPUTS.items()}
    arrays = [column.numpy() for column in columns.values()]

    loops.reduce_rows(rows, *arrays)
    if not isfinite(columns["squares"].sum().item()):  # a value that is not makes its square so
        return summarise_finite_values(maps)
    non_finite = torch.zeros(maps.shape[:2], dtype=torch.int64)
    return BatchSummary(**columns, non_finite=non_finite, positions=map_sizes(maps))
