"""Forecasts as the field does them: smoothing, calibrated intervals, several series, covariates, counts."""

import csv
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.forecast import counts, task
from tinyrnn.tasks.forecast.model import Prepared
from tinyrnn.tasks.forecast.options import ForecastOptions
from tinyrnn.tasks.forecast.series import read_panel, read_series
from tinyrnn.tasks.forecast.task import Forecasting, backtest, calibrate
from tinyrnn.tasks.forecast.transform import Transform, chosen, smoothed

SMALL = dict(hidden=4, steps=6, eval_every=3, horizon=3, window=6, ensemble=1, quiet=True)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def days(count, first="2020-01-01"):
    return np.datetime64(first) + np.arange(count)


def write(path, rows, head):
    path.write_text(head + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


# ------------------------------------------------------------------ smoothing


def by_hand(y, index, m, parameters, horizon, start, trend, seasonal):
    alpha, beta, gamma, phi = parameters
    level, seasonal = start, list(seasonal)
    for value, i in zip(y, index, strict=False):
        error = value - level - phi * trend - seasonal[i]
        level, trend = level + phi * trend + alpha * error, phi * trend + alpha * beta * error
        seasonal[i] += gamma * error
    far, said = 0.0, []
    for h in range(1, horizon + 1):
        far += phi**h
        said.append(level + far * trend + seasonal[index[len(y) - 1 + h]])
    return said


def test_smoothing_is_that_of_its_equations():
    from tinyrnn.tasks.forecast.transform import _beginning

    random = np.random.default_rng(0)
    y, index = random.standard_normal(30).cumsum(), np.arange(36) % 4
    transform = Transform(False, (), 0.0, 1.0, (0.4, 0.3, 0.2, 0.9), 4)
    known = np.ones(30, bool)
    after = smoothed(transform, y, known, index, np.zeros(36))
    begin = _beginning(y, known, index[:30], 4, True)
    expected = by_hand(y, index, 4, transform.smoothing, 6, *begin)
    model, series = untrained(y, transform, horizon=6)
    prepared = Prepared(model, [series])
    at = prepared.starts + prepared.ends
    np.testing.assert_allclose(prepared.base(at)[0], expected)
    np.testing.assert_allclose(prepared.states[:, prepared.starts[0] : at[0]], after.states)
    np.testing.assert_allclose(model.forecast(series)[0, 0], expected, rtol=1e-5)


def untrained(values, transform, horizon=4, **more):
    from dataclasses import asdict

    from tinyrnn.tasks.forecast.model import Forecaster
    from tinyrnn.tasks.forecast.series import Series

    dates = (np.datetime64("2000-01", "M") + 3 * np.arange(len(values))).astype("datetime64[s]")
    own = dict(season=4, window=8, horizon=horizon, hidden=3, cell="gru")
    model = Forecaster(["v"], [asdict(transform)], {"seasons": [4]}, **own, **more)
    return model, Series("made", ["v"], values[:, None], dates, "Q")


def test_an_error_adds_what_psi_says():
    transform = Transform(False, (), 0.0, 1.0, (0.4, 0.3, 0.2, 0.9), 4)
    values = np.random.default_rng(0).standard_normal(40).cumsum()
    model, series = untrained(values, transform, horizon=9)
    prepared = Prepared(model, [series])
    before = prepared.base(prepared.starts + 30)[0]
    expected = np.append(before[1:], np.nan) + (values[30] - before[0]) * np.append(transform.psi(9)[1:], 0)
    np.testing.assert_allclose(prepared.base(prepared.starts + 31)[0][:8], expected[:8])


def fit(values, season=12, **more):
    index = np.arange(len(values))
    how = dict(seasons=[season] if season > 1 else [], horizon=6, fit_until=len(values) * 3 // 4)
    angle = 2 * np.pi * index / season
    return chosen(values, np.ones(len(values), bool), index, angle, **how, **more)


def test_the_smoothing_is_chosen_by_errors_many_steps_ahead():
    random = np.random.default_rng(0)
    noise, walk = random.standard_normal(300), np.cumsum(random.standard_normal(300))
    assert fit(noise + 50).smoothing[0] <= 0.1  # the mean: a difference would double the variance
    assert fit(walk).smoothing[0] >= 0.5 and fit(walk).smoothing[2] <= 0.1
    season = np.sin(np.arange(300) * np.pi / 6)
    found = fit(10 + 3 * season + 0.3 * noise)  # a season without a trend
    assert found.season == 12 or found.waves
    assert found.smoothing[0] <= 0.1 and found.smoothing[2] <= 0.2
    growing = fit(np.exp(np.arange(300) / 80 + 0.4 * season + 0.02 * noise))
    assert growing.log and growing.season == 12
    promo = random.integers(0, 2, (300, 1)).astype(float)
    lifted = fit(10 + 3 * season + 2 * promo[:, 0] + 0.3 * noise, outer=promo)
    assert lifted.effects[0] == pytest.approx(2 if not lifted.log else 0.2, rel=0.2)
    assert not fit(10 + 3 * season + 0.3 * noise, outer=promo).effects
    exact = fit(10 + np.arange(300) % 12 + np.arange(300) / 7)  # which leaves no errors: its scale stays sane
    assert exact.scale >= 1e-3
    long = fit(5 + 2 * np.sin(np.arange(300) * np.pi / 26) + 0.2 * noise, season=52)
    assert long.season == 1 and abs(math.hypot(*long.waves[:2]) - 2) < 0.2


def test_unknown_rows_carry_the_states_and_count_nowhere(tmp_path):
    values = 10 + np.array([0, 5, -3, 1] * 12) + 0.1 * np.random.default_rng(0).standard_normal(48)
    dates = [f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(48)]
    rows = [(d, v) for i, (d, v) in enumerate(zip(dates, values, strict=True)) if i != 41]
    whole = write(tmp_path / "whole.csv", zip(dates, values, strict=True), "date,v")
    gap = write(tmp_path / "gap.csv", rows, "date,v")
    with pytest.raises(tr.InputError, match="between 2010Q1 and 2010Q3"):
        tr.train(gap, "forecast", out=tmp_path / "no", **SMALL)
    run = tr.train(gap, "forecast", out=tmp_path / "run", missing="mask", **SMALL)
    said = [row["forecast"] for row in run.predict()]
    assert [row["date"] for row in run.predict()] == ["2012Q1", "2012Q2", "2012Q3"]
    np.testing.assert_allclose(said, [10, 15, 7], atol=1)  # the season did not shift
    figures = run.evaluate()
    assert figures["rmse"] < 1 and math.isfinite(figures["crps"])
    skipped = tr.train(gap, "forecast", out=tmp_path / "skip", missing="skip", **SMALL).predict()
    np.testing.assert_allclose([row["forecast"] for row in skipped], [10, 15, 7], atol=1)  # by its dates
    assert run.evaluate(whole)["rmse"] < 1


# ------------------------------------------------------------------ intervals, ensembles, peers


def test_intervals_hold_what_they_are_made_for():
    """Noise whose deviation no network knows before it is calibrated."""
    random = np.random.default_rng(1)
    transform = Transform(False, (), 0.0, 0.2, (0.01, 0.0, 0.0, 0.0), 1)  # a fifth of the true deviation
    model, series = untrained(random.standard_normal(900), transform)
    prepared = Prepared(model, [series])
    first = prepared.starts[0]
    rest = first + np.arange(600, 890)
    assert backtest(prepared, rest)["coverage"] < 0.3
    for last, even in ((590, False), (212, True)):
        chosen = first + np.arange(200, last)
        calibrate(prepared, chosen, first + np.arange(20, 190), *prepared.model.outputs(prepared, chosen))
        assert model.even is even and abs(backtest(prepared, rest)["coverage"] - 0.9) < 0.06
    assert model.facts()["panel"]["calibration"] == model.calibration.tolist()


def test_networks_that_do_not_help_are_not_trusted():
    random = np.random.default_rng(1)
    transform = Transform(False, (), 0.0, 1.0, (0.01, 0.0, 0.0, 0.0), 1)
    model, series = untrained(random.standard_normal(300), transform)
    prepared = Prepared(model, [series])
    rows = prepared.starts[0] + np.arange(200, 290)
    before = model.forecast(prepared, rows)[0]
    model.output.bias.assign_(np.array([3.0, 0, 0], np.float32))
    calibrate(prepared, rows, rows - 100, *prepared.model.outputs(prepared, rows))
    assert model.trust == 0
    np.testing.assert_allclose(model.forecast(prepared, rows)[0], before)


def test_a_linear_layer_says_what_smoothing_leaves(tmp_path):
    """A cycle that no season has: what smoothing says is its mean."""
    t = np.arange(260)
    values = 50 + 10 * np.sin(2 * np.pi * t / 9.3) + np.random.default_rng(0).standard_normal(260)
    path = write(tmp_path / "a.csv", [(v,) for v in values], "v")
    task = Forecasting.build(ForecastOptions(horizon=6, hidden=3, ensemble=1, window=20), [path])
    assert np.abs(task.model.linear.weight.numpy()).max() > 0.05
    rows = task.prepared.starts[0] + np.arange(task.parts[0][1], 254)
    found = backtest(task.prepared, rows)
    assert found["rmse"] < 0.3 * found["persistence_rmse"] and found["rmse"] < 2.5
    task.loss(0).backward()
    assert task.model.linear.weight.grad is None  # no gradient moves it


def test_an_ensemble_is_the_mean_of_its_networks_and_resumes(tmp_path):
    values = np.sin(np.arange(90)) + np.random.default_rng(0).standard_normal(90)
    path = write(tmp_path / "a.csv", [(v,) for v in values], "v")
    how = {**SMALL, "ensemble": 2, "schedule": "constant", "warmup": 0, "id_embed": 2}
    whole = tr.train(path, "forecast", out=tmp_path / "whole", **how)
    part = tr.train(path, "forecast", out=tmp_path / "part", **{**how, "steps": 3}).resume(
        steps=6, quiet=True
    )
    for name, array in load_file(whole.path / "last.safetensors").items():
        np.testing.assert_array_equal(array, load_file(part.path / "last.safetensors")[name])
    assert whole.predict() == part.predict()
    model, series = whole.model, read_series(path)
    prepared = Prepared(model, [series])
    at = prepared.starts + prepared.ends
    with model.evaluating():
        each = [model(*prepared.batch(at), member=net)[1].numpy() for net in model.members]
    assert not np.allclose(each[0], each[1])
    np.testing.assert_allclose(model.outputs(prepared, at)[0], np.mean(each, axis=0), rtol=1e-6)


def test_smoothing_and_theta_of_others_are_measured_beside(tmp_path):
    pytest.importorskip("statsforecast")
    from statsforecast.models import AutoETS

    values = np.random.default_rng(3).standard_normal(80).cumsum() + 30
    path = write(tmp_path / "a.csv", [(v,) for v in values], "v")
    run = tr.train(path, "forecast", out=tmp_path / "run", **SMALL)
    found = run.evaluate()
    first = 80 - round(0.33 * 80)
    fitted = AutoETS(season_length=1).fit(values[:first])
    said = np.stack([fitted.forward(values[:t], 3)["mean"] for t in range(first, 78)])
    true = np.stack([values[t : t + 3] for t in range(first, 78)])
    assert found["ets_rmse"] == pytest.approx(np.sqrt(np.mean((said - true) ** 2)), rel=1e-3)
    figures = {
        **found,
        "rmse": 9.0,
        "coverage": 0.5,
        "theta_rmse": 8.0,
        "ets_rmse": 10.0,
        "persistence_rmse": 10.0,
    }
    lines = list(Forecasting.lines({**figures, "seasonal_naive_rmse": 10.0}))
    assert lines[-1] == "this model does not beat Theta: use that in its place"
    assert "more than 10 points off" in lines[-2]
    assert any(line.startswith("ETS ") for line in lines)


def test_scores_by_hand():
    transform = Transform(False, (), 0.0, 1.0, (0.3, 0.0, 0.0, 0.0), 1)
    model, series = untrained(np.random.default_rng(0).standard_normal(60) + 9, transform)
    prepared = Prepared(model, [series])
    rows = prepared.starts[0] + np.arange(40, 57)
    found, (said, lower, upper) = backtest(prepared, rows), model.forecast(prepared, rows)
    true = prepared.true(rows)
    assert found["smape"] == pytest.approx(np.mean(200 * abs(true - said) / (abs(true) + abs(said))))
    stats = pytest.importorskip("scipy.stats")
    deviation = (upper - lower) / 2 / stats.norm.ppf(0.95)
    z = (true - (upper + lower) / 2) / deviation  # of a normal distribution: Gneiting & Raftery 2007, eq. 21
    exact = deviation * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert found["crps"] == pytest.approx(exact.mean(), rel=0.05)


# ------------------------------------------------------------------ several series


@pytest.fixture
def panel(tmp_path):
    """Three shops of different size with a week's season, promotions that lift sales by half, and an area."""
    random, rows = np.random.default_rng(0), []
    for shop, size in (("a", 10.0), ("b", 1000.0), ("c", 80.0)):
        promo = random.integers(0, 2, 120)
        week = 1 + 0.3 * np.sin(2 * np.pi * np.arange(120) / 7)
        sales = size * week * (1 + 0.5 * promo) * (1 + 0.02 * random.standard_normal(120))
        rows += [(d, shop, f"{v:.4f}", p, size * 2) for d, v, p in zip(days(120), sales, promo, strict=True)]
    return write(tmp_path / "panel.csv", rows, "date,shop,sales,promo,area")


PANEL = dict(id_column="shop", target="sales", future="promo", season=7)


def test_one_model_of_several_series_with_known_covariates(tmp_path, panel):
    how = {**SMALL, "hidden": 12, "steps": 150, "eval_every": 50, "lr": 0.01, "window": 7, **PANEL}
    run = tr.train(panel, "forecast", out=tmp_path / "run", **how)
    model = run.model
    assert list(model.targets) == ["a", "b", "c"] and model.foreseen == ["promo", "area"]
    found = run.evaluate()
    alone = tr.train(panel, "forecast", out=tmp_path / "blind", **{**how, "future": None, "columns": "sales"})
    assert found["mase"] < 0.3 * alone.evaluate()["mase"]  # it knows the promotions
    future = [(d, shop, p) for shop in "abc" for d, p in zip(days(3, "2020-04-30"), (0, 1, 0), strict=True)]
    file = write(tmp_path / "future.csv", future, "date,shop,promo")
    said = run.predict(future_file=file)
    assert [(r["id"], r["date"]) for r in said[:4]] == [
        ("a", "2020-04-30"), ("a", "2020-05-01"), ("a", "2020-05-02"), ("b", "2020-04-30"),
    ]  # fmt: skip
    week = 1 + 0.3 * np.sin(2 * np.pi * np.arange(120, 123) / 7)
    for i, size in enumerate((10, 1000, 80)):
        np.testing.assert_allclose(
            [r["forecast"] for r in said[3 * i : 3 * i + 3]], size * week * [1, 1.5, 1], rtol=0.1
        )
    assert all(0 <= r["lower"] <= r["forecast"] <= r["upper"] for r in said)
    with pytest.raises(tr.InputError, match="the model reads promo of the steps to forecast: .*future_file"):
        run.predict()
    write(file, future[:-1], "date,shop,promo")
    with pytest.raises(tr.InputError, match="no row for 2020-05-02: give one for each of the 3 steps"):
        run.predict(future_file=file)


def test_commands_on_a_panel(tmp_path, panel):
    small = "--task forecast --hidden 3 --steps 4 --eval-every 2 --horizon 3 --window 6 --id-column shop"
    small += " --target sales"
    out = tmp_path / "run"
    result = invoke("train", panel, *small.split(), "--id-embed", 2, "--seed", 1, "--out", out)
    assert result.exit_code == 0, result.output
    flat = " ".join(result.output.split())
    assert "3 series, 360 rows, days from 2020-01-01 to 2020-04-29, none missing" in flat
    assert (out / "forecast.png").exists()
    figures = json.loads(invoke("evaluate", out, "--json").stdout)
    assert {"rmse", "mae", "smape", "mase", "crps", "coverage", "seasonal_naive_mase"} <= figures.keys()
    lines = invoke("predict", out).stdout.splitlines()
    assert len(lines) == 9 and lines[0].startswith("a\t2020-04-30\t")
    # a series that was not there: the usual smoothing, no embedding of its own
    new = panel.read_text().replace(",a,", ",new,")
    (tmp_path / "new.csv").write_text(new)
    assert invoke("predict", out, tmp_path / "new.csv").stdout.startswith("new\t2020-04-30\t")
    assert invoke("robust", out, "--kinds", "noise", "--strengths", "0.2", "--examples", "20").exit_code == 0
    part = invoke("train", "--resume", out, "--steps", 6, "--quiet")
    assert part.exit_code == 0, part.output


def test_series_that_are_too_short_are_left_out_and_named(tmp_path, panel, capsys):
    lines = panel.read_text().splitlines()
    (tmp_path / "p.csv").write_text("\n".join([*lines, "2020-01-01,tiny,5,0,1", "2020-01-02,tiny,6,0,1"]))
    options = ForecastOptions(**PANEL, horizon=3, window=6, hidden=3)
    task = Forecasting.build(options, [tmp_path / "p.csv"])
    assert [s.id for s in task.panel] == ["a", "b", "c"]
    assert "too short for --horizon 3, left out: tiny" in capsys.readouterr().err


def test_a_series_that_never_changed_has_no_scaled_error(tmp_path, panel):
    rows = panel.read_text() + "".join(f"{d},still,5,0,1\n" for d in days(120))
    (tmp_path / "p.csv").write_text(rows)
    run = tr.train(tmp_path / "p.csv", "forecast", out=tmp_path / "run", **SMALL, **PANEL)
    found = run.evaluate()
    assert found["mase"] < 10 and math.isfinite(found["mae"])


# ------------------------------------------------------------------ counts


def test_likelihoods_of_counts():
    stats = pytest.importorskip("scipy.stats")
    mean, y = np.array([0.2, 1.5, 30.0]), np.array([0.0, 3.0, 25.0])
    x = np.array([0.05, 0.7, 3.0, 200.0])
    np.testing.assert_allclose(
        counts.log_gamma(tr.tensor(x)).numpy(), [math.lgamma(v) for v in x], rtol=1e-6, atol=1e-6
    )
    poisson = counts.cost(tr.tensor(mean), tr.tensor(y)).numpy()
    found = -stats.poisson(mean).logpmf(y) - [math.lgamma(v + 1) for v in y]
    np.testing.assert_allclose(poisson, found, rtol=1e-6)
    said = np.array([-1.0, 0.5, 2.0])
    r = np.logaddexp(said, 0) + 1e-3
    whole = -stats.nbinom(r, r / (r + mean)).logpmf(y) - [math.lgamma(v + 1) for v in y]
    np.testing.assert_allclose(
        counts.cost(tr.tensor(mean), tr.tensor(y), tr.tensor(said)).numpy(), whole, rtol=1e-5
    )


@pytest.mark.parametrize("head", ["poisson", "negative-binomial"])
def test_intermittent_counts_are_never_below_zero(tmp_path, head):
    pytest.importorskip("scipy")
    random = np.random.default_rng(0)
    rows = [
        (d, item, n) for item, rate in (("x", 0.3), ("y", 2.0))
        for d, n in zip(days(150), random.poisson(rate, 150), strict=True)
    ]  # fmt: skip
    path = write(tmp_path / "c.csv", rows, "date,item,n")
    run = tr.train(
        path, "forecast", out=tmp_path / "run", id_column="item", head=head, **{**SMALL, "steps": 30}
    )
    said = run.predict()
    assert all(0 <= r["lower"] <= r["upper"] and r["forecast"] > 0 and r["lower"] % 1 == 0 for r in said)
    means = [np.mean([r["forecast"] for r in said if r["id"] == item]) for item in "xy"]
    assert 0.1 < means[0] < 0.8 and 1 < means[1] < 3.5
    assert run.evaluate()["coverage"] >= 0.8
    bad = write(tmp_path / "bad.csv", [(d, 1.5 + i % 3) for i, d in enumerate(days(60))], "date,n")
    with pytest.raises(tr.InputError, match=f"column 'n' holds 1.5, which is no count: leave head.*{head}"):
        tr.train(bad, "forecast", out=tmp_path / "no", head=head, **SMALL)


def test_values_above_zero_have_intervals_above_zero(tmp_path):
    values = np.maximum(np.random.default_rng(0).standard_normal(120) * 2 + 1, 0)
    path = write(tmp_path / "a.csv", [(v,) for v in values], "v")
    run = tr.train(path, "forecast", out=tmp_path / "run", **SMALL)
    assert all(r["lower"] >= 0 for r in run.predict()) and not run.model.below
    path = write(tmp_path / "b.csv", [(v - 3,) for v in values], "v")
    assert tr.train(path, "forecast", out=tmp_path / "other", **SMALL).predict()[0]["lower"] < 0


def test_the_median_is_another_forecast_than_the_mean(tmp_path):
    values = np.exp(2 * np.random.default_rng(0).standard_normal(300))
    path = write(tmp_path / "a.csv", [(v,) for v in values], "v")
    how = {**SMALL, "log": False, "steps": 60, "eval_every": 30, "lr": 0.02}
    found = {
        h: tr.train(path, "forecast", out=tmp_path / h, head=h, **how).options["head"]
        for h in ("gaussian", "quantile")
    }
    assert found == {"gaussian": "gaussian", "quantile": "quantile"}


# ------------------------------------------------------------------ what is done with a forecast


def test_forecasts_as_a_table_of_the_series_that_is_chosen(tmp_path, panel, monkeypatch):
    """A number a cell, the ends of the interval apart; the picture says which series it shows."""
    titles = []
    monkeypatch.setattr(task, "draw_forecasts", lambda *a, title, **k: titles.append(title))
    run = tr.train(panel, "forecast", out=tmp_path / "r", **SMALL, id_column="shop", target="sales")
    out, picture = tmp_path / "f.csv", tmp_path / "p.png"
    result = invoke("predict", run.path, "--out", out, "--plot", picture)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert "shows 'a', the first of 3 series: --series chooses another" in result.stderr
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert list(rows[0]) == ["id", "date", "forecast", "low", "high"] and len(rows) == 9
    for row, said in zip(rows, run.predict(), strict=True):
        assert (row["id"], row["date"]) == (said["id"], said["date"])
        values = [float(row[k]) for k in ("forecast", "low", "high")]
        np.testing.assert_allclose(values, [said[k] for k in ("forecast", "lower", "upper")], rtol=1e-7)
    before = out.read_bytes()
    assert "f.csv exists and is not overwritten" in invoke("predict", run.path, "--out", out).stderr
    assert "let it end in .csv or .tsv" in invoke("predict", run.path, "--out", tmp_path / "f.xlsx").stderr
    assert out.read_bytes() == before
    result = invoke("predict", run.path, "--series", "b", "--plot", picture, "--out", tmp_path / "b.tsv")
    assert result.exit_code == 0 and not result.stderr, result.output
    assert [line.split("\t")[0] for line in (tmp_path / "b.tsv").read_text().splitlines()] == ["id", *"bbb"]
    assert titles[1:] == ["panel.csv, a: 3 steps after its end", "panel.csv, b: 3 steps after its end"]
    with pytest.raises(tr.InputError, match="has no series 'z': choose from a, b, c"):
        run.predict(series="z")


def test_the_command_that_training_recommends_knows_of_the_future(tmp_path, panel, monkeypatch):
    titles = []
    monkeypatch.setattr(task, "draw_forecasts", lambda *a, title, **k: titles.append(title))
    small = "--task forecast --hidden 3 --steps 4 --eval-every 2 --horizon 3 --window 6 --id-column shop"
    command = [
        "train",
        panel,
        *small.split(),
        "--target",
        "sales",
        "--future",
        "promo",
        "--out",
        tmp_path / "r",
    ]
    result = invoke(*command)
    assert f"next: tinyrnn predict {tmp_path / 'r'} --future-file FILE.csv\n" in result.output
    assert titles[0].endswith("; then the future if promo were as on average")


@pytest.mark.parametrize("ids", [False, True])
def test_rows_of_the_future_at_the_end_are_told_from_gaps(tmp_path, ids):
    """As spreadsheets hold them: what is known of the months to come, and no values yet."""
    more = {"id_column": "shop"} if ids else {}
    rows = [(d, "ab"[k], 9 + i % 7, i % 2) for k in range(1 + ids) for i, d in enumerate(days(60))]
    future = [(*r[:2], "", r[3]) if r[0] > np.datetime64("2020-02-25") else r for r in rows]
    gap = [(*r[:2], "", r[3]) if r[0] == np.datetime64("2020-02-20") else r for r in future]
    for name, data in {"f": future, "g": gap}.items():
        write(tmp_path / f"{name}.csv", [r if ids else (r[0], *r[2:]) for r in data],
              "date,shop,sales,promo" if ids else "date,sales,promo")  # fmt: skip
    said = "column 'sales' is empty .*if the last rows are the future, put them into a file of their own, .*"
    with pytest.raises(tr.InputError, match=said + "--future, .*--future-file; else mend it"):
        read_panel(tmp_path / "f.csv", ForecastOptions(target="sales", **more))
    with pytest.raises(tr.InputError, match="is empty .*: mend it, or give --missing"):
        read_panel(tmp_path / "g.csv", ForecastOptions(target="sales", **more))


def test_networks_that_are_not_believed_are_told(tmp_path, panel):
    result = invoke(
        "train", panel, "--task", "forecast", "--hidden", 3, "--steps", 4, "--eval-every", 2, "--horizon", 3,
        "--window", 6, "--id-column", "shop", "--target", "sales", "--out", tmp_path / "r",
    )  # fmt: skip
    log = tr.Run(tmp_path / "r").log
    assert f"trust {log[-1]['trust']:.4f}" in result.output
    figures = dict.fromkeys(("rmse", "mae", "smape", "mase"), 2.0) | {"coverage": 0.9, "interval": 0.9}
    figures |= {"horizon": 3, "crps": 1.0}
    least = "the networks gained nothing on the rows that choose, and are not believed"
    for trust in (0.0, 0.5):
        assert (least in " ".join(Forecasting.lines({**figures, "trust": trust}))) == (trust == 0)


def test_what_is_measured_on_some_forecasts_stands_beside_the_model_there():
    names = ("", "persistence_", "seasonal_naive_", "ets_", "theta_", "same_")
    figures = {f"{p}{k}": 10.0 + i for i, p in enumerate(names) for k in ("rmse", "mae", "smape", "mase")}
    figures |= dict(coverage=0.9, interval=0.9, horizon=3, crps=1.0, measured=40)
    lines = list(Forecasting.lines(figures))
    assert [line[:16].strip() for line in lines[1:4]] == ["model", "persistence", "seasonal naive"]
    assert lines[4].startswith("on 40 of these forecasts")
    assert [line.split()[:2] for line in lines[5:8]] == [["model", "15"], ["ETS", "13"], ["Theta", "14"]]


def test_columns_that_are_left_out_are_told_once(tmp_path, capsys):
    rows = [(d, 9 + i % 7, "rain") for i, d in enumerate(days(90))]
    path = write(tmp_path / "w.csv", rows, "date,sales,weather")
    run = tr.train(path, "forecast", out=tmp_path / "r", **SMALL)
    run.predict()
    run.evaluate()
    assert capsys.readouterr().err == ""
    assert invoke("predict", run.path).stderr == ""
    result = invoke(
        "train", path, "--task", "forecast", "--horizon", 3, "--steps", 1, "--out", tmp_path / "s"
    )
    assert "column 'weather' is left out: it holds 'rain', neither a number nor a date" in result.stderr
