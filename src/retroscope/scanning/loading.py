"""Pictures decoded beside the network: threads read ahead, batches come in order."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from retroscope.engine.batching import Prepared
from retroscope.errors import ImageError
from retroscope.network import Network
from retroscope.scanning.sources import Pictures

BATCHES_AHEAD = 3


@dataclass(frozen=True, eq=False)
class Loaded:
    """A batch: the pictures that could be read, and why the others could not."""

    numbers: Sequence[int]
    images: Sequence[Prepared]
    failed: Sequence[tuple[int, str]]


def default_workers() -> int:
    """A thread for each processor, but not more than keep one network busy."""
    return max(2, min(os.cpu_count() or 2, 16))


def load(
    net: Network, pictures: Pictures, batches: Iterable[Sequence[int]], *, workers: int
) -> Iterator[Loaded]:
    """The batches in order, read by threads that stay a few batches ahead."""
    waiting = iter(batches)
    ahead: deque[list[Future[Prepared | str]]] = deque()
    numbers: deque[Sequence[int]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="retroscope-read") as pool:

        def ask(count: int) -> None:
            for batch in islice(waiting, count):
                numbers.append(batch)
                ahead.append([pool.submit(_read, net, pictures, number) for number in batch])

        ask(BATCHES_AHEAD)
        try:
            while ahead:
                found = [future.result() for future in ahead.popleft()]
                ask(1)
                yield _sorted_out(numbers.popleft(), found)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(net: Network, pictures: Pictures, number: int) -> Prepared | str:
    try:
        prepared = net.prepare(pictures.get(number))
        if prepared.size == net.input_size:
            return prepared
        height, width = prepared.size
        return f"{height}x{width} pixels; a scan takes {net.input_size[0]}x{net.input_size[1]}"
    except ImageError as error:
        return str(error)


def _sorted_out(numbers: Sequence[int], found: Sequence[Prepared | str]) -> Loaded:
    pairs = list(zip(numbers, found, strict=True))
    read = [(number, one) for number, one in pairs if isinstance(one, Prepared)]
    failed = [(number, one) for number, one in pairs if isinstance(one, str)]
    return Loaded([number for number, _ in read], [one for _, one in read], failed)
