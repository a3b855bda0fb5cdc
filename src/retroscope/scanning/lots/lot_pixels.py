"""The pixels of a lot's winners, encoded beside the network while they are in memory."""

from collections import deque
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from retroscope.atlas.image_blobs import encode_image
from retroscope.imaging.decoding import RGB
from retroscope.scanning.loading import LoadedBatch
from retroscope.scanning.statistics.sweep import Sweep
from retroscope.scanning.winners import WinnerQueue, ranked_images

_WAITING, _FEW_IMAGES = 256, 512
"""Images that wait to be encoded, and losers that do not matter."""


class LotPixels:
    """Encodes the images of each batch that are in a ranking, and forgets those pushed out."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="retroscope-encode")
        self._queue = WinnerQueue()
        self._webps: dict[int, Future[bytes]] = {}
        self._waiting: deque[Future[bytes]] = deque()
        self._limit = _FEW_IMAGES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(
        self, batch: LoadedBatch, sweep: Sweep, numbers: range, *, labels: Collection[int]
    ) -> None:
        """Encodes the winners of the batch before.

        `numbers` and `labels` are those of `WinnerQueue.add`.
        """
        self._encode(self._queue.add(batch, sweep, numbers, labels=labels))
        if len(self._webps) > self._limit:
            self._forget_losers(sweep)
            self._limit = 2 * len(self._webps) + _FEW_IMAGES

    def finish(self, sweep: Sweep) -> dict[int, bytes]:
        """The WebP of each image that is in a ranking at the end."""
        self._encode(self._queue.take())
        self._forget_losers(sweep)
        return {number: webp.result() for number, webp in self._webps.items()}

    def _encode(self, images: Iterable[tuple[int, RGB]]) -> None:
        for number, pixels in images:
            self._webps[number] = self._pool.submit(encode_image, pixels)
            self._waiting.append(self._webps[number])
            if len(self._waiting) > _WAITING:
                self._waiting.popleft().result()

    def _forget_losers(self, sweep: Sweep) -> None:
        winners = ranked_images(sweep)
        self._webps = {number: webp for number, webp in self._webps.items() if number in winners}
