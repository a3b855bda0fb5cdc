"""The summary of a map is its definition, whatever the numbers and their layout."""

import numpy as np
import pytest
import torch
from hypothesis import given

from retroscope.scanning.statistics.plain_summary import Scratch
from retroscope.scanning.statistics.summary import summarise
from tests.scanning.statistics.sweep_definition import Batch, batches


@given(batches())
def test_a_summary_is_its_definition(batch: Batch) -> None:
    found = summarise(torch.from_numpy(batch.maps))
    for picture, channels in enumerate(batch.maps):
        for channel, own in enumerate(channels):
            finite = own[np.isfinite(own)]
            here = picture, channel
            assert found.maximum[here] == finite.max(initial=-np.inf)
            assert found.total[here] == finite.sum()
            assert found.squares[here] == (finite**2).sum()
            assert found.fired_positions[here] == (finite > 0).sum()
            assert found.non_finite[here] == own.size - finite.size
            mean = finite.mean() if finite.size else -np.inf
            assert found.mean[here] == pytest.approx(mean)
    assert set(found.positions.tolist()) == {batch.maps[0, 0].size}


def test_one_broken_map_leaves_the_others_alone() -> None:
    maps = torch.ones(2, 3, 4, 4)
    maps[1, 2, 0, 0] = torch.nan
    found = summarise(maps)
    assert found.non_finite.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert found.total.tolist() == [[16, 16, 16], [16, 16, 15]]
    assert found.mean.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_opposite_infinities_do_not_hide_each_other() -> None:
    maps = torch.tensor([torch.inf, -torch.inf, 2.0, 1.0]).reshape(1, 1, 2, 2)
    found = summarise(maps)
    assert (found.maximum.item(), found.total.item()) == (2, 3)
    assert (found.fired_positions.item(), found.non_finite.item()) == (2, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_of_narrow_numbers_do_not_overflow_or_lose_digits(dtype: torch.dtype) -> None:
    """4096 times 96 is beyond float16; 96 squared times 4096 even more so."""
    found = summarise(torch.full((1, 2, 64, 64), 96.0, dtype=dtype))
    assert found.total.tolist() == [[96.0 * 4096] * 2]
    assert found.squares.tolist() == [[96.0**2 * 4096] * 2]
    assert found.mean.tolist() == [[96.0] * 2]


def test_reused_memory_does_not_change_earlier_summaries() -> None:
    scratch = Scratch()
    first = summarise(torch.full((2, 3, 5, 5), 2.0), scratch)
    summarise(torch.full((1, 8, 9, 9), -7.0), scratch)
    summarise(torch.full((1, 1, 1, 1), -7.0, dtype=torch.float64), scratch)
    assert first.squares.tolist() == [[100.0] * 3] * 2
    assert first.fired_positions.tolist() == [[25] * 3] * 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_maps_themselves_stay_as_they_are(layout: torch.memory_format) -> None:
    maps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    laid_out = maps.clone(memory_format=layout)
    summarise(laid_out, Scratch())
    assert laid_out.equal(maps)
