"""The summary of a batch of maps in one read of them, on a processor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from retroscope.scanning.statistics.batch_summary import BatchSummary
from retroscope.scanning.statistics.compiled_loops import compiled_loops
from retroscope.scanning.statistics.plain_summary import summarise_finite_values

Array = npt.NDArray[Any]

_OUTPUTS: Mapping[str, type[np.generic]] = {
    "maximum": np.float32,
    "minimum": np.float32,
    "total": np.float64,
    "squares": np.float64,
    "fired_positions": np.int32,
    "peaks": np.int32,
    "troughs": np.int32,
}


def can_fuse(maps: torch.Tensor) -> bool:
    """Whether these maps can be summarised in one read: on a processor, channels last.

    They are in float32 or bfloat16.
    """
    return (
        maps.device.type == "cpu"
        and maps.dtype in (torch.float32, torch.bfloat16)
        and maps.numel() > 0
        and maps.permute(0, 2, 3, 1).is_contiguous()
        and compiled_loops() is not None
    )


def summarise_at_once(maps: torch.Tensor) -> BatchSummary:
    """The summary, with peaks and troughs, of maps that `can_fuse`."""
    images, channels = maps.shape[:2]
    table = SummaryTable.empty(images, channels)
    is_filled = table.summarise(maps, range(channels))
    return table.read() if is_filled else summarise_finite_values(maps)


@dataclass(frozen=True, eq=False)
class SummaryTable:
    """The summary of all channels of a batch, filled in layer by layer, so that none is copied."""

    columns: Mapping[str, Array]
    """Those of a summary, of (images, channels)."""
    positions: Array
    """The size of each channel's map; of (channels)."""

    @classmethod
    def empty(cls, images: int, channels: int) -> Self:
        """To be filled in; until then, the numbers are arbitrary."""
        columns: dict[str, Array] = {
            name: np.empty((images, channels), dtype) for name, dtype in _OUTPUTS.items()
        }
        columns["non_finite"] = np.zeros((images, channels), np.int32)
        return cls(columns, np.empty(channels, np.int64))

    @cached_property
    def _outputs(self) -> Sequence[Array]:
        return [*(self.columns[name] for name in _OUTPUTS), self.positions]

    def summarise(self, maps: torch.Tensor, channels: range) -> bool:
        """Fills these channels with the summary of maps that `can_fuse`, if all values are finite.

        If not, it says so, and `store` has to fill them.
        """
        loops = compiled_loops()
        assert loops is not None
        values, reduce_rows = maps.detach(), loops.reduce_rows
        if values.dtype == torch.bfloat16:  # which numpy does not know
            values, reduce_rows = values.view(torch.uint16), loops.bfloat16_reduction()
        rows = values.numpy().transpose(0, 2, 3, 1).reshape(len(maps), -1, len(channels))
        is_finite: bool = reduce_rows(rows, *self._outputs, channels.start)
        return is_finite  # a value that is not finite has a square that is not

    def store(
        self, summary: BatchSummary, peaks: torch.Tensor, troughs: torch.Tensor, channels: range
    ) -> None:
        """Fills these channels with a summary from elsewhere."""
        columns = {**vars(summary), "peaks": peaks, "troughs": troughs}
        part = slice(channels.start, channels.stop)
        for name, column in self.columns.items():
            column[:, part] = columns[name]
        self.positions[part] = summary.positions

    def read(self) -> BatchSummary:
        """The summary, in the memory of the table."""
        columns = {name: torch.from_numpy(column) for name, column in self.columns.items()}
        return BatchSummary(**columns, positions=torch.from_numpy(self.positions))
