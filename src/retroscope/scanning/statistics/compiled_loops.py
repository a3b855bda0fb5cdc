"""The compiled loops of a sweep, where numba is installed, as the extra `fast` does."""

import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


@cache
def compiled_loops() -> ModuleType | None:
    """The module `numba_loops`, or None without numba."""
    if find_spec("numba") is None:
        return None
    try:
        return import_module("retroscope.scanning.statistics.numba_loops")
    except ImportError as error:
        warnings.warn(
            f"numba cannot be imported ({error}); without it, a scan takes longer", stacklevel=2
        )
        return None
