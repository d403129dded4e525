"""What commands say: lines on the standard streams, and for a while one live line below them.

While there is a live line, whatever goes to the terminal goes through the one console that draws it, above it
and whole: what is said here, and what anybody else writes (warnings, a plugin), since rich stands in for
`sys.stdout` and `sys.stderr`. `click.echo` alone would pass that by, into the stream below.
"""

import sys
import time
from contextlib import contextmanager

import click

from ..base.errors import visible

MARGIN = 4  # columns right of the live line: a terminal shows ^C where the cursor stands

_console = None  # of the live line, while there is one
_hushed = False


def say(text="", err=False, raw=False, end="\n", badge=None):
    """Text for standard output, or for standard error.

    For people, which is a terminal and standard error, control characters are made visible, unless ``raw``; a
    file or another program gets the text as it is. ``badge``: a word before it, and its colour on a terminal.
    """
    stream, text = sys.stderr if err else sys.stdout, str(text)
    if stream is None:  # as under pythonw
        return
    terminal = is_terminal(stream)
    if (terminal or err) and not raw:
        text = visible(text)
    if badge is not None:
        word, colour = badge
        text = (click.style(word, fg=colour) if terminal else word) + text
    if _console is not None and terminal:
        # soft_wrap: the terminal folds what is too long, so that it can be copied as one line
        _console.print(text, soft_wrap=True, markup=False, highlight=False, emoji=False, end=end)
    else:
        click.echo(text + end, nl=False, err=err, color=True)  # else click takes ANSI sequences out


def show(*tables):
    """The first of some tables of rich's that fits on standard output, else the last; none is cut."""
    from rich.console import Console

    console = Console()
    without_limit = console.options.update(width=1 << 20)
    widths = [console.measure(table, options=without_limit).minimum for table in tables]
    i = next((i for i, width in enumerate(widths) if width <= console.width), len(tables) - 1)
    Console(width=max(widths[i], console.width)).print(tables[i])


def is_terminal(stream) -> bool:
    """Whether a stream, which may be None, is shown by a terminal."""
    return stream is not None and stream.isatty()


def note(text):
    """A remark for people, kept out of what a program reads from standard output."""
    if not _hushed:
        say(text, err=True)


@contextmanager
def hushed(really=True):
    """A block whose remarks are not said, if ``really``: nobody wants any, or they were said before."""
    global _hushed
    before, _hushed = _hushed, _hushed or really
    try:
        yield
    finally:
        _hushed = before


def in_notebook() -> bool:
    """True where output goes to a notebook's cell."""
    from rich.console import Console

    return Console().is_jupyter


def columns() -> int:
    """How wide the terminal is."""
    from rich.console import Console

    return Console().width


@contextmanager
def live_line(render):
    """Show ``render(columns)``, a renderable of rich's of one line, drawn anew four times a second as long as
    the block runs; it leaves nothing behind.

    Gives the block a function to call as it goes on. In a notebook that is what draws the line: a thread
    that did would take what is printed at that moment into the line's place, where the next drawing wipes it.
    """
    global _console
    from rich.console import Console
    from rich.live import Live

    console = Console()
    line = Live(
        get_renderable=lambda: render(console.width - MARGIN),
        console=console,
        transient=True,
        auto_refresh=not console.is_jupyter,
        redirect_stderr=is_terminal(sys.stderr),
    )
    drawn = time.monotonic()

    def go_on():
        nonlocal drawn
        if not line.auto_refresh and time.monotonic() - drawn > 1 / line.refresh_per_second:
            line.refresh()
            drawn = time.monotonic()

    with line:
        _console = console
        try:
            yield go_on
        finally:
            _console = None
