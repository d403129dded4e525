"""Runs whose processes are killed: at random moments, and before random operations on their files.

The promise: whatever a killed process leaves loads and is used, ``--resume`` goes on, and the end is equal,
to the last bit, to that of a run that was left alone. Nothing temporary is left then. A run has one writer.
"""

import functools
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner
from processes import LOCK, Process, killed_at, watching

from tinyrnn.base.files import PARTIAL
from tinyrnn.cli import main
from tinyrnn.training import pictures, runs

TIMED = {"seconds", "tokens_per_s"}  # what differs in equal runs
LOADS, ENDS, REFUSED = "loads", "equal ends", "second writers refused"


@dataclass(frozen=True)
class Kind:
    """A command that trains, and those that use what it leaves; RUN, OUT and DATA stand for paths."""

    train: str
    uses: tuple[str, ...]
    resume: str = "train --resume RUN --quiet"
    runs: tuple[str, ...] = ("",)  # below OUT


SMALL = "--hidden 4 --batch-size 4 --steps 8 --eval-every 3 --warmup 0 --threads 1 --out OUT --quiet"
KINDS = {
    "lm": Kind(
        f"train DATA/text.txt {SMALL} --embed 4 --seq-len 8 --dropout 0.2 --logger csv",
        ("generate RUN --length 5 --seed 1", "evaluate RUN"),
    ),
    "lm words": Kind(
        f"train DATA/text.txt {SMALL} --embed 4 --seq-len 8 --level word --cell lstm --schedule plateau",
        ("generate RUN --length 5 --seed 1", "evaluate RUN --json"),
    ),
    "classify": Kind(
        f"train DATA/labels.csv --task classify {SMALL} --embed 4", ("predict RUN good", "evaluate RUN")
    ),
    "forecast": Kind(
        f"train DATA/series.csv --task forecast {SMALL} --horizon 2 --window 4",
        ("predict RUN", "evaluate RUN --json"),
    ),
    "translate": Kind(
        f"train DATA/pairs.tsv --task translate {SMALL} --embed 4 --max-length 8",
        ("predict RUN ab", "evaluate RUN --json"),
    ),
    "compare": Kind(
        f"compare DATA/text.txt --cells gru,rnn --embed 4 --seq-len 8 {SMALL}".replace("--quiet", "--json"),
        ("generate RUN --length 5 --seed 1",),
        resume="",
        runs=("gru-0", "rnn-0"),
    ),
}


def write_data(folder: Path):
    """A small file of each kind that is trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(0)
    words = "the quick brown fox jumps over a lazy dog and sleeps".split()
    text = "\n".join(" ".join(chance.choices(words, k=6)) for _ in range(60))
    (folder / "text.txt").write_text(text + "\n", encoding="utf-8")
    rows = [f"{' '.join(chance.choices(words, k=3))} {m},{m}\n" for m in ("good", "bad") for _ in range(12)]
    (folder / "labels.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
    months = [f"{1990 + i // 12}-{i % 12 + 1:02},{10 + i % 12 + chance.random():.3f}\n" for i in range(72)]
    (folder / "series.csv").write_text("month,value\n" + "".join(months), encoding="utf-8")
    pairs = ["".join(chance.choices("abcd", k=4)) for _ in range(30)]
    text = "".join(f"{p}\t{p[::-1]}\n" for p in dict.fromkeys(pairs))
    (folder / "pairs.tsv").write_text(text, encoding="utf-8")


class Breach(AssertionError):
    """What is outside the promise."""


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed: what it holds, how many operations on files it took, and how many seconds."""

    contents: dict
    operations: int
    seconds: float


@functools.cache
def whole(name: str, work: Path) -> Whole:
    """Of one of `KINDS`."""
    kind, out, count = KINDS[name], work / f"whole {name}", work / "count"
    for line in (kind.train, *kind.uses):  # in this process, which has then imported and compiled it all
        result = CliRunner().invoke(main, _words(line, out, kind.runs[0]))
        if result.exit_code:
            raise Breach(f"{line} ends with {result.exit_code}, though nobody kills it: {result.output}")
    shutil.rmtree(out)
    with count.open("wb", buffering=0) as file:
        process = start(kind.train, out, watching(out, lambda n, event: file.write(b".")))
        _expect(process, 0)
    seconds = time.monotonic() - process.began
    return Whole(contents(kind, out), count.stat().st_size, seconds)


def contents(kind: Kind, out: Path) -> dict:
    """All that equal runs have in common: weights, optimiser, position, the numbers of the log."""
    found = {}
    for folder in (out / name for name in kind.runs):
        for name in (runs.BEST, runs.LAST):
            found[folder.name, name] = (folder / name).read_bytes()
        tensors, meta = runs.load_tensors(folder / runs.TRAINER)
        meta["position"].pop("seconds")
        found[folder.name, "state"] = {k: (v.dtype.str, v.tobytes()) for k, v in tensors.items()}, meta
        for name in (runs.LOG, runs.TRAINING):
            records = [json.loads(line) for line in (folder / name).read_text().splitlines()]
            found[folder.name, name] = [
                {k: v for k, v in record.items() if k not in (*TIMED, runs.CHECKSUM)} for record in records
            ]
    if len(kind.runs) == 1:  # whose own name is the trial's
        found = {("run", name): value for (_, name), value in found.items()}
    return found


def leftovers(folder: Path) -> list[str]:
    """What may not be there once nothing runs."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.name.endswith(PARTIAL) or path.name == runs.LOCK or path.name.startswith(".")
    ]


def _words(line: str, out: Path, run="") -> list[str]:
    paths = {"RUN": out / run, "OUT": out, "DATA": out.parent / "data"}
    parted = [word.partition("/") for word in line.split()]
    return [f"{paths.get(first, first)}{slash}{rest}" for first, slash, rest in parted]


def start(line: str, out: Path, before=lambda: None, run="") -> Process:
    return Process(_words(line, out, run), before)


def _expect(process: Process, *codes: int):
    ended = process.wait()
    if ended.code not in codes or "Traceback" in ended.said:
        raise Breach(f"{' '.join(process.args)} ended with {ended.code}, not {codes}: {ended.said}")
    return ended


def trial(seed: int, work: Path) -> Counter:
    """One run, killed up to four times, used and taken up each time; what held. Raises Breach."""
    chance = random.Random(seed)
    name = chance.choice(list(KINDS))
    kind, counts = KINDS[name], Counter()
    alone, out = whole(name, work), work / f"{seed}"
    for _ in range(chance.randint(1, 4)):
        line = kind.resume if kind.resume and _is_run(out) else kind.train
        if kind.resume and _is_run(out) and chance.random() < 0.2:
            counts += _two_writers(kind, out, chance.random() < 0.5)
            continue
        if chance.random() < 0.5:
            number = chance.randint(1, alone.operations)
            process, moment = start(line, out, killed_at(out, number)), None
        else:
            process, moment = start(line, out), chance.uniform(0, 1.1 * alone.seconds)
            time.sleep(moment)
            with suppress(ProcessLookupError):
                process.kill()
        ended = _expect(process, 0, -signal.SIGKILL)
        counts["kills"] += ended.code != 0
        for each in kind.runs:
            if _is_run(out / each):
                _expect(start(chance.choice(kind.uses), out, run=each), 0)
                counts[LOADS] += 1
            elif (each and (out / each).exists()) or (not each and out.exists()):
                raise Breach(f"{out / each} is there and no run: {os.listdir(out / each)}")
    _expect(start(kind.resume if kind.resume and _is_run(out) else kind.train, out), 0)
    if contents(kind, out) != alone.contents:
        now = contents(kind, out)
        raise Breach(f"{name}: other than alone: {[k for k in now if now[k] != alone.contents.get(k)]}")
    counts[ENDS] += 1
    if left := [*leftovers(out), *(p.name for p in work.glob(f".{out.name}.*"))]:
        raise Breach(f"{name}: left behind: {left}")
    shutil.rmtree(out)
    return counts


def _is_run(path):
    return (path / runs.CONFIG).is_file()


def _two_writers(kind, out, killed) -> Counter:
    """While one process has the run a second is refused, and once the first is killed, or goes on, none
    harms the other.
    """
    first = start(kind.resume, out, watching(out, _stop_with_lock()))
    if not first.stopped():
        raise Breach(f"a resumed run never locks: {first.wait()}")
    ended = _expect(start(kind.resume, out), 2)
    if "is being trained by" not in ended.said or ended.said.count("\n") != 1:
        raise Breach(f"a second writer is told {ended.said!r}")
    first.kill(signal.SIGKILL if killed else signal.SIGCONT)
    _expect(first, -signal.SIGKILL if killed else 0)
    return Counter({REFUSED: 1, "kills": killed})


def _stop_with_lock():
    locked = False

    def call(n, event):
        nonlocal locked
        if locked:
            locked = False
            os.kill(os.getpid(), signal.SIGSTOP)
        elif event == LOCK:
            locked = True

    return call


def kill(seconds: float, seed: int = 0, number: int | None = None, work: Path | None = None):
    """Trials from ``seed`` on until so many seconds are over, or ``number`` processes were killed.

    Returns:
        What held, counted; and a sentence for each breach, which names its seed and the folder that is kept.
    """
    counts, breaches = Counter(), []
    work = Path(work or tempfile.mkdtemp(prefix="tinyrnn-kills-"))
    write_data(work / "data")
    began, available = time.monotonic(), pictures.available
    try:
        while time.monotonic() - began < seconds and (
            number is None or counts["kills"] + len(breaches) < number
        ):
            # a picture takes longer than all else: one run in eight draws it
            pictures.available = available if seed % 8 == 0 else lambda: False
            try:
                counts += trial(seed, work)
            except Breach as breach:
                breaches.append(f"kill {seed}: {breach} (kept: {work / str(seed)})")
            seed += 1
    finally:
        pictures.available = available
        if not breaches:
            shutil.rmtree(work)
    return counts, breaches
