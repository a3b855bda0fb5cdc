"""Whether a GPU finds what the processor finds, in the same maps and with the same network."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import retroscope as rs
from benchmarks.noise import noise_batches
from benchmarks.sweeping import RunningSweep
from benchmarks.timing import at_least, at_most
from retroscope.engine.batching import NetworkInput
from retroscope.engine.isolation import preserve_state
from retroscope.results.layers import Layer
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.statistics.batch_images import BatchImages, SweptImage
from retroscope.scanning.statistics.sweep import Sweep
from retroscope.scanning.statistics.topk import TopK

SAME_IMAGES, SCORE_TOLERANCE, COUNT_TOLERANCE, COSINE = 99.9, 1e-3, 1e-4, 0.9999
"""Percent of the hits; standard deviations of a channel; shares of its positions; projections."""
SMALLEST_STD = 1e-3
"""Of the median channel: what a channel's standard deviation counts as at least."""
DEPTHS = 4


@dataclass(frozen=True)
class Row:
    """A line of the table of results."""

    what: str
    measured: str
    compared_with: str = ""
    ratio: str = ""
    target: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        return self.what, self.measured, self.compared_with, self.ratio, self.target


def describe_failure(error: Exception | str) -> str:
    """The first line of an error, which fits in a cell."""
    line = str(error).strip().partition("\n")[0].replace("|", "/")
    return f"{type(error).__name__}: {line}"[:200]


def open_calibrated(name: str, pixels: int) -> rs.Network:
    """A network on the processor with seeded weights, whose norms fit their maps.

    With the norms of a new network, maps grow from block to block, beyond what float16 can hold.
    """
    net = rs.open_model(name, random_weights=0, input_size=pixels, device="cpu")
    norms = [part for part in net.module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    with torch.no_grad():
        net.module(next(noise_batches(8, count=1, pixels=pixels)))
    for norm in norms:
        norm.eval()
    return net


def copy_to(
    net: rs.Network, device: torch.device, dtype: torch.dtype = torch.float32
) -> rs.Network:
    """A copy of a network on a device, in a floating-point type."""
    module = deepcopy(net.module).to(device, dtype).to(memory_format=torch.channels_last)
    return net.with_module(module, net.preprocessing.fit)


def prepare_batches(
    net: rs.Network, size: int, *, count: int, pixels: int
) -> list[list[NetworkInput]]:
    """Batches of noise images, as a scan hands them to the network."""
    batches = noise_batches(size, count=count, pixels=pixels)
    return [[net.prepare(image) for image in batch] for batch in batches]


def sweep_batches(
    net: rs.Network, layers: Sequence[Layer], batches: Sequence[Sequence[NetworkInput]]
) -> Sweep:
    """The sweep of all batches, from nothing."""
    running = RunningSweep(net, layers)
    with preserve_state(net.module):
        for batch in batches:
            running.add(batch)
    return running.sweep


def compare_sweeps(name: str, expected: Sweep, actual: Sweep) -> list[Row]:
    """Rankings and statistics of a sweep beside those of the processor."""
    statistics = {key: values.cpu() for key, values in expected.channel_sums.finish().items()}
    others = {key: values.cpu() for key, values in actual.channel_sums.finish().items()}
    std = statistics["std"]
    std = std.clamp(min=float(SMALLEST_STD * std.median()))  # of channels that hardly ever fire
    rows = []
    for title, ours, theirs in (
        ("by maximum", expected.by_max, actual.by_max),
        ("by mean", expected.by_mean, actual.by_mean),
    ):
        share = share_of_same_images(ours, theirs)
        difference = _largest_score_difference(ours, theirs, std)
        target = at_least(SAME_IMAGES, share, " %")
        rows.append(Row(f"{name}, hits {title}", f"{share:.3f} %", "processor", target=target))
        target = at_most(SCORE_TOLERANCE, difference, " std")
        what = f"{name}, scores {title}, largest difference"
        rows.append(Row(what, f"{difference:.1e} std", "processor", target=target))
    for key in ("mean", "std", "maximum"):
        difference = float(((statistics[key] - others[key]).abs() / std).max())
        target = at_most(SCORE_TOLERANCE, difference, " std")
        what = f"{name}, {key}, largest difference"
        rows.append(Row(what, f"{difference:.1e} std", "processor", target=target))
    counts = (statistics["fired_positions"] - others["fired_positions"]).abs()
    share = float((counts / statistics["positions"].clamp(min=1)).max())
    what = f"{name}, share of firing positions, largest difference"
    return [
        *rows,
        Row(what, f"{share:.1e}", "processor", target=at_most(COUNT_TOLERANCE, share)),
    ]


def share_of_same_images(expected: TopK, actual: TopK) -> float:
    """Percent of the hits of one ranking that are among those of the other."""
    images, others = expected.image.cpu(), actual.image.cpu()
    is_hit = images >= 0
    is_same = (images[:, :, None] == others[:, None, :]).any(dim=2)
    return 100 * float((is_same & is_hit).sum() / is_hit.sum().clamp(min=1))


def _largest_score_difference(expected: TopK, actual: TopK, std: torch.Tensor) -> float:
    """Of the scores of equal rank: where they agree, only near ties can have changed places."""
    scores, others = expected.score.cpu(), actual.score.cpu()
    difference = torch.where(scores == others, 0.0, (scores - others).abs())
    return float((difference / std[:, None]).max())


def compare_given_maps(device: torch.device) -> list[Row]:
    """The sweep of maps that are equal on both, with ties, NaN and infinities: exactly the same."""
    with catch_warnings(record=True) as caught:
        simplefilter("always")
        differences = sum(_count_differences(maps, device) for maps in _difficult_maps())
    what = "sweep of given maps with ties, NaN and infinities: numbers that differ"
    warnings = "; ".join(describe_failure(warning.message) for warning in caught) or "none"
    return [
        Row(what, str(differences), "processor", target=at_most(0, differences)),
        Row("warnings meanwhile", warnings, target=at_most(0, len(caught))),
    ]


def _count_differences(maps: torch.Tensor, device: torch.device) -> int:
    """How many images, positions, maxima, counts and sums of classes are not the processor's."""
    expected, actual = (_sweep_maps(maps.to(place)) for place in ("cpu", device))
    pairs = [(expected.by_max.score, actual.by_max.score)]
    for name in ("by_max", "by_mean", "by_min"):
        ours, theirs = getattr(expected, name), getattr(actual, name)
        pairs += [(ours.image, theirs.image), (ours.position, theirs.position)]
    for key in ("maximum", "fired_images", "fired_positions", "non_finite", "positions"):
        pairs.append((expected.channel_sums[key], actual.channel_sums[key]))
    for part in ("class_sums", "sample"):
        tensors = (getattr(sweep, part).to_tensors().values() for sweep in (expected, actual))
        pairs += zip(*tensors, strict=True)
    return sum(int((mine != other.cpu()).sum()) for mine, other in pairs)


def _difficult_maps() -> Iterator[torch.Tensor]:
    """Maps of integers, whose sums are exact: of many sizes and types, some not finite."""
    generator = torch.Generator().manual_seed(0)
    for size in ((1, 1), (7, 7), (56, 55), (112, 112)):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            maps = torch.randint(-4, 5, (8, 33, *size), generator=generator).to(dtype)
            maps[3, 5] = torch.nan
            maps[4, 6, 0, 0] = torch.inf
            maps[5, 7, -1, -1] = -torch.inf
            maps[:, 8] = 0
            yield maps.to(memory_format=torch.channels_last)


def _sweep_maps(maps: torch.Tensor) -> Sweep:
    sweep = Sweep.empty(maps.shape[1], top=9, device=maps.device)
    middle = len(maps) // 2
    for part in (range(middle), range(middle, len(maps))):
        swept = [SweptImage(image, image, image % 3 - 1) for image in part]
        images = BatchImages.of(swept, maps.device)
        batch = sweep.summarise(maps[part.start : part.stop], images)
        sweep = sweep.add(batch, images)
    return sweep


def choose_depths(layers: Sequence[Layer], count: int = DEPTHS) -> list[Layer]:
    """Layers spread evenly from the first to the last."""
    steps = np.linspace(0, len(layers) - 1, count).round().astype(int)
    return [layers[step] for step in np.unique(steps).tolist()]


def compare_projections(
    name: str, nets: tuple[rs.Network, rs.Network], images: Sequence[NetworkInput], *, units: int
) -> list[Row]:
    """The strongest units of some channels, at four depths, on the processor and on the GPU."""
    expected, actual = nets
    rows = []
    for layer in choose_depths(scan_layers(expected)):
        channels = range(0, layer.channels, max(layer.channels // units, 1))[:units]
        requests = [
            (rs.Unit(layer.name, channel), images[number % len(images)])
            for number, channel in enumerate(channels)
        ]
        ours = list(rs.deconv_many(expected, requests))
        same_units = [
            (result.unit, image) for result, (_, image) in zip(ours, requests, strict=True)
        ]
        theirs = rs.deconv_many(actual, same_units)
        cosines = [
            cosine(mine.pixels, other.pixels) for mine, other in zip(ours, theirs, strict=True)
        ]
        lowest = min(cosines)
        what = f"{name}, projections of {len(cosines)} units of {layer.name}, lowest cosine"
        target = at_least(COSINE, lowest)
        rows.append(Row(what, f"{lowest:.6f}", "processor", target=target))
    return rows


def cosine(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """The cosine of two signals; 1 for two that are zero, 0 if one of them is."""
    x, y = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
    norms = float(np.linalg.norm(x)), float(np.linalg.norm(y))
    if 0 in norms:
        return float(norms == (0, 0))
    return float(x @ y) / (norms[0] * norms[1])
