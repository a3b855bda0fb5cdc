"""Pictures come in order, whoever is slow; the threads end when nobody asks any more."""

import threading
from collections.abc import Sequence
from time import sleep

import pytest
import torch

from retroscope.errors import ImageError
from retroscope.network import AnyImage
from retroscope.scanning.loading import BATCHES_AHEAD, default_workers, load_batches
from retroscope.scanning.sources import ImageList
from tests.scanning.scans import SIDE, smooth_image, tiny


def image_list_of(count: int, asked: list[int] | None = None) -> ImageList:
    """Every third is broken, every fifth is late."""

    def get(number: int) -> AnyImage:
        if asked is not None:
            asked.append(number)
        if number % 5 == 0:
            sleep(0.01)
        if number % 3 == 2:
            raise ImageError(f"picture {number} is broken")
        return smooth_image(number)

    return ImageList([str(number) for number in range(count)], [-1] * count, [], get)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_batches_come_in_order_each_image_once(workers: int) -> None:
    batches: list[Sequence[int]] = [range(4), range(4, 8), range(8, 12), range(12, 14)]
    net = tiny()
    found = list(load_batches(net, image_list_of(14), batches, workers=workers))
    for batch, loaded in zip(batches, found, strict=True):
        assert list(loaded.indices) == [number for number in batch if number % 3 != 2]
        broken = [(number, f"picture {number} is broken") for number in batch if number % 3 == 2]
        assert list(loaded.failures) == broken
        for number, prepared in zip(loaded.indices, loaded.images, strict=True):
            assert prepared.tensor.equal(net.prepare(smooth_image(number)).tensor)


def test_no_batches_are_nothing() -> None:
    assert not list(load_batches(tiny(), image_list_of(3), [], workers=2))


def test_only_a_few_batches_are_read_ahead() -> None:
    asked: list[int] = []
    batches = (range(at, at + 2) for at in range(0, 1000, 2))
    loading = load_batches(tiny(), image_list_of(1000, asked), batches, workers=2)
    next(loading)
    sleep(0.1)
    assert max(asked) < 2 * (BATCHES_AHEAD + 1)


def test_stopping_early_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    loading = load_batches(
        tiny(), image_list_of(100), (range(n, n + 1) for n in range(100)), workers=3
    )
    next(loading)
    assert set(threading.enumerate()) > before
    loading.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before


def test_an_error_of_a_data_set_itself_is_not_hidden() -> None:
    def get(_number: int) -> AnyImage:
        raise KeyError("my own mistake")

    before = set(threading.enumerate())
    with pytest.raises(KeyError, match="my own mistake"):
        list(load_batches(tiny(), ImageList(["0"], [-1], [], get), [range(1)], workers=2))
    assert set(threading.enumerate()) <= before


def test_a_tensor_of_another_size_is_named() -> None:
    odd = ImageList(["0"], [-1], [], lambda _: torch.zeros(3, SIDE + 1, SIDE))
    (loaded,) = load_batches(tiny(), odd, [range(1)], workers=1)
    assert list(loaded.failures) == [(0, "25x24 pixels; a scan takes 24x24")]


def test_there_are_a_few_workers_on_any_machine() -> None:
    assert 2 <= default_workers() <= 16
