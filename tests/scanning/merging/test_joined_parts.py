"""Joining by definition: rankings are sorted, statistics are those of all images together."""

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retroscope.atlas.queries.join_queries import LayerHitRow
from retroscope.atlas.queries.table_rows import ClassStatsRow
from retroscope.atlas.schema import AtlasError, Value
from retroscope.results.statistics import stored_statistics
from retroscope.scanning.merging.joined_hits import join_hits
from retroscope.scanning.merging.joined_statistics import (
    ClassProfiles,
    join_class_profiles,
    join_statistics,
)
from retroscope.scanning.statistics.channel_sums import ChannelSums
from retroscope.scanning.statistics.summary import summarise

CHANNELS, IMAGES = 2, 5
SCORES = st.lists(
    st.lists(st.sampled_from([-1.0, 0.5, 2.0]), min_size=CHANNELS, max_size=CHANNELS),
    min_size=IMAGES,
    max_size=IMAGES,
)
"""Of the images of a part, for each channel; many are equal."""


def ranked(scores: Sequence[Sequence[float]], top: int) -> list[LayerHitRow]:
    """The hits of a scan, channel by channel, each at a place of its own."""
    return [
        LayerHitRow(channel, score, image, image % 3, channel)
        for channel in range(CHANNELS)
        for score, image in sorted(
            ((row[channel], image) for image, row in enumerate(scores)),
            key=lambda hit: (-hit[0], hit[1]),
        )[:top]
    ]


@given(st.lists(SCORES, min_size=1, max_size=4), st.integers(1, 12))
def test_joined_rankings_are_those_of_all_images(parts: list[list[list[float]]], top: int) -> None:
    starts = [IMAGES * number for number in range(len(parts))]
    hits = join_hits([ranked(part, top) for part in parts], starts, channels=CHANNELS, top=top)
    everything = [row for part in parts for row in part]
    for row in (expected := ranked(everything, top)):
        rank = [hit for hit in expected if hit.channel == row.channel].index(row)
        assert hits.scores[row.channel, rank] == row.score
        assert hits.images[row.channel, rank] == row.image
        assert hits.ys[row.channel, rank] == row.image % IMAGES % 3
        assert hits.xs[row.channel, rank] == row.channel
    assert (hits.images >= 0).sum() == len(expected) == len(hits.places())


def test_a_channel_without_hits_stays_without() -> None:
    hits = join_hits([[LayerHitRow(1, 3.0, 0, 0, 0)], []], [0, 4], channels=3, top=2)
    assert hits.images.tolist() == [[-1], [0], [-1]]
    assert join_hits([[], []], [0, 4], channels=3, top=2).images.shape == (3, 0)


def stored_columns(maps: torch.Tensor) -> Mapping[str, Sequence[Value]]:
    """What an atlas holds of these maps."""
    finished = ChannelSums.of_batch(summarise(maps)).finish()
    return {
        row.name: [cell.numpy().astype("<i8").tobytes() for cell in finished[row.name]]
        if row.is_array
        else [_cell(value) for value in finished[row.name].tolist()]
        for row in stored_statistics()
    }


def _cell(value: float) -> Value:
    """SQLite has no booleans and no NaN."""
    return int(value) if isinstance(value, bool) else None if isnan(value) else value


@given(st.integers(0, 10**6), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_joined_statistics_are_those_of_all_images(seed: int, counts: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(sum(counts), 3, 2, 3, generator=generator, dtype=torch.float64)
    maps[0, 0, 0, 0] = torch.nan
    maps[:, 1] = -maps[:, 1].abs() - 1
    found = join_statistics([stored_columns(part) for part in torch.split(maps, counts)])
    expected = ChannelSums.of_batch(summarise(maps)).finish()
    for name, values in expected.items():
        is_rounded = name in ("mean", "std", "mean_maximum", "std_maximum")
        np.testing.assert_allclose(
            found[name], values.numpy(), rtol=1e-12 if is_rounded else 0, err_msg=name
        )


def test_a_statistic_that_a_part_lacks_is_missing_or_refused() -> None:
    part = stored_columns(torch.ones(2, 3, 2, 2))
    older = {**part, "minimum": [None] * 3}
    assert np.isnan(join_statistics([part, older])["minimum"]).all()
    with pytest.raises(AtlasError, match="without the statistic 'fired_images'"):
        join_statistics([part, {**part, "fired_images": [None] * 3}])
    for name in ("fired_images", "mean", "histogram"):
        with pytest.raises(AtlasError, match="damaged"):
            join_statistics([part, {**part, name: ["x"] * 3}])


def profiles(
    means: list[float], shares: list[float], images: list[int], numbers: list[int]
) -> ClassProfiles:
    """Of one channel."""
    blobs = (np.array(values, "<f4").tobytes() for values in (means, shares))
    return ClassProfiles([ClassStatsRow(0, 0, *blobs)], images, numbers)


def test_class_means_are_weighted_by_the_images_of_each_class() -> None:
    joined = join_class_profiles(
        [profiles([4.0, 1.0], [1.0, 0.5], [1, 2], [0, 2]), profiles([8.0], [0.0], [3], [0])], 4
    )
    assert joined.mean_maxima.T.tolist() == [[7.0, 0.0, 1.0, 0.0]]
    assert joined.fired_shares.T.tolist() == [[0.25, 0.0, 0.5, 0.0]]
    assert joined.top_label.tolist() == [0]


def test_a_class_without_images_is_never_the_highest() -> None:
    below_zero = profiles([-1.0, 0.0], [0.0, 0.0], [2, 0], [0, 1])
    assert join_class_profiles([below_zero], 2).top_label.tolist() == [0]
    nothing = profiles([0.0], [0.0], [0], [0])
    assert join_class_profiles([nothing], 1).top_label.tolist() == [-1]
