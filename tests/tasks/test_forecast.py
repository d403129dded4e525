"""The task forecast: reading series, transforms and their inverse, the model, the backtest, the commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.forecast.model import Forecaster, Prepared
from tinyrnn.tasks.forecast.options import ForecastOptions
from tinyrnn.tasks.forecast.series import Series, read_series
from tinyrnn.tasks.forecast.task import Forecasting, backtest
from tinyrnn.tasks.forecast.transform import Transform
from tinyrnn.training import experiments

SMALL = [
    "--task",
    "forecast",
    "--hidden",
    "6",
    "--steps",
    "20",
    "--eval-every",
    "10",
    "--horizon",
    "4",
    "--window",
    "10",
]


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def months(n, first="1990-01"):
    return np.datetime64(first, "M") + np.arange(n)


def wave(n=120, noise=0.03, seed=0):
    """Growing, with a season of 12 whose swings grow too."""
    t = np.arange(n)
    return (
        np.exp(
            0.02 * t
            + 0.3 * np.sin(2 * np.pi * t / 12)
            + noise * np.random.default_rng(seed).standard_normal(n)
        )
        * 100
    )


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "sales.csv"
    rows = zip(months(120), wave(), np.arange(120) % 7, strict=True)
    path.write_text("month,sales,staff,remark\n" + "".join(f"{d},{v:.3f},{s},none\n" for d, v, s in rows))
    return path


# ------------------------------------------------------------------ reading


def test_columns_dates_and_seasons(tmp_path, table):
    series = read_series(table, target="sales")
    assert series.columns == ["sales", "staff"] and series.values.shape == (120, 2)
    assert series.calendar.words == "months" and series.season() == 12
    assert series.shown(series.future(3)) == ["2000-01", "2000-02", "2000-03"]
    assert read_series(table, target="staff", columns=["sales"]).columns == ["staff", "sales"]
    assert read_series(table, columns=["sales"]).columns == ["sales"]
    with pytest.raises(tr.InputError, match="several numeric columns: choose --target from 'sales', 'staff'"):
        read_series(table)
    (tmp_path / "plain.csv").write_text("v\n" + "\n".join(map(str, range(30))))
    plain = read_series(tmp_path / "plain.csv")
    assert plain.season() == 1 and plain.future(2).tolist() == [30, 31]
    assert plain.shown(plain.future(1)) == ["30"]


@pytest.mark.parametrize(
    ("dates", "words", "season", "ahead"),
    [
        (np.arange("2020-01-01", "2020-04-01", dtype="datetime64[D]"), "days", 7, "2020-04-01"),
        (np.arange("2020-01-01", "2022-04-01", dtype="datetime64[D]"), "days", 365, "2022-04-01"),
        (np.arange("2020-01-01", "2020-01-05", dtype="datetime64[h]"), "hours", 24, "2020-01-05 00:00"),
        (np.busday_offset("2020-01-03", np.arange(30), "forward"), "business days", 5, "2020-02-14"),
        (np.array(["2020-01-31", "2020-02-29", "2020-03-31"], "datetime64[D]"), "months", 12, "2020-04-30"),
        (np.datetime64("2000-01") + 3 * np.arange(9), "quarters", 4, "2002-04"),
        (np.datetime64("2000-01") + 12 * np.arange(9), "years", 1, "2009-01"),
        (np.datetime64("2000-01-03") + 7 * np.arange(110), "weeks", 52, "2002-02-11"),
    ],
)
def test_steps_and_dates_beyond_the_end(dates, words, season, ahead):
    unit = {"M": "M", "D": "D", "h": "m"}[np.datetime_data(dates.dtype)[0]]
    series = Series("x", ["v"], np.zeros((len(dates), 1)), dates.astype("datetime64[s]"), unit)
    assert series.calendar.words == words and series.season() == season
    assert series.shown(series.future(1)) == [ahead]
    phase = series.phase(series.dates, season)
    assert ((phase >= 0) & (phase < 1)).all()
    if season > 1 and len(dates) > season:  # a season later the phase is (nearly) the same
        assert abs((phase[season] - phase[0] + 0.5) % 1 - 0.5) < 0.005


GOOD = "date,v\n" + "".join(f"2020-01-{d:02},{d}\n" for d in range(1, 32))


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        (
            GOOD.replace(",7\n", ",?7\n"),
            [],
            r"s.csv row 8: column 'v' holds '\?7', which is no number: mend it, or give --missing",
        ),
        (GOOD.replace(",7\n", ",\n"), [], "s.csv row 8: column 'v' is empty: mend it"),
        (GOOD.replace(",7\n", ",nan\n"), [], "row 8: column 'v' holds 'nan', which is no number"),
        (GOOD.replace(",7\n", ",inf\n"), [], "row 8: column 'v' holds 'inf'"),
        (
            GOOD.replace(",7\n", ",x\n").replace(",9\n", ",y\n"),
            [],
            r"row 8: column 'v' holds 'x', .* \(and 1 more\)",
        ),
        (
            GOOD.replace("2020-01-07", "2020-01-05"),
            [],
            "row 8: column 'date': 2020-01-05 does not come after 2020-01-06 of the row",
        ),
        (
            GOOD.replace("2020-01-07", "2020-01-06"),
            [],
            "row 8: column 'date': 2020-01-06 does not come after",
        ),
        (
            GOOD.replace("2020-01-07", "7 May"),
            [],
            "row 8: column 'date' holds '7 May', which is no date like 2020-01-01",
        ),
        (
            GOOD.replace("2020-01-07", "2020-13-07"),
            [],
            "row 8: column 'date' holds '2020-13-07', which is no date",
        ),
        (GOOD.replace(",7\n", ",7,8\n"), [], "row 8 has 3 cells, the first row has 2"),
        (GOOD, ["--target", "w"], "has no column 'w': choose --target from 'date', 'v'"),
        (GOOD, ["--date-column", "day"], "has no column 'day'"),
        (GOOD, ["--window", "40"], "31 rows are too few for --window 40"),
        (GOOD, ["--horizon", "20"], "31 rows are too few for .* --horizon 20"),
        (GOOD, ["--season", "30"], "31 rows are too few"),
        (GOOD, ["--difference", "x"], "--difference x: give lags in steps such as 1 or 1,12"),
        (GOOD, ["--log"], None),
        (GOOD.replace(",7\n", ",-7\n"), ["--log"], "column 'v' is -7 at 2020-01-07 and has no logarithm"),
        (GOOD, ["--val", "x.csv"], "--val is not for series"),
        (
            "date,v\n" + "".join(f"2020-01-{d:02},5\n" for d in range(1, 32)),
            [],
            "column 'v' is 5 in all rows of training",
        ),
        ("date,v\n", [], "s.csv has no rows of data"),
        ("", [], "s.csv is empty: there are no rows in it"),
        ("date,v\n2020-01-01,a\n", [], "no numeric column"),
        (b"date,v\n2020-01-01,\xff\n", [], "not utf-8 text .* name its --encoding"),
        ('date,v\n2020-01-01,"1\n', [], "no numeric column"),
    ],
)
def test_bad_data_is_one_sentence_that_names_row_and_column(tmp_path, content, more, said):
    path = tmp_path / "s.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    small = ["--task", "forecast", "--horizon", "2", "--window", "4", "--hidden", "3", "--steps", "1"]
    result = invoke("train", path, *small, *more, "--out", tmp_path / "run")
    if said is None:
        assert result.exit_code == 0
        return
    assert result.exit_code == 2 and "Traceback" not in result.output and not (tmp_path / "run").exists()
    assert result.output.count("\n") == 1
    assert re.search(said, result.output), result.output


def test_missing_cells_are_interpolated_on_demand(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(GOOD.replace(",7\n", ",?\n").replace(",8\n", ",\n").replace(",31\n", ",x\n"))
    values = read_series(path, target="v", missing="interpolate").values[:, 0]
    np.testing.assert_allclose(values, [*range(1, 31), 30])
    assert "needs one table" in invoke("train", "--task", "forecast").output
    assert "does not exist" in invoke("train", tmp_path / "no.csv", "--task", "forecast").output


# ------------------------------------------------------------------ transforms


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("lags", [(), (1,), (4,), (1, 4), (1, 1)])
def test_differences_and_back(log, lags):
    values = wave(60)
    transform = Transform.fit(values[:40], 4, lags, log)
    z = transform.forward(values)
    assert len(z) == 60 - transform.lost and abs(z[: 40 - transform.lost].mean()) < 1e-9
    assert z[: 40 - transform.lost].std() == pytest.approx(1)
    again = transform.continued(values[None, :50], z[None, -10:])
    np.testing.assert_allclose(np.exp(again[0]) if log else again[0], values[50:])
    # an error in a difference moves the values from its step on by the response
    error = np.random.default_rng(0).standard_normal(10)
    moved = transform.continued(values[None, :50], z[None, -10:] + error) - again
    np.testing.assert_allclose(moved[0], transform.scale * transform.response(10) @ error, atol=1e-9)


def test_what_calms_a_series_is_found():
    assert not Transform.fit(np.repeat([3.0, 3.0, 3.0, 3.0, 5.0], 12), 12).log
    assert Transform.fit(wave(100), 12) == Transform.fit(wave(100), 12, (12,), True)
    random = np.random.default_rng(0)
    walk, noise = np.cumsum(random.standard_normal(400)), random.standard_normal(400)
    assert (
        Transform.fit(walk, 12).lags == (1,)
        and Transform.fit(noise, 12).lags == ()
        and not Transform.fit(noise, 12).log
    )


# ------------------------------------------------------------------ model and backtest


def make(values, horizon=4, window=8, season=12, **settings):
    series = Series("made", ["v"], values[:, None], months(len(values)).astype("datetime64[s]"), "M")
    transform = Transform.fit(values[:80], season, settings.pop("lags", (1,)), settings.pop("log", False))
    fields = dict(log=transform.log, lags=list(transform.lags), mean=transform.mean, scale=transform.scale)
    shape = dict(season=season, window=window, horizon=horizon, hidden=5, cell="gru", seed=1)
    return Forecaster(["v"], [fields], **shape, **settings), series


@pytest.mark.parametrize(("lags", "lag"), [((1,), 1), ((12,), 12)])
def test_an_untrained_network_is_a_naive_forecast_with_drift(lags, lag):
    values = wave(120)
    model, series = make(values, lags=lags)
    said = model.forecast(series, [100])[0, 0]
    expected = np.concatenate([values[:100], np.zeros(4)])
    for t in range(100, 104):
        expected[t] = expected[t - lag] + model.transforms[0].mean
    np.testing.assert_allclose(said, expected[100:], rtol=1e-6)


def test_forecasts_see_the_past_alone_and_do_not_depend_on_the_batch():
    values = wave(120)
    model, series = make(values, dtype="float64")
    model.output.weight.assign_(np.random.default_rng(0).standard_normal(model.output.weight.shape))
    said = model.forecast(series, np.arange(60, 117))
    changed = values.copy()
    changed[90:] *= 3
    _, other = make(changed, dtype="float64")
    np.testing.assert_array_equal(model.forecast(other, np.arange(60, 91)), said[:, :31])
    assert np.abs(model.forecast(other, [91])[0] - said[0, 31]).max() > 1
    short = Series("short", ["v"], values[:100, None], series.dates[:100], "M")
    np.testing.assert_allclose(model.forecast(short), said[:, [40]], rtol=1e-12)
    assert (said[1] < said[0]).all() and (said[0] < said[2]).all()


def test_free_running_feeds_forecasts_back():
    """The compiled loop beyond the window against the network run by hand."""
    model, series = make(wave(120), dtype="float64", horizon=5)
    model.output.weight.assign_(np.random.default_rng(0).standard_normal(model.output.weight.shape))
    prepared = Prepared(model, [series])
    with model.evaluating():
        past, ahead, *_ = prepared.batch(prepared.starts[0] + np.array([70, 90]))
        inside, beyond = (part.numpy() for part in model(past, ahead))
        rows = list(past)
        for h in range(5):
            said = model.output(model.rnn(tr.tensor(np.stack(rows)))[0])
            np.testing.assert_allclose(said[-1].numpy(), beyond[h], rtol=1e-9)
            if h < 4:
                rows.append(np.concatenate([said[-1].numpy()[:, :1], ahead[h]], axis=-1))
        assert inside.shape == (7, 2, 3)


def test_gradients_flow_through_the_forecasts_that_were_fed_back():
    model, series = make(wave(120), dtype="float64", horizon=4)
    model.output.weight.assign_(0.3 * np.random.default_rng(0).standard_normal(model.output.weight.shape))
    prepared = Prepared(model, [series])
    past, ahead, *_ = prepared.batch(prepared.starts[0] + np.array([70, 90]))
    weight = dict(model.rnn.cells[0].named_parameters())["U_n"]

    def last(values):
        weight.assign_(values)
        return model(past, ahead)[1][-1].sum()

    value = weight.numpy().copy()
    model.zero_grad()
    last(value).backward()
    slope = weight.grad.numpy().copy()
    for i, j in ((0, 0), (2, 3), (4, 1)):
        e = np.zeros_like(value)
        e[i, j] = 1e-6
        assert (last(value + e).item() - last(value - e).item()) / 2e-6 == pytest.approx(
            slope[i, j], rel=1e-4, abs=1e-8
        )


def test_backtest_by_hand():
    values = wave(120)
    model, series = make(values, horizon=3)
    origins = np.arange(100, 118)
    prepared = Prepared(model, [series])
    found = backtest(prepared, prepared.starts[0] + origins)
    true = np.array([values[t : t + 3] for t in origins])
    said = model.forecast(series, origins)
    naive = np.array([[values[t + h - 12] for h in range(3)] for t in origins])
    unit = np.mean([abs(values[t] - values[t - 12]) for t in range(12, 100)])
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((said[0] - true) ** 2)))
    assert found["mase"] == pytest.approx(np.mean(abs(said[0] - true)) / unit)
    assert found["seasonal_naive_rmse"] == pytest.approx(np.sqrt(np.mean((naive - true) ** 2)))
    assert found["persistence_mae"] == pytest.approx(np.mean(abs(true - values[origins - 1][:, None])))
    assert found["coverage"] == pytest.approx(np.mean((true >= said[1]) & (true <= said[2])))


# ------------------------------------------------------------------ commands


def test_from_csv_to_forecast(tmp_path, table):
    out = tmp_path / "run"
    result = invoke("train", table, *SMALL, "--target", "sales", "--out", out)
    assert result.exit_code == 0, result.output
    assert (
        "sales from staff: logarithms by exponential smoothing, alpha" in result.output
        and "seasonal naive" in result.output
    )
    assert (out / "forecast.png").exists() and (out / "errors.png").exists()
    found = json.loads(invoke("evaluate", out, "--json").stdout)
    assert {
        "rmse",
        "mae",
        "mase",
        "persistence_rmse",
        "seasonal_naive_rmse",
        "horizon",
    } <= found.keys() and found["horizon"] == 4
    assert found["rmse"] < found["seasonal_naive_rmse"] and found["rmse"] < found["persistence_rmse"]
    said = invoke("predict", out, "--plot", tmp_path / "p.png", "--json")
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert [r["date"] for r in rows] == ["2000-01", "2000-02", "2000-03", "2000-04"] and (
        tmp_path / "p.png"
    ).exists()
    assert all(r["lower"] < r["forecast"] < r["upper"] for r in rows)
    assert invoke("predict", out).stdout.startswith("2000-01\t")
    # new data: from its own rows
    lines = table.read_text().splitlines(keepends=True)
    (tmp_path / "new.csv").write_text("".join([lines[0], *lines[31:91]]))
    assert invoke("predict", out, tmp_path / "new.csv").stdout.startswith("1997-07\t")
    assert "model" in invoke("evaluate", out, tmp_path / "new.csv").stdout
    (tmp_path / "short.csv").write_text("".join(lines[:11]))
    result = invoke("predict", out, tmp_path / "short.csv")
    assert (
        result.exit_code == 2
        and "short.csv has 10 rows, a forecast of this model is made from 13" in result.output
    )
    model = tr.load(out)
    np.testing.assert_allclose(
        model.forecast(read_series(table, target="sales"))[0, 0], [r["forecast"] for r in rows], rtol=1e-6
    )


def test_a_forecast_that_is_no_better_says_so(tmp_path):
    path = tmp_path / "walk.csv"
    walk = 100 + np.cumsum(np.random.default_rng(5).standard_normal(150))
    path.write_text("v\n" + "".join(f"{v}\n" for v in walk))
    options = ["--lr", "0.05", "--steps", "40", "--teacher-forced"]
    result = invoke("train", path, *SMALL, *options, "--out", tmp_path / "run")
    assert "this model does not beat persistence" in result.output


def test_resuming_is_exact_and_other_data_is_refused(tmp_path, table):
    whole, part = tmp_path / "whole", tmp_path / "part"
    options = [table, *SMALL, "--target", "sales", "--dropout", "0.2", "--quiet", "--schedule", "constant"]
    options += ["--warmup", "0"]
    assert invoke("train", *options, "--out", whole).exit_code == 0
    assert invoke("train", *options, "--steps", "8", "--out", part).exit_code == 0
    assert invoke("train", "--resume", part, "--steps", "20", "--quiet").exit_code == 0
    for name, array in load_file(whole / "last.safetensors").items():
        np.testing.assert_array_equal(array, load_file(part / "last.safetensors")[name])
    table.write_text(table.read_text().replace(",0,none", ",1,none"))
    result = invoke("train", "--resume", part, "--steps", "30")
    assert result.exit_code == 2 and "trained on another text" in result.output


@pytest.mark.sample(3)
@pytest.mark.parametrize("more", [{"cell": "lstm"}, {"layers": 2, "zoneout": 0.1}, {"teacher_forced": True}])
def test_it_learns_what_the_differences_leave(table, more):
    """A wave of another period than the season: naive forecasts fail, the network does not."""
    shape = dict(season=12, horizon=3, window=12, difference="0", log=False, interval=0.8, target="sales")
    options = ForecastOptions(**shape, hidden=16, val_fraction=0.3, batch_size=32, **more)
    values = np.sin(2 * np.pi * np.arange(120) / 7)
    rows = zip(months(120), values, strict=True)
    table.write_text("month,sales\n" + "".join(f"{d},{v}\n" for d, v in rows))
    task = Forecasting.build(options, [table])
    optimizer = tr.optim.Adam(task.model.parameters(), 0.01)
    for step in range(150):
        optimizer.zero_grad()
        task.loss(step).backward()
        optimizer.step(max_norm=1.0)
    found = backtest(task.prepared, task.prepared.starts[0] + np.arange(90, 118))
    assert found["rmse"] < 0.3 * min(found["persistence_rmse"], found["seasonal_naive_rmse"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("d,v\n2020-01,1\n2020-02,x\n", "column 'v' holds 'x' in row 3, which is no number"),
        ("d,v\n2020-01,a\n2020-02,b\n", "no numeric column among 'd', 'v'"),
    ],
)
def test_why_no_column_is_numeric(tmp_path, content, said):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(tr.InputError, match=re.escape(said)):
        read_series(path)


@pytest.mark.parametrize("rest", [0, 1, 3])
def test_the_picture_has_no_gap_before_the_end(monkeypatch, rest):
    """The test part may be no multiple of the horizon."""
    from tinyrnn.tasks.forecast import task as forecast

    model, series = make(wave(60 + rest))
    drawn = []
    monkeypatch.setattr(forecast, "draw_forecasts", lambda s, c, parts, *a, **k: drawn.extend(parts))
    monkeypatch.setattr(forecast, "draw_errors", lambda *a: None)
    origins = np.arange(40, len(series) - model.horizon + 1)
    forecast.draw(Prepared(model, [series]), origins, model.forecast(series, origins), Path("."))
    np.testing.assert_array_equal(
        np.concatenate([dates for dates, _ in drawn]),
        np.concatenate([series.dates[40:], series.future(model.horizon)]),
    )
    assert all(said.shape[1] == len(dates) for dates, said in drawn)


def test_what_an_evaluation_chose_is_carried_to_a_resumed_run(table, tmp_path):
    """Between two evaluations a checkpoint says of intervals what the last one found, resumed or not."""
    given = dict(target="sales", hidden=4, ensemble=1, horizon=3, window=8, steps=2, eval_every=1)
    given |= dict(schedule="constant", warmup=0, quiet=True)
    run = tr.train(table, "forecast", out=tmp_path / "run", **given)
    found = load_file(run.path / "trainer.safetensors")["state.calibration"]
    trainer = experiments.take_up(run.path, {"steps": 3})
    trainer.run.unlock()
    assert (found != 1).any()
    np.testing.assert_array_equal(trainer.task.model.calibration, found)
