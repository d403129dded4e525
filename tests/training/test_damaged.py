"""Files of a run that are damaged: whoever uses them gets one sentence, which names the file and a mend."""

import json
import shutil
import struct

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load, save

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.training.runs import RunFolder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that goes on from its last state when it is made longer."""
    from conftest import TEXT

    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    small = dict(hidden=8, embed=4, seq_len=20, batch_size=4, steps=6, eval_every=3, schedule="constant")
    return tr.train(folder / "text.txt", out=folder / "run", quiet=True, **small).path


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def changed(data, **entries):
    """A JSON object with other entries; None: without."""
    found = json.loads(data) | entries
    return json.dumps({k: v for k, v in found.items() if v is not None}).encode()


def options(data, **entries):
    return changed(data, options=json.loads(changed(json.dumps(json.loads(data)["options"]), **entries)))


def lines(data, change):
    first, *rest = data.splitlines(keepends=True)
    return b"".join([change(first).rstrip(b"\n") + b"\n", *rest])


ANY = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "binary": lambda data: b"\xff\xfe" + data,
    "number": lambda data: b"5\n",
    "null": lambda data: b"null\n",
    "list": lambda data: b"[1, 2]\n",
    "other": lambda data: b"{}\n",
}
CONFIG = ANY | {
    "no task": lambda data: changed(data, task=None),
    "a strange task": lambda data: changed(data, task="dance"),
    "task 5": lambda data: changed(data, task=5),
    "no fingerprint": lambda data: changed(data, fingerprint=None),
    "options 5": lambda data: changed(data, options=5),
    "format x": lambda data: changed(data, format="x"),
    "format 9": lambda data: changed(data, format=9),
    "no texts": lambda data: options(data, texts=None),
    "texts 5": lambda data: options(data, texts=[5]),
    "no cell": lambda data: options(data, cell=None),
    "hidden x": lambda data: options(data, hidden="x"),
    "lr huge": lambda data: options(data, lr=-1),
}
LOG = {name: ANY[name] for name in ("binary", "number", "null", "list", "other")} | {
    "no line": lambda data: lines(data, lambda line: b"not JSON"),
    "no step": lambda data: lines(data, lambda line: changed(line, step=None)),
    "step x": lambda data: lines(data, lambda line: changed(line, step="x")),
    "no seconds": lambda data: lines(data, lambda line: changed(line, seconds=None)),
}


def header(data, change):
    """A checkpoint with another header; its arrays are whole."""
    (size,) = struct.unpack("<Q", data[:8])
    meta = json.loads(data[8 : 8 + size])["__metadata__"]
    change(meta)
    return save(load(data), meta)


def without(*names):
    return lambda data: header(data, lambda meta: [meta.pop(name) for name in names if name in meta])


def with_entry(name, value):
    return lambda data: header(data, lambda meta: meta.update({name: value} if name in meta else {}))


CHECKPOINT = {name: ANY[name] for name in ("cut", "empty", "binary", "number")} | {
    "no checksum": without("crc32"),
    "a strange checksum": with_entry("crc32", "x"),
    "a strange format": with_entry("format", "x"),
    "no entries": without("model", "vocabulary", "position", "optimizer_steps"),
    "entries that are no JSON": with_entry("model", "{"),
    "a model that is a number": with_entry("model", "5"),
    "a vocabulary that is a list": with_entry("vocabulary", "[]"),
    "a position that is a list": with_entry("position", "[]"),
    "a generator that is a text": with_entry("generator", '"x"'),
}
USES = {
    "config.json": (
        ["evaluate", "plot", "train --steps 9 --resume"],
        [lambda run: tr.Run(run).options, lambda run: repr(tr.Run(run)), lambda run: tr.Run(run).evaluate(),
         lambda run: tr.Run(run).resume(steps=9), lambda run: tr.Run(run).plot()],
    ),
    "log.jsonl": (
        ["plot", "train --steps 9 --resume"],
        [lambda run: tr.Run(run).log, lambda run: repr(tr.Run(run)), lambda run: tr.Run(run).plot()],
    ),
    "train.jsonl": (["plot", "train --steps 9 --resume"], [lambda run: tr.Run(run).plot()]),
    "best.safetensors": (
        ["generate --length 3", "evaluate", "export", "inspect"],
        [lambda run: tr.load(run), lambda run: tr.Run(run).model, lambda run: tr.Run(run).generate(length=3)],
    ),
    "trainer.safetensors": (["train --steps 9 --resume"], [lambda run: tr.Run(run).resume(steps=9)]),
}  # fmt: skip
DAMAGES = [
    *(("config.json", name, damage) for name, damage in CONFIG.items()),
    *(("log.jsonl", name, damage) for name, damage in LOG.items()),
    *(("train.jsonl", name, damage) for name, damage in LOG.items()),
    *(("best.safetensors", name, damage) for name, damage in CHECKPOINT.items()),
    *(("trainer.safetensors", name, damage) for name, damage in CHECKPOINT.items()),
]


UNKNOWN = {
    "best.safetensors": ("a position that is a list", "a generator that is a text"),
    "trainer.safetensors": (
        "entries that are no JSON",
        "a model that is a number",
        "a vocabulary that is a list",
    ),
}


@pytest.mark.parametrize(("name", "kind", "damage"), DAMAGES, ids=[f"{n}-{k}" for n, k, _ in DAMAGES])
def test_one_sentence_names_the_file(run, name, kind, damage):
    file = run / name
    file.write_bytes(damage(file.read_bytes()))
    if kind in UNKNOWN.get(name, ()):
        pytest.skip("this file has no such entry")
    others = {p.name: p.read_bytes() for p in run.iterdir() if p != file}
    commands, calls = USES[name]
    refused = 0
    for command in commands:
        more = ["text.txt"] if command == "inspect" else []
        result = CliRunner().invoke(main, [*command.split(), str(run), *more])
        assert result.exit_code in (0, 2), f"{command}\n{result.output}\n{result.exception!r}"
        if result.exit_code:
            refused += 1
            assert str(file) in result.stderr and result.stderr.count("Error:") == 1, result.stderr
            assert ": " in result.stderr.removeprefix("Error: ")
    for call in calls:
        said = said_by(call, run)
        refused += bool(said)
        assert not said or (str(file) in said and "\n" not in said)
    assert refused
    if refused == len(commands) + len(calls):  # nothing is lost beside it
        assert {p.name: p.read_bytes() for p in run.iterdir() if p != file} == others


def said_by(call, run):
    """The sentence that ``call`` ends in; empty: it does not look at what is damaged."""
    try:
        call(run)
    except tr.InputError as error:
        return str(error)
    return ""


def test_a_log_that_a_crash_cut_short_is_read_up_to_there(run):
    whole = RunFolder(run).read_log()
    file = run / "log.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    assert RunFolder(run).read_log() == whole[:-1]
    file.write_bytes(file.read_bytes().replace(b"{", b"", 1))
    with pytest.raises(tr.InputError, match=r"log\.jsonl cannot be used .*: delete line 1"):
        RunFolder(run).read_log()


def test_a_log_that_is_gone(run):
    (run / "log.jsonl").unlink()
    with pytest.raises(tr.InputError, match=r"log\.jsonl cannot be used .*: restore it from a copy"):
        tr.Run(run).log  # noqa: B018


def test_weights_of_another_program_are_no_checkpoint(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(save({"w": np.zeros(3)}))
    with pytest.raises(tr.InputError, match="was not written by tinyrnn"):
        tr.load(tmp_path / "w.safetensors")
