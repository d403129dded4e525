"""How the process keeps memory between the steps of a training run."""

import ctypes
import functools

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


@functools.cache
def keep_freed_memory() -> bool:
    """Let glibc keep large arrays that were freed, for the next ones; False where there is no glibc.

    By default it returns them to the system, which hands them back page by page: that costs up to a third of
    a training step whose arrays are the same each time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    return bool(mallopt(_M_TOP_PAD, 1 << 26))
