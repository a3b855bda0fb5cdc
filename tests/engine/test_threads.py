"""Several threads at once: each result is that of a single thread, and nothing is left changed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retroscope.engine.intercept import module_calls
from retroscope.engine.isolation import preserve_state
from retroscope.methods.activations import activations
from retroscope.methods.atlas_match import fingerprint
from retroscope.methods.cam.cam import cam
from retroscope.methods.deconv.deconv import deconv
from retroscope.network import Network
from retroscope.zoo import open_model
from tests.conftest import built, facts_of, no_trace, numbers

Values = npt.NDArray[np.float32]
THREADS, REPETITIONS = 4, 60
SIZE = (12, 10)


class Restless(nn.Module):
    """Reads a buffer that it changes, and adds random numbers, in whatever mode it is."""

    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        torch.rand(3)
        self.sums += 1
        return F.relu(x + self.sums)


def classifier() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        Restless(),
        nn.Dropout(0.5),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    ).double()


def projection(net: Network) -> Values:
    return deconv(net, "4:2@3,4", net.prepare(numbers(3, *SIZE))).pixels


def maps(net: Network) -> Values:
    return activations(net, "5", net.prepare(numbers(3, *SIZE))).maps


def heat(net: Network) -> Values:
    return cam(net, net.prepare(numbers(3, *SIZE)), target=1).values


CALLS: list[Callable[[Network], Values]] = [projection, maps, heat]


@pytest.mark.parametrize("is_shared", [True, False], ids=["one network", "a network each"])
def test_threads_get_the_results_of_a_single_thread_and_leave_no_trace(*, is_shared: bool) -> None:
    """A network for each thread shares the module: nothing may depend on the Network object."""
    module = built(classifier).train()
    module.get_submodule("0").eval()
    expected = [call(Network(module, input_size=SIZE)) for call in CALLS]
    networks = [Network(module, input_size=SIZE) for _ in range(THREADS * REPETITIONS)]

    def run(number: int) -> None:
        net = networks[0 if is_shared else number]
        call = number % len(CALLS)
        np.testing.assert_array_equal(CALLS[call](net), expected[call])

    with no_trace(module), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS * REPETITIONS)))


def test_a_part_of_a_network_runs_beside_the_network() -> None:
    """Both change the modes of the modules that they share."""
    module = built(classifier).train()
    part = nn.Sequential(*list(module.children())[:6])
    part.train()
    networks = Network(module, input_size=SIZE), Network(part, input_size=SIZE)
    expected = maps(networks[0])

    def run(number: int) -> None:
        np.testing.assert_array_equal(maps(networks[number % 2]), expected)

    with no_trace(module), no_trace(part), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS * REPETITIONS)))


def test_the_weights_of_a_seed_are_the_same_while_another_network_draws_random_numbers() -> None:
    net = Network(built(classifier), input_size=SIZE)
    stop = Event()

    def draw() -> None:
        while not stop.is_set():
            maps(net)

    def fingerprint_of_seed(seed: int) -> str:
        return fingerprint(open_model("squeezenet1_1", random_weights=seed, device="cpu").module)

    expected = fingerprint_of_seed(3)
    thread = Thread(target=draw)
    thread.start()
    try:
        assert [fingerprint_of_seed(3) for _ in range(3)] == [expected] * 3
    finally:
        stop.set()
        thread.join()


def test_a_fingerprint_is_not_taken_in_the_middle_of_a_pass() -> None:
    module = built(classifier)
    net, expected = Network(module, input_size=SIZE), fingerprint(module)
    stop = Event()

    def run() -> None:
        while not stop.is_set():
            maps(net)

    thread = Thread(target=run)
    thread.start()
    try:
        assert {fingerprint(module) for _ in range(100)} == {expected}
    finally:
        stop.set()
        thread.join()


def test_the_module_calls_of_another_thread_are_not_reported() -> None:
    """A user's own pass through the same modules must not give its names to a survey."""
    module = built(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).double())
    calls: list[str] = []

    def run() -> None:
        module(numbers(1, 3, *SIZE))

    with module_calls(module, calls.append, lambda path, _: calls.append(path)):
        thread = Thread(target=run)
        thread.start()
        thread.join()
        assert calls == []
        run()
    assert calls[:3] == ["", "0", "0"]


def test_a_thread_may_run_a_network_while_it_preserves_another() -> None:
    outer, inner = built(classifier).train(), Network(built(classifier), input_size=SIZE)
    before = facts_of(outer)
    with preserve_state(outer):
        maps(inner)
        assert not outer.training
    assert facts_of(outer) == before
