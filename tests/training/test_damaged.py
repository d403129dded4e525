"""Files of a run that are damaged: whoever uses them gets one sentence, which names the file and a mend."""

import contextlib
import json
import shutil
import struct

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load, save

import tinyrnn as tr
from tinyrnn.base.files import digest_of, sealed
from tinyrnn.cli import main
from tinyrnn.tasks.text.vocabulary import BytePairs, from_json
from tinyrnn.training import runs
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
    found = {k: v for k, v in found.items() if v is not None}
    if "digest" in found:
        del found["digest"]
        found["digest"] = digest_of(found)
    return json.dumps(found).encode()


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
    "cut": lambda data: data[:-9],
    "no line": lambda data: lines(data, lambda line: b"not JSON"),
    "no step": lambda data: lines(data, lambda line: changed(line, step=None)),
    "step x": lambda data: lines(data, lambda line: changed(line, step="x")),
    "no seconds": lambda data: lines(data, lambda line: changed(line, seconds=None)),
}


def header(data, change, seal=sealed):
    """A checkpoint with another header, its digest made right; its arrays are whole."""
    (size,) = struct.unpack("<Q", data[:8])
    meta = json.loads(data[8 : 8 + size])["__metadata__"]
    del meta["digest"]
    change(meta)
    return seal(save(load(data), meta))


def without(*names):
    return lambda data: header(data, lambda meta: [meta.pop(name) for name in names if name in meta])


def with_entry(name, value):
    return lambda data: header(data, lambda meta: meta.update({name: value} if name in meta else {}))


CHECKPOINT = {name: ANY[name] for name in ("cut", "empty", "binary", "number")} | {
    "no digest": lambda data: header(data, lambda meta: None, bytes),
    "a strange digest": lambda data: header(data, lambda meta: meta.update(digest="x"), bytes),
    "a strange format": with_entry("format", "x"),
    "a newer format": with_entry("format", "9"),
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
    "best.safetensors": (
        ["generate --length 3", "evaluate", "export", "inspect"],
        [lambda run: tr.load(run), lambda run: tr.Run(run).model, lambda run: tr.Run(run).generate(length=3)],
    ),
    "trainer.safetensors": (["train --steps 9 --resume"], [lambda run: tr.Run(run).resume(steps=9)]),
}  # fmt: skip
DAMAGES = [
    *(("config.json", name, damage) for name, damage in CONFIG.items()),
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


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", ["log.jsonl", "train.jsonl"])
@pytest.mark.parametrize("kind", LOG)
def test_a_damaged_line_of_a_log_is_left_out_and_that_is_told(run, name, kind):
    whole, file = RunFolder(run).read_log(name), run / name
    file.write_bytes(LOG[kind](file.read_bytes()))
    read = RunFolder(run).read_log(name)
    assert len(read) < len(whole) and all(record in whole for record in read)
    plotted = CliRunner().invoke(main, ["plot", str(run)])
    assert plotted.exit_code == (0 if read or name == "train.jsonl" else 2), plotted.output
    resumed = CliRunner().invoke(main, ["train", "--steps", "9", "--resume", str(run)])
    assert resumed.exit_code == 0, resumed.output
    for result in (plotted, resumed):
        assert f"{file}: line " in result.stderr and "is damaged and left out" in result.stderr
    log = RunFolder(run).read_log(name)  # what is left, and what was logged anew
    assert log[: len(read)] == read and log[-1]["step"] == 9
    assert "damaged" not in CliRunner().invoke(main, ["plot", str(run)]).stderr


def test_every_flipped_bit_of_a_log_is_told(run, monkeypatch):
    told, file = [], run / "log.jsonl"
    monkeypatch.setattr(runs, "note", told.append)
    data, whole = file.read_bytes(), RunFolder(run).read_log()
    for place in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        told.clear()
        read = RunFolder(run).read_log()
        assert all(record in whole for record in read)
        assert told or read == whole


def test_a_log_of_earlier_versions_has_no_checksums(run):
    whole, file = RunFolder(run).read_log(), run / "log.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in whole))
    assert RunFolder(run).read_log() == whole


def test_a_log_that_is_gone_stops_nothing(run, capsys):
    (run / "log.jsonl").unlink()
    assert tr.Run(run).log == [] and "log.jsonl is missing" in capsys.readouterr().err
    assert tr.Run(run).resume(steps=9, quiet=True).log[-1]["step"] == 9


@pytest.mark.parametrize("name", ["best.safetensors", "trainer.safetensors", "config.json"])
def test_no_flipped_bit_is_silent(run, name):
    """What a bit less or more makes another is refused; in a configuration it may be a space."""
    file, config = run / name, RunFolder(run).config
    data = file.read_bytes()
    for place in range(0, min(len(data), 4000), 7):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        if name == "config.json":
            with contextlib.suppress(tr.InputError):
                assert RunFolder(run).config == config
        else:
            with pytest.raises(tr.InputError, match=name):
                runs.load_tensors(file)


def test_a_configuration_that_was_changed_on_purpose(run):
    file = run / "config.json"
    file.write_text(file.read_text().replace('"lr": 0.01', '"lr": 0.004'))
    with pytest.raises(tr.InputError, match="on purpose, make null its digest"):
        tr.Run(run).options  # noqa: B018
    file.write_text(json.dumps(json.loads(file.read_text()) | {"digest": None}))
    assert tr.Run(run).options["lr"] == 0.004


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(run, value):
    file = run / "best.safetensors"
    tensors, meta = runs.load_tensors(file)
    tensors["embedding.weight"][0, 0] = value
    runs.save_tensors(file, tensors, meta)
    with pytest.raises(tr.InputError, match=r"embedding.weight' holds NaN or infinity\): use another"):
        tr.load(file)


def test_weights_that_a_module_saved_are_not_read_when_they_were_changed(tmp_path):
    layer, file = tr.Linear(3, 2, bias=False), tmp_path / "w.safetensors"
    layer.save(file)
    data = file.read_bytes()
    tr.Linear(3, 2, bias=False).load_weights(file)
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(tr.InputError, match="was changed after it was written"):
        layer.load_weights(file)
    file.write_bytes(save({"weight": np.ones((3, 2), np.float32)}))  # of another program
    layer.load_weights(file)


@pytest.mark.parametrize("setting", ["hidden", "embed", "layers"])
def test_sizes_without_weights_take_no_memory(run, setting):
    """They are refused when they are read, or when the first weight of that size is to be made."""
    file = run / "best.safetensors"
    tensors, meta = runs.load_tensors(file)
    for value in (100_000, 10**9):
        meta["model"][setting] = value
        runs.save_tensors(file, tensors, meta)
        with pytest.raises(tr.InputError, match=f"{setting} is|names sizes larger"):
            tr.load(file)


def test_weights_of_another_program_are_no_checkpoint(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(save({"w": np.zeros(3)}))
    with pytest.raises(tr.InputError, match="was not written by tinyrnn"):
        tr.load(tmp_path / "w.safetensors")


@pytest.mark.parametrize("stored", [
    None, [], {}, {"level": 5}, {"level": "char"}, {"level": "char", "symbols": "abc"},
    {"level": "char", "symbols": []}, {"level": "char", "symbols": ["a", "a"]},
    {"level": "char", "symbols": ["ab"]},
    {"level": "char", "symbols": ["a", 5]}, {"level": "char", "symbols": ["a"], "unknown": 1},
    {"level": "char", "symbols": ["a"], "unknown": True}, {"level": "char", "symbols": ["a"], "size": 1},
    {"level": "word", "symbols": ["", "a"]}, {"level": "byte", "symbols": ["a"]},
    {"level": "bpe", "symbols": None}, {"level": "bpe", "symbols": "[" * 10_000},
    {"level": "bpe", "symbols": '{"model": {"type": "WordLevel"}}'},
])  # fmt: skip
def test_a_stored_vocabulary_is_looked_at(stored):
    with pytest.raises(ValueError, match=r"^its |^level is|^unknown is|^it is nested"):
        from_json(stored)


@pytest.mark.parametrize("change", [
    lambda model: model["vocab"].popitem(),
    lambda model: model["vocab"].update({next(iter(model["vocab"])): 5}),
    lambda model: model["vocab"].update({"\N{SNOWMAN}": len(model["vocab"])}),
    lambda model: model["merges"].append(["a"]),
    lambda model: model.update(vocab=[]),
    lambda model: model.update(continuing_subword_prefix="##"),
])  # fmt: skip
def test_stored_byte_pairs_are_looked_at(change):
    """What the library makes of others ends in a panic of its own."""
    pytest.importorskip("tokenizers")
    stored = BytePairs.build(["the quick brown fox the quick " * 9], 262).to_json()
    assert from_json(stored).decode(from_json(stored).encode("the quick")) == "the quick"
    tree = json.loads(stored["symbols"])
    change(tree["model"])
    with pytest.raises(ValueError, match="^its byte pairs"):
        from_json({**stored, "symbols": json.dumps(tree)})
