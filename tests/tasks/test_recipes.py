"""The configurations of examples/configs train as they stand, in short form."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.training.experiments import Configuration

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "examples" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_configuration_trains(path, tmp_path):
    rng = np.random.default_rng(0)
    lines = [" " + " ".join(rng.choice(["the", "cat", "<unk>", "N", "sat"], 8)) + " \n" for _ in range(400)]
    for name, part in (("train", lines[:300]), ("valid", lines[300:])):
        (tmp_path / f"{name}.txt").write_text("".join(part))
    out = tmp_path / "run"
    files = [tmp_path / "train.txt", "--val", tmp_path / "valid.txt", "--config", path, "--out", out]
    small = ["--hidden", 8, "--embed", 8, "--steps", 3]
    result = CliRunner().invoke(main, list(map(str, ["train", *files, *small])))
    assert result.exit_code == 0, result.output
    stored, wanted = tr.Run(out).options, tomllib.loads(path.read_text())
    for name in ("lr", "clip", "gamma", "hold", "dropout", "seq-len", "schedule", "level", "jitter"):
        assert stored[name.replace("-", "_")] == wanted[name]
    assert path.stem in (ROOT / "docs" / "recipes.md").read_text()


def test_zaremba_is_as_published(tmp_path):
    """Weights, rate and clipping of the small model, in the sums that the paper's code has."""
    path = tmp_path / "a.txt"
    path.write_text("the cat sat on the mat\n" * 400)
    given = tomllib.loads((ROOT / "examples" / "configs" / "zaremba-small.toml").read_text())
    given = {name.replace("-", "_"): value for name, value in given.items()} | {"hidden": 10, "embed": 10}
    configuration = Configuration.make("lm", [path], given)
    trainer = configuration.trainer(None, "cpu")
    weights = np.concatenate([p.numpy().ravel() for p in trainer.model.parameters()])
    assert np.abs(weights).max() <= 0.1 and weights.std() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert configuration.plan.lr / given["seq_len"] == 1 and configuration.plan.clip * given["seq_len"] == 5
    epoch = trainer.task.steps_per_epoch
    assert [trainer.schedule.at(e * epoch, 0.0) for e in range(6)] == [1, 1, 1, 1, 0.5, 0.25]
    before = {name: p.numpy().copy() for name, p in trainer.model.named_parameters()}
    loss = trainer.task.loss(0)
    loss.backward()
    sums = {name: 20 * p.grad.numpy() for name, p in trainer.model.named_parameters()}
    norm = np.sqrt(sum((g**2).sum() for g in sums.values()))
    trainer.optimizer.lr = trainer.learning_rate()
    trainer.optimizer.step(max_norm=configuration.plan.clip)
    for name, p in trainer.model.named_parameters():
        wanted = before[name] - 1.0 * sums[name] * min(1, 5 / norm)
        np.testing.assert_allclose(p.numpy(), wanted, rtol=1e-4, atol=1e-6)
    assert re.fullmatch(r"\d+ streams x 20 steps", trainer.task.shape)
