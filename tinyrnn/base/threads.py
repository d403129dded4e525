"""The one pool of threads that compiled kernels run on, and how many threads BLAS may use beside it.

Two pools that wait for work by spinning slow each other down several times over, so BLAS is held to one
thread wherever the pool is at work (`alone`).
"""

import ctypes
import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")
WORTH = 200_000  # operations that a thread must have to be worth waking


def _default_count():
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


class _Settings:
    count = _default_count()
    pool = None
    pid = None
    lock = threading.Lock()
    alone = 0  # blocks of `alone` that are open
    blas = None  # threads of BLAS before the first of them


def set_threads(n: int):
    """Run kernels on ``n`` threads from now on."""
    _Settings.count, _Settings.pool = n, None


def threads() -> int:
    """How many threads kernels run on."""
    return _Settings.count


def _pool():
    if _Settings.pool is None or _Settings.pid != os.getpid():  # threads do not survive a fork
        _Settings.pool, _Settings.pid = (
            ThreadPoolExecutor(max(1, _Settings.count - 1), "tinyrnn"),
            os.getpid(),
        )
    return _Settings.pool


def split(n, function, at_least=WORTH):
    """Call ``function(first, last)`` so that ``range(n)`` is covered, in as many parts as there are threads.

    ``at_least`` is the work of one of the ``n``, in elementary operations: little work stays on one thread.
    """
    parts = max(1, min(_Settings.count, n, n * at_least // WORTH))
    if parts == 1:
        function(0, n)
        return
    cuts = [n * i // parts for i in range(parts + 1)]
    waiting = [_pool().submit(function, cuts[i], cuts[i + 1]) for i in range(1, parts)]
    try:
        function(0, cuts[1])
    finally:
        for future in waiting:
            future.exception()  # nobody may still be writing when this returns
    for future in waiting:
        future.result()


@contextmanager
def alone():
    """In this block BLAS uses one thread; afterwards as many as before, also when the block raises."""
    with _Settings.lock:
        _Settings.alone += 1
        if _Settings.alone == 1:
            _Settings.blas = blas_threads()
            set_blas_threads(1)
    try:
        yield
    finally:
        with _Settings.lock:
            _Settings.alone -= 1
            if not _Settings.alone and _Settings.blas is not None:
                set_blas_threads(_Settings.blas)


@functools.cache
def _openblas():
    """Functions (set, get) of the OpenBLAS inside NumPy's wheel, or None where NumPy uses another BLAS."""
    root = Path(np.__file__).parent
    for path in [*root.parent.glob("numpy.libs/*openblas*"), *root.glob(".dylibs/*openblas*")]:
        library = ctypes.CDLL(str(path))
        for prefix in _PREFIXES:
            for suffix in _SUFFIXES:
                names = [f"{prefix}_{verb}_num_threads{suffix}" for verb in ("set", "get")]
                if all(hasattr(library, name) for name in names):
                    return tuple(getattr(library, name) for name in names)
    return None


def set_blas_threads(n: int) -> bool:
    """Let BLAS use ``n`` threads from now on; False where this BLAS cannot be told."""
    functions = _openblas()
    if functions:
        functions[0](n)
    return functions is not None


def blas_threads() -> int | None:
    """Threads that BLAS uses, None where it does not tell."""
    functions = _openblas()
    return functions[1]() if functions else None


def blas_name() -> str:
    """Name and version of NumPy's BLAS."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"
