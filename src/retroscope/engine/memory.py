"""Batches cut to a memory budget, and cut again if memory runs out."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from retroscope.errors import DivergenceError, RetroscopeError

Item = TypeVar("Item")
Result = TypeVar("Result")

_CPU_SHARE, _DEVICE_SHARE = 0.25, 0.6
_CPU_MAXIMUM = 128 << 20  # larger batches leave the processor's caches and run slower
_UNKNOWN_MEMORY = 4 << 30

SIZE_ERRORS = (RuntimeError, ValueError, LookupError, TypeError, AssertionError)
"""What a network's own code raises if it insists on the size of its input."""


def memory_budget(device: torch.device) -> int:
    """How many bytes a batch may take on this device now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _DEVICE_SHARE)
    return min(int(available_memory(device) * _CPU_SHARE), _CPU_MAXIMUM)


def available_memory(device: torch.device) -> int:
    """How many bytes this device can still give: on Linux, with what caches of files would free."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    facts = _MEMORY_FACTS.read_text() if _MEMORY_FACTS.is_file() else ""
    return _available_on_linux(facts) or _free_pages()


_MEMORY_FACTS = Path("/proc/meminfo")


def _available_on_linux(facts: str) -> int:
    """
    >>> _available_on_linux("MemFree:  100 kB\\nMemAvailable:  300 kB\\n")
    307200
    """
    lines = dict(line.split(":", 1) for line in facts.splitlines() if ":" in line)
    return int(lines.get("MemAvailable", "0 kB").split()[0]) << 10


def _free_pages() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not on every system
        return _UNKNOWN_MEMORY


def refuse_too_large(needed: int, device: torch.device, *, work: str, parameter: str) -> None:
    """Raises if work needs more memory than there is; a smaller `parameter` is the way out.

    >>> refuse_too_large(10**18, torch.device("cpu"), work="a pattern", parameter="size")
    Traceback (most recent call last):
    retroscope.errors.RetroscopeError: a pattern needs about ...; give a smaller size
    """
    available = available_memory(device)
    if needed > available:
        raise RetroscopeError(
            f"{work} needs about {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are "
            f"available; give a smaller {parameter.replace('_', ' ')}",
            parameter=parameter,
        )


_ALLOCATOR_MESSAGES = ("out of memory", "can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python ran out of memory, on any device.

    CUDA has an error class for it; the CPU and MPS allocators raise a plain RuntimeError.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return type(error) is RuntimeError and any(words in text for words in _ALLOCATOR_MESSAGES)


def in_batches(
    items: Sequence[Item], size: int, work: Callable[[Sequence[Item]], Result]
) -> Iterator[Result]:
    """The work on the items, `size` at a time; half as many if memory runs out.

    Some networks only take a batch of one: if their code refuses a batch, its items are worked on
    one by one.
    """
    start = 0
    while start < len(items):
        batch = items[start : start + max(size, 1)]
        try:
            result = work(batch)
        except DivergenceError:  # of a network whose code takes the images of a batch apart
            if len(batch) == 1:
                raise
            size = 1
            continue
        except RetroscopeError:
            raise
        except (MemoryError, *SIZE_ERRORS) as error:
            size = _smaller_batch(len(batch), error)
            continue
        start += len(batch)
        yield result


def _smaller_batch(size: int, error: Exception) -> int:
    """The batch size to try after this error, which is raised if there is none."""
    if not is_out_of_memory(error):
        if size == 1:
            raise error
        return 1
    if size == 1:
        raise RetroscopeError(
            "memory ran out on a single image; use a smaller input size or another device"
        ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return size // 2
