"""The one pool of threads that compiled kernels run on, and how many threads BLAS may use beside it.

Two pools that wait for work by spinning slow each other down several times over, so BLAS is held to one
thread wherever the pool is at work (`alone`).
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

WORTH = 200_000  # operations that a thread must have to be worth waking


def _default_count() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


class _Settings:
    count = _default_count()
    pool: ThreadPoolExecutor | None = None
    pid: int | None = None
    lock = threading.Lock()
    alone = 0  # blocks of `alone` that are open
    blas: tuple[int, ...] = ()  # threads of each BLAS before the first of them


def set_threads(n: int) -> None:
    """Run kernels on ``n`` threads from now on."""
    _Settings.count, _Settings.pool = n, None


def threads() -> int:
    """How many threads kernels run on."""
    return _Settings.count


def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # heavy for `import tinyrnn`

    if _Settings.pool is None or _Settings.pid != os.getpid():  # threads do not survive a fork
        _Settings.pool = ThreadPoolExecutor(max(1, _Settings.count - 1), "tinyrnn")
        _Settings.pid = os.getpid()
    return _Settings.pool


def split(n: int, function: Callable[[int, int], Any], at_least: int = WORTH) -> None:
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
def alone() -> Iterator[None]:
    """In this block BLAS uses one thread; afterwards as many as before, also when the block raises."""
    with _Settings.lock:
        _Settings.alone += 1
        if _Settings.alone == 1:
            _Settings.blas = tuple(library.num_threads for library in _blas())
            set_blas_threads(1)
    try:
        yield
    finally:
        with _Settings.lock:
            _Settings.alone -= 1
            if not _Settings.alone:
                for library, n in zip(_blas(), _Settings.blas, strict=True):
                    library.set_num_threads(n)


@functools.cache
def _blas() -> list[Any]:
    """The BLAS libraries of this process whose threads can be set, as threadpoolctl finds them: NumPy's, and
    of what was imported before the first use of this; empty where it knows none.
    """
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def set_blas_threads(n: int) -> bool:
    """Let BLAS use ``n`` threads from now on; False where this BLAS cannot be told."""
    for library in _blas():
        library.set_num_threads(n)
    return bool(_blas())


def blas_threads() -> int | None:
    """Threads that BLAS uses, None where it does not tell."""
    return max((library.num_threads for library in _blas()), default=None)


def blas_name() -> str:
    """Name and version of NumPy's BLAS."""
    blas: Any = np.show_config(mode="dicts")
    blas = blas["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"
