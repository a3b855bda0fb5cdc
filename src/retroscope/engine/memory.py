"""How much fits: batches are cut to a budget, and cut again where memory runs out."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from retroscope.errors import RetroscopeError

Item = TypeVar("Item")
Result = TypeVar("Result")

_CPU_SHARE, _DEVICE_SHARE = 0.25, 0.6
_CPU_MOST = 128 << 20  # larger batches leave the processor's caches and run slower


def memory_budget(device: torch.device) -> int:
    """How many bytes a batch may take on this device at present."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _DEVICE_SHARE)
    return min(int(_available() * _CPU_SHARE), _CPU_MOST)


def _available() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system tells
        return 4 << 30


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how torch says that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "alloc" in text)


def in_batches(
    items: Sequence[Item], size: int, work: Callable[[Sequence[Item]], Result]
) -> Iterator[Result]:
    """The work on the items, `size` at a time; where memory runs out, half as many.

    Not every network's code takes a batch: where one fails, its items are worked on one by one.
    """
    done = 0
    while done < len(items):
        batch = items[done : done + max(size, 1)]
        try:
            result = work(batch)
        except RetroscopeError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                if len(batch) == 1:
                    raise
                size = 1
                continue
            if len(batch) == 1:
                raise RetroscopeError(
                    "memory ran out on a single picture; give a smaller input size, or another "
                    "device"
                ) from error
            size = len(batch) // 2
            _release()
            continue
        done += len(batch)
        yield result


def _release() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
