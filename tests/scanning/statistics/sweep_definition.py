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
from retroscope.scanning.statistics.batch_images import BatchImages, SweptImage
from retroscope.scanning.statistics.sweep import Arrays, Sweep

Maps = npt.NDArray[np.float64]
"""Images, channels, height, width."""
TOP, PER_CLASS, CLASSES, SAMPLE = 3, 2, 2, 3
FINITE = st.integers(-6, 6).map(lambda number: number / 2)
VALUES = st.one_of(FINITE, FINITE, FINITE, st.sampled_from([np.nan, np.inf, -np.inf]))


@dataclass(frozen=True)
class Batch:
    """Maps, and the numbers, classes and hashes of their images."""

    maps: Maps
    images: Sequence[int]
    labels: Sequence[int]
    hashes: Sequence[int]

    def __getitem__(self, part: slice) -> "Batch":
        return Batch(self.maps[part], self.images[part], self.labels[part], self.hashes[part])

    @property
    def swept(self) -> list[SweptImage]:
        """The images as a sweep takes them; those of all classes are ranked."""
        columns = self.images, self.hashes, self.labels, self.labels
        return [SweptImage(*row) for row in zip(*columns, strict=True)]


@st.composite
def batches(draw: st.DrawFn, values: st.SearchStrategy[float] = VALUES) -> Batch:
    """Up to eight images in any order, of which some hashes are equal; maps as small as 1x1."""
    count, channels = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    shape = (count, channels, draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    size = int(np.prod(shape))
    numbers = draw(st.lists(values, min_size=size, max_size=size))
    images = draw(st.permutations(range(count)))
    labels = draw(st.lists(st.integers(-1, CLASSES - 1), min_size=count, max_size=count))
    hashes = draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))
    return Batch(np.array(numbers, np.float64).reshape(shape), images, labels, hashes)


def sweep_of_batch(batch: Batch, *, top: int = TOP, dtype: torch.dtype = torch.float64) -> Sweep:
    """The sweep of one batch; an empty batch has no image."""
    empty = Sweep.empty(batch.maps.shape[1], top=top, per_class=PER_CLASS)
    return add_batch(empty, batch, dtype=dtype)


def add_batch(sweep: Sweep, batch: Batch, *, dtype: torch.dtype = torch.float64) -> Sweep:
    """The sweep with one more batch."""
    if not len(batch.images):
        return sweep
    return add_maps(sweep, torch.from_numpy(batch.maps).to(dtype), batch.swept)


def add_maps(sweep: Sweep, maps: torch.Tensor, swept: Sequence[SweptImage]) -> Sweep:
    """The sweep with the maps of these images."""
    images = BatchImages.of(swept)
    return sweep.add(sweep.summarise(maps, images), images)


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
    for name in [name for name in arrays if name.startswith("class_rankings.")]:
        arrays[name] = arrays[name].swapaxes(0, 1)
    places = sample_by_definition(batch)
    arrays |= {
        "sample.hash": np.array([batch.hashes[place] for place in places]),
        "sample.number": np.array([batch.images[place] for place in places]),
        "sample.score": arrays.pop("score").T[places],
        "sample.position": arrays.pop("position").T[places],
    }
    return arrays


def sample_by_definition(batch: Batch) -> list[int]:
    """The places of the images with the lowest hashes, and numbers where hashes are equal."""
    keys = sorted(zip(batch.hashes, batch.images, range(len(batch.images)), strict=True))
    return [place for *_, place in keys[:SAMPLE]]


def channel_by_definition(batch: Batch, channel: int, top: int) -> dict[str, object]:
    by_max: list[tuple[float, int, int]] = []
    by_mean: list[tuple[float, int, int]] = []
    by_min: list[tuple[float, int, int]] = []
    by_class: list[list[tuple[float, int, int]]] = [[] for _ in range(CLASSES)]
    finite: list[float] = []
    scores, positions = [-np.inf] * len(batch.images), [-1] * len(batch.images)
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
        maximum, minimum = max(finite_values), min(finite_values)
        position = values.index(maximum)
        scores[number], positions[number] = maximum, position
        by_max.append((-maximum, image, position))
        by_mean.append((-sum(finite_values) / len(finite_values), image, position))
        by_min.append((minimum, image, values.index(minimum)))
        fired_images += maximum > 0
        histogram[bisect_left(HISTOGRAM_EDGES.tolist(), maximum)] += 1
        if (label := batch.labels[number]) >= 0:
            by_class[label].append((-maximum, image, position))
            classes["images"][label] += 1
            classes["maxima"][label] += maximum
            classes["fired_images"][label] += maximum > 0
    count = max(len(finite), 1)
    mean = sum(finite) / count
    maxima = [score for score in scores if score > -np.inf]
    mean_maximum = sum(maxima) / max(len(maxima), 1)
    variance_of_maxima = sum((score - mean_maximum) ** 2 for score in maxima) / max(len(maxima), 1)
    class_rankings = [_ranking("", hits, PER_CLASS) for hits in by_class]
    return {
        **_ranking("by_max.", by_max, top),
        **_ranking("by_mean.", by_mean, top),
        **_ranking("by_min.", by_min, top),  # the score is minus the minimum
        **{
            f"class_rankings.{name}": [ranking[name] for ranking in class_rankings]
            for name in class_rankings[0]
        },
        "score": np.array(scores),
        "position": np.array(positions),
        "channels.images": len(by_max),
        "channels.positions": len(finite),
        "channels.total": sum(finite),
        "channels.squares": sum(value * value for value in finite),
        "channels.maximum": max(finite, default=-np.inf),
        "channels.minimum": min(finite, default=np.inf),
        "channels.maxima": sum(maxima),
        "channels.squared_maxima": sum(score**2 for score in maxima),
        "channels.fired_images": fired_images,
        "channels.fired_positions": fired_positions,
        "channels.non_finite": non_finite,
        "channels.histogram": histogram,
        "finished.mean": mean,
        "finished.std": sqrt(sum((value - mean) ** 2 for value in finite) / count),
        "finished.mean_maximum": mean_maximum,
        "finished.std_maximum": sqrt(variance_of_maxima),
        "finished.dead": fired_images == 0,
        **{f"classes.{name}": numbers for name, numbers in classes.items()},
    }


def _ranking(prefix: str, hits: list[tuple[float, int, int]], top: int) -> dict[str, object]:
    best = (sorted(hits) + [(np.inf, -1, -1)] * top)[:top]
    return {
        f"{prefix}score": [-score for score, _, _ in best],
        f"{prefix}image": [image for _, image, _ in best],
        f"{prefix}position": [position for _, _, position in best],
    }
