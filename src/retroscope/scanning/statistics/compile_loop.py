"""How the inner loops of a sweep are compiled: by numba, for the threads of torch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numba
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]
Loop = Callable[..., Any]


@contextmanager
def _keep_torch_threads() -> Iterator[int]:
    """Gives the number of torch's threads, and restores it: OpenMP has one number for both."""
    threads = torch.get_num_threads()
    try:
        yield threads
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _has_threads() -> bool:
    """Whether loops can run on several threads, whichever thread of Python calls them.

    Of numba's threads those of OpenMP and TBB allow that. OpenMP is tried first: torch uses it, and
    threads of another kind would wait for those of torch, which stay busy for a while.
    """
    chosen = numba.config.THREADING_LAYER
    try:
        numba.config.THREADING_LAYER = "omp"
        with _keep_torch_threads():
            numba.set_num_threads(numba.get_num_threads())  # starts the threads
        return bool(numba.threading_layer() in ("omp", "tbb"))
    except ValueError:  # there is no OpenMP
        return False
    finally:
        numba.config.THREADING_LAYER = chosen


HAS_THREADS = _has_threads()
SINGLE, DOUBLE, SHORT, INTEGER = numba.float32, numba.float64, numba.int32, numba.int64


OPTIONS = {"error_model": "numpy", "fastmath": {"nsz", "contract"}}
"""How every function is compiled that a loop consists of."""


def table(kind: Any, dimensions: int = 2, *, readonly: bool = False) -> Any:
    return numba.types.Array(kind, dimensions, "C", readonly=readonly)


def compile_loop(
    *parameters: Any,
    result: Any = numba.void,
    parallel: bool = False,
    first_types: Sequence[Any] = (),
) -> Callable[[Loop], Loop]:
    """Compiles a loop, or takes it from the disk, where it is kept for the next process.

    Where `parallel`, its `prange` runs on as many threads as torch has. `first_types` are those of
    the first parameter, where it has several.
    """
    is_parallel = parallel and HAS_THREADS
    options = {**OPTIONS, "nogil": True, "parallel": is_parallel}

    def decorate(loop: Loop) -> Loop:
        lists = [(first, *parameters) for first in first_types] or [parameters]
        signatures = [result(*types) for types in lists]
        try:
            compiled: Loop = numba.njit(signatures, cache=True, **options)(loop)
        except RuntimeError:  # neither the package nor the user's cache folder can be written
            compiled = numba.njit(signatures, **options)(loop)
        return _on_torch_threads(compiled) if is_parallel else compiled

    return decorate


def _on_torch_threads(loop: Loop) -> Loop:
    """The loop on as many threads as torch has."""

    @wraps(loop)
    def run(*arguments: object) -> object:
        before = numba.get_num_threads()
        if before == torch.get_num_threads():
            return loop(*arguments)
        with _keep_torch_threads() as threads:
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            try:
                return loop(*arguments)
            finally:
                numba.set_num_threads(before)

    return run
