"""What a language model is trained with where little is given."""

import gzip
import itertools

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.lm.recommended import recommended, size_of
from tinyrnn.tasks.lm.task import LanguageModeling
from tinyrnn.tasks.text.sources import builtin_text
from tinyrnn.training.experiments import Configuration


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("the cat sat on the mat, the dog did not\n" * 30_000)  # 1.2 MB
    return path


def test_without_a_time_it_is_eight_minutes(text):
    assert recommended([str(text)], {}) == recommended([str(text)], {"minutes": 8})
    made = Configuration.make("lm", [text], {})
    assert (made.options.cell, made.options.hidden, made.plan.minutes) == ("ln-gru", 384, None)
    assert f"--hidden 384 --dropout {made.options.dropout}" in made.chosen and "--steps" in made.chosen
    assert set(recommended([str(text)], {})) == set(LanguageModeling.chosen)


def test_a_length_is_a_time(text):
    found = [recommended([str(text)], {"steps": n}) for n in (20, 3000, 6000, 30_000)]
    assert [f["hidden"] for f in found] == [128, 256, 384, 512]
    assert recommended([str(text)], {"epochs": 2})["hidden"] == 128
    assert recommended([str(text)], {"epochs": 10, "preset": "large"})["hidden"] == 512


def test_of_another_optimiser_no_rate_is_known(text):
    assert not recommended([str(text)], {"optimizer": "sgd"}).keys() & {"lr", "beta2"}
    assert recommended([str(text)], {"optimizer": "adam"})["beta2"] == 0.99


def test_more_time_is_a_wider_network(text):
    found = [recommended([str(text)], {"minutes": m}) for m in (1, 3, 10, 30)]
    assert [f["hidden"] for f in found] == [128, 256, 384, 512]
    assert all(a["lr"] > b["lr"] for a, b in itertools.pairwise(found))
    presets = [recommended([str(text)], {"preset": p}) for p in ("tiny", "default", "large")]
    assert presets[::2] == [found[0], found[3]] and presets[1]["hidden"] == 384


def test_a_short_text_is_a_narrower_network_and_more_dropout(text, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("the cat\n" * 5000)  # 40 kB
    large, small = (recommended([str(path)], {"minutes": 10}) for path in (text, short))
    assert (large["hidden"], small["hidden"]) == (384, 128)
    assert small["dropout"] == 0.4 > large["dropout"] and small["steps"] == 1000 < large["steps"]


def test_what_is_given_stays(text):
    given = {"minutes": 3, "cell": "lstm", "lr": 0.1, "hidden": 16}
    made = Configuration.make("lm", [text], given)
    assert (made.options.cell, made.plan.lr, made.options.hidden) == ("lstm", 0.1, 16)
    assert (made.plan.minutes, made.plan.steps, made.plan.epochs) == (3.0, None, None)
    assert "--dropout" in made.chosen and "--hidden" not in made.chosen and "--steps" not in made.chosen
    assert recommended([str(text)], {"minutes": 3, "cell": "lstm"})["lr"] <= 5e-3  # of cells without bounds
    own = Configuration.make("lm", [text], {"minutes": 3, "cell_opt": ["reset_after=true"]})
    assert own.options.cell == "gru"
    with pytest.raises(tr.InputError, match="minutes is -1"):
        Configuration.make("lm", [text], {"minutes": -1})
    with pytest.raises(tr.InputError, match="preset is 'huge': use one of tiny, default, large, best"):
        Configuration.make("lm", [text], {"preset": "huge"})


def test_cells_that_are_compared_keep_the_defaults(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        "tinyrnn.tools.compare.Comparison", lambda configuration, *_, **__: made.append(configuration)
    )
    (tmp_path / "a.txt").write_text("the cat sat on the mat\n" * 400)
    arguments = ["compare", str(tmp_path / "a.txt"), "--cells", "gru,lstm", "--minutes", "1"]
    CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "c")])
    (configuration,) = made
    assert (configuration.plan.lr, configuration.options.batch_size, configuration.chosen) == (5e-3, 64, "")


def test_sizes_of_what_is_read(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a.txt").write_bytes(b"x" * 1000)
    (tmp_path / "f" / "b.txt.gz").write_bytes(packed := gzip.compress(b"x" * 1000))
    (tmp_path / "f" / "c.bin").write_bytes(bytes(range(256)) * 99)  # is left out when it is read
    assert size_of([str(tmp_path / "f")]) == 1000 + 3 * len(packed)
    assert size_of(["-"]) == size_of(["a" * 300]) == size_of(["a\0b"]) == 1_000_000  # told by the reader
    assert size_of([]) == size_of(["python-docs"]) == len(builtin_text())
    (tmp_path / "f" / ".hidden").mkdir()
    (tmp_path / "f" / ".hidden" / "d.txt").write_bytes(b"x" * 1000)
    assert size_of([str(tmp_path / "f")]) == 1000 + 3 * len(packed)
    chinese = tmp_path / "chinese.txt"
    chinese.write_text("床前明月光，" * 500)
    assert size_of([str(chinese)]) == 3000 and size_of([str(chinese)], in_bytes=True) == 9000
    written = "".join(np.random.default_rng(0).choice(list("床前明月光"), 90_000))
    packed = gzip.compress(written.encode())
    (tmp_path / "c.txt.gz").write_bytes(packed)
    assert len(packed) < size_of([str(tmp_path / "c.txt.gz")], in_bytes=True) == 3 * len(packed)
    assert size_of([str(tmp_path / "c.txt.gz")]) == pytest.approx(len(packed), rel=1e-3)


def test_passes_are_over_what_is_trained_on(text):
    few, many = (recommended([str(text)], {"val_fraction": f, "steps": 4000}) for f in (0.1, 0.6))
    assert few["dropout"] < many["dropout"]
    assert recommended([str(text)], {"cell_opt": ["reset_after=true"], "minutes": 3})["lr"] == 5e-3


def test_what_was_chosen_is_told_kept_and_resumed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("the cat sat on the mat\n" * 400)
    how = ["--preset", "tiny", "--hidden", "8", "--embed", "4", "--layers", "1", "--batch-size", "4"]
    arguments = ["train", str(path), *how, "--steps", "3", "--out", str(tmp_path / "r")]
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 0, told.output
    assert "chosen      --cell ln-gru --dropout" in told.output
    options = tr.Run(tmp_path / "r").options
    assert (options["cell"], options["seq_len"], options["beta2"], options["steps"]) == (
        "ln-gru",
        64,
        0.99,
        3,
    )
    again = CliRunner().invoke(main, ["train", "--resume", str(tmp_path / "r"), "--steps", "5"])
    assert again.exit_code == 0 and "chosen   " not in again.output
    assert tr.Run(tmp_path / "r").options["beta2"] == 0.99
