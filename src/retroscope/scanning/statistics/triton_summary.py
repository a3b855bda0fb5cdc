"""The summary of a batch of maps in one read of them, on a GPU.

It is imported only where triton is, which comes with torch for CUDA.
"""

import torch
import triton
from triton import language as tl

from retroscope.scanning.statistics.batch_summary import BatchSummary, map_sizes

_BLOCK_POSITIONS, _BLOCK_CHANNELS = 32, 32
_LAYOUTS = torch.contiguous_format, torch.channels_last
_COLUMNS = {
    "maximum": torch.float32,
    "minimum": torch.float32,
    "total": torch.float64,
    "squares": torch.float64,
    "fired_positions": torch.int32,
    "non_finite": torch.int32,
    "peaks": torch.int32,
    "troughs": torch.int32,
}


def can_reduce(maps: torch.Tensor) -> bool:
    """Whether the kernel takes maps of this type and layout."""
    is_laid_out = any(maps.is_contiguous(memory_format=layout) for layout in _LAYOUTS)
    return (
        maps.dtype.itemsize <= 4 and maps.is_floating_point() and is_laid_out and maps.numel() > 0
    )


def summarise_by_kernel(maps: torch.Tensor, *, programs: int) -> BatchSummary:
    """The summary, with positions, of maps (images, channels, height, width) that `can_reduce`.

    Large maps are cut into parts until there are about as many `programs` as keep the GPU busy.
    """
    images, channels, height, width = maps.shape
    positions = height * width
    is_channels_last = maps.is_contiguous(memory_format=torch.channels_last)
    strides = (1, channels) if is_channels_last else (positions, 1)
    blocks = triton.cdiv(channels, _BLOCK_CHANNELS)
    most_parts = triton.cdiv(positions, 4 * _BLOCK_POSITIONS)
    parts = max(1, min(most_parts, triton.cdiv(programs, images * blocks)))
    columns = {
        name: torch.empty(parts, images, channels, dtype=dtype, device=maps.device)
        for name, dtype in _COLUMNS.items()
    }
    _reduce_maps[(blocks, images, parts)](
        maps,
        *columns.values(),
        images,
        channels,
        positions,
        *strides,
        triton.cdiv(positions, parts),
        BLOCK_POSITIONS=_BLOCK_POSITIONS,
        BLOCK_CHANNELS=_BLOCK_CHANNELS,
        enable_fp_fusion=True,
    )
    maximum = columns["maximum"].amax(0)
    minimum = columns["minimum"].amin(0)
    return BatchSummary(
        maximum=maximum,
        minimum=minimum,
        total=columns["total"].sum(0),
        squares=columns["squares"].sum(0),
        fired_positions=columns["fired_positions"].sum(0),
        non_finite=columns["non_finite"].sum(0),
        positions=map_sizes(maps),
        peaks=_first_position(columns["peaks"], columns["maximum"] == maximum, positions),
        troughs=_first_position(columns["troughs"], columns["minimum"] == minimum, positions),
    )


def _first_position(positions: torch.Tensor, is_extreme: torch.Tensor, count: int) -> torch.Tensor:
    """Of the parts that have the extreme value, the first."""
    return torch.where(is_extreme, positions, count).amin(0).long()


@triton.jit  # type: ignore[untyped-decorator]  # triton reads the source, and has types of its own
def _reduce_maps(  # type: ignore[no-untyped-def]
    maps,
    maximum,
    minimum,
    total,
    squares,
    fired_positions,
    non_finite,
    peaks,
    troughs,
    images,
    channels,
    positions,
    channel_stride,
    position_stride,
    part_size,
    BLOCK_POSITIONS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    """One block of channels of one image, over one part of its positions."""
    channel = tl.program_id(0) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    image = tl.program_id(1)
    part = tl.program_id(2)
    lane = tl.arange(0, BLOCK_POSITIONS)
    stop = tl.minimum((part + 1) * part_size, positions)
    first_value = maps + image.to(tl.int64) * channels * positions
    shape: tl.constexpr = (BLOCK_POSITIONS, BLOCK_CHANNELS)
    highest = tl.full(shape, -float("inf"), tl.float32)
    lowest = tl.full(shape, float("inf"), tl.float32)
    peak = tl.zeros(shape, tl.int32)
    trough = tl.zeros(shape, tl.int32)
    lane_total = tl.zeros(shape, tl.float32)
    lane_squares = tl.zeros(shape, tl.float32)
    fired = tl.zeros(shape, tl.int32)
    broken = tl.zeros(shape, tl.int32)
    for start in range(part * part_size, stop, BLOCK_POSITIONS):
        position = start + lane
        is_inside = (position < stop)[:, None] & (channel < channels)[None, :]
        offset = position[:, None] * position_stride + channel[None, :] * channel_stride
        value = tl.load(first_value + offset, mask=is_inside, other=0.0).to(tl.float32)
        is_finite = is_inside & (tl.abs(value) < float("inf"))
        is_higher = is_finite & (value > highest)
        peak = tl.where(is_higher, position[:, None], peak)
        highest = tl.where(is_higher, value, highest)
        is_lower = is_finite & (value < lowest)
        trough = tl.where(is_lower, position[:, None], trough)
        lowest = tl.where(is_lower, value, lowest)
        value = tl.where(is_finite, value, 0.0)
        lane_total += value
        lane_squares += value * value
        fired += (value > 0).to(tl.int32)
        broken += (is_inside & (is_finite == 0)).to(tl.int32)
    best = tl.max(highest, axis=0)
    first_peak = tl.min(tl.where(highest == best[None, :], peak, positions), axis=0)
    least = tl.min(lowest, axis=0)
    first_trough = tl.min(tl.where(lowest == least[None, :], trough, positions), axis=0)
    output = (part * images + image) * channels + channel
    is_channel = channel < channels
    tl.store(maximum + output, best, mask=is_channel)
    tl.store(minimum + output, least, mask=is_channel)
    tl.store(total + output, tl.sum(lane_total.to(tl.float64), axis=0), mask=is_channel)
    tl.store(squares + output, tl.sum(lane_squares.to(tl.float64), axis=0), mask=is_channel)
    tl.store(fired_positions + output, tl.sum(fired, axis=0), mask=is_channel)
    tl.store(non_finite + output, tl.sum(broken, axis=0), mask=is_channel)
    tl.store(peaks + output, first_peak, mask=is_channel)
    tl.store(troughs + output, first_trough, mask=is_channel)
