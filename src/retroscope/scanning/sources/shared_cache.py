"""What several threads need at once is loaded once, and the latest of it is kept."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SharedCache(Generic[Key, Value]):
    """Values by key, of up to `max_bytes` together, but at least the latest `at_least` of them."""

    def __init__(
        self, size_of: Callable[[Value], int], *, max_bytes: int, at_least: int = 1
    ) -> None:
        self._size_of, self._max_bytes, self._at_least = size_of, max_bytes, at_least
        self._values: OrderedDict[Key, Future[Value]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key, load: Callable[[], Value]) -> Value:
        """The value of a key; a thread that needs it while another loads it waits for that."""
        with self._lock:
            future = self._values.get(key)
            is_new = future is None
            future = future or Future()
            self._values[key] = future
            self._values.move_to_end(key)
        if is_new:
            self._load(key, future, load)
        return future.result()

    def clear(self) -> None:
        """Keeps no value; those that threads still use stay with them."""
        with self._lock:
            self._values.clear()

    def _load(self, key: Key, future: "Future[Value]", load: Callable[[], Value]) -> None:
        try:
            value = load()
        except BaseException as error:
            with self._lock:
                self._values.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(value)
        self._trim()

    def _trim(self) -> None:
        with self._lock:
            loaded = [
                (key, future.result()) for key, future in self._values.items() if future.done()
            ]
            total = sum(self._size_of(value) for _, value in loaded)
            for key, value in loaded[: max(len(loaded) - self._at_least, 0)]:
                if total <= self._max_bytes:
                    return
                del self._values[key]
                total -= self._size_of(value)
