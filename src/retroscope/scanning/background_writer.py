"""Rows are encoded and written beside the network: by threads, one of which writes."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

from retroscope.atlas.writer import AtlasWriter

Item = TypeVar("Item")
EncodedRow = TypeVar("EncodedRow")

GROUPS_WAITING = 2
"""At most this many groups wait to be written. Adding another one waits, so memory stays flat."""


class BackgroundWriter(Generic[Item, EncodedRow]):
    """Encodes items in some threads, and writes their rows in another, in order.

    A group of items is one transaction. The end of the `with` block waits for all groups, also
    after an error in the block. An error of a thread is raised by the next call or by that end,
    and nothing is written after it.
    """

    def __init__(
        self,
        writer: AtlasWriter,
        encode: Callable[[Item], EncodedRow],
        put: Callable[[Sequence[EncodedRow]], None],
        *,
        workers: int,
    ) -> None:
        self._writer, self._encode, self._put = writer, encode, put
        self._encoders = ThreadPoolExecutor(workers, thread_name_prefix="retroscope-encode")
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="retroscope-write")
        self._groups: deque[Future[int]] = deque()
        self._stored, self._has_failed = 0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.wait()
        finally:
            for pool in (self._committer, self._encoders):
                pool.shutdown(cancel_futures=True)

    @property
    def stored(self) -> int:
        """How many items are in the atlas."""
        while self._groups and self._groups[0].done():
            self._stored += self._groups.popleft().result()
        return self._stored

    def add(self, items: Sequence[Item]) -> None:
        """Stores a group of items soon."""
        self.wait(GROUPS_WAITING - 1)
        if items:
            rows = [self._encoders.submit(self._encode, item) for item in items]
            self._groups.append(self._committer.submit(self._write, rows))

    def wait(self, groups: int = 0) -> int:
        """Waits until at most so many groups are left; returns how many items are stored."""
        while len(self._groups) > groups:
            self._stored += self._groups.popleft().result()
        return self.stored

    def _write(self, encodings: Sequence[Future[EncodedRow]]) -> int:
        if self._has_failed:
            return 0
        try:
            rows = [encoding.result() for encoding in encodings]
            with self._writer.transaction():
                self._put(rows)
        except BaseException:
            self._has_failed = True
            raise
        return len(rows)
