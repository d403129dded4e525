"""How long kernels took to make, and a notice while one compiles for more than a second: "compiling gru,
once: 4.1 s".
"""

import gc
import sys
import threading
import time
from contextlib import contextmanager

from numba.core import event

PATIENCE = 1.0  # seconds


class StandardError:
    """Where notices go unless somebody else is the `listener`."""

    def began(self, name):
        """Something compiles for long already."""
        self._write(f"compiling {name}, once: ")

    def ended(self, name, seconds):
        """It is done."""
        self._write(f"{seconds:.1f} s\n")

    @staticmethod
    def _write(text):
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()


listener = StandardError()


class _Stopwatch:
    """The seconds in which at least one block of `making` was open, in whatever thread.

    Python's collector of cyclic garbage rests meanwhile: Numba makes millions of small objects that it goes
    through again and again, a quarter of what compiling takes.
    """

    def __init__(self):
        self.lock, self.open, self.seconds, self.began = threading.Lock(), 0, 0.0, 0.0
        self.rests = False  # the collector, and is to be woken

    def count(self, change):
        """Seconds so far; then one more block is open, or one less, or as many as before."""
        with self.lock:
            now = time.perf_counter()
            self.seconds += now - self.began if self.open else 0.0
            self.began, self.open = now, self.open + change
            if self.open and gc.isenabled():
                self.rests = True
                gc.disable()
            elif self.rests and not self.open:
                self.rests = False
                gc.enable()
            return self.seconds


_stopwatch = _Stopwatch()


def seconds_spent() -> float:
    """How long this process has been making kernels: planning, checking and compiling them, and reading and
    writing the cache.
    """
    return _stopwatch.count(0)


@contextmanager
def making():
    """What is done in this block is making kernels."""
    _stopwatch.count(1)
    try:
        yield
    finally:
        _stopwatch.count(-1)


class _Notice(event.Listener):
    """Hears what Numba compiles; what compiles inside of something else belongs to that."""

    def __init__(self):
        self.depth, self.name, self.timer = 0, None, None

    def on_start(self, event):
        _stopwatch.count(1)
        self.depth += 1
        if self.timer is None:
            self.shown = self.name or event.data["dispatcher"].py_func.__name__.strip("_")
            self.began, self.told = time.perf_counter(), None
            self.timer = threading.Timer(PATIENCE, self._tell)
            self.timer.daemon = True
            self.timer.start()

    def on_end(self, event):
        _stopwatch.count(-1)
        self.depth -= 1
        if not self.depth and self.name is None:
            self.finish()

    def _tell(self):
        self.told = listener
        self.told.began(self.shown)

    def finish(self):
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            if self.told:
                self.told.ended(self.shown, time.perf_counter() - self.began)


_notice = _Notice()
event.register("numba:compile", _notice)


@contextmanager
def compiling(name):
    """What compiles in this block is announced together, as ``name``."""
    outer, _notice.name = _notice.name, name
    try:
        with making():
            yield
    finally:
        _notice.name = outer
        if outer is None:
            _notice.finish()
