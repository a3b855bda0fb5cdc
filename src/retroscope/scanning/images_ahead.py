"""Images for the second pass, read by threads ahead of their use."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Self

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.engine.batching import NetworkInput
from retroscope.network import Network
from retroscope.scanning.image_files import read_input
from retroscope.scanning.sources import ImageList

IMAGES_AHEAD = 128


class ImagesAhead:
    """The images of a list as the network takes them, in the order of `sequence`, with repeats.

    Threads read the next ones while the network works on others. The last `size` of them are
    cached, since the hits of an image lie far apart. `check_file` is called with the file of each
    image that has been read, before the image is used.
    """

    def __init__(
        self,
        net: Network,
        image_list: ImageList,
        sequence: Iterable[int],
        *,
        check_file: Callable[[ImageFileRow], object],
        workers: int,
        size: int,
    ) -> None:
        self._check_file, self._size = check_file, size
        self._read = partial(read_input, net, image_list)
        self._upcoming = iter(sequence)
        self._cache: OrderedDict[int, Future[tuple[NetworkInput, ImageFileRow | None]]]
        self._cache = OrderedDict()
        self._unused: set[int] = set()
        self._readers = ThreadPoolExecutor(workers, thread_name_prefix="retroscope-read")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._readers.shutdown(cancel_futures=True)

    def read(self, index: int) -> NetworkInput:
        """The image at an index, the next of the sequence."""
        self._read_ahead()
        if index not in self._cache:
            self._submit(index)
        image, file = self._cache[index].result()
        if index in self._unused:
            self._unused.remove(index)
            if file is not None:
                self._check_file(file)
        return image

    def _read_ahead(self) -> None:
        while len(self._unused) < IMAGES_AHEAD:
            index = next(self._upcoming, None)
            if index is None:
                return
            if index in self._cache:
                self._cache.move_to_end(index)
            else:
                self._submit(index)

    def _submit(self, index: int) -> None:
        self._cache[index] = self._readers.submit(self._read, index)
        self._unused.add(index)
        if len(self._cache) > self._size:
            dropped, _ = self._cache.popitem(last=False)
            self._unused.discard(dropped)
