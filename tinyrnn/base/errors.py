"""The errors that tinyrnn raises by name; each message is one sentence that ends with what to do."""

import re
from collections.abc import Iterable
from typing import Any


class TinyrnnError(Exception):
    """Base of every error that tinyrnn raises on purpose."""


class InputError(TinyrnnError, ValueError):
    """Something that the user gave cannot be used; the command line exits with code 2."""


class TooLargeError(InputError, MemoryError):
    """An array that does not fit into memory."""


class Diverged(TinyrnnError, ArithmeticError):
    """Training was stopped because its loss left the finite or the sensible; exit code 1."""


class ShapeError(TinyrnnError, ValueError):
    """Operands whose shapes an op cannot combine."""


class OutOfRangeError(TinyrnnError, IndexError):
    """An axis or an index that a tensor does not have."""


class DeviceError(TinyrnnError, ValueError):
    """Operands that live on different devices."""


class DtypeError(TinyrnnError, TypeError):
    """Operands of a dtype that an op cannot take, or of dtypes that do not promote to one."""


class GradientError(TinyrnnError, RuntimeError):
    """A derivative was asked for that the tape cannot give."""


class TapeFreedError(GradientError):
    """The tape behind a tensor was freed by an earlier backward pass."""


class TraceError(TinyrnnError):
    """A step of a recurrence that cannot be compiled; it runs eagerly instead."""

    node: Any = None  # of the tape, that it is about, where that is known

    def at(self, node: Any) -> "TraceError":
        """The same, about ``node`` if about none yet."""
        self.node = self.node or node
        return self


class ChangedInPlaceError(GradientError):
    """A value that a derivative needs was changed in place after it was recorded."""


def shown(value: object) -> str:
    """``value`` as a message shows it: on one line, cut short."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists in lists ...
        text = f"{type(value).__name__} too long to be written"
    return text if len(text) <= 80 else f"{text[:60]}..."


# What a terminal obeys or hides: controls but for tab and line end, the overrides of reading direction (the
# order of what is shown is then not that of what is there), halves of characters, which nothing can print.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """``text`` as it may go to a terminal, whoever wrote it: control characters as ``\\u001b``. What joins
    letters (U+200C, U+200D) stays: scripts and emoji need it.
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def few(names: Iterable[object], most: int = 8) -> str:
    """The first of ``names``, and how many more there are."""
    listed = list(map(str, names))
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def near(name: object, known: Iterable[str], otherwise: str = "known are") -> str:
    """What to say of an unknown ``name``: those that are like it, else all."""
    import difflib

    known = list(known)
    found = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    alike = [difflib.SequenceMatcher(None, str(name), match).ratio() for match in found]
    found = [match for match, ratio in zip(found, alike, strict=True) if ratio > alike[0] - 0.2]
    return f"did you mean {' or '.join(found)}?" if found else f"{otherwise} {', '.join(known)}"
