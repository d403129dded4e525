"""The program ``tinyrnn``, also ``python -m tinyrnn``: what a process needs before a command is imported."""

import os
import signal
import sys


def main() -> None:
    """Run the command line and exit; Ctrl-C ends with exit code 130 and no traceback, whenever it comes."""
    try:
        _open_streams()
        import traceback
        import warnings

        from .base.errors import visible

        usual = warnings.formatwarning
        sys.excepthook = lambda *error: sys.stderr.write(visible("".join(traceback.format_exception(*error))))
        warnings.formatwarning = lambda *said, **more: visible(usual(*said, **more))
        from .cli import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is over has its exit code


def _open_streams() -> None:
    """Standard streams that whoever started this process closed lead to nowhere: else the next file that is
    opened, a checkpoint perhaps, gets what is printed. Names of files that are no text are written as they
    are.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="replace"))
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")


if __name__ == "__main__":  # not where bench starts a process of its own
    main()
