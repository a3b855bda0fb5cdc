"""Batches grow smaller where memory runs out, and the results do not depend on it."""

import gc
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from retroscope.engine import memory
from retroscope.engine.gradients import gradients
from retroscope.engine.intercept import PassEnded, TargetReached, run
from retroscope.engine.memory import in_batches, is_out_of_memory, memory_budget
from retroscope.engine.program import Survey
from retroscope.engine.region import RegionOutput, run_region
from retroscope.errors import RetroscopeError
from retroscope.methods.deconv import projector
from retroscope.methods.deconv.deconv import Request, deconv_many
from retroscope.network import Network
from tests.conftest import built, numbers


class Stop(PassEnded):
    """Ends a pass, but not because the answer is known."""


@pytest.mark.parametrize("kind", [TargetReached, Stop])
def test_a_pass_that_is_ended_leaves_no_map_behind(kind: type[PassEnded]) -> None:
    """Without waiting for the collector of circles: a long scan would grow until it comes."""
    left: list[weakref.ref[torch.Tensor]] = []

    def handle(function: Any, args: Any, kwargs: Any) -> object:
        found = function(*args, **kwargs)
        if isinstance(found, torch.Tensor):
            left.append(weakref.ref(found))
        if len(left) > 3:
            raise kind
        return found

    net = nn.Sequential(*(nn.Sequential(nn.MaxPool2d(1), nn.ReLU()) for _ in range(4)))
    gc.collect()
    gc.disable()
    try:
        with suppress(Stop):
            run(net, torch.ones(1, 3, 4, 4), handle)
        assert left
        assert not any(one() is not None for one in left)
    finally:
        gc.enable()


SAYS_SO: list[BaseException] = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.50 GB)"),
    MemoryError(),
]
SAYS_ELSE: list[BaseException] = [
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    ValueError("out of memory"),
    KeyError("alloc"),
]


def doubled(items: Sequence[int], most: int, error: BaseException, tried: list[int]) -> list[int]:
    """Work that fits for so many items."""
    tried.append(len(items))
    if len(items) > most:
        raise error
    return [2 * item for item in items]


@pytest.mark.parametrize("error", SAYS_SO, ids=repr)
def test_a_batch_that_does_not_fit_is_halved_until_it_fits(error: BaseException) -> None:
    tried: list[int] = []
    found = in_batches(range(21), 16, lambda items: doubled(items, 3, error, tried))
    assert [item for batch in found for item in batch] == [2 * item for item in range(21)]
    assert tried[:4] == [16, 8, 4, 2]
    assert max(tried[3:]) <= 3


def test_batches_that_fit_are_as_large_as_they_may_be() -> None:
    tried: list[int] = []
    found = in_batches(range(10), 4, lambda items: doubled(items, 4, MemoryError(), tried))
    assert [len(batch) for batch in found] == [4, 4, 2]
    assert tried == [4, 4, 2]


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_holds_at_least_one_item(size: int) -> None:
    assert list(in_batches([7], size, list)) == [[7]]


def test_nothing_is_no_batch() -> None:
    assert list(in_batches([], 4, list)) == []


@pytest.mark.parametrize("error", SAYS_SO, ids=repr)
def test_one_item_that_does_not_fit_is_said_plainly(error: BaseException) -> None:
    found = in_batches(range(5), 2, lambda items: doubled(items, 0, error, []))
    with pytest.raises(RetroscopeError, match="memory ran out on a single image") as caught:
        list(found)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", SAYS_ELSE, ids=repr)
def test_where_a_batch_fails_its_items_are_worked_on_one_by_one(error: BaseException) -> None:
    tried: list[int] = []
    found = in_batches(range(5), 4, lambda items: doubled(items, 1, error, tried))
    assert [one for batch in found for one in batch] == [0, 2, 4, 6, 8]
    assert tried == [4, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("error", SAYS_ELSE, ids=repr)
def test_an_error_that_a_single_item_meets_passes_through(error: BaseException) -> None:
    tried: list[int] = []
    with pytest.raises(type(error)) as caught:
        list(in_batches(range(8), 4, lambda items: doubled(items, 0, error, tried)))
    assert caught.value is error
    assert tried == [4, 1]


@pytest.mark.parametrize("error", [RetroscopeError("no class 9"), KeyboardInterrupt()], ids=repr)
def test_what_says_what_is_wrong_passes_through_at_once(error: BaseException) -> None:
    tried: list[int] = []
    with pytest.raises(type(error)):
        list(in_batches(range(8), 4, lambda items: doubled(items, 1, error, tried)))
    assert tried == [4]


@pytest.mark.parametrize("error", SAYS_SO, ids=repr)
def test_how_devices_say_that_memory_ran_out_is_known(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", SAYS_ELSE, ids=repr)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_a_batch_may_take_a_part_of_what_there_is() -> None:
    assert 0 < memory_budget(torch.device("cpu")) <= 1 << 30


def test_the_memory_that_caches_of_files_would_free_is_available(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "_MEMORY_FACTS", facts)
    without = memory.available_memory(torch.device("cpu"))
    assert without > 0
    facts.write_text("MemTotal: 9000 kB\nMemFree: 1 kB\nMemAvailable: 7000 kB\n")
    assert memory.available_memory(torch.device("cpu")) == 7000 * 1024
    facts.write_text("MemTotal: 9000 kB\nMemFree: 1 kB\n")  # a kernel before 3.14
    assert memory.available_memory(torch.device("cpu")) > 1024


def test_work_that_does_not_fit_in_memory_is_refused_with_the_way_out() -> None:
    device = torch.device("cpu")
    available = memory.available_memory(device)
    memory.refuse_too_large(available // 2, device, work="a canvas", parameter="size")
    with pytest.raises(RetroscopeError, match=r"a canvas needs about .* GB .*give a smaller size"):
        memory.refuse_too_large(2 * available, device, work="a canvas", parameter="size")


# The same projections, whatever fits


def network() -> nn.Module:
    first, second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3)
    return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU()).double()


def requests() -> list[Request]:
    """Units seen in part, whole maps and strongest places, in several pictures."""
    units = ["0:1@4,5", "3:2@3,2", "3:2@2,2", "3:2@2,3", "4:1@*", "4:3", "3"]
    return [(unit, numbers(3, 14, 13, seed=seed)) for seed in range(4) for unit in units]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many crops or pictures were looked back through at once, each time."""
    seen: list[int] = []
    looked_back: Callable[..., torch.Tensor] = gradients

    def watched(fired: torch.Tensor, pixels: torch.Tensor, *rest: object, **more: object) -> object:
        seen.append(len(pixels))
        return looked_back(fired, pixels, *rest, **more)

    monkeypatch.setattr(projector, "gradients", watched)
    return seen


def test_little_memory_makes_batches_of_one_with_the_same_results(sizes: list[int]) -> None:
    net = Network(built(network), input_size=(14, 13))
    ample = list(deconv_many(net, requests(), max_bytes=1 << 30))
    assert max(sizes) > 4
    sizes.clear()
    scarce = list(deconv_many(net, requests(), max_bytes=1))
    assert max(sizes) == 1
    for one, other in zip(ample, scarce, strict=True):
        assert (one.unit, one.box) == (other.unit, other.box)
        np.testing.assert_allclose(one.pixels, other.pixels, rtol=0, atol=1e-12)
        assert one.activation == pytest.approx(other.activation, rel=1e-12)


@pytest.mark.parametrize("error", SAYS_SO[:2], ids=repr)
def test_projections_are_the_same_where_memory_runs_out(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Network(built(network), input_size=(14, 13))
    expected = list(deconv_many(net, requests()))
    looked_back: Callable[..., torch.Tensor] = gradients

    def short(fired: torch.Tensor, pixels: torch.Tensor, *rest: object, **more: object) -> object:
        if len(pixels) > 2:
            raise error
        return looked_back(fired, pixels, *rest, **more)

    monkeypatch.setattr(projector, "gradients", short)
    for one, other in zip(deconv_many(net, requests()), expected, strict=True):
        assert one.unit == other.unit
        np.testing.assert_allclose(one.pixels, other.pixels, rtol=0, atol=1e-12)


def test_crops_that_do_not_fit_are_not_taken_for_crops_that_do_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = Network(built(network), input_size=(14, 13))
    expected = list(deconv_many(net, requests()))
    found: list[RegionOutput | None] = []

    def short(
        module: nn.Module, survey: Survey, crops: torch.Tensor, **more: Any
    ) -> RegionOutput | None:
        if len(crops) > 1:
            raise torch.OutOfMemoryError
        found.append(run_region(module, survey, crops, **more))
        return found[-1]

    monkeypatch.setattr(projector, "run_region", short)
    for one, other in zip(deconv_many(net, requests()), expected, strict=True):
        np.testing.assert_allclose(one.pixels, other.pixels, rtol=0, atol=1e-12)
    assert len(found) > 4
    assert None not in found


class Hungry(nn.Module):
    """A convolution for which there is never room."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.requires_grad:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        result: torch.Tensor = self.conv(x)
        return result


@pytest.mark.parametrize("unit", ["conv:1@2,2", "conv:1@*", "conv"])
def test_a_network_that_never_fits_is_said_plainly(unit: str) -> None:
    net = Network(built(Hungry), input_size=(8, 8))
    with pytest.raises(RetroscopeError, match="smaller input size or another device"):
        list(deconv_many(net, [(unit, numbers(3, 8, 8, seed=k)) for k in range(4)]))
