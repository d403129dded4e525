"""The threads that compiled kernels run on, and how many threads BLAS may use beside them.

Kernels are split a dozen times in a training step, so handing a part over has to cost little: each thread of
ours sleeps at a queue until the next part is there.

Two pools that wait for work by spinning slow each other down several times over, so BLAS is held to one
thread wherever ours are at work (`alone`).
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import numpy as np

WORTH = 200_000  # operations that a thread must have to be worth waking


def _default_count() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


class _Part:
    """A part of the work: done when ``done`` can be acquired; ``error``: what it raised."""

    __slots__ = ("done", "error", "first", "function", "last")

    def __init__(self, function: Callable[[int, int], Any], first: int, last: int) -> None:
        self.function, self.first, self.last = function, first, last
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        try:
            self.function(self.first, self.last)
        except BaseException as error:  # raised again where the part was given
            self.error = error
        self.done.release()


class _Worker(threading.Thread):
    """A thread that does the parts that it is given, one after the other, and sleeps between them."""

    def __init__(self, number: int) -> None:
        super().__init__(name=f"tinyrnn_{number}", daemon=True)
        self._parts: SimpleQueue[_Part] = SimpleQueue()
        self.start()

    def run(self) -> None:
        while True:
            self._parts.get().run()

    def give(self, function: Callable[[int, int], Any], first: int, last: int) -> _Part:
        part = _Part(function, first, last)
        self._parts.put(part)
        return part


class _Settings:
    count = _default_count()
    workers: tuple[_Worker, ...] = ()
    lock = threading.Lock()
    alone = 0  # blocks of `alone` that are open
    blas: tuple[int, ...] = ()  # threads of each BLAS before the first of them


def _forked() -> None:
    """A forked process has no other threads, whatever the locks say."""
    _Settings.workers, _Settings.lock = (), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def set_threads(n: int) -> None:
    """Run kernels on ``n`` threads from now on."""
    _Settings.count = n


def threads() -> int:
    """How many threads kernels run on."""
    return _Settings.count


def _workers(n: int) -> tuple[_Worker, ...]:
    """``n`` of them."""
    if len(_Settings.workers) < n:
        with _Settings.lock:
            while len(_Settings.workers) < n:
                _Settings.workers += (_Worker(len(_Settings.workers) + 1),)
    return _Settings.workers[:n]


def split(n: int, function: Callable[[int, int], Any], at_least: int = WORTH) -> None:
    """Call ``function(first, last)`` so that ``range(n)`` is covered, in as many parts as there are threads.

    ``at_least`` is the work of one of the ``n``, in elementary operations: little work stays on one thread,
    and so does what one of ours is to split, which would wait for itself.
    """
    parts = max(1, min(_Settings.count, n, n * at_least // WORTH))
    if parts == 1 or isinstance(threading.current_thread(), _Worker):
        function(0, n)
        return
    cuts, workers = [n * i // parts for i in range(parts + 1)], _workers(parts - 1)
    try:
        given = [w.give(function, *cut) for w, cut in zip(workers, pairwise(cuts[1:]), strict=True)]
        function(0, cuts[1])
        for part in given:
            part.done.acquire()
    except BaseException:  # nobody may still be writing when this returns
        _let_them_end(workers)
        raise
    for part in given:
        if part.error is not None:
            raise part.error


def _let_them_end(workers: tuple[_Worker, ...]) -> None:
    """Wait until all that the workers were given is done, however often the program is interrupted."""
    while True:
        try:
            for worker in workers:  # behind all else
                worker.give(lambda first, last: None, 0, 0).done.acquire()
            return
        except KeyboardInterrupt:
            continue


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
