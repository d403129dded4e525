"""What ``tinyrnn train`` takes for a language model where nothing else is said, by how much text there is and
how much time. The measurements are in docs/defaults.md.
"""

import codecs
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...base.compressed import ENDINGS, unpacked
from ...base.errors import InputError
from ..text.sources import BUILTIN, builtin_text, found_below

CHOSEN = ("cell", "hidden", "dropout", "batch_size", "seq_len", "lr", "beta2", "steps")
MINUTES = {"tiny": 1.0, "default": 8.0, "large": 30.0, "best": 60.0}  # of a preset, about, on two cores
CELL, BATCH, WINDOW = "ln-gru", 32, 64


class Width(NamedTuple):
    """What suits a width of the layers, from so many minutes and characters of text on: the peak rate,
    dropout before any pass over the text, and the milliseconds of a training step, of characters in float32
    on two cores with AVX-512.
    """

    minutes: float
    size: int
    hidden: int
    lr: float
    dropout: float
    milliseconds: float


WIDTHS = (
    Width(0, 0, 128, 1e-2, 0.05, 25),
    Width(2, 90_000, 256, 8e-3, 0.05, 60),
    Width(5, 450_000, 384, 6e-3, 0.12, 115),
    Width(20, 450_000, 512, 5e-3, 0.2, 190),
)
USUAL = 60  # milliseconds
OTHER_CELLS = 5e-3  # the rate is not greater for those that keep their activations in no bounds
PASSES, LEAST = 40, 1000  # steps are no more than so many passes over the text, or this
A_PASS, MOST_DROPOUT = 0.01, 0.4  # more dropout for each pass over the text
# Characters a symbol, and how many times as long a step takes: tens of thousands of words are told apart.
LEVELS = {"char": (1.0, 1), "byte": (1.0, 1), "bpe": (3.5, 3), "word": (5.5, 5), "token": (5.5, 5)}
UNKNOWN_SIZE = 1_000_000  # of standard input
SAMPLE = 65_536  # bytes


def recommended(texts: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their names, those of `CHOSEN`, for those that are not ``given``. Where a length is given
    and no time, the time is what it takes at `USUAL` milliseconds a step.
    """
    level = given.get("level", "char")
    a_symbol, slower = LEVELS.get(level, LEVELS["char"])
    size = size_of(texts, in_bytes=level == "byte")
    if given.get("val") is None:
        size *= 1 - given.get("val_fraction", 0.1)
    per_pass = size / a_symbol / (given.get("batch_size", BATCH) * given.get("seq_len", WINDOW))
    length = given.get("steps") or given.get("epochs", 0) * per_pass
    minutes = given.get("minutes") or MINUTES[given.get("preset", "default")]
    if length and not given.keys() & {"minutes", "preset"}:
        minutes = length * USUAL * slower / 60_000
    chosen = [width for width in WIDTHS if width.minutes <= minutes and width.size <= size][-1]
    hidden = given.get("hidden", chosen.hidden)
    like = min(WIDTHS, key=lambda width: abs(width.hidden - hidden))
    lr = like.lr
    cell = given.get("cell", "gru" if "cell_opt" in given else CELL)  # options are of the usual cell
    if cell not in (CELL, "ln-lstm") or slower > 1:
        lr = min(lr, OTHER_CELLS)
    in_time = minutes * 60_000 / (chosen.milliseconds * slower)
    steps = length or round(min(in_time, max(PASSES * per_pass, LEAST)), -2)
    dropout = round(min(like.dropout + A_PASS * steps / per_pass, MOST_DROPOUT), 2)
    found: dict[str, Any] = dict(cell=cell, hidden=chosen.hidden, dropout=dropout)
    found |= dict(batch_size=BATCH, seq_len=WINDOW, lr=lr, beta2=0.99)
    if given.get("optimizer", "adamw") not in ("adam", "adamw"):  # the rates are of these
        del found["lr"], found["beta2"]
    return {**found, "steps": int(max(steps, 100))}


def size_of(texts: Sequence[str], in_bytes: bool = False) -> float:
    """Characters of text, or bytes, in files and folders, compressed ones as three times theirs; how many
    bytes a character takes is looked up at the beginning of the first file.
    """
    if not texts or list(texts) == [BUILTIN]:
        return len(builtin_text())
    found: list[Path] = []
    for text in texts:
        found += found_below(Path(text))[0] if os.path.isdir(text) else [Path(text)] * os.path.isfile(text)
    if not found:
        return UNKNOWN_SIZE
    total = sum(p.stat().st_size * (3 if p.suffix.lower() in ENDINGS else 1) for p in found)
    return max(total if in_bytes else total / _width(found[0]), 1)


def _width(path):
    """Bytes of a character of UTF-8, about; 1 of what is none."""
    try:
        with unpacked(path) as file:
            start = file.read(SAMPLE)
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except (InputError, OSError, UnicodeDecodeError):  # whoever reads it tells why
        return 1.0
    return max(len(start), 1) / max(len(text), 1)
