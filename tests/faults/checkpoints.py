"""Checkpoints, configurations and logs that are damaged on purpose, and what becomes of whoever reads them.

    python tests/faults/checkpoints.py NUMBER SEED

The promise: what was damaged by accident loads as what it was, or is refused in one sentence that names the
file (a line of a log is left out, and that is told); what somebody wrote on purpose, its digest made right,
is refused in one sentence or is a model, a run or a log. Nothing else: no other error, no other model, no end
of memory or time.
"""

import contextlib
import copy
import importlib.util
import io
import json
import math
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save

import tinyrnn as tr
from tinyrnn.base import files
from tinyrnn.training import experiments, pictures, report, runs

RUNS = Path(__file__).parents[1] / "training" / "formats" / "2"  # a small run of each task
SECONDS, BYTES = 120.0, 3 << 30  # for one case: far more than any needs
# How often each is damaged.
FILES = {runs.BEST: 8, runs.TRAINER: 5, runs.STABLE: 3, runs.CONFIG: 4, runs.LOG: 3, runs.TRAINING: 2}
LOGS = runs.LOG, runs.TRAINING
LONGER = {runs.TRAINER: 7, runs.STABLE: 12}  # steps to which each is taken up
CELL = """
import tinyrnn as tr

class Mine(tr.Cell):
    states = ("h",)

    def build(self, input_size, hidden_size, *, gain=1.0):
        self.gain = gain
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def step(self, x, h):
        return tr.tanh(self.gain * (x @ self.W) + h @ self.U + self.b)
"""
CLASSES = ("equal", "refused", "another", "outside")
STRANGE = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, 10**9, 2**63, 10**30, -(10**18), 0.5, 1.5, 1e300, -1e-300,
    math.nan, math.inf, -math.inf, "", "x", "char", "gru", "float64", "\ud800", "a\nb", "\0", "9" * 1500,
    "[" * 9000, "a.py:A", [], {}, [1], [[]], ["x", "x"], {"x": 1}, [None] * 3, [10**9] * 9,
]  # fmt: skip


def made(folder: Path) -> dict[str, Path]:
    """Whole runs by name: those of `RUNS`, and some that are trained in ``folder``, with what these lack:
    byte pairs, a cell in a file, sequences of numbers, ``stable.safetensors``.
    """
    found = {p.name: p for p in sorted(RUNS.iterdir()) if p.is_dir()}
    (folder / "cell.py").write_text(CELL, encoding="utf-8")
    small = dict(hidden=4, embed=4, layers=1, seq_len=8, batch_size=4, steps=6, eval_every=2, warmup=0)
    for name, own in {
        "lm-file": dict(cell=f"{folder / 'cell.py'}:Mine", cell_opt={"gain": 0.5}),
        "lm-pairs": dict(level="bpe", vocab_size=260),
    }.items():
        if name == "lm-pairs" and importlib.util.find_spec("tokenizers") is None:
            continue
        found[name] = folder / name
        text = shutil.copytree(RUNS / "lm", found[name], ignore=lambda *_: ["run"]) / "text.txt"
        tr.train(text, **small, **own, quiet=True, out=found[name] / "run")
    found["classify-numbers"] = folder / "classify-numbers"
    found["classify-numbers"].mkdir()
    rows = [f"{i},{i % 5 + t * (i % 2)},{'ab'[i % 2]}\n" for i in range(20) for t in range(3 + i % 3)]
    table = found["classify-numbers"] / "table.csv"
    table.write_text("id,x,label\n" + "".join(rows), encoding="utf-8")
    small = {name: value for name, value in small.items() if name not in ("embed", "seq_len")}
    given = dict(task="classify", id_column="id", bidirectional=False, quiet=True)
    tr.train(table, **small, **given, out=found["classify-numbers"] / "run")
    return found


class Telling(report.Quiet):
    """Keeps what a trainer tells."""

    def __init__(self, told):
        self.told = told

    def message(self, text):
        self.told.append(text)


class Case:
    """One damaged file of a copy of a run: made of two numbers, the same each time."""

    def __init__(self, seed: int, number: int, whole: dict[str, Path], folder: Path):
        self.random = random.Random(f"{seed} {number}")
        self.task = list(whole)[number % len(whole)]
        self.whole = whole[self.task]
        there = {name: often for name, often in FILES.items() if (self.whole / "run" / name).exists()}
        self.name = self.random.choices(list(there), list(there.values()))[0]
        self.folder = folder
        shutil.copytree(self.whole, folder)
        self.run = folder / "run"
        self.file = self.run / self.name
        self.data = self.file.read_bytes()
        self.by_accident = self.random.random() < 0.4
        self.done = (self._accident if self.by_accident else self._purpose)()

    def __str__(self):
        return f"{self.task}/{self.name}: {self.done}"

    # ---------------------------------------------------------------- damage

    def _accident(self):
        """What disks, transfers and other programs do; returns it in words."""
        kind = self.random.choice(
            ["flip"] * 12 + ["cut", "lost", "zeros", "more", "folder", "pipe", "link", "gone"]
        )
        data, place = bytearray(self.data), self.random.randrange(len(self.data))
        if kind == "flip":
            if self.random.random() < 0.7:  # in the header, where there is one
                place = self.random.randrange(min(len(data), 8 + int.from_bytes(data[:2], "little")))
            data[place] ^= 1 << self.random.randrange(8)
        elif kind in ("cut", "lost"):
            del data[place : place + self.random.randrange(1, 9) if kind == "lost" else None]
        elif kind == "zeros":
            data[place : place + 512] = bytes(len(data[place : place + 512]))
        elif kind == "more":
            data += bytes(self.random.randrange(256) for _ in range(9))
        else:
            self.file.unlink()
        if kind == "folder":
            self.file.mkdir()
        elif kind == "pipe":
            os.mkfifo(self.file)
        elif kind == "link":
            self.file.symlink_to(self.file.name)
        elif kind != "gone":
            self.file.write_bytes(data)
        self.kind = kind
        return f"{kind} at {place}"

    def _purpose(self):
        """What somebody does who makes the digest right again; returns it in words."""
        self.kind = "purpose"
        if self.name == runs.CONFIG:
            config = json.loads(self.data)
            said = self._changed(config)
            if isinstance(config, dict) and self.random.random() < 0.9:
                config.pop("digest", None)
                config["digest"] = files.digest_of(config)
            self.file.write_text(json.dumps(config), encoding="utf-8")
            return said
        if self.name in LOGS:
            records, lines = [json.loads(line) for line in self.data.splitlines()], []
            for record in records:
                record.pop(runs.CHECKSUM)
            said = self._changed(records)
            for record in records:
                text = json.dumps(record)
                if isinstance(record, dict):
                    text = json.dumps(record | {runs.CHECKSUM: zlib.crc32(text.encode())})
                lines.append(text + "\n")
            self.file.write_text("".join(lines), encoding="utf-8")
            return said
        tensors = arrays_of(self.data)
        header = json.loads(self.data[8 : 8 + int.from_bytes(self.data[:8], "little")])["__metadata__"]
        del header["digest"]
        said = self._other_tensors(tensors) if self.random.random() < 0.3 else self._other_header(header)
        data = save(tensors, {k.encode(errors="replace").decode(): v for k, v in header.items()})
        self.file.write_bytes(files.sealed(data) if self.random.random() < 0.95 else data)
        return said

    def _other_header(self, header):
        name = self.random.choice(sorted(header))
        if name in ("format", "tinyrnn") or self.random.random() < 0.05:
            header[name] = self.random.choice(
                ["", "x", "0", "1", "9", "-1", "1e9", "[" * 99999, "null", "\n", "NaN"]
            )
            return f"{name} = {header[name][:20]!r}"
        if self.random.random() < 0.08:
            del header[name]
            return f"without {name}"
        entries = {name: json.loads(header[name])}
        said = self._changed(entries)
        del header[name]
        header |= {k: json.dumps(v) for k, v in entries.items()}
        return said

    def _other_tensors(self, tensors):
        name, random = self.random.choice(sorted(tensors)), self.random
        array = tensors.pop(name)
        kind = random.choice(
            ["gone", "renamed", "more", "flat", "longer", "dtype", "value", "empty", "turned"]
        )
        if kind == "renamed":
            tensors[
                random.choice(["x", "model.x", "state.0.0", "state.9.9", "state.x", "optimizer.m.9", ""])
            ] = array
        elif kind != "gone":
            tensors[name] = array
        if kind == "more":
            tensors[random.choice(["x", "model.x", "state.0.7", "state.x", "other.x"])] = array
        elif kind == "flat":
            tensors[name] = array.reshape(-1) if array.ndim > 1 else array[None]
        elif kind == "longer":
            tensors[name] = np.concatenate([array, array]) if array.ndim else array[None]
        elif kind == "dtype":
            tensors[name] = array.astype(random.choice(["float64", "float16", "int64", "uint8", "bool"]))
        elif kind == "value":
            tensors[name] = np.full_like(array, random.choice([math.nan, math.inf, -math.inf, 1e30, 0]))
        elif kind == "empty":
            tensors[name] = array[:0] if array.ndim else array
        elif kind == "turned":
            tensors[name] = np.ascontiguousarray(array.T)
        return f"{kind} {name}"

    def _changed(self, found):
        """One to three entries of nested lists and dicts are replaced, removed, added or renamed."""
        said = []
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            if not (places := list(_places(found))):
                break
            inside, key = self.random.choice(places)
            kind = self.random.choice(["value"] * 6 + ["gone", "renamed", "more"])
            value = copy.deepcopy(self.random.choice(STRANGE))
            if kind == "value":
                inside[key] = value
            elif kind == "gone":
                del inside[key]
            elif kind == "renamed" and isinstance(inside, dict):
                inside[self.random.choice(["x", "", "seed", "self", "vocabulary", "\ud800"])] = inside.pop(
                    key
                )
            elif isinstance(inside, dict):
                new = [
                    "x",
                    "seed",
                    "self",
                    "batch_size",
                    "bidirectional",
                    "tie",
                    "val",
                    "recent",
                    "horizon",
                    "digest",
                ]
                inside[self.random.choice(new)] = value
            else:
                inside.append(value)
            said.append(f"{kind} {key}: {value!r}"[:60])
        return "; ".join(said)

    # ---------------------------------------------------------------- what becomes of it

    def outcome(self) -> tuple[str, str]:
        """One of `CLASSES`, and what is to be said of it."""
        self.told: list[str] = []
        runs.note, before = self.told.append, runs.note
        try:
            same = self._log_read() if self.name in LOGS else self._used()
        except tr.TinyrnnError as error:
            said = str(error)
            # What was written on purpose may be whole and not fit its data, which has its own sentences.
            named = str(self.run) in said and "\n" not in said
            if (self.by_accident and not named) or len(said) > 2000:
                return "outside", f"the message does not say it in a sentence: {said[:300]!r}"
            if self.name in LOGS and self.kind not in ("folder", "pipe", "link"):
                return "outside", f"a damaged log stops: {said[:300]}"
            return "refused", said
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return "outside", traceback.format_exc(limit=-4)
        finally:
            runs.note = before
        if same:
            return "equal", ""
        if self.name in LOGS:
            return "refused", "; ".join(self.told)  # lines of it
        if self.name == runs.STABLE and self.kind in ("gone", "link") and self.told:
            return "refused", "; ".join(self.told)  # to go back, as a run may that never had it
        return ("outside", "another is loaded in silence") if self.by_accident else ("another", "")

    def _used(self):
        """Load and use what was damaged; whether it is what it was."""
        if self.name == runs.BEST:
            if self.kind == "gone":
                return bool(experiments.load(self.run, allow_code=True))  # the last takes its place
            model = experiments.load(self.file, allow_code=True)
            same = _told_by_model(model) == _original(self.whole, runs.BEST)
            if not same:
                self._ask(model)
            return same
        if self.name == runs.CONFIG:
            folder = runs.RunFolder(self.run)
            configuration = experiments.Configuration.read(folder)
            same = _told_by(configuration, folder) == _original(self.whole, runs.CONFIG)
            if not same or self.random.random() < 0.05:
                repr(tr.Run(self.run))
                tr.Run(self.run, allow_code=True).evaluate()
                self._resume()
            return same
        same = self._resume(fit=False) == _original(self.whole, self.name)
        if not same:
            self._resume()
        return same

    def _resume(self, fit=True):
        steps = {"steps": LONGER.get(self.name, 7)}
        trainer = experiments.take_up(self.run, steps, report=Telling(self.told), allow_code=True)
        try:
            if fit:
                # What is drawn at the end of a run would take longest.
                with contextlib.suppress(tr.Diverged), mock.patch.object(pictures, "available", bool):
                    trainer.fit()
                    trainer.task.conclude(trainer.run)
            return _told_by_trainer(trainer)
        finally:
            trainer.run.unlock()

    def _log_read(self):
        folder = runs.RunFolder(self.run)
        found = folder.read_log(self.name)
        original = runs.RunFolder(self.whole / "run").read_log(self.name)
        if self.by_accident:
            assert all(record in original for record in found), "a record is another"
            unseen = self.kind == "cut" and self.file.read_bytes()[-1:] in (b"", b"\n")  # after a line
            assert found == original or self.told or unseen, "something is missing, and nothing was said"
        repr(tr.Run(self.run))
        self._resume()
        if self.random.random() < 0.1 and folder.read_log():
            pictures.curves([folder], self.run / "curve.png")
        return found == original

    def _ask(self, model):
        if self.task.startswith("lm"):
            model.generate("the ", length=3, seed=0)
        elif self.task == "classify":
            model.predict(["good thing 3", "x"])
        elif self.task == "classify-numbers" and hasattr(model, "features"):
            model.predict([np.ones((3, len(model.features.channels)))])
        elif self.task == "translate":
            model.translate(["123", ""])
        else:
            tr.Run(self.run)._task.evaluate_run(
                model, ["series.csv"], self.run, tr.Run(self.run)._task.evaluation()
            )


def _places(found, inside=None):
    """(container, key) of everything that is nested in ``found``; of long lists three."""
    items = found.items() if isinstance(found, dict) else enumerate(found)
    for key, value in list(items)[: None if isinstance(found, dict) else 3]:
        yield found, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _told_by_model(model):
    weights = {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in model.state_dict().items()}
    return json.dumps(model.describe(), sort_keys=True), weights


def _told_by(configuration, folder):
    options, plan = configuration.options.entries(), configuration.plan.entries()
    return configuration.task.name, options, plan, configuration.texts, folder.config["fingerprint"]


def _told_by_trainer(trainer):
    arrays = trainer.optimizer.state_dict() | trainer.model.state_dict() | trainer.task.state_arrays()
    numbers = (
        trainer.step,
        trainer.seconds,
        trainer.first_loss,
        trainer.loss_sum,
        trainer.loss_count,
        trainer.recent,
    )
    rest = trainer.evaluated_at, trainer.best, trainer.bad_evaluations, trainer.model.generator.state
    return [*map(repr, (numbers, rest)), {k: np.asarray(a).tobytes() for k, a in arrays.items()}]


_known: dict = {}


def _original(whole, name):
    """What whole files of that name say."""
    if (whole, name) not in _known:
        with tempfile.TemporaryDirectory() as folder:
            run = shutil.copytree(whole, Path(folder) / "whole") / "run"
            before = os.getcwd()
            os.chdir(run.parent)
            if name == runs.BEST:
                found = _told_by_model(experiments.load(run / name, allow_code=True))
            elif name == runs.CONFIG:
                found = _told_by(experiments.Configuration.read(runs.RunFolder(run)), runs.RunFolder(run))
            else:
                trainer = experiments.take_up(run, {"steps": LONGER[name]}, allow_code=True)
                found = _told_by_trainer(trainer)
                trainer.run.unlock()
            os.chdir(before)
        _known[whole, name] = found
    return _known[whole, name]


def _work(pipe, seed, whole):
    """A process that goes through the cases that it is told of, in bounded memory."""
    import resource

    warnings.simplefilter("ignore")
    sys.stdin = io.StringIO()
    os.environ["MPLBACKEND"] = "agg"
    limit = BYTES + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory(prefix="tinyrnn-faults-") as folder, open(os.devnull, "w") as nothing:
        sys.stdout = sys.stderr = nothing
        for number in iter(pipe.recv, None):
            place = Path(folder) / str(number)
            try:
                case = Case(seed, number, whole, place)
                os.chdir(place)
                pipe.send((str(case), *case.outcome()))
            except Exception:
                pipe.send(("the harness", "outside", traceback.format_exc()))
            os.chdir(folder)
            shutil.rmtree(place)
    pipe.close()


def fuzz(
    number: int, seed: int, *, first: int = 0, seconds: float = math.inf, shown=None
) -> tuple[Counter, list[str]]:
    """``number`` cases, of one seed, or as many as ``seconds`` allow.

    Args:
        first: the number of the first, to see one again: ``fuzz(1, seed, first=n)``.
        shown: is called with each case, its class and what is to be said of it.

    Returns:
        How many there are of each of `CLASSES`; and those outside the promise, each with how to see it again.
    """
    with tempfile.TemporaryDirectory(prefix="tinyrnn-whole-") as folder:
        return _fuzz(range(first, first + number), seed, seconds, shown, made(Path(folder).resolve()))


def _fuzz(numbers, seed, seconds, shown, whole):
    counts, outside = Counter(dict.fromkeys(CLASSES, 0)), []
    context, worker, began = multiprocessing.get_context("spawn"), None, time.monotonic()
    for n in numbers:
        if time.monotonic() - began > seconds:
            break
        if worker is None:
            pipe, other = context.Pipe()
            worker = context.Process(target=_work, args=(other, seed, whole), daemon=True)
            worker.start()
            other.close()
        try:
            pipe.send(n)
            if not pipe.poll(SECONDS):
                raise TimeoutError(f"no end in {SECONDS:g} seconds")
            case, kind, said = pipe.recv()
        except (TimeoutError, EOFError, OSError) as error:
            worker.kill()
            worker.join()
            case, kind, said = "?", "outside", f"{error or 'the process died'} (exit {worker.exitcode})"
            worker = None
        counts[kind] += 1
        if kind == "outside":
            outside.append(f"fuzz(1, {seed}, first={n}): {case}\n{said}")
        if shown:
            shown(n, case, kind, said)
    if worker is not None:
        pipe.send(None)
        worker.join()
    return counts, outside


if __name__ == "__main__":
    number, seed = int(sys.argv[1]), int(sys.argv[2])

    def tell(n, case, kind, said):
        if kind == "outside":
            print(f"fuzz(1, {seed}, first={n}): {case}\n{said}", flush=True)

    counts, outside = fuzz(number, seed, shown=tell)
    print(", ".join(f"{kind} {count:,}" for kind, count in counts.items()), flush=True)
    sys.exit(bool(outside))
