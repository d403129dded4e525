"""Runs: exact resumption, interruption, killing, early stops, divergence, checkpoints."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.kernels import notice
from tinyrnn.tasks.lm.model import LanguageModel
from tinyrnn.tasks.text.vocabulary import Characters
from tinyrnn.training import experiments, trainer
from tinyrnn.training.task import get_task
from tinyrnn.training.trainer import runs

SMALL = (
    "--cell gru --hidden 12 --embed 8 --layers 2 --dropout 0.1 --batch-size 4 --seq-len 20 --eval-every 10 "
    "--warmup 1"  # which no run of ten steps cuts short
).split()


def tinyrnn(*args, code=0):
    result = CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def command(*args):
    return [sys.executable, "-m", "tinyrnn", *map(str, args)]


def contents(folder):
    """All arrays of a run's checkpoints, and its log without what depends on the clock."""
    arrays = {}
    for name in (runs.BEST, runs.LAST, runs.TRAINER):
        tensors, meta = runs.load_tensors(folder / name)
        arrays |= {f"{name}/{k}": v for k, v in tensors.items()}
        if name == runs.TRAINER:
            meta["position"].pop("seconds")
            arrays["meta"] = np.array(json.dumps(meta, sort_keys=True))
    log = [
        {k: v for k, v in r.items() if k not in ("tokens_per_s", "seconds")}
        for name in (runs.LOG, runs.TRAINING)
        for r in runs.RunFolder(folder).read_log(name)
    ]
    return arrays, log


def assert_equal_runs(a, b):
    (arrays_a, log_a), (arrays_b, log_b) = contents(a), contents(b)
    assert log_a == log_b
    assert arrays_a.keys() == arrays_b.keys()
    for name in arrays_a:
        np.testing.assert_array_equal(arrays_a[name], arrays_b[name], err_msg=name)


@pytest.mark.sample(3)
@pytest.mark.parametrize("schedule", ["wsd", "constant", "step", "plateau"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_run_made_longer_equals_one_that_was_never_stopped(tmp_path, text_file, schedule, optimizer):
    options = [*SMALL, "--schedule", schedule, "--optimizer", optimizer, "--quiet"]
    tinyrnn("train", text_file, *options, "--steps", 40, "--out", tmp_path / "whole")
    tinyrnn("train", text_file, *options, "--steps", 17, "--out", tmp_path / "parts")
    tinyrnn("train", "--resume", tmp_path / "parts", "--steps", 25, "--quiet")
    tinyrnn("train", "--resume", tmp_path / "parts", "--steps", 40, "--quiet")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")
    if schedule == "wsd":  # it went back to before its decay: what it had reached is still there
        tr.load(tmp_path / "parts" / "best-17.safetensors")


def test_what_regularises_goes_on_where_it_stopped(tmp_path, text_file):
    rates = ["--recurrent-dropout", 0.2, "--weight-drop", 0.2, "--zoneout", 0.1, "--dropout", 0.1]
    options = [*SMALL, *rates, "--schedule", "constant", "--quiet"]
    tinyrnn("train", text_file, *options, "--steps", 20, "--out", tmp_path / "whole")
    tinyrnn("train", text_file, *options, "--steps", 12, "--out", tmp_path / "parts")
    tinyrnn("train", "--resume", tmp_path / "parts", "--steps", 20, "--quiet")
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


def test_a_cosine_made_longer_says_that_it_was_planned_shorter(tmp_path, text_file):
    tinyrnn(
        "train",
        text_file,
        *SMALL,
        "--schedule",
        "cosine",
        "--steps",
        10,
        "--out",
        tmp_path / "run",
        "--quiet",
    )
    assert "planned for 10 steps" in tinyrnn("train", "--resume", tmp_path / "run", "--steps", 20).output


def start(text_file, out, *more):
    process = subprocess.Popen(
        command("train", text_file, *SMALL, "--steps", 2000, "--out", out, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert out.exists(), process.communicate()
    return process


@pytest.mark.sample(2)
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_resuming_is_exact(tmp_path, text_file, number):
    process = start(text_file, tmp_path / "run", "--schedule", "constant")
    while not runs.RunFolder(tmp_path / "run").read_log():
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "saved; go on with: tinyrnn train --resume" in err
    assert "Traceback" not in err
    _, meta = runs.load_tensors(tmp_path / "run" / runs.TRAINER)
    steps = meta["position"]["step"] + 15
    tinyrnn("train", "--resume", tmp_path / "run", "--steps", steps, "--quiet")
    tinyrnn(
        "train",
        text_file,
        *SMALL,
        "--schedule",
        "constant",
        "--steps",
        steps,
        "--out",
        tmp_path / "whole",
        "--quiet",
    )
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_kill_at_random_moments_leaves_a_run_that_loads_and_resumes(tmp_path, text_file):
    """One run, killed twenty times and resumed each time, ends equal to one that was left alone."""
    out, rng = tmp_path / "run", random.Random(0)
    options = ["--schedule", "constant", "--warmup", "0"]  # which no length cuts short
    process = start(text_file, out, *options)
    for _ in range(20):
        time.sleep(rng.random() * 0.6)
        process.kill()
        process.communicate()
        tr.load(out)
        copy = tmp_path / "copy"
        shutil.copytree(out, copy)
        step = runs.load_tensors(copy / runs.TRAINER)[1]["position"]["step"]
        tinyrnn("train", "--resume", copy, "--steps", step + 1, "--quiet")
        shutil.rmtree(copy)
        process = subprocess.Popen(
            command("train", "--resume", out, "--quiet"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    process.kill()
    process.communicate()
    step = runs.load_tensors(out / runs.TRAINER)[1]["position"]["step"]
    tinyrnn("train", "--resume", out, "--steps", step + 5, "--quiet")
    tinyrnn("train", text_file, *SMALL, *options, "--steps", step + 5, "--out", tmp_path / "whole", "--quiet")
    assert_equal_runs(tmp_path / "whole", out)
    assert not list(out.glob(".*"))


def test_training_learns(tmp_path, text_file):
    tinyrnn("train", text_file, "--hidden", 48, "--embed", 16, "--batch-size", 8, "--seq-len", 40,
        "--steps", 150, "--lr", 0.02,
            "--dropout", 0, "--out", tmp_path / "run", "--quiet")  # fmt: skip
    log = runs.RunFolder(tmp_path / "run").read_log()
    assert log[-1]["val_loss"] < 0.6
    assert set(log[-1]) == {
        "step",
        "epoch",
        "train_loss",
        "val_loss",
        "bits",
        "tokens_per_s",
        "seconds",
        "lr",
    }
    text = tr.load(tmp_path / "run").generate("the quick ", length=20, temperature=0)
    assert text.startswith("the quick brown")


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("level", ["char", "byte", "word"])
def test_every_cell_trains_at_every_level(tmp_path, text_file, cell, level):
    tinyrnn(
        "train",
        text_file,
        *SMALL[2:],
        "--cell",
        cell,
        "--level",
        level,
        "--steps",
        3,
        "--out",
        tmp_path / "r",
        "--quiet",
    )
    assert tr.load(tmp_path / "r").generate(length=5, seed=0)


def test_early_stopping(tmp_path, text_file):
    result = tinyrnn("train", text_file, *SMALL, "--lr", 1e-9, "--warmup", 0, "--clip", 1e-9, "--steps",
        500, "--patience", 2,
                     "--optimizer", "sgd", "--out", tmp_path / "r")  # fmt: skip
    assert "stopped early" in result.output
    assert runs.RunFolder(tmp_path / "r").read_log()[-1]["step"] <= 60


def test_minutes_bound_a_run(tmp_path, text_file):
    tinyrnn("train", text_file, *SMALL, "--minutes", 0.03, "--warmup", 0, "--out", tmp_path / "r", "--quiet")
    last = runs.RunFolder(tmp_path / "r").read_log()[-1]
    assert last["lr"] == 0 and 1.8 <= last["seconds"] < 10


def one_run(text_file, out, *options, report=None):
    """The trainer of a new run, about to take its first step."""
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "fit", lambda self: caught.append(self))
        tinyrnn("train", text_file, *SMALL, "--warmup", 0, *options, "--out", out, "--quiet")
    caught[0].report = report or trainer.Reporter()
    return caught[0]


def test_making_kernels_takes_none_of_a_runs_time(tmp_path, text_file, monkeypatch):
    """Two runs of as many seconds make as many steps, whether kernels are compiled in them (at the first
    step, and at the first evaluation) or not.
    """
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def run(name, compiling):
        made = one_run(text_file, tmp_path / name, "--minutes", 20 / 60, "--eval-every", 4)
        evaluate, loss, first = made.task.evaluate, made.task.loss, ["step", "evaluation"]

        def slow(function, what, seconds):
            def call(*given):
                found = function(*given)
                clock[0] += seconds
                if compiling and what in first:
                    first.remove(what)
                    with notice.compiling("a cell that is slow to compile"), notice.making():
                        clock[0] += 100.0
                return found

            return call

        made.task.loss, made.task.evaluate = slow(loss, "step", 1.0), slow(evaluate, "evaluation", 2.0)
        made.fit()
        assert first == ([] if compiling else ["step", "evaluation"])
        return made

    slow, fast = run("slow", True), run("fast", False)
    assert (slow.step, slow.seconds) == (fast.step, fast.seconds)
    assert 10 < slow.step < 20 and 20 <= slow.seconds < 25
    assert_equal_runs(tmp_path / "slow", tmp_path / "fast")
    seconds = [[r["seconds"] for r in made.run.read_log()] for made in (slow, fast)]
    assert seconds[0] == seconds[1]


def test_the_training_loss_is_logged_between_evaluations(tmp_path, text_file):
    class Losses(trainer.Reporter):
        def __init__(self):
            self.losses = []

        def stepped(self, trainer, loss):
            self.losses.append(loss)

    losses = Losses()
    made = one_run(text_file, tmp_path / "r", "--steps", 55, "--eval-every", 1000, report=losses)
    made.fit()
    found = made.run.read_log(runs.TRAINING)
    assert [r["step"] for r in found] == [*range(1, 21), 30, 40, 50]
    assert found == made.run.training_losses()
    assert [r["train_loss"] for r in found[:20]] == losses.losses[:20]
    assert found[20]["train_loss"] == pytest.approx(np.mean(losses.losses[20:30]))
    assert len(made.run.read_log()) == 1  # an object an evaluation
    (made.run.path / runs.TRAINING).unlink()  # as a run of an earlier version
    assert [r["step"] for r in made.run.training_losses()] == [55]


def test_a_checkpoint_is_written_every_minute_between_evaluations(tmp_path, text_file, monkeypatch):
    clock, saved = [0.0], []
    options = ["--steps", 9, "--eval-every", 1000, "--schedule", "constant"]

    class Steps(trainer.Reporter):
        def stepped(self, trainer, loss):
            saved.append(runs.load_tensors(trainer.run.path / runs.TRAINER)[1]["position"]["step"])
            clock[0] += 25.0

    made = one_run(text_file, tmp_path / "r", *options, report=Steps())
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    made.fit()
    assert saved == [0, 0, 0, 3, 3, 3, 6, 6, 6]


def test_a_run_that_fails_at_its_first_step_leaves_no_folder(tmp_path, text_file):
    class Sentences(trainer.Reporter):
        text = ""

        def message(self, text):
            self.text += text

    said = Sentences()
    made = one_run(text_file, tmp_path / "r", report=said)
    made.task.loss = None
    with pytest.raises(TypeError):
        made.fit()
    assert not (tmp_path / "r").exists() and f"{tmp_path / 'r'} is removed" in said.text
    made = one_run(text_file, tmp_path / "r", "--steps", 3)
    made.fit()
    again = one_run(text_file, tmp_path / "s")
    (tmp_path / "s" / "mine.txt").write_text("what somebody put there meanwhile")
    again.task.loss = None
    with pytest.raises(TypeError):
        again.fit()
    assert [p.name for p in (tmp_path / "s").iterdir()] == ["mine.txt"]
    # What was trained stays, and so does what was begun before.
    longer = experiments.take_up(made.run.path, {"steps": 5}, [], trainer.Reporter())
    longer.task.loss, longer.step = None, 0
    with pytest.raises(TypeError):
        longer.fit()
    tr.load(tmp_path / "r")


def test_resuming_to_a_step_that_is_past_changes_nothing(tmp_path, text_file):
    tinyrnn("train", text_file, *SMALL, "--steps", 12, "--out", tmp_path / "r", "--quiet")
    before = {p: p.read_bytes() for p in (tmp_path / "r").iterdir() if p.suffix in (".json", ".safetensors")}
    for length in (["--steps", 5], ["--epochs", 0.1]):
        result = tinyrnn("train", "--resume", tmp_path / "r", *length, code=2)
        assert "is at step 12, past the " in result.output and "give a greater length" in result.output
    assert before == {p: p.read_bytes() for p in before}


def test_epochs_bound_a_run(tmp_path, text_file):
    tinyrnn("train", text_file, *SMALL, "--epochs", 0.5, "--out", tmp_path / "r", "--quiet")
    assert runs.RunFolder(tmp_path / "r").read_log()[-1]["epoch"] == pytest.approx(0.5, abs=0.05)


def test_divergence_ends_with_advice_and_keeps_the_checkpoint(tmp_path, text_file):
    wild = (
        "--cell rnn --cell-opt activation=relu --lr 50 --warmup 0 --clip 0 --optimizer sgd --steps 200"
    ).split()
    result = tinyrnn("train", text_file, *SMALL, *wild, "--out", tmp_path / "r", code=1)
    assert "use --state reset or a lower --lr" in result.output
    assert all(np.isfinite(v).all() for v in tr.load(tmp_path / "r").state_dict().values())


@pytest.mark.parametrize(("options", "said"), [
    (dict(lr=1e-3, weight_decay=1e4), "a smaller weight_decay= than 10000 or a lower lr= than 0.001"),
    (dict(lr=50, clip=0, optimizer="sgd", cell="rnn", cell_opt=["activation=relu"]), "50 or clip=1;"),
])  # fmt: skip
def test_advice_names_what_is_likely_the_cause(tmp_path, text_file, options, said):
    small = dict(hidden=12, embed=8, dropout=0.1, seq_len=20, batch_size=4, steps=200, warmup=0)
    with pytest.raises(tr.Diverged) as error:
        tr.train(text_file, out=tmp_path / "r", quiet=True, **small, **options)
    assert said in str(error.value)


def test_a_cell_option_reaches_the_model_and_the_checkpoint(tmp_path, text_file):
    tinyrnn("train", text_file, *SMALL[2:], "--cell", "lstm", "--cell-opt", "peephole=true", "--cell-opt",
        "forget_bias=2",
            "--steps", 1, "--out", tmp_path / "r", "--quiet")  # fmt: skip
    model = tr.load(tmp_path / "r")
    assert model.settings["cell_options"] == {"peephole": True, "forget_bias": 2.0}
    assert "rnn.cells.0.p_i" in model.state_dict()


def test_checkpoints_describe_themselves(tmp_path, text_file):
    tinyrnn("train", text_file, *SMALL, "--steps", 2, "--out", tmp_path / "r", "--quiet")
    file = shutil.copy(tmp_path / "r" / runs.BEST, tmp_path / "alone.safetensors")
    assert tr.load(file).generate("the", length=3, seed=0) == tr.load(tmp_path / "r").generate(
        "the", length=3, seed=0
    )
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["options"]["cell"] == "gru"
    assert not list((tmp_path / "r").glob("*.pkl"))


def test_scalars_survive_a_checkpoint(tmp_path):
    runs.save_tensors(tmp_path / "a", {"x": np.array(2.0), "y": np.ones((2, 3)).T}, {"n": 1})
    tensors, meta = runs.load_tensors(tmp_path / "a")
    assert (tensors["x"].shape, tensors["y"].shape, meta) == ((), (3, 2), {"n": 1})


def test_resuming_removes_what_a_killed_process_left_and_no_file_of_the_user(tmp_path, text_file):
    run = tmp_path / "r"
    tinyrnn("train", text_file, *SMALL, "--steps", 1, "--out", run, "--quiet")
    for name in (".config.json.swp", ".config.json.original", ".log.jsonl.abcdefgh.tinyrnn-partial"):
        (run / name).write_text("x")
    tinyrnn("train", "--resume", run, "--steps", 2, "--quiet")
    assert sorted(p.name for p in run.glob(".*")) == [".config.json.original", ".config.json.swp"]


def test_a_run_folder_that_cannot_be_finished_leaves_nothing(tmp_path, text_file, monkeypatch):
    tinyrnn("train", text_file, *SMALL, "--steps", 1, "--out", tmp_path / "first", "--quiet")
    monkeypatch.setattr(os, "fsync", no_room)
    result = tinyrnn("train", text_file, *SMALL, "--steps", 1, "--out", tmp_path / "new" / "r", code=2)
    assert "No space left" in result.output
    assert not list((tmp_path / "new").iterdir())


def test_no_room_for_the_tokens_is_one_sentence(tmp_path, text_file, monkeypatch):
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "fsync", no_room)
    result = tinyrnn("train", text_file, *SMALL, "--steps", 1, "--out", tmp_path / "r", code=2)
    assert "No space left" in result.stderr
    assert "Traceback" not in result.output


def test_tied_weights_are_stored_once(tmp_path, text_file):
    tinyrnn(
        "train",
        text_file,
        "--hidden",
        8,
        "--embed",
        8,
        "--tie",
        "--seq-len",
        20,
        "--steps",
        2,
        "--out",
        tmp_path / "r",
        "--quiet",
    )
    assert "output.weight" not in tr.load(tmp_path / "r").state_dict()


def test_a_tied_output_is_the_embedding_turned_and_a_bias():
    model = LanguageModel(Characters.build(["abc"], None), hidden=4, embed=4, tie=True)
    symbols = len(model.vocabulary)
    model.output.bias.assign_(np.arange(symbols, dtype=np.float32))
    ys = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    expected = ys @ model.embedding.weight.numpy().T + np.arange(symbols)
    np.testing.assert_allclose(model.logits(tr.tensor(ys)).numpy(), expected, rtol=1e-5, atol=1e-6)


def no_room(descriptor):
    """Stands in for ``os.fsync`` on a full disk."""
    raise OSError(28, "No space left on device")


def test_disk_full_while_saving_keeps_the_last_good_checkpoint(tmp_path, text_file, monkeypatch):
    tinyrnn("train", text_file, *SMALL, "--steps", 10, "--out", tmp_path / "r", "--quiet")
    before = (tmp_path / "r" / runs.TRAINER).read_bytes()

    monkeypatch.setattr(os, "fsync", no_room)
    result = tinyrnn("train", "--resume", tmp_path / "r", "--steps", 30, "--quiet", code=2)
    assert "No space left on device" in result.output
    assert (tmp_path / "r" / runs.TRAINER).read_bytes() == before
    monkeypatch.undo()
    tinyrnn("train", "--resume", tmp_path / "r", "--steps", 30, "--quiet")


def test_loading_without_the_cells_package_says_what_to_install(tmp_path, text_file, monkeypatch):
    tinyrnn("train", text_file, *SMALL, "--steps", 1, "--out", tmp_path / "r", "--quiet")
    from tinyrnn.nn import registry as plugins

    monkeypatch.setattr(plugins.CELLS, "registered", dict)
    with pytest.raises(tr.InputError, match="pip install tinyrnn"):
        tr.load(tmp_path / "r")


@pytest.mark.shared
@pytest.mark.slow
def test_shakespeare_is_learned(tmp_path, corpora):
    text, out = corpora / "tinyshakespeare.txt", tmp_path / "r"
    tinyrnn(
        "train",
        text,
        "--hidden",
        128,
        "--embed",
        32,
        "--dropout",
        0,
        "--lr",
        5e-3,
        "--steps",
        100,
        "--out",
        out,
        "--quiet",
    )
    assert runs.RunFolder(out).read_log()[-1]["val_loss"] < 2.4


# ------------------------------------------------------------------ one process a run


def test_a_run_that_is_being_trained_is_not_taken_up(tmp_path, text_file):
    out = tmp_path / "run"
    process = start(text_file, out, "--schedule", "constant")
    try:
        while not runs.RunFolder(out).read_log():
            time.sleep(0.01)
        said = tinyrnn("train", "--resume", out, "--steps", 100000, code=2).output
        assert said.count("\n") == 1 and f"is being trained by process {process.pid}" in said
        with pytest.raises(tr.InputError, match=f"trained by process {process.pid}: wait"):
            tr.Run(out).resume(steps=100000, quiet=True)
    finally:
        process.kill()  # which takes the lock with it, though its file stays
        process.communicate()
    steps = runs.load_tensors(out / runs.TRAINER)[1]["position"]["step"] + 5
    tinyrnn("train", "--resume", out, "--steps", steps, "--quiet")
    log = [r["step"] for r in runs.RunFolder(out).read_log()]
    assert log == sorted(set(log)) and log[-1] == steps
    assert not (out / runs.LOCK).exists()


def test_one_object_of_a_process_trains_a_run(tmp_path, text_file):
    made = one_run(text_file, tmp_path / "r", "--steps", 4)
    with pytest.raises(tr.InputError, match=f"trained by process {os.getpid()}"):
        experiments.take_up(made.run.path, {"steps": 5})
    made.fit()
    longer = experiments.take_up(made.run.path, {"steps": 5})
    with pytest.raises(tr.InputError, match="is being trained"):
        experiments.take_up(made.run.path, {"steps": 5})
    longer.fit()
    with pytest.raises(tr.InputError, match="past the 3"):
        experiments.take_up(made.run.path, {"steps": 3})
    experiments.take_up(made.run.path, {"steps": 6}).fit()  # what was refused holds no lock


# ------------------------------------------------------------------ warm-up


def test_warmup_is_a_tenth_of_a_run_at_most(tmp_path, text_file):
    said = tinyrnn("train", text_file, *SMALL, "--warmup", 100, "--steps", 20, "--out", tmp_path / "a").output
    assert "warm-up     2 steps, no more than a tenth of the run, not 100" in said
    log = runs.RunFolder(tmp_path / "a").read_log(runs.TRAINING)
    rates = [r["lr"] / 5e-3 for r in log]
    assert rates[:3] == pytest.approx([0.5, 1, 1]) and rates[-1] < 0.2
    # taken up where the rate began to fall, and with the warm-up that it had
    said = tinyrnn("train", "--resume", tmp_path / "a", "--steps", 40).output
    assert "taking up the run at step 8 of 20, before its learning rate began to fall" in said
    log = {r["step"]: r["lr"] / 5e-3 for r in runs.RunFolder(tmp_path / "a").read_log(runs.TRAINING)}
    assert [log[s] for s in (1, 2, 8, 9)] == pytest.approx([0.5, 1, 1, 1])
    said = tinyrnn("train", text_file, *SMALL, "--steps", 20, "--out", tmp_path / "b").output
    assert "warm-up" not in said


def test_a_run_of_an_earlier_version_keeps_its_warmup(tmp_path, text_file):
    made = one_run(text_file, tmp_path / "r", "--steps", 20, "--warmup", 100)
    made.schedule.warmup = 100
    made.fit()
    file = made.run.path / runs.TRAINER
    tensors, meta = runs.load_tensors(file)
    assert meta.pop("warmup") == [100, 100]
    runs.save_tensors(file, tensors, meta)
    longer = experiments.take_up(made.run.path, {"steps": 40})
    assert longer.schedule.warmup == 100
    assert longer.step == 20  # its rate never fell


@pytest.mark.parametrize("task", ["lm", "forecast", "translate"])
def test_the_usual_runs_keep_their_warmup(task):
    plan = get_task(task).plan
    assert plan.warmup_steps(plan.total_steps(1)) == plan.warmup
