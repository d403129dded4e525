"""Damaged and hostile data, for every reader.

The promise: a file is read, or a `TinyrnnError` says in one sentence which file it is and what to do. No
other exception, no warning, no endless loop; memory and files that grow are bounded.
"""

import contextlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import click
import numpy as np
from click.testing import CliRunner
from kills import write_data

import tinyrnn as tr
from tinyrnn.base.errors import TinyrnnError
from tinyrnn.cli import main
from tinyrnn.cli.options import chosen
from tinyrnn.tasks.text import corpus, sources
from tinyrnn.training import pictures
from tinyrnn.training.experiments import Configuration, load
from tinyrnn.training.runs import keep_data
from tinyrnn.training.task import get_task

UNNAMED = "TinyrnnError without the name"
READ, REFUSED, OUTSIDE = "read", "TinyrnnError", "outside the promise"
SECONDS = 120.0  # that a case may take, where others compute too
MEMORY = 1 << 30  # bytes that all cases together may take beyond what the process has at first
WRITTEN = 1 << 28  # bytes that one file may come to have
LARGE = (
    1 << 23
)  # bytes that are damaged further: a file that is damaged again and again does not grow for ever
HUGE = 10 * 10**9  # bytes of a sparse file

COMMON = dict(hidden=4, batch_size=4)
SMALL = {
    "lm": dict(embed=4, seq_len=8),
    "classify": dict(embed=4, max_length=20),
    "forecast": dict(horizon=2, window=4),
    "translate": dict(embed=4, max_length=8),
}
ENCODINGS = [
    *(
        "utf-8 utf-8 utf-8 utf-8-sig latin-1 cp1252 ascii utf-16 utf-16-le utf-32 utf-7 shift_jis gb18030 big5".split()
    ),
    *"idna punycode unicode_escape raw_unicode_escape hex rot13 base64 zlib bz2 uu quopri undefined mbcs".split(),
    *("nosuch", "", "utf\0-8", "utf-8\n", "../utf_8", "\udc80"),
]
LEVELS = ("char", "byte", "word", "bpe")

# What is put into a file at any place.
CHUNKS = [
    b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xed\xb2\x80\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80",
    b"\r", b"\r\n", b"\n", b"\n\n\n", b"\x0b", b"\x0c", b"\x1a", b"\x1b[2J", b"\x1c", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xae",
    b'"', b'""', b"'", b",", b";", b"\t", b"|", b",,,,,,,,,", b'"a\nb"', b"\\", b"\\N{x}", b"\\d", b"+AAA-", b"=cmd()",
    b"nan", b"-nan", b"inf", b"-Infinity", b"1e400", b"-1e400", b"1e308", b"-1e308", b"1e-320", b"1_0", b"0x10", b"1,5", b"--1", b"1e",
    "١٢".encode(), "１２".encode(), "½".encode(), b"9" * 400, b"9" * 5000, b"-0.0", b"True", b"None", b"null",
    b"2012-13-01", b"2012-02-30", b"0000-01-01", b"9999-12-31", b"99999-01-01", b"2012-01-01T25:00", b"2012-01-01 23:59:60",
    b"2012-01-01T00:00:00Z", b"1-1-1", "٢٠١٢-٠١-٠١".encode(), b"1677-01-01", b"2262-04-12",
    b"[" * 3000, b'{"a":' * 3000, b'{"text": 1e999, "label": NaN}\n', b'{"text": "\\ud800", "label": "a"}\n', b"[]", b"{}",
    b"a" * 200_000, ("\N{COMBINING ACUTE ACCENT}" * 500).encode(), "\N{GRINNING FACE}".encode(), b"<unk>", b"\xef\xbf\xbd",
]  # fmt: skip

VALUES = [
    "0", "-1", "1", "1.5", "1e400", "-1e308", "nan", "inf", "-inf", "9223372036854775808", "1_000", "0xff", "true", "''", "'x'",
    "'\\u0000'", "[]", "[1]", "[[1]]", "['a', 1]", "{}", "{a = 1}", "{a = {b = 1}}", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z",
    "'char'", "'cuda'", "'gru'", "'../x.py:Evil'", "'hex'", "'utf-8'", "\"\"\"\na\n\"\"\"", "9" * 5000,
]  # fmt: skip


def _texts(folder: Path) -> dict[str, list[tuple[str, bytes]]]:
    """Whole files for each task: (ending, content)."""
    write_data(folder)
    text, labels, series, pairs = (
        (folder / name).read_bytes() for name in ("text.txt", "labels.csv", "series.csv", "pairs.tsv")
    )
    rows = [row.rsplit(",", 1) for row in labels.decode().splitlines()[1:]]
    lines = [json.dumps({"text": t, "label": label}) + "\n" for t, label in rows]
    days = [f"2012-01-{i + 1:02} 0{i % 9}:00,{i % 7},{i * i % 11}.5,x\n" for i in range(31)]
    numbers = [f"{i % 5}\n" for i in range(60)]
    return {
        "lm": [(".txt", text), (".txt", "Grüße, 世界 \N{GRINNING FACE}\n".encode() * 40)],
        "classify": [
            (".csv", labels),
            (".tsv", labels.replace(b",", b"\t")),
            (".jsonl", "".join(lines).encode()),
            ("", labels),  # a folder
        ],
        "forecast": [
            (".csv", series),
            (".csv", ("when,a,b,c\n" + "".join(days)).encode()),
            (".csv", ("value\n" + "".join(numbers)).encode()),
        ],
        "translate": [(".tsv", pairs), (".txt", pairs.replace(b"\t", b" ||| "))],
    }


CONFIGURATION = b"""[train]
task = "lm"
hidden = 8
lr = 0.01
tie = false
schedule = "cosine"
cell-opt = {forget_bias = 1.0}
texts = ["a.txt"]
"""


# ---------------------------------------------------------------- damage


def damaged(data: bytes, chance: random.Random) -> bytes:
    """``data`` with up to four kinds of damage."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 4))):
        data = chance.choice(DAMAGES)(data[:LARGE], chance)
    return data


def _somewhere(data, chance):
    return chance.randrange(len(data) + 1)


def _flip(data, chance):
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 3, 20)) if data else 0):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _put(data, chance):
    at = _somewhere(data, chance)
    return data[:at] + chance.choice(CHUNKS) + data[at:]


def _cut(data, chance):
    first, last = sorted((_somewhere(data, chance), _somewhere(data, chance)))
    return chance.choice(
        (data[:first], data[last:], data[:first] + data[last:], data[:first] + data[first:last] * 2)
    )


def _cell(data, chance):
    """Another cell in a table: between two of its separators."""
    ends = [i for i, b in enumerate(data[:100_000]) if b in b",\t\n;"]
    if len(ends) < 2:
        return data
    i = chance.randrange(len(ends) - 1)
    return data[: ends[i] + 1] + chance.choice(CHUNKS) + data[ends[i + 1] :]


def _column(data, chance):
    """Another value in the last cell of every row."""
    value = chance.choice([*CHUNKS[:60], b"", b"7"])
    return b"\n".join([line.rpartition(b",")[0] + b"," + value for line in data.split(b"\n")])


def _lines(data, chance):
    lines = data.splitlines(keepends=True) or [b""]
    return b"".join(
        chance.choice(
            (
                lines[:1],
                lines[:2],
                lines[1:],
                lines[:1] * 2 + lines[1:],
                [line[:3] + b"\n" for line in lines],
                [b"\n", *lines],
                lines[:1] + lines[1:2] * len(lines),
                chance.sample(lines, len(lines)),
                [*lines, b"a" * 1_000_000],
                [line.rstrip(b"\n") + chance.choice((b"\r", b"\r\n", b"\n", b"\n\r")) for line in lines],
                [line.split(b",")[0] + b"\n" for line in lines],
                [b",".join(line.rstrip(b"\n").split(b",") * 2) + b"\n" for line in lines],
            )
        )
    )


def _whole(data, chance):
    return chance.choice(
        (
            b"", b"\n", b" ", b"a", b"aa" * 500, b"\xef\xbb\xbf", b"\xff\xfe", b"\0" * 1000, bytes(range(256)) * 4,
            random.Random(chance.random()).randbytes(3000), "".join(map(chr, range(0x20, 0x3000))).encode(),
            b"\n" * 5000, b"," * 5000, b'"' * 5001, data * 20,
        )
    )  # fmt: skip


def _recoded(data, chance):
    coding = chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "utf-8-sig", "cp1252", "cp037"))
    return data.decode("latin-1").encode(coding, "replace")


DAMAGES = [
    _flip,
    _flip,
    _put,
    _put,
    _put,
    _cut,
    _cut,
    _cell,
    _cell,
    _cell,
    _column,
    _lines,
    _lines,
    _whole,
    _recoded,
]


def put_special(path: Path, chance: random.Random, huge: Path) -> Path:
    """What is no ordinary file, at ``path`` or elsewhere: where it is."""
    kind = chance.randrange(13)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind < 6:
        target = ("/dev/zero", "/dev/full", "/dev/null", "/proc/self/mem")[kind - 2]
        path.symlink_to(target)
    elif kind == 6:
        path.symlink_to(path)
    elif kind == 7:
        path.symlink_to(huge)
    elif kind == 8:
        path.symlink_to("/nowhere/at/all")
    elif kind == 9:
        return path.with_name("a" * 300 + path.suffix)
    elif kind == 10:
        return path.with_name("a\0b" + path.suffix)
    elif kind == 11:
        return Path(f"{path}/below")
    else:  # a folder of strange things
        path.mkdir()
        os.mkfifo(path / "fifo.txt")
        (path / "link.txt").symlink_to("/dev/zero")
        (path / "binary.txt").write_bytes(b"\0\1")
        (path / "empty.txt").touch()
        (path / os.fsdecode(b"\xff.txt")).write_bytes(b"a text of a name\n" * 30)
    return path


class _Meddler:
    """Changes a file at the moment in which it is opened for the n-th time."""

    path, left, change = None, 0, None

    def __init__(self):
        sys.addaudithook(self)

    def __call__(self, event, args):
        if event == "open" and self.left and str(args[0]) == self.path:
            self.left -= 1
            if not self.left:
                self.change(Path(self.path))

    def arm(self, path, chance):
        """Choose what happens to ``path``, and when."""
        self.path, self.left = str(path), chance.randint(1, 3)
        self.change = chance.choice(
            (
                os.unlink,
                lambda p: p.write_bytes(b""),
                lambda p: p.write_bytes(b"other\ttext\n" * 50),
                lambda p: p.write_bytes(bytes(range(256))),
                lambda p: (p.unlink(), p.mkdir()),
                lambda p: os.truncate(p, 10),
            )
        )

    def disarm(self):
        """Leave everything as it is."""
        self.path, self.left = None, 0


# ---------------------------------------------------------------- what reads


def _learn(task, path, given, state):
    """A model for it; one time in four a step of training and an evaluation as well."""
    options = {**COMMON, **SMALL[task], **given}
    trainer = Configuration.make(task, [str(path)], {**options, "steps": 1}).trainer(None, "cpu")
    assert trainer.task.introduction()
    if state.chance.random() < 0.25:
        trainer.task.loss(0).backward()
        trainer.task.evaluate()


def _evaluate(task, path, given, state):
    kind = get_task(task)
    options = kind.evaluation(**{k: v for k, v in given.items() if k in kind.evaluation.rules()})
    kind.evaluate_run(state.models[task], [str(path)], state.runs[task], options)


def _predict(task, path, given, state):
    kind = get_task(task)
    if task == "lm":
        text = state.content[:300].decode(errors=state.chance.choice(("surrogateescape", "replace")))
        return state.models["lm"].generate(text, length=3, seed=0)
    options = kind.prediction(**{k: v for k, v in given.items() if k in kind.prediction.rules()})
    for prediction in kind.predict(state.models[task], [str(path)], state.runs[task], options):
        kind.shown(prediction)
        json.dumps(prediction, allow_nan=False)
    return None


def _command(task, path, given, state):
    """The command line: exit code 2 for what cannot be read, and no exception."""
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in given.items()]
    small = [f"--{k.replace('_', '-')}={v}" for k, v in {**COMMON, **SMALL[task]}.items()]
    out = path.parent / "trained"
    args = {
        "train": ["--task", task, *small, "--steps=2", "--eval-every=1", "--out", out, "--threads=1", *flags],
        "evaluate": [],
        "predict": [],
    }
    if "\0" in f"{path}{flags}":  # which no command line can hold
        return
    name = state.chance.choice(list(args))
    shutil.rmtree(out, ignore_errors=True)
    first = [] if name == "train" else [state.runs[task]]
    result = CliRunner().invoke(main, [name, *map(str, [*first, path, *args[name]])])
    _settle(result)


def _settle(result):
    """What a command ended with, as a function would have ended."""
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code == 0:
        return
    last = result.stderr.splitlines()[-1]
    if result.exit_code not in (1, 2) or "Error: " not in last:
        raise AssertionError(f"exit code {result.exit_code}: {result.output}")
    raise TinyrnnError(last)


def _configuration(task, path, given, state):
    """A file of options."""
    train = main.get_command(None, "train")
    try:
        with train.make_context("train", ["--config", str(path)]) as context:
            Configuration.make(context.meta["tinyrnn.task"], context.params["texts"], {})
            chosen(context, {k: v for k, v in context.params.items() if k != "texts"})
    except click.ClickException as error:
        raise TinyrnnError(error.format_message()) from error
    except SystemExit as end:
        raise AssertionError(f"exit code {end.code}") from None


def _from_memory(task, path, given, state):
    """The same through Python: texts, pairs, arrays."""
    raw = state.content[:20_000]
    text = raw.decode(state.chance.choice(("utf-8", "latin-1", "ascii")), "surrogateescape")
    rows = [tuple(line.split("\t" if "\t" in line else ","))[:3] for line in text.split("\n")]
    numbers = np.frombuffer(raw[: len(raw) // 16 * 16], state.chance.choice(("f8", "f4", "i8", "u1", "c16")))
    import io

    data = {"lm": io.StringIO(text), "classify": rows, "translate": rows, "forecast": numbers}[task]
    suffix, text = get_task(task).store(data)
    _, (stored,) = keep_data(text, suffix, "utf-8")
    _learn(task, Path(stored), {}, state)


def _cached(task, path, given, state):
    """The cache of tokens with a damaged description: the tokens are made again."""
    text = state.data / "text.txt"
    before = corpus.load(sources.resolve([text]), "char")
    (folder,) = (Path(os.environ["TINYRNN_CACHE"]) / "tokens",)
    for name in folder.glob("*.json"):
        name.write_bytes(damaged(name.read_bytes(), state.chance))
    after = corpus.load(sources.resolve([text]), "char")
    if (
        not np.array_equal(before.tokens, after.tokens)
        or before.vocabulary.symbols != after.vocabulary.symbols
    ):
        raise AssertionError("other tokens")


class _First(random.Random):
    """No chance: the first of all choices, and whatever has a probability."""

    def random(self):
        return 0.0

    def choice(self, seq):
        return seq[0]


class State:
    """What cases have in common: a trained model of each task, and files of their own to write."""

    def __init__(self, work: Path):
        self.work, self.data, self.huge = work, work / "data", work / "huge"
        self.files = _texts(self.data)
        with self.huge.open("wb") as file:
            file.truncate(HUGE)
        self.runs, self.models, self.chance = {}, {}, _First()
        for task, files in self.files.items():
            path = work / f"first{files[0][0]}"
            path.write_bytes(files[0][1])
            self.runs[task] = work / f"run-{task}"
            options = {**COMMON, **SMALL[task], "steps": 2}
            tr.train(path, task, out=self.runs[task], quiet=True, threads=1, **options)
            self.models[task] = load(self.runs[task])
            self.content = files[0][1]
            for use in (_predict, _command):
                with contextlib.suppress(TinyrnnError):
                    use(task, path, {}, self)
            for ending, content in files:  # compiles what all will need
                for level in LEVELS if task != "forecast" else [None]:
                    if ending:
                        path.with_suffix(ending).write_bytes(content)
                        with contextlib.suppress(TinyrnnError):
                            _learn(task, path.with_suffix(ending), {"level": level} if level else {}, self)
                            _evaluate(task, path.with_suffix(ending), {}, self)
        self.meddler = _Meddler()


def _given(task, chance):
    """Options of reading, mostly none."""
    given = {}
    if chance.random() < 0.3:
        given["encoding"] = chance.choice(ENCODINGS)
    if task == "lm" or (task in ("classify", "translate") and chance.random() < 0.3):
        given["level"] = chance.choice(LEVELS)
        if chance.random() < 0.2:
            given["vocab_size"] = chance.choice((2, 3, 257, 300))
    choices = {
        "translate": {"separator": ("|||", ",", "\\t", "", "\0", "\n", "a")},
        "classify": {"text_column": ("text", "label", "", "a\n"), "label_column": ("label", "text", "nosuch")},
        "forecast": {
            "missing": ("interpolate",), "target": ("a", "b", "value", "when", ""), "columns": ("a,b", "a,a", ",", "value"),
            "date_column": ("when", "a", "month"), "log": (True, False), "difference": ("0", "1,12", "1,1", "-1", "x", "99999999999"),
            "season": (1, 5, 10**9), "horizon": (1, 5, 10**9), "window": (1, 2, 10**9),
        },
    }.get(task, {})  # fmt: skip
    for name, values in choices.items():
        if chance.random() < 0.12:
            given[name] = chance.choice(values)
    return given


def _table(chance):
    """A TOML file of options with strange values."""
    names = [*option_names(), "train", "x", "json", "text", "config", "task.a", "'a b'", '""']
    entries = [f"{chance.choice(names)} = {chance.choice(VALUES)}" for _ in range(chance.randint(1, 4))]
    odd = [
        "",
        "",
        "[train]\n",
        "[[train]]\n",
        "[a.b.c]\n",
        "train = 5\n",
        "x = " + "[" * 5000,
        "a." * 5000 + "b = 1\n",
    ]
    return (chance.choice(odd) + "\n".join(entries)).encode()


def option_names():
    """Of all options of training."""
    train = main.get_command(None, "train")
    return sorted({p.name for p in train.get_params(click.Context(train))})


def run_case(seed: int, state: State) -> tuple[str, str]:
    """The class of what happens, and its words."""
    chance = state.chance = random.Random(seed)
    folder = state.work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)
    surface = chance.choices(
        [_learn, _evaluate, _predict, _command, _configuration, _from_memory, _cached],
        [40, 12, 12, 12, 12, 8, 4],
    )[0]
    task = chance.choice(list(state.files))
    ending, content = chance.choice(state.files[task])
    given = _given(task, chance)
    if surface is _configuration:
        ending, content = ".toml", chance.choice((CONFIGURATION, _table(chance)))
    path = folder / f"{seed}{ending}"
    state.content = data = damaged(content, chance)
    place = path
    if chance.random() < 0.06:
        place = put_special(path, chance, state.huge)
    elif ending:
        path.write_bytes(data)
    else:
        path.mkdir()
        for i, part in enumerate(data.split(b"\n", 3)):
            (path / f"{i}.txt").write_bytes(part)
    if chance.random() < 0.1 and path.is_file():
        state.meddler.arm(path, chance)
    words = f"{surface.__name__.strip('_')} {task} {place.name[-40:]!r} {given}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            surface(task, place, given, state)
    except TinyrnnError as error:
        said = str(error)
        if "\n" in said or "\r" in said or len(said) > 1500:
            return OUTSIDE, f"{words}: no sentence:\n{said!r}"
        named = [
            place.name[:40],
            repr(place.name)[1:40],
            "File too large",
            *(name.replace("_", "-") for name in given),
        ]
        if surface in (_learn, _evaluate) and not any(name in said.replace("_", "-") for name in named):
            return UNNAMED, f"{words}: {said}"
        return REFUSED, f"{words}: {said}"
    except BaseException:
        return OUTSIDE, f"{words}: {traceback.format_exc()}"
    finally:
        state.meddler.disarm()
    return READ, words


# ---------------------------------------------------------------- many of them


def _work(first: int, last: int, state: State, channel: int):
    """In a process of its own: cases ``first`` to ``last``, each told on ``channel``."""
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN,) * 2)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.environ["TINYRNN_CACHE"] = str(state.work / "cache")
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    for seed in range(first, last):
        if seed % 100 == 0:
            shutil.rmtree(state.work / "cache", ignore_errors=True)
        kind, words = run_case(seed, state)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        line = json.dumps([seed, kind, words[:4000], peak]).encode() + b"\n"
        while line:
            line = line[os.write(channel, line) :]


def forked(first, last, state):
    """The results of `_work` in a fork: (seed, class, words, peak in KiB); a case that kills or outlasts it
    is one, too.
    """
    while first < last:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.close(reading)
                _work(first, last, state, writing)
                code = 0
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(code)
        os.close(writing)
        held, end = b"", "died"
        try:
            while first < last:
                if not select.select([reading], [], [], SECONDS)[0]:
                    end = f"did not end in {SECONDS:g} s"
                    break
                if not (more := os.read(reading, 1 << 16)):
                    break
                *lines, held = (held + more).split(b"\n")
                for line in lines:
                    yield json.loads(line)
                    first += 1
        finally:  # also where nobody wants more of them
            os.close(reading)
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
        if first < last:
            yield first, OUTSIDE, f"the process {end} ({os.waitstatus_to_exitcode(status)})", 0
            first += 1


def fuzz(seconds: float, seed: int = 0, number: int | None = None, work: Path | None = None):
    """Cases from ``seed`` on, until so many seconds are over or ``number`` were tried.

    Returns:
        How many ended in which class, and the most memory in MiB; a sentence for each that is outside of the
        promise, which names its seed and the folder that is kept.
    """
    counts, outside = Counter(), []
    work = Path(work or tempfile.mkdtemp(prefix="tinyrnn-data-"))
    work.mkdir(parents=True, exist_ok=True)
    here, available = os.getcwd(), pictures.available
    pictures.available = lambda: False  # which would take most of the time
    state = State(work)
    began = time.monotonic()
    last = seed + (number if number is not None else 10**9)
    try:
        with contextlib.closing(forked(seed, last, state)) as results:
            for which, kind, words, peak in results:
                counts[kind] += 1
                counts["MiB"] = max(counts["MiB"], peak >> 10)
                if kind in (OUTSIDE, UNNAMED):
                    outside.append(f"data {which}: {words}")
                if time.monotonic() - began > seconds:
                    break
    finally:
        pictures.available = available
        os.chdir(here)
        shutil.rmtree(work)
    return counts, outside
