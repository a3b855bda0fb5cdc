"""Maps whose sums are exact, and the definition of a sweep as a slow loop over Python floats."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import strategies as st

from retroscope.results.statistics import HISTOGRAM_EDGES
from retroscope.scanning.statistics.sweep import Arrays, Sweep

Maps = npt.NDArray[np.float64]
"""Images, channels, height, width."""
TOP, CLASSES = 3, 2
FINITE = st.integers(-6, 6).map(lambda number: number / 2)
VALUES = st.one_of(FINITE, FINITE, FINITE, st.sampled_from([np.nan, np.inf, -np.inf]))


@dataclass(frozen=True)
class Batch:
    """Maps, and the numbers and classes of their images."""

    maps: Maps
    images: Sequence[int]
    labels: Sequence[int]

    def __getitem__(self, part: slice) -> "Batch":
        return Batch(self.maps[part], self.images[part], self.labels[part])


@st.composite
def batches(draw: st.DrawFn, values: st.SearchStrategy[float] = VALUES) -> Batch:
    """Up to eight images in any order; maps as small as 1x1."""
    count, channels = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    shape = (count, channels, draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    size = int(np.prod(shape))
    numbers = draw(st.lists(values, min_size=size, max_size=size))
    images = draw(st.permutations(range(count)))
    labels = draw(st.lists(st.integers(-1, CLASSES - 1), min_size=count, max_size=count))
    return Batch(np.array(numbers, np.float64).reshape(shape), images, labels)


def sweep_of_batch(batch: Batch, *, top: int = TOP, dtype: torch.dtype = torch.float64) -> Sweep:
    """The sweep of one batch; an empty batch has no image."""
    empty = Sweep.empty(batch.maps.shape[1], top=top)
    return add_batch(empty, batch, dtype=dtype)


def add_batch(sweep: Sweep, batch: Batch, *, dtype: torch.dtype = torch.float64) -> Sweep:
    """The sweep with one more batch."""
    if not len(batch.images):
        return sweep
    maps = torch.from_numpy(batch.maps).to(dtype)
    images = torch.tensor(batch.images)
    return sweep.add(sweep.summarise(maps, images), images, batch.labels)


def assert_same_arrays(first: Mapping[str, npt.NDArray[np.generic]], second: Arrays) -> None:
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def sweep_by_definition(batch: Batch, *, top: int = TOP) -> dict[str, npt.NDArray[Any]]:
    """All arrays of the sweep of a batch; and as `finished.*` the statistics computed from them."""
    channels = batch.maps.shape[1]
    rows = [channel_by_definition(batch, channel, top) for channel in range(channels)]
    arrays: dict[str, npt.NDArray[Any]] = {
        name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]
    }
    for name in ("classes.images", "classes.maxima", "classes.fired_images"):
        arrays[name] = arrays[name].T
    return arrays


def channel_by_definition(batch: Batch, channel: int, top: int) -> dict[str, object]:
    by_max: list[tuple[float, int, int]] = []
    by_mean: list[tuple[float, int, int]] = []
    finite: list[float] = []
    non_finite = fired_images = fired_positions = 0
    histogram = [0] * 64
    classes = {name: [0.0] * CLASSES for name in ("images", "maxima", "fired_images")}
    for number, image in enumerate(batch.images):
        values = [float(value) for value in batch.maps[number, channel].flat]
        finite_values = [value for value in values if isfinite(value)]
        finite += finite_values
        non_finite += len(values) - len(finite_values)
        fired_positions += sum(value > 0 for value in finite_values)
        if not finite_values:
            continue
        maximum = max(finite_values)
        position = values.index(maximum)
        by_max.append((-maximum, image, position))
        by_mean.append((-sum(finite_values) / len(finite_values), image, position))
        fired_images += maximum > 0
        histogram[bisect_left(HISTOGRAM_EDGES.tolist(), maximum)] += 1
        if (label := batch.labels[number]) >= 0:
            classes["images"][label] += 1
            classes["maxima"][label] += maximum
            classes["fired_images"][label] += maximum > 0
    count = max(len(finite), 1)
    mean = sum(finite) / count
    return {
        **_ranking("by_max", by_max, top),
        **_ranking("by_mean", by_mean, top),
        "channels.images": len(by_max),
        "channels.positions": len(finite),
        "channels.total": sum(finite),
        "channels.squares": sum(value * value for value in finite),
        "channels.maximum": max(finite, default=-np.inf),
        "channels.minimum": min(finite, default=np.inf),
        "channels.fired_images": fired_images,
        "channels.fired_positions": fired_positions,
        "channels.non_finite": non_finite,
        "channels.histogram": histogram,
        "finished.mean": mean,
        "finished.std": sqrt(sum((value - mean) ** 2 for value in finite) / count),
        "finished.dead": fired_images == 0,
        **{f"classes.{name}": numbers for name, numbers in classes.items()},
    }


def _ranking(name: str, hits: list[tuple[float, int, int]], top: int) -> dict[str, object]:
    best = (sorted(hits) + [(np.inf, -1, -1)] * top)[:top]
    return {
        f"{name}.score": [-score for score, _, _ in best],
        f"{name}.image": [image for _, image, _ in best],
        f"{name}.position": [position for _, _, position in best],
    }
