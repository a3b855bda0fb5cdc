"""Histograms: a bar for every bin that holds images, as high as its share."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from retroscope.render.histogram import BAR, Counts, draw_histogram, histogram_caption
from retroscope.render.theme import MUTED
from retroscope.results.statistics import HISTOGRAM_EDGES
from tests.render.figure_search import pixels_of


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.integers(1, 63), st.integers(1, 10**6), max_size=8))
def test_every_bin_with_images_has_a_bar(counts: dict[int, int]) -> None:
    figure = draw_histogram(bin_counts(counts))
    assert len(_bars(figure)) == len(counts)
    assert figure.width <= 480


def test_bars_stand_at_their_bins_as_high_as_their_counts() -> None:
    starts, heights = zip(
        *_bars(draw_histogram(bin_counts({30: 400, 31: 200, 33: 100}))), strict=True
    )
    assert heights == (44, 22, 11)
    assert starts[2] - starts[1] == 2 * (starts[1] - starts[0])


def test_images_that_stay_near_zero_flatten_no_bar() -> None:
    plain, crowded = bin_counts({30: 40, 31: 20}), bin_counts({0: 10**6, 30: 40, 31: 20})
    assert _bars(draw_histogram(plain)) == _bars(draw_histogram(crowded))
    assert "1,000,000 of 1,000,060 are at or below 0.000015" in histogram_caption(crowded)
    assert "no bar" not in histogram_caption(plain)


def test_a_power_of_ten_stands_where_its_bin_starts() -> None:
    values = np.array([1.0, 10.0, 100.0])
    bins = np.searchsorted(HISTOGRAM_EDGES, values * 1.001)
    figure = draw_histogram(bin_counts(dict.fromkeys(bins.tolist(), 1)))
    ticks = np.flatnonzero((pixels_of(figure)[46] == MUTED).all(axis=1))
    starts = [start for start, _ in _bars(figure)]
    bar_width = (starts[2] - starts[0]) / (bins[2] - bins[0])
    expected = [starts[0] + (np.log2(value) * 2) * bar_width for value in values]
    assert np.abs(ticks[-3:] - expected).max() <= 1


def test_no_image_at_all_is_an_empty_axis() -> None:
    assert not _bars(draw_histogram(bin_counts({})))


def bin_counts(counts: dict[int, int]) -> Counts:
    histogram = np.zeros(64, np.int64)
    for index, count in counts.items():
        histogram[index] = count
    return histogram


def _bars(figure: Image.Image) -> list[tuple[int, int]]:
    """Where each bar starts and how high it is; a column of paper parts neighbours."""
    columns = (pixels_of(figure) == BAR).all(axis=2).sum(axis=0)
    starts = np.flatnonzero((columns > 0) & (np.roll(columns, 1) == 0))
    return [(int(start), int(columns[start])) for start in starts]
