"""One line on standard error while something compiles for more than a second: "compiling gru, once: 4.1
s".
"""

import sys
import threading
import time
from contextlib import contextmanager

from numba.core import event

PATIENCE = 1.0  # seconds


class _Notice(event.Listener):
    """Hears what Numba compiles; what compiles inside of something else belongs to that."""

    def __init__(self):
        self.depth, self.name, self.timer = 0, None, None

    def on_start(self, event):
        self.depth += 1
        if self.timer is None:
            name = self.name or event.data["dispatcher"].py_func.__name__.strip("_")
            self.began, self.shown = time.perf_counter(), False
            self.timer = threading.Timer(PATIENCE, self._show, [name])
            self.timer.daemon = True
            self.timer.start()

    def on_end(self, event):
        self.depth -= 1
        if not self.depth and self.name is None:
            self.finish()

    def _show(self, name):
        self.shown = True
        _write(f"compiling {name}, once: ")

    def finish(self):
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            if self.shown:
                _write(f"{time.perf_counter() - self.began:.1f} s\n")


_notice = _Notice()
event.register("numba:compile", _notice)


def _write(text):
    if sys.stderr is not None:
        sys.stderr.write(text)
        sys.stderr.flush()


@contextmanager
def compiling(name):
    """What compiles in this block is announced together, as ``name``."""
    outer, _notice.name = _notice.name, name
    try:
        yield
    finally:
        _notice.name = outer
        if outer is None:
            _notice.finish()
