"""Images are read beside the network: threads read ahead, and batches arrive in order."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from retroscope.engine.batching import NetworkInput
from retroscope.errors import ImageError
from retroscope.network import Network
from retroscope.scanning.sources import ImageList

BATCHES_AHEAD = 3
_MAX_WORKERS = 16


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """The images of a batch that could be read, by their index, and why the others could not."""

    indices: Sequence[int]
    images: Sequence[NetworkInput]
    failures: Sequence[tuple[int, str]]


def default_workers() -> int:
    """A thread for each CPU, but no more than keep one network busy."""
    return max(2, min(os.cpu_count() or 2, _MAX_WORKERS))


def load_batches(
    net: Network, image_list: ImageList, batches: Iterable[Sequence[int]], *, workers: int
) -> Iterator[LoadedBatch]:
    """The batches of images in order, read by threads that stay a few batches ahead."""
    remaining = iter(batches)
    pending: deque[tuple[Sequence[int], list[Future[NetworkInput | str]]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="retroscope-read") as pool:

        def submit(count: int) -> None:
            for indices in islice(remaining, count):
                reads = [pool.submit(_read_input, net, image_list, index) for index in indices]
                pending.append((indices, reads))

        submit(BATCHES_AHEAD)
        try:
            while pending:
                indices, reads = pending.popleft()
                results = [read.result() for read in reads]
                submit(1)
                yield _split_failures(indices, results)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read_input(net: Network, image_list: ImageList, index: int) -> NetworkInput | str:
    """The image as the network takes it, or why it cannot be used."""
    try:
        image = net.prepare(image_list.load(index))
    except ImageError as error:
        return str(error)
    if image.size == net.input_size:
        return image
    height, width = image.size
    return f"{height}x{width} pixels; a scan takes {net.input_size[0]}x{net.input_size[1]}"


def _split_failures(indices: Sequence[int], results: Sequence[NetworkInput | str]) -> LoadedBatch:
    pairs = list(zip(indices, results, strict=True))
    images = [(index, image) for index, image in pairs if isinstance(image, NetworkInput)]
    failures = [(index, reason) for index, reason in pairs if isinstance(reason, str)]
    return LoadedBatch([index for index, _ in images], [image for _, image in images], failures)
