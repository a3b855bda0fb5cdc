"""Statistics of channels by their definitions."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from retroscope.results.statistics import HISTOGRAM_EDGES
from retroscope.scanning.statistics.channel_sums import ChannelSums
from retroscope.scanning.statistics.summary import summarise
from tests.scanning.statistics.sweep_definition import FINITE, Batch, batches


@given(batches(FINITE))
def test_mean_and_deviation_are_those_of_all_positions(batch: Batch) -> None:
    found = ChannelSums.of_batch(summarise(torch.from_numpy(batch.maps))).finish()
    np.testing.assert_allclose(found["mean"], batch.maps.mean((0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(found["std"], batch.maps.std((0, 2, 3)), atol=1e-7)


def test_statistics_of_nothing_are_zero_and_no_maximum() -> None:
    nothing = ChannelSums.empty(2)
    assert nothing.finish()["mean"].tolist() == nothing.finish()["std"].tolist() == [0, 0]
    assert nothing["maximum"].tolist() == [-torch.inf] * 2
    assert nothing["histogram"].shape == (2, len(HISTOGRAM_EDGES) + 1)


@given(st.floats(-1e6, 1e6))
def test_a_maximum_is_counted_in_the_bin_between_whose_edges_it_lies(value: float) -> None:
    found = ChannelSums.of_batch(summarise(torch.full((1, 1, 1, 1), value, dtype=torch.float64)))
    edges = [-np.inf, *HISTOGRAM_EDGES.tolist(), np.inf]
    (place,) = found["histogram"][0].nonzero().flatten().tolist()
    assert edges[place] < value <= edges[place + 1]
    assert found["histogram"].sum() == 1


def test_an_edge_itself_is_counted_below_it() -> None:
    edges = torch.from_numpy(HISTOGRAM_EDGES).reshape(-1, 1, 1, 1)
    assert ChannelSums.of_batch(summarise(edges))["histogram"][0].tolist() == [1] * 63 + [0]
