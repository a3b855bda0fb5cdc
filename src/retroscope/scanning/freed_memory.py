"""Memory that a process frees and soon takes again, kept instead of given back to the system."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_SETTINGS = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 256 << 20, _MMAP_THRESHOLD: 1 << 30}
"""Of glibc's `mallopt`."""


def keep_freed_memory() -> bool:
    """Whether this process now keeps memory that it frees; only glibc can.

    The maps of a layer are tens of megabytes. By default each gets fresh pages from the system,
    which it clears first: a sixth of the time of a sweep. Call it only in a process of our own:
    the setting is that of the whole process.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*setting) for setting in _SETTINGS.items())
