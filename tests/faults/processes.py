"""Commands of tinyrnn in forks of this process, which has imported and compiled what they need: hundreds of
processes can be started and killed in the time that one interpreter takes.
"""

import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

LIMIT = 120.0  # seconds: whatever takes longer never ends
# What changes or opens a file, as Python's audit hooks name it; `os.fsync`, which has no event, is added.
LOCK = "fcntl.flock"
OPERATIONS = set(f"open {LOCK} os.rename os.remove os.mkdir os.rmdir os.chmod shutil.rmtree fsync".split())


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus the number of the signal that killed it."""

    code: int
    said: str


class Process:
    """``tinyrnn ARGS...`` in a fork; ``before()`` is called in it first."""

    def __init__(self, args, before=lambda: None):
        self.args = [str(a) for a in args]
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 (it lasts as long as the process)
        sys.stdout.flush()
        sys.stderr.flush()
        self.began = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            _run(self.args, before, self.output.fileno())

    def kill(self, number=signal.SIGKILL):
        """Send it a signal."""
        os.kill(self.pid, number)

    def stopped(self) -> bool:
        """Wait until it stops (True) or ends."""
        status = os.waitpid(self.pid, os.WUNTRACED)[1]
        if not os.WIFSTOPPED(status):
            self.status = status
        return os.WIFSTOPPED(status)

    def wait(self, seconds=LIMIT) -> Ended:
        """How it ends; what runs for longer than ``seconds`` is killed, and its code is that of SIGALRM."""
        late = False
        while not hasattr(self, "status"):
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.status = status
            elif not late and time.monotonic() - self.began > seconds:
                late = True
                self.kill()
            else:
                time.sleep(0.002)
        code = -signal.SIGALRM if late else os.waitstatus_to_exitcode(self.status)
        with self.output:
            self.output.seek(0)
            return Ended(code, self.output.read().decode(errors="replace"))


def _run(args, before, output):
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        before()
        from tinyrnn.cli import main

        main(args, prog_name="tinyrnn")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def watching(folder: Path, call):
    """A function for `Process`: before the n-th operation on files in ``folder`` it calls ``call(n,
    event)``.
    """

    def install():
        count = 0

        def hook(event, args):
            nonlocal count
            if event not in OPERATIONS or not (
                event in ("fsync", LOCK) or any(str(a).startswith(str(folder)) for a in args)
            ):
                return
            count += 1
            call(count, event)

        synchronise = os.fsync

        def fsync(descriptor):
            sys.audit("fsync")
            synchronise(descriptor)

        os.fsync = fsync
        sys.addaudithook(hook)

    return install


def killed_at(folder: Path, number: int):
    """A function for `Process`, which is killed before its ``number``-th operation on files in ``folder``."""
    return watching(folder, lambda n, event: n == number and os.kill(os.getpid(), signal.SIGKILL))
