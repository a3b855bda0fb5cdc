"""One read of the maps gives what torch gives in several: exactly, but for the rounding of sums."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from retroscope.engine.isolation import preserve_state
from retroscope.network import Network
from retroscope.results.statistics import HISTOGRAM_EDGES
from retroscope.scanning import one_pass
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.one_pass import LayerSweeps, sweep_batch
from retroscope.scanning.statistics import batch_summary, topk
from retroscope.scanning.statistics.batch_images import SweptImage
from retroscope.scanning.statistics.fused_summary import (
    SummaryTable,
    can_fuse,
    summarise_at_once,
)
from retroscope.scanning.statistics.plain_summary import (
    Scratch,
    summarise_finite_values,
    summarise_plainly,
)
from retroscope.scanning.statistics.summary import different_columns
from retroscope.scanning.statistics.topk import TopK
from tests.scanning.statistics.sweep_definition import Batch, assert_same_arrays, batches

EXACT = ("maximum", "minimum", "fired_positions", "non_finite", "positions")
SHAPES = [(1, 1, 1, 1), (3, 5, 9, 8), (2, 1030, 3, 3), (5, 24, 1, 130), (1, 64, 28, 28)]
SHAPES += [(2, 17, 1, positions) for positions in (2, 3, 4, 5, 6, 7, 63, 65, 66, 67)]
"""Four positions are reduced at once, and 64 are summed in single precision."""


@pytest.fixture
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def rounded_noise(shape: tuple[int, ...]) -> torch.Tensor:
    """Maps with many ties."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return ((2 * noise).round() / 2).contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_read_equals_several(shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    pytest.importorskip("numba")
    maps = rounded_noise(shape).to(dtype)
    assert can_fuse(maps)
    found, plain = summarise_at_once(maps), summarise_plainly(maps, Scratch())
    for name in EXACT:
        np.testing.assert_array_equal(vars(found)[name], vars(plain)[name], err_msg=name)
    assert found.peaks is not None
    assert found.troughs is not None
    assert found.peaks.equal(maps.flatten(2).argmax(2).int())
    assert found.troughs.equal(maps.flatten(2).argmin(2).int())
    for name in ("total", "squares"):  # halves: all sums are exact
        np.testing.assert_array_equal(vars(found)[name], vars(plain)[name], err_msg=name)


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_keeps_its_number_of_threads(threads: int) -> None:
    """In a thread of its own too, where the number starts anew; convolutions depend on it."""
    pytest.importorskip("numba")
    maps = rounded_noise((2, 64, 9, 9))

    def threads_after() -> int:
        torch.set_num_threads(threads)
        summarise_at_once(maps)
        return torch.get_num_threads()

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(1) as pool:
            assert (threads_after(), pool.submit(threads_after).result()) == (threads, threads)
    finally:
        torch.set_num_threads(before)


@given(batches(), st.sampled_from([torch.float32, torch.bfloat16]))
def test_values_that_are_not_finite_are_counted_apart(batch: Batch, dtype: torch.dtype) -> None:
    pytest.importorskip("numba")
    maps = torch.from_numpy(batch.maps).to(dtype).contiguous(memory_format=torch.channels_last)
    found, plain = summarise_at_once(maps), summarise_plainly(maps.double(), Scratch())
    for name in (*EXACT, "total", "squares"):
        np.testing.assert_array_equal(vars(found)[name], vars(plain)[name], err_msg=name)


def test_all_values_of_bfloat16_are_read_right() -> None:
    """Every pattern of 16 bits: in a map of its own, whose maximum it is if it is finite."""
    pytest.importorskip("numba")
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    values = bits.view(torch.bfloat16).reshape(4, -1, 1, 1)
    maps = values.contiguous(memory_format=torch.channels_last)
    found = summarise_at_once(maps)
    expected = torch.where(values.isfinite(), values.float(), -torch.inf)[..., 0, 0]
    assert found.maximum.equal(expected)
    table = SummaryTable.empty(*values.shape[:2])
    channels = range(values.shape[1])
    assert not table.summarise(maps, channels)
    small = maps.where(maps.abs() < 2**60, 1)
    assert table.summarise(small, channels)
    assert table.read().minimum.equal(small.float()[..., 0, 0])


class ThreeLayouts(nn.Module):
    """Maps that are read once, maps that are not finite, and maps in another layout."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.broken, self.other = (nn.Conv2d(3, n, 1, bias=False) for n in (4, 2, 5))
        for number, part in enumerate((self.plain, self.broken, self.other)):
            torch.manual_seed(number)
            part.weight.data = part.weight.data.sign()
        self.broken.weight.data[0] = torch.inf

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        others = self.other(images.contiguous())
        maps: torch.Tensor = self.plain(images).mean() + self.broken(images).mean() + others.mean()
        return maps


def test_layers_in_one_table_are_layers_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    net = Network(ThreeLayouts(), input_size=(6, 6))
    layers = scan_layers(net)
    values = torch.randint(-2, 3, (4, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    images = [net.prepare(image) for image in values.float()]
    swept = [SweptImage(number, number) for number in range(4)]

    def sweep() -> dict[str, np.ndarray]:
        empty = LayerSweeps.empty(net, layers, top=3)
        with preserve_state(net.module):
            return sweep_batch(net, empty, images, swept=swept, scratch=Scratch()).sweep.to_arrays()

    in_one_table = sweep()
    monkeypatch.setattr(one_pass, "compiled_loops", lambda: None)
    assert_same_arrays(in_one_table, sweep())
    assert in_one_table["channels.non_finite"].any()


def test_sums_of_a_large_map_are_those_of_float64() -> None:
    """A float32 that runs over all positions would lose the last three digits."""
    pytest.importorskip("numba")
    maps = 100 + torch.rand(1, 8, 300, 300, generator=torch.Generator().manual_seed(0))
    maps = maps.contiguous(memory_format=torch.channels_last)
    found = summarise_at_once(maps)
    np.testing.assert_allclose(found.total, maps.double().sum((2, 3)), rtol=1e-7)
    np.testing.assert_allclose(found.squares, maps.double().square().sum((2, 3)), rtol=1e-7)


@pytest.mark.parametrize(
    "maps",
    [
        torch.zeros(2, 3, 4, 5),
        torch.zeros(2, 3, 4, 5, dtype=torch.float64).contiguous(memory_format=torch.channels_last),
        torch.zeros(2, 6, 4, 5).contiguous(memory_format=torch.channels_last)[:, ::2],
    ],
    ids=["channels first", "float64", "every other channel"],
)
def test_other_maps_are_left_to_torch(maps: torch.Tensor) -> None:
    assert not can_fuse(maps)


def test_a_wrong_column_is_named() -> None:
    maps = rounded_noise((2, 3, 4, 4))
    maps[0, 0, 0, 0] = torch.nan
    summary = summarise_finite_values(maps)
    assert different_columns(summary, maps) == []
    summary.maximum[0, 0] += 1
    summary.total[0, 0] += 1
    assert different_columns(summary, maps) == ["maximum", "total"]


ROUNDS = st.lists(st.integers(-3, 3), min_size=12, max_size=12)


@given(ROUNDS, st.permutations(range(4)), st.integers(1, 3))
@settings(max_examples=60)
def test_rankings_by_compiled_insertion_are_those_by_sorting(
    values: list[int], images: list[int], top: int
) -> None:
    pytest.importorskip("numba")
    scores = torch.tensor(values, dtype=torch.float32).reshape(4, 3)
    scores[scores == -3] = -torch.inf
    numbers, positions = torch.tensor(images), torch.arange(12).reshape(4, 3)
    empty = TopK.empty(3, top)
    found = empty.add(scores[:2], numbers[:2], positions[:2])
    found = found.add(scores[2:], numbers[2:], positions[2:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "compiled_loops", lambda: None)
        plain = empty.add(scores[:2], numbers[:2], positions[:2])
        plain = plain.add(scores[2:], numbers[2:], positions[2:])
    for name in ("score", "image", "position"):
        assert vars(found)[name].equal(vars(plain)[name]), name
    assert (empty.image == -1).all()


EDGES = HISTOGRAM_EDGES.astype(np.float32).tolist()


@given(st.lists(st.floats(width=32) | st.sampled_from(EDGES), min_size=6, max_size=6))
def test_compiled_counts_are_those_of_torch(values: list[float]) -> None:
    """On an edge, beyond the last one, and where there is no finite value."""
    pytest.importorskip("numba")
    maps = torch.tensor(values, dtype=torch.float32).reshape(2, 3, 1, 1)
    summary = summarise_plainly(maps, Scratch())
    found = summary.histogram(HISTOGRAM_EDGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_summary, "compiled_loops", lambda: None)
        assert found.equal(summary.histogram(HISTOGRAM_EDGES))


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=9, unique=True))
def test_counts_between_any_edges_are_those_of_a_search(edges: list[float]) -> None:
    """The values are the edges themselves, their neighbours, and the ends of the scale."""
    pytest.importorskip("numba")
    edges = sorted(edges)
    near = np.array(edges, np.float32)
    values = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    largest = np.finfo(np.float32).max
    values.append(np.array([0.0, -0.0, largest, -largest, 1e-45, -1e-45, 1, -1], np.float32))
    maxima = np.concatenate(values)
    summary = summarise_plainly(torch.from_numpy(maxima)[:, None, None, None], Scratch())
    found = summary.histogram(np.array(edges))
    bins = np.searchsorted(edges, maxima.astype(np.float64), side="left")
    assert found[0].tolist() == np.bincount(bins, minlength=len(edges) + 1).tolist()


def test_the_kernel_for_gpus_is_right_in_the_interpreter_of_triton() -> None:
    pytest.importorskip("triton")
    script = Path(__file__).with_name("interpreted_kernel.py")
    run = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["24", "batches", "equal"]
