"""Images are read beside the network: threads read ahead, and batches arrive in order."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.engine.batching import NetworkInput
from retroscope.errors import ImageError
from retroscope.geometry import format_size
from retroscope.network import Network
from retroscope.scanning.image_files import read_input
from retroscope.scanning.sources import ImageList

BATCHES_AHEAD = 3
_MAX_WORKERS = 16


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """The images of a batch that could be read, by their index, and why the others could not.

    `files` are those of the images, as they were read.
    """

    indices: Sequence[int]
    images: Sequence[NetworkInput]
    failures: Sequence[tuple[int, str]]
    files: Sequence[ImageFileRow]


def default_workers() -> int:
    """A thread for each CPU, but no more than keep one network busy."""
    return max(2, min(os.cpu_count() or 2, _MAX_WORKERS))


def load_batches(
    net: Network, image_list: ImageList, batches: Iterable[Sequence[int]], *, workers: int
) -> Iterator[LoadedBatch]:
    """The batches of images in order, read by threads that stay a few batches ahead."""
    remaining = iter(batches)
    pending: deque[tuple[Sequence[int], list[Future[_Reading]]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="retroscope-read") as pool:

        def submit(count: int) -> None:
            for indices in islice(remaining, count):
                reads = [pool.submit(_read, net, image_list, index) for index in indices]
                pending.append((indices, reads))

        submit(BATCHES_AHEAD)
        try:
            while pending:
                indices, reads = pending.popleft()
                readings = [read.result() for read in reads]
                submit(1)
                yield _split_failures(indices, readings)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_Reading = tuple[NetworkInput, ImageFileRow | None] | str
"""An image and its file, or why it cannot be used."""


def _read(net: Network, image_list: ImageList, index: int) -> _Reading:
    try:
        image, file = read_input(net, image_list, index)
    except ImageError as error:
        return str(error)
    if image.size == net.input_size:
        return image, file
    return f"{format_size(image.size)} pixels; a scan takes {format_size(net.input_size)}"


def _split_failures(indices: Sequence[int], readings: Sequence[_Reading]) -> LoadedBatch:
    pairs = list(zip(indices, readings, strict=True))
    images = [(index, *reading) for index, reading in pairs if not isinstance(reading, str)]
    return LoadedBatch(
        indices=[index for index, _, _ in images],
        images=[image for _, image, _ in images],
        failures=[(index, reason) for index, reason in pairs if isinstance(reason, str)],
        files=[file for _, _, file in images if file is not None],
    )
