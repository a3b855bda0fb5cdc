"""What docs/parallel.md promises of threads and processes."""

import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

import retroscope as rs
from tests.conftest import built, no_trace

Values = npt.NDArray[np.float32]
THREADS, CALLS_IN_ALL = 4, 48
SIZE = (16, 18)


class Classifier(nn.Module):
    """Draws random numbers in training mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.drop, self.head = nn.Dropout(), nn.Linear(6, 4)

    def forward(self, images: torch.Tensor) -> Any:
        return self.head(self.drop(self.norm(self.first(images)).relu().mean((2, 3))))


def network() -> rs.Network:
    return rs.Network(built(Classifier), input_size=SIZE)


def pixels() -> rs.Image:
    return rs.Image(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8))


CALLS: dict[str, Callable[[Any], Values]] = {
    "cam": lambda net: rs.cam(net, pixels(), target=1).values,
    "saliency": lambda net: rs.saliency(net, pixels(), method="smoothgrad", target=1).values,
    "occlusion": lambda net: rs.occlusion(net, pixels(), target=1, size=8).probabilities,
    "deconv": lambda net: rs.deconv(net, "first:2", pixels(), shifts=2).pixels,
    "explain": lambda net: rs.explain(net, pixels(), top=1).heat.values,
    "filters": lambda net: rs.filters(net).weights,
}


def test_threads_that_do_different_things_get_what_one_thread_gets() -> None:
    module = built(Classifier).train()
    opened = rs.Network(module, input_size=SIZE)
    expected = {name: call(opened) for name, call in CALLS.items()}
    plan = list(CALLS.items()) * (CALLS_IN_ALL // len(CALLS))

    def run(number: int) -> None:
        name, call = plan[number]
        net = rs.Network(module, input_size=SIZE) if number % 3 else opened
        np.testing.assert_array_equal(call(net), expected[name])

    with no_trace(module), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(len(plan))))


def test_threads_may_wrap_one_module_at_once() -> None:
    module = built(Classifier).train()
    expected = rs.cam(module, torch.ones(3, *SIZE), target=1).values
    with no_trace(module), ThreadPoolExecutor(THREADS) as pool:
        heats = pool.map(lambda _: rs.cam(module, torch.ones(3, *SIZE), target=1), range(12))
        for heat in heats:
            np.testing.assert_array_equal(heat.values, expected)


def heat_in_process(net: rs.Network) -> rs.HeatMap:
    return rs.cam(net, pixels(), target=1)


def test_networks_and_results_travel_between_processes() -> None:
    net = network()
    expected = rs.cam(net, pixels(), target=1)  # the network has been surveyed, too
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        heat = pool.submit(heat_in_process, net).result()
    np.testing.assert_allclose(heat.values, expected.values, atol=1e-6)
    assert heat.target == expected.target
    copy = pickle.loads(pickle.dumps(net))  # noqa: S301
    assert copy.layers == net.layers


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("atlas")
    images = [rs.Image(rs.scene(seed).pixels).to_pil() for seed in range(4)]
    rs.scan(network(), images, to=folder / "a.atlas", layers=["first"], top=2).close()
    return folder / "a.atlas"


def test_threads_read_one_open_atlas(atlas: Path) -> None:
    with rs.open_atlas(atlas) as opened, ThreadPoolExecutor(THREADS) as pool:
        expected = [opened[f"first:{channel}"].patches[0].score for channel in range(6)]
        plates = pool.map(lambda number: opened[f"first:{number % 6}"], range(48))
        assert [plate.patches[0].score for plate in plates] == expected * 8


def best_score(path: Path) -> float:
    with rs.open_atlas(path) as atlas:
        return atlas["first:0"].patches[0].score


def test_processes_read_one_atlas(atlas: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        scores = list(pool.map(best_score, [atlas] * 3))
    assert scores == [best_score(atlas)] * 3


def test_threads_scan_into_different_atlases(tmp_path: Path) -> None:
    net = network()
    images = [rs.Image(rs.scene(seed).pixels).to_pil() for seed in range(3)]

    def scan(number: int) -> float:
        path = tmp_path / f"{number}.atlas"
        with rs.scan(net, images, to=path, layers=["first"], top=1) as atlas:
            return atlas["first:0"].patches[0].score

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(scan, range(2))
    assert first == second
