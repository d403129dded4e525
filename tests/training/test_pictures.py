"""Pictures: every axis says what it shows, a single value is written beside its point, nothing is empty."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tinyrnn.cli import main
from tinyrnn.tasks.forecast import pictures as forecast_pictures
from tinyrnn.tasks.forecast.series import Series
from tinyrnn.tasks.translate import pictures as translate_pictures
from tinyrnn.training import pictures
from tinyrnn.training.runs import RunFolder
from tinyrnn.training.task import get_task

pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved meanwhile."""
    figures = []

    def keep(figure, target):
        figure.draw_without_rendering()
        figures.append(figure)

    for module in (pictures, forecast_pictures, translate_pictures):
        monkeypatch.setattr(module, "save", keep)
    return figures


def panels(figure):
    """The axes of a figure but for colour bars; each says what it shows."""
    found = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in found)
    assert all(axis.get_ylabel() for axis in figure.axes)
    return found


def run(folder, task, log, training=(), level="char"):
    folder.mkdir(parents=True)
    options = {"cell": "gru", "texts": [], "level": level}
    config = {"format": 1, "options": options, "task": task, "fingerprint": ""}
    (folder / "config.json").write_text(json.dumps(config))
    for name, records in (("log.jsonl", log), ("train.jsonl", training)):
        (folder / name).write_text("".join(json.dumps(r) + "\n" for r in records))
    return RunFolder(folder)


def evaluation(step, **own):
    return {"step": step, "train_loss": 3.0, "val_loss": 2.0 + 1 / step, "seconds": 2.0 * step, **own}


OWN = {
    "lm": ({"bits": 3.0}, "nats a token", []),
    "classify": ({"accuracy": 0.5, "macro_f1": 0.25}, "nats an example", ["0.5", "0.25"]),
    "forecast": ({"rmse": 47.5}, "scaled differences", ["47.5"]),
    "translate": ({"exact": 0.125}, "nats a symbol", ["0.125"]),
}


@pytest.mark.parametrize("task", OWN)
def test_one_evaluation_is_a_point_with_its_value(tmp_path, drawn, task):
    own, unit, values = OWN[task]
    losses = [{"step": s, "train_loss": 4 - s / 10, "seconds": s, "lr": 0.1} for s in range(1, 6)]
    pictures.curves([run(tmp_path / "r", task, [evaluation(5, **own)], losses)], tmp_path / "p.png")
    axes = panels(drawn[0])
    assert len(axes) == 2 + bool(values)
    for axis, label in zip(axes, ("step", "training time (seconds)"), strict=False):
        assert axis.get_xlabel() == label and unit in axis.get_ylabel()
        assert [text.get_text() for text in axis.texts] == ["2.2"]
        training, validation = axis.lines
        assert len(training.get_xdata()) == 5 and validation.get_marker() == "o"
    if values:
        assert [text.get_text() for text in axes[2].texts] == values
    assert "r" in drawn[0].get_suptitle()


def test_several_runs_and_a_run_of_an_earlier_version(tmp_path, drawn):
    old = run(tmp_path / "old", "lm", [evaluation(s) for s in (250, 500)])
    (old.path / "train.jsonl").unlink()
    new = run(tmp_path / "new", "lm", [evaluation(s) for s in (2, 4)])
    pictures.curves([old, new], tmp_path / "p.png")
    steps, minutes = panels(drawn[0])
    assert minutes.get_xlabel() == "training time (minutes)" and steps.get_ylabel() == "loss (nats a token)"
    assert list(steps.lines[0].get_xdata()) == [250, 500] and steps.lines[0].get_ydata()[0] == 3.0
    pictures.curves([old, run(tmp_path / "b" / "old", "lm", old.read_log())], tmp_path / "p.png")
    assert len(drawn[1].legends[0].get_texts()) == 2  # of the same name
    named = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert named == ["old, best validation 2.002", "new, best validation 2.25"]


@pytest.mark.parametrize(("task", "level"), [("classify", "char"), ("translate", "char"), ("lm", "word")])
def test_losses_of_different_units_are_not_drawn_together(tmp_path, drawn, task, level):
    made = [
        run(tmp_path / "a", "lm", [evaluation(1)]),
        run(tmp_path / "b", "lm", [evaluation(2)]),
        run(tmp_path / "c", task, [evaluation(1, **OWN[task][0])], level=level),
    ]
    pictures.curves(made[:2], tmp_path / "p.png")
    command = ["plot", *(str(r.path) for r in made), "--out", str(tmp_path / "p.png")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "a has a loss (nats a token), level char, c a loss (nats" in result.output
    assert "different units are plotted one by one" in result.output
    assert len(drawn) == 1


def series(rows, dated=True):
    dates = np.datetime64("2020-01-01", "s") + np.arange(rows) * np.timedelta64(1, "D")
    values = np.arange(rows, dtype=float)[:, None] ** 2
    return Series("s.csv", ["sales"], values, dates if dated else np.arange(rows))


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("horizon", [1, 3])
def test_forecasts_are_joined_to_what_they_were_made_from(tmp_path, drawn, dated, horizon):
    known = series(20, dated)
    parts = [(known.future(horizon), np.stack([np.full(horizon, v) for v in (400.0, 380.0, 420.0)]))]
    words = dict(interval=0.8, title="title")
    forecast_pictures.draw_forecasts(known, "sales", parts, 10, tmp_path / "p.png", **words)
    (axis,) = panels(drawn[0])
    forecast = next(line for line in axis.lines if line.get_label() == "forecast")
    assert len(forecast.get_xdata()) == horizon + 1 and forecast.get_ydata()[0] == 361.0
    assert forecast.get_xdata()[0] == known.dates[-1]
    assert "80 % interval" in [text.get_text() for text in drawn[0].legends[0].get_texts()]


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (8, 1), (5, 4)])
def test_every_error_has_a_place_of_its_own(tmp_path, drawn, dated, shape):
    errors = np.arange(1.0, shape[0] * shape[1] + 1).reshape(shape)
    origins = np.arange(shape[0]) + 21 - sum(shape)
    forecast_pictures.draw_errors(series(20, dated), origins, errors, "sales", tmp_path / "p.png")
    (axis,) = panels(drawn[0])
    mesh = axis.collections[0]
    np.testing.assert_array_equal(np.ravel(mesh.get_array()), errors.T.ravel())
    corners = mesh.get_coordinates()
    assert (np.diff(corners[:, :, 0], axis=1) > 0).all() and (np.diff(corners[:, :, 1], axis=0) == 1).all()


def test_attention_says_what_is_read_and_what_is_written(tmp_path, drawn):
    translate_pictures.draw_attention(list("ab c"), ["x", "end"], np.eye(2, 4), tmp_path / "p.png")
    (axis,) = panels(drawn[0])
    assert [t.get_text() for t in axis.get_xticklabels()] == ["a", "b", "␣", "c"]
    assert len(drawn[0].axes) == 2


@pytest.mark.parametrize("steps", [2, 6])
def test_a_comparison_says_what_is_compared(tmp_path, text_file, drawn, steps):
    tiny = "--hidden 6 --embed 4 --layers 1 --batch-size 2 --seq-len 10 --eval-every 3".split()
    command = ["compare", text_file, "--cells", "gru,rnn", *tiny, "--steps", steps, "--out", tmp_path / "c"]
    result = CliRunner().invoke(main, list(map(str, command)))
    assert result.exit_code == 0, result.output
    axes = panels(drawn[0])
    found = json.loads((tmp_path / "c" / "compare.json").read_text())
    said = f"text.txt: {found['budget']:,} parameters and {steps} steps each"
    assert drawn[0].get_suptitle() == said
    best = [f"{row['val_loss']:.4g}" for row in found["cells"]]
    assert [axis.get_xlabel() for axis in axes] == ["step", "training time (seconds)"]
    for axis in axes:
        assert [text.get_text() for text in axis.texts] == (best if steps == 2 else [])
    names = [f"{row['cell']}, best {loss}" for row, loss in zip(found["cells"], best, strict=True)]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == names


def test_a_comparison_is_not_mixed_with_longer_runs(tmp_path, text_file):
    tiny = "--hidden 6 --embed 4 --layers 1 --batch-size 2 --seq-len 10".split()
    command = ["compare", text_file, "--cells", "rnn", *tiny, "--out", tmp_path / "c", "--steps"]
    assert CliRunner().invoke(main, [*map(str, command), "4"]).exit_code == 0
    result = CliRunner().invoke(main, [*map(str, command), "2"])
    assert result.exit_code == 2 and "was trained for 4 steps, this comparison is for 2" in result.output


def test_equal_figures_of_one_evaluation_hide_no_other(tmp_path, drawn):
    """Two marks at one place are to be told apart, by form and by colour."""
    made = run(tmp_path / "r", "classify", [evaluation(10, accuracy=0.5, macro_f1=0.5)])
    pictures.curves([made], tmp_path / "a.png")
    lines = list(drawn[0].axes[2].lines)
    assert len({line.get_marker() for line in lines}) == len(lines) == 2
    assert len({line.get_color() for line in lines}) == 2


def test_names_of_axes_are_whole_and_parts_end_at_one(tmp_path, drawn, monkeypatch):
    """A long name takes two lines; an accuracy of 1 is no number between 0.95 and 1.05; a single step is
    where it is.
    """
    long = "1 - F1, or wrong tags (part); training: nats a token"
    monkeypatch.setattr(get_task("classify"), "loss_name", long)
    log = [evaluation(60, accuracy=1.0, macro_f1=1.0)]
    pictures.curves([run(tmp_path / "r", "classify", log)], tmp_path / "p.png")
    axes = panels(drawn[0])
    assert axes[0].get_ylabel().replace("\n", " ") == long and "\n" in axes[0].get_ylabel()
    high = drawn[0].bbox.height
    for axis in axes:
        box = axis.yaxis.label.get_window_extent()
        assert box.y0 >= 0 and box.y1 <= high
        assert axis.get_xlim()[0] <= 0 < 60 <= axis.get_xlim()[1]
    assert axes[2].get_ylim() == (0, 1.02)
    log = [evaluation(n, accuracy=0.8 + n / 10, macro_f1=0.5) for n in (1, 2)]
    pictures.curves([run(tmp_path / "s", "classify", log)], tmp_path / "p.png")
    low, top = panels(drawn[1])[2].get_ylim()
    assert 0.4 < low < 0.5 and top == 1.02


def test_lines_of_disturbances_that_coincide_are_all_seen(tmp_path, drawn):
    rows = [{"kind": "none", "strength": 0.0, "loss": 1.0}]
    rows += [{"kind": k, "strength": s, "loss": 1 + s} for k in ("typo", "drop", "swap") for s in (0.1, 0.2)]
    pictures.robustness(rows, "title", tmp_path / "p.png")
    widths = [line.get_linewidth() for line in drawn[0].axes[0].lines]
    assert len(widths) >= 3 and widths == sorted(set(widths), reverse=True)  # the later ones lie above
