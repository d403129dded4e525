"""`tr.train` with ``device="cuda"``, every task: a few steps, evaluation, use, resumption, and the weights of
the same run on the CPU.
"""

import io

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TEXT

import tinyrnn as tr
from tinyrnn.base import devices
from tinyrnn.base.errors import TooLargeError
from tinyrnn.cli import main

SMALL = dict(hidden=6, layers=1, batch_size=4, eval_every=2, seed=3)
PAIRS = [(f"{a}{b}", f"{b}{a}") for a in "abcd" for b in "efgh"]
TASKS = {
    "lm": (TEXT[:700], dict(seq_len=8, embed=4, dropout=0.2)),
    "classify": ([(w * 3, w[0]) for w in ("ab", "ba", "abb", "baa") * 6], dict(embed=4, pooling="attention")),
    "forecast": (np.sin(np.arange(120) / 3) + np.arange(120) / 50, dict(horizon=3, window=8)),
    "translate": (PAIRS, dict(embed=4, attention="bahdanau", scheduled_sampling=0.5)),
}


def run(task, device, out, steps=4, **more):
    data, options = TASKS[task]
    data = io.StringIO(data) if isinstance(data, str) else data
    return tr.train(
        data, task=task, out=out, device=device, steps=steps, quiet=True, **{**SMALL, **options, **more}
    )


@pytest.mark.sample(3)
@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_run(task, cupy, tmp_path):
    ours, cpu = run(task, "cuda", tmp_path / "a"), run(task, "cpu", tmp_path / "b")
    for x, y in zip(ours.log, cpu.log, strict=True):
        np.testing.assert_allclose(x["val_loss"], y["val_loss"], rtol=1e-5)
    for name, value in ours.model.state_dict().items():
        np.testing.assert_allclose(value, cpu.model.state_dict()[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert ours.evaluate().keys() == cpu.evaluate().keys()
    if task == "lm":
        assert ours.model.generate("the ", length=5, seed=0) == cpu.model.generate("the ", length=5, seed=0)
    model = ours.model.to("cuda")  # and on the device
    used = {
        "lm": lambda: model.generate("the ", length=5, seed=0),
        "classify": lambda: model.predict(["abab"]),
        "forecast": lambda: model.forecast(series(ours)),
        "translate": lambda: model.translate(["ae"]),
    }[task]()
    assert len(used)


def series(run):
    from tinyrnn.tasks.forecast.series import read_series

    return read_series(run.options["texts"][0])


def test_resuming_gives_the_same_weights(cupy, tmp_path):
    whole = run("lm", "cuda", tmp_path / "whole", steps=6, schedule="constant")
    run("lm", "cuda", tmp_path / "parts", steps=4, schedule="constant")
    parts = tr.Run(tmp_path / "parts").resume(steps=6, device="cuda", quiet=True)
    for name, value in parts.model.state_dict().items():
        np.testing.assert_array_equal(value, whole.model.state_dict()[name])


def test_pruning_there_and_on(cupy, tmp_path):
    given = dict(prune=0.6, schedule="constant")
    ours = run("lm", "cuda", tmp_path / "a", steps=20, **given)
    cpu = run("lm", "cpu", tmp_path / "b", steps=20, **given)
    zeros = {name: array == 0 for name, array in ours.model.state_dict().items()}
    for name, array in cpu.model.state_dict().items():
        np.testing.assert_array_equal(array == 0, zeros[name], err_msg=name)
    on = tr.Run(tmp_path / "a").resume(steps=22, device="cuda", quiet=True)
    for name, p in on.model.matrices().items():
        np.testing.assert_array_equal(p.numpy() == 0, zeros[name], err_msg=name)


def test_a_full_memory_is_said_with_sizes(standin, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_working", [])
    monkeypatch.setattr(standin.cuda.memory, "largest", 3_000)
    with pytest.raises(TooLargeError, match=r"70.0 of 80.0 GiB are free.*batch_size"):
        run("lm", "cuda", tmp_path / "run", seq_len=16, batch_size=16)


def test_every_command_that_computes_takes_a_device(cupy, tmp_path, text_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("text,label\n" + "ab,x\nba,y\n" * 12)
    small = "--device cuda --hidden 6 --embed 4 --layers 1 --batch-size 4 --steps 2 --quiet".split()
    commands = [
        ["train", str(text_file), *small, "--seq-len", "8", "--out", "lm"],
        ["evaluate", "lm", "--device", "cuda"],
        ["generate", "lm", "--device", "cuda", "--length", "4", "--prompt", "the"],
        ["train", "labels.csv", "--task", "classify", *small, "--out", "labels"],
        ["predict", "labels", "ab", "--device", "cuda"],
        ["compare", str(text_file), "--cells", "rnn,gru", "--out", "both", "--seq-len", "8", *small[:-1]],
    ]
    for command in commands:
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, (command, result.output)
    assert CliRunner().invoke(main, ["evaluate", "lm"]).exit_code == 0  # on the CPU
    shown = CliRunner().invoke(main, ["train", str(text_file), *small[:-1], "--seq-len", "8"])
    assert "float32 on cuda" in shown.output
