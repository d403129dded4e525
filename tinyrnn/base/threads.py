"""The threads that compiled kernels run on, and how many threads BLAS may use beside them.

Kernels are split a dozen times in a training step, so handing a part over has to cost little: each thread of
ours sleeps at a lock until the next part is there.

Two pools that wait for work by spinning slow each other down several times over, so BLAS is held to one
thread wherever ours are at work (`alone`).
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

WORTH = 200_000  # operations that a thread must have to be worth waking


def _default_count() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


class _Part:
    """A part that a worker is given: done when ``done`` can be acquired, or says so."""

    __slots__ = ("done", "error", "first", "function", "is_done", "is_given", "last")

    def __init__(self, function: Callable[[int, int], Any], first: int, last: int) -> None:
        self.function, self.first, self.last = function, first, last
        self.error: BaseException | None = None
        self.is_given, self.is_done, self.done = False, False, threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        try:
            self.function(self.first, self.last)
        except BaseException as error:  # raised again where the part was given
            self.error = error
        self.is_done = True
        self.done.release()

    def wait(self) -> None:
        """Until it is done. An interrupt may come between the lines: then again."""
        while not self.is_done:
            self.done.acquire()


class _Worker(threading.Thread):
    """A thread that sleeps until it is given a part."""

    def __init__(self, number: int) -> None:
        super().__init__(name=f"tinyrnn_{number}", daemon=True)
        self._part: _Part | None = None
        self._given = threading.Lock()
        self._given.acquire()
        self.start()

    def run(self) -> None:
        while True:
            self._given.acquire()
            if (part := self._part) is not None:
                self._part = None  # before it is done: the next may be given then
                part.run()
            part = None  # nothing is kept alive meanwhile

    def give(self, part: _Part) -> None:
        self._part, part.is_given = part, True
        self._given.release()


class _Settings:
    count = _default_count()
    workers: tuple[_Worker, ...] = ()
    pid: int | None = None
    busy = threading.Lock()  # held by who uses the workers
    lock = threading.Lock()
    alone = 0  # blocks of `alone` that are open
    blas: tuple[int, ...] = ()  # threads of each BLAS before the first of them


def _forked() -> None:
    """In a forked process no other thread is at work, whatever the locks say."""
    _Settings.busy, _Settings.lock = threading.Lock(), threading.Lock()


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
    if _Settings.pid != os.getpid():  # threads do not survive a fork
        _Settings.workers, _Settings.pid = (), os.getpid()
    while len(_Settings.workers) < n:
        _Settings.workers += (_Worker(len(_Settings.workers) + 1),)
    return _Settings.workers[:n]


def split(n: int, function: Callable[[int, int], Any], at_least: int = WORTH) -> None:
    """Call ``function(first, last)`` so that ``range(n)`` is covered, in as many parts as there are threads.

    ``at_least`` is the work of one of the ``n``, in elementary operations: little work stays on one thread,
    and so does all while another thread of the program uses ours.
    """
    parts = max(1, min(_Settings.count, n, n * at_least // WORTH))
    others: list[_Part] = []
    ours = False
    try:
        ours = parts > 1 and _Settings.busy.acquire(blocking=False)
        if not ours:
            function(0, n)
            return
        cuts = [n * i // parts for i in range(parts + 1)]
        workers = _workers(parts - 1)
        for worker, first, last in zip(workers, cuts[1:], cuts[2:], strict=False):
            others.append(_Part(function, first, last))
            worker.give(others[-1])
        function(0, cuts[1])
    finally:  # nobody may still be writing when this returns, also if it is interrupted over and over
        error = _all_done(others)
        if ours:
            _Settings.busy.release()
    if error is not None:
        raise error


def _all_done(parts: list[_Part]) -> BaseException | None:
    """Waits for all ``parts`` that were given; what went wrong in the first of those in which something
    did.
    """
    interrupt = None
    while True:
        try:
            for part in parts:
                if part.is_given:
                    part.wait()
            return next((p.error for p in parts if p.error is not None), interrupt)
        except KeyboardInterrupt as error:
            interrupt = error


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
