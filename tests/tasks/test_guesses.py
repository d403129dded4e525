"""What one column or one week alone would have a reader guess: the right values, or a question."""

import json
import math
from itertools import pairwise
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import tinyrnn as tr
from tinyrnn.tasks.classify.options import ClassifyOptions
from tinyrnn.tasks.forecast.calendar import Calendar
from tinyrnn.tasks.forecast.options import SeriesOptions
from tinyrnn.tasks.forecast.series import read_panel, read_series, understood
from tinyrnn.tasks.forecast.task import _crps
from tinyrnn.tasks.signals.reader import read_signals
from tinyrnn.tasks.tables.numbers import Notation, is_missing
from tinyrnn.training.trainer import Trainer


@pytest.fixture
def read(tmp_path):
    """A series of columns of cells."""

    def make(columns, **how):
        path = tmp_path / "a.csv"
        rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return read_series(path, **how)

    return make


def stamps(first, count, step):
    return pd.date_range(first, periods=count, freq=step).to_numpy().astype("datetime64[s]")


# ------------------------------------------------------------------ weeks


@pytest.mark.parametrize(("count", "step"), [(40, "h"), (100, "h"), (167, "h"), (150, "30min"), (40, "2h")])
def test_a_week_that_was_not_seen_is_not_closed(count, step):
    """A regular series that crosses a Sunday is of hours, not of hours of trading."""
    dates = stamps("2024-03-01", count, step)
    for zone in (None, "UTC"):
        found = Calendar.of([dates, dates], zone)
        assert found.kind == "seconds"
        np.testing.assert_array_equal(np.diff(found.dates(dates[-1], 3)), np.diff(dates[:4])[:2])


def test_an_outage_is_no_time_that_is_closed(read):
    dates = stamps("2024-03-01", 230, "h")
    cut = np.delete(dates, range(100, 130))
    assert Calendar.of([cut]).kind == "seconds"
    with pytest.raises(tr.InputError, match="30 rows of hours are missing"):
        read({"time": [str(d).replace("T", " ") for d in cut], "v": range(200)})


@pytest.mark.parametrize(("weeks", "words"), [(2, "days"), (3, "6 days a week")])
def test_one_sunday_without_a_row_is_not_closed(weeks, words):
    dates = stamps("2024-01-01", 7 * weeks - 1, "D")
    open_days = dates[(dates.astype("datetime64[D]").astype(int) + 3) % 7 < 6]
    assert len(open_days) == 6 * weeks and Calendar.of([open_days]).words == words


@pytest.mark.parametrize(
    ("step", "words", "season"),
    [("28D", "every 4 weeks", 13), ("MS", "months", 12), ("ME", "months", 12), ("QS", "quarters", 4)],
)
def test_four_weeks_are_no_month(step, words, season):
    dates = stamps("2020-01-01", 30, step)
    found = Calendar.of([dates])
    assert (found.words, found.seasons(30)) == (words, [season])
    assert (np.round(np.diff(found.index(dates))) == 1).all()


# ------------------------------------------------------------------ numbers that are no dates

N = 30
DAYS = [str(d)[:10] for d in stamps("2020-01-01", N, "D")]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("order_no", [202000001 + i for i in range(N)]),
        ("user_id", [10**9 + i for i in range(N)]),
        ("1", [1577836800 + 3600 * i for i in range(N)]),
    ],
)
def test_rising_numbers_of_the_first_column_are_a_question(read, name, cells):
    with pytest.raises(tr.InputError, match=rf"number or .* since 1970: .*none, or --date-column '{name}'"):
        read({name: cells, "v": range(N)}, target="v")
    assert read({name: cells, "v": range(N)}, target="v", date_column="none").columns == ["v", name]
    first = read({name: cells, "v": range(N)}, target="v", date_column=name).dates[0]
    assert first == np.array(cells[0]).astype("datetime64[s]")
    found = read({name: cells, "date": DAYS, "v": range(N)}, target="v")  # the whole table leaves one reading
    assert found.dates[0] == np.datetime64("2020-01-01") and found.columns == ["v", name]
    assert read({name: cells, "v": range(N)}, target=name).columns == [name, "v"]


def test_the_only_numbers_are_those_to_forecast(read):
    people = [226_000_000 + 1_200_000 * i for i in range(N)]
    assert read({"population": people}).values[:, 0].tolist() == people
    found = read({"year": range(1980, 1980 + N), "population": people})
    assert found.calendar.words == "years" and found.values[:, 0].tolist() == people


def test_prices_and_codes_are_no_months(read):
    prices = [f"18{50 + i % 9}.{i % 12 + 1}" for i in range(N)]
    found = read({"price": prices, "date": DAYS})
    assert found.columns == ["price"] and found.values[3, 0] == float(prices[3]) and found.season() == 7
    assert read({"price": prices}, target="price").values[:2, 0].tolist() == [1850.1, 1851.2]
    assert read({"value": ["1234.0"] * N}).values[:, 0].tolist() == [1234.0] * N
    codes = [f"1000-{i}" for i in range(1, N)]
    with pytest.raises(tr.InputError, match="'code' may hold dates, .* --date-column none"):
        read({"code": codes, "v": range(N - 1)})


def test_winters_are_years(read):
    winters = [f"{y}-{(y + 1) % 100:02}" for y in range(1990, 2011)]
    found = read({"season": winters, "v": range(21)})
    assert found.calendar.words == "years" and found.shown(found.dates[[0, -1]]) == ["1990", "2010"]
    assert "1990-91 is the year in which it begins" in understood([found])
    with pytest.raises(tr.InputError, match="'x', which is no date like 1991-92"):
        read({"season": ["x", *winters[1:]], "v": range(21)})


# ------------------------------------------------------------------ dates that became numbers

MONTHS = [(2019 + i // 12, i % 12 + 1) for i in range(N)]
NAMES = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@pytest.mark.parametrize("name", ["date", "time", "Monat"])
@pytest.mark.parametrize(
    "form", ["{0}{1:02}", "{1:02}.{0}", "{0}.{1:02}", "{0}-{2}", "{0}-{1}", "{2} {0}", "{0}/{1:02}"]
)
def test_months_of_a_column_that_is_named_so(read, name, form):
    cells = [form.format(y, m, NAMES[m - 1]) for y, m in MONTHS]
    found = read({name: cells, "v": range(N)}, target="v")
    assert found.columns == ["v"] and found.calendar.words == "months"
    assert found.shown(found.dates[[0, -1]]) == ["2019-01", "2021-06"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([43831 + i for i in range(N)], "a number or 2020-01-01 as spreadsheets number days"),
        ([f"{2000 + i / 12:.3f}" for i in range(N)], "a number or a part of the year 2000"),
        ([f"{1.5778e9 + 1e5 * i:.4e}" for i in range(N)], "a number or 2019-12-31 .* in seconds since 1970"),
        ([f"{19 + i // 12}-{NAMES[i % 12]}" for i in range(N)], "may hold dates, such as '19-Jan'"),
    ],
)
def test_numbers_of_a_column_that_is_named_as_dates_are_a_question(read, cells, said):
    twice = [c for c in cells for _ in "ab"]  # as of two series
    for given in (cells, twice):
        with pytest.raises(tr.InputError, match=f"column 'date' .*{said}"):
            read({"date": given, "v": range(len(given))}, target="v")
    with pytest.raises(tr.InputError, match="column 'date' "):
        read({"date": cells[::-1], "v": range(N)}, target="v")
    with pytest.raises(tr.InputError, match="column 'date' "):
        read({"date": [*cells[:5], "", *cells[6:]], "v": range(N)}, target="v", missing="interpolate")
    found = read({"date": cells, "v": range(N)}, target="v", date_column="none")
    assert found.calendar.kind == "rows"


@pytest.mark.parametrize("form", ["%Y%m%d", "%Y%m", "%m.%Y"])
def test_a_wrong_cell_among_numbers_that_are_dates_is_named(read, form):
    cells = [d.strftime(form) for d in pd.date_range("2020-01-31", periods=N, freq="ME")]
    with pytest.raises(tr.InputError, match=f"row 5: .*'{99 * 10**6}', which is no date like {cells[0]}"):
        read({"date": [*cells[:3], 99 * 10**6, *cells[4:]], "v": range(N)}, target="v")


def test_times_of_formats_in_full(read):
    cells = [d.strftime("%c") for d in pd.date_range("2020-01-01", periods=N, freq="h")]
    assert read({"at": cells, "v": range(N)}, date_format="%c").calendar.words == "hours"


def test_seconds_since_1970_written_with_a_fraction(read):
    found = read({"date": [f"{1577836800 + 3600 * i}.0" for i in range(N)], "v": range(N)}, target="v")
    assert found.columns == ["v"] and found.calendar.words == "hours"


def test_row_numbers_and_measures_are_inputs(read):
    found = read({"index": range(N), "time": [i % 7 for i in range(N)], "v": range(N)}, target="v")
    assert found.columns == ["v", "index", "time"]
    counted = read({"index": range(1500, 1500 + N), "v": range(N)}, target="v")
    assert counted.columns == ["v", "index"] and counted.calendar.kind == "rows"
    with pytest.raises(tr.InputError, match="'1500', which is a number or a date in a form"):
        read({"days": range(1500, 1500 + N), "v": range(N)}, target="v")
    found = read({"team": [f"Marketing {i % 3}" for i in range(N)], "v": range(N)}, target="v")
    assert found.columns == ["v"]


@pytest.mark.parametrize(
    ("columns", "words", "last"),
    [
        ({"Jahr": [y for y, _ in MONTHS], "Monat": [m for _, m in MONTHS]}, "months", "2021-06"),
        ({"yr": [y for y, _ in MONTHS], "mo": [m for _, m in MONTHS]}, "months", "2021-06"),
        ({"Year": [y for y, _ in MONTHS], "Month": [NAMES[m - 1] for _, m in MONTHS]}, "months", "2021-06"),
        ({"Year": [2000 + i // 4 for i in range(N)], "Quarter": [f"Q{i % 4 + 1}" for i in range(N)]},
         "quarters", "2007Q2"),
        ({"year": [2019 + (i + 350) // 365 for i in range(N)],
          "doy": [(i + 350) % 365 + 1 for i in range(N)]}, "days", "2020-01-15"),
        ({"date": [f"2020-01-{1 + i // 24:02}" for i in range(N)],
          "time": [f"{(i + 11) % 12 + 1}:00 {'AP'[i % 24 // 12]}M" for i in range(N)]},
         "hours", "2020-01-02 05:00"),
        ({"date": [f"2020-01-{1 + i // 24:02} 00:00:00" for i in range(N)],
          "time": [f"{i % 24:02}:00:00" for i in range(N)]}, "hours", "2020-01-02 05:00"),
        ({"date": [f"2020-01-{1 + (i - 1) // 24:02} {(i - 1) % 24 + 1:02}:00" for i in range(1, N + 1)]},
         "hours", "2020-01-02 06:00"),
        ({"date": [f"2020w{i}" for i in range(1, N + 1)]}, "weeks", "2020-W30"),
    ],
)  # fmt: skip
def test_dates_in_parts(read, columns, words, last):
    found = read({**columns, "v": range(N)}, target="v")
    assert found.columns == ["v"] and found.calendar.words == words
    assert found.shown(found.dates[[-1]]) == [last]


def test_spreadsheets_with_dates_and_times(tmp_path):
    at = pd.date_range("2020-01-01", periods=N, freq="h")
    frame = pd.DataFrame({"date": at.normalize(), "time": [t.time() for t in at], "v": range(N)})
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    found = read_series(tmp_path / "a.xlsx")
    assert found.columns == ["v"] and found.calendar.words == "hours" and found.dates[-1] == at[-1]


def test_weeks_of_a_format(read):
    for pattern, first in (("%Y-%W", "2020-01-06"), ("%Y-%U", "2020-01-05"), ("%G-%V", "2019-12-30")):
        found = read({"w": [f"2020-{i:02}" for i in range(1, N)], "v": range(N - 1)}, date_format=pattern)
        assert found.calendar.words == "weeks" and found.shown(found.dates[:1]) == [first]


# ------------------------------------------------------------------ what is said


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["2020-02-30", "2020-03-01", "2020-03-02"], "'2020-02-30', which is no date like 2020-03-01"),
        (["2020-01-01", "", "2020-01-03"], "row 3: column 'date' is empty: write a date like 2020-01-01"),
        (["2020-13-01", "2020-14-01"], "'2020-13-01', which is no date like 2012-01-31"),
    ],
)
def test_no_date_is_like_another(read, cells, said):
    with pytest.raises(tr.InputError, match=said):
        read({"date": cells, "v": range(len(cells))})


def test_the_date_that_asks_has_two_readings(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{m:02}/{m:02}/2020,{k},1" for m in (1,) for k in "ab"] + ["02/01/2020,a,1", "02/01/2020,b,1"]
    path.write_text("date,id,v\n" + "\n".join(rows))
    with pytest.raises(tr.InputError, match="02/01/2020, which is 2020-01-02 or 2020-02-01: .*--dayfirst"):
        read_panel(path, SeriesOptions(id_column="id"))


def test_fractions_of_a_second_are_refused_as_such(read, tmp_path):
    cells = [f"2020-01-01 00:00:{i // 10:02}.{i % 10}00" for i in range(N)]
    said = "00:00:00.000 and 2020-01-01 00:00:00.100, less than a second apart"
    with pytest.raises(tr.InputError, match=said):
        read({"time": cells, "v": range(N)})
    with pytest.raises(tr.InputError, match="less than a second apart"):
        read({"time": [1577836800000 + 100 * i for i in range(N)], "v": range(N)})
    path = tmp_path / "s.csv"
    path.write_text("id,t,x,label\n" + "".join(f"{k},{c},1,{k}\n" for k in "ab" for c in cells))
    with pytest.raises(tr.InputError, match="less than a second apart"):
        read_signals([path], ClassifyOptions(id_column="id", time_column="t"))


def test_days_with_offsets_that_change_say_what_helps(read):
    at = pd.bdate_range("2024-02-20", periods=40, tz="America/New_York")
    cells = [t.isoformat() for t in at]
    with pytest.raises(tr.InputError, match="missing.* --time-zone"):
        read({"date": cells, "v": range(40)})
    found = read({"date": cells, "v": range(40)}, time_zone="America/New_York")
    assert found.calendar.words == "business days"


def test_a_second_column_of_dates_is_called_so(read, capsys):
    read({"start": DAYS, "end": DAYS, "v": range(N)})
    assert "'end' is left out: it holds '2020-01-01', no number, and dates stand in" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(
    ("how", "cells"),
    [
        ({}, ["10:09:00", "10:9:30", "10:10:00"]),
        ({}, ["0 days 00:00:01", "0 days 00:00:02.5", "1 days 00:00:00"]),
        ({"dayfirst": True}, ["01/02/2020", "01/03/2020", "01/04/2020"]),
        ({"dayfirst": False}, ["01/02/2020", "01/03/2020", "01/04/2020"]),
        ({"date_format": "%d|%m"}, ["01|01", "02|01", "01|02"]),
    ],
)
def test_times_that_order_sequences(tmp_path, how, cells):
    path = tmp_path / "s.csv"
    rows = [f"{k},{cells[i]},{i},{k}" for k in "ab" for i in (2, 0, 1)]
    path.write_text("id,t,x,label\n" + "\n".join(rows))
    found = read_signals([path], ClassifyOptions(id_column="id", time_column="t", **how))
    assert [v[:, 0].tolist() for v in found.values] == [[0, 1, 2]] * 2
    if "dayfirst" in how:
        with pytest.raises(tr.InputError, match="--dayfirst or --no-dayfirst"):
            read_signals([path], ClassifyOptions(id_column="id", time_column="t"))


# ------------------------------------------------------------------ cells


@pytest.mark.parametrize("missing", ["interpolate", "zero"])
@pytest.mark.parametrize("empty", [range(10), range(20, 30), [5]])
def test_cells_that_are_filled_are_counted(read, missing, empty):
    cells = ["" if i in empty else i + 1 for i in range(N)]
    found = read({"date": DAYS, "v": cells}, missing=missing)
    said = understood([found])
    assert f"{len(empty)} cells without a number filled" in said and "none missing" not in said


def test_masked_cells_of_any_column_are_counted(read):
    other = ["" if i < 4 else i for i in range(N)]
    found = read({"date": DAYS, "v": range(N), "w": other}, target="v", missing="mask")
    assert "4 values masked" in understood([found])


def test_texts_among_numbers_are_named_where_they_are_filled(read, capsys):
    found = read({"date": DAYS, "v": ["12*", "n", "", *range(N - 3)]}, missing="zero")
    assert found.values[:4, 0].tolist() == [0, 0, 0, 0]
    said = " ".join(capsys.readouterr().err.split())
    assert "row 2: column 'v' holds '12*', which is no number (and 1 more): as if empty" in said
    assert "3 cells without a number filled" in understood([found])


@pytest.mark.parametrize("missing", ["interpolate", "zero", "mask"])
def test_a_series_without_any_number_is_left_out(tmp_path, capsys, missing):
    path = tmp_path / "a.csv"
    path.write_text(
        "date,id,v\n" + "".join(f"{d},{k},{'' if k == 'b' else 5}\n" for k in "abc" for d in DAYS)
    )
    panel = read_panel(path, SeriesOptions(id_column="id", missing=missing))
    assert [s.id for s in panel] == ["a", "c"] and (panel[0].values == 5).all()
    assert "series without any number in 'v' are left out: b" in " ".join(capsys.readouterr().err.split())


def test_an_empty_input_of_one_series_cannot_be_interpolated(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "date,id,v,w\n" + "".join(f"{d},{k},5,{'' if k == 'b' else 5}\n" for k in "ab" for d in DAYS)
    )
    with pytest.raises(tr.InputError, match="series b has no number in column 'w'"):
        read_panel(path, SeriesOptions(id_column="id", target="v", missing="interpolate"))


def test_what_pandas_has_for_nothing(tmp_path):
    assert all(map(is_missing, [pd.NA, pd.NaT, np.float32("nan"), None, np.datetime64("NaT"), " <NA> "]))
    assert not any(map(is_missing, [0, False, np.zeros(3), "a", [None]]))
    frame = pd.DataFrame({"date": DAYS, "id": "a", "v": pd.array([1, None] * 15, dtype="Int64")})
    frame.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(tr.InputError, match=r"row 3: column 'v' is empty \(and 14 more\)"):
        read_series(tmp_path / "p.parquet", id_column="id")
    assert read_series(tmp_path / "p.parquet", missing="mask").known[:2, 0].tolist() == [True, False]


def test_integers_beyond_every_float(tmp_path):
    assert Notation().value(10**400) == math.inf and Notation().value(-(10**400)) == -math.inf
    path = tmp_path / "a.jsonl"
    rows = [{"date": d, "v": 10**309 if i == 3 else i} for i, d in enumerate(DAYS)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(tr.InputError, match="row 4: column 'v' holds .* beyond 1e"):
        read_series(path)


# ------------------------------------------------------------------ figures and models


def test_crps_is_that_of_the_distributions():
    normal, rng = NormalDist(), np.random.default_rng(0)
    true, far = rng.standard_normal((1, 200_000)), normal.inv_cdf(0.95)
    said = np.stack([np.zeros_like(true), np.full_like(true, -far), np.full_like(true, far)])
    assert _crps(true, said, 0.9).mean() == pytest.approx(1 / math.sqrt(math.pi), rel=5e-3)
    # two halves: the integral of (F - 1)^2 beyond the truth and F^2 before it
    grid = np.linspace(-40, 40, 400_001)
    inside = np.array([normal.cdf(x / (2 if x < 0 else 5)) for x in grid.tolist()])
    said = np.array([[[0.0]], [[-2 * far]], [[5 * far]]])
    for y in (-3.0, 0.0, 4.0):
        exact = ((inside - (grid >= y)) ** 2).sum() * (grid[1] - grid[0])
        assert _crps(np.array([[y]]), said, 0.9).item() == pytest.approx(exact, rel=1e-4)
    point = np.array([[[1.0]], [[1.0]], [[1.0]]])  # of no width: the absolute error
    assert _crps(np.array([[3.0]]), point, 0.9).item() == pytest.approx(2.0)


SMALL = dict(hidden=3, steps=2, horizon=2, window=4, ensemble=1, val_fraction=0.3)


@pytest.mark.parametrize("head", ["poisson", "negative-binomial"])
def test_a_loss_below_zero_does_not_end_a_training(tmp_path, head):
    pytest.importorskip("scipy")
    counts = np.random.default_rng(0).poisson(20, 80)
    run = tr.train(counts, "forecast", head=head, out=tmp_path / "run", **SMALL)
    assert math.isfinite(run.evaluate()["rmse"])


@pytest.mark.parametrize(
    ("first", "well", "ill"),
    [(-19.2, [-19.161, -30, 0, 19], 20), (0.001, [0.9, -3], 2.1), (4, [11, 0], 12.1)],
)
def test_a_loss_that_rises_far_ends_a_training(first, well, ill):
    """By twice the first, or by 2 where that is near 0."""
    trainer = SimpleNamespace(first_loss=first, task=SimpleNamespace(rise=3.0), _advice=str)
    for loss in well:
        Trainer._check_loss(trainer, loss)
    with pytest.raises(tr.Diverged, match=f"rose to {ill:.3f} from {first:.3f}"):
        Trainer._check_loss(trainer, ill)


@pytest.fixture(scope="module")
def monthly(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monthly")
    rng = np.random.default_rng(0)
    for name, step in (("m", "MS"), ("h", "h"), ("m2", "MS")):
        dates = pd.date_range("2010-01-01", periods=80, freq=step)
        pd.DataFrame({"date": dates, "v": rng.random(80)}).to_csv(folder / f"{name}.csv", index=False)
    return folder, tr.train(str(folder / "m.csv"), "forecast", out=folder / "run", **SMALL)


@pytest.mark.parametrize("difference", [None, "1"])
def test_other_steps_than_those_of_training_are_refused(monthly, tmp_path, difference):
    folder, run = monthly
    if difference:
        run = tr.train(str(folder / "m.csv"), "forecast", out=tmp_path / "r", **SMALL, difference=difference)
    assert len(list(run.predict(str(folder / "m2.csv")))) == 2
    said = "h.csv has hours, the model learned from months"
    for ask in (run.predict, run.evaluate):
        with pytest.raises(tr.InputError, match=said):
            list(ask(str(folder / "h.csv")))
    with pytest.raises(tr.InputError, match=said):
        tr.train(str(folder / "h.csv"), "forecast", from_run=str(run.path), out=tmp_path / "n", steps=1)


def test_a_week_alone_tells_no_business_days(tmp_path):
    for name, count in (("a", 80), ("b", 5)):
        dates = pd.bdate_range("2024-01-01", periods=count)
        pd.DataFrame({"date": dates, "v": np.arange(count) % 7}).to_csv(tmp_path / f"{name}.csv", index=False)
    run = tr.train(str(tmp_path / "a.csv"), "forecast", out=tmp_path / "run", **SMALL)
    with pytest.raises(tr.InputError, match="has days, the model learned from business days: .* two weeks"):
        list(run.predict(str(tmp_path / "b.csv")))


def test_steps_of_trading_are_told_by_hours_and_days():
    weekdays = [t for t in pd.date_range("2024-01-01", periods=28 * 24, freq="h") if t.weekday() < 5]
    dates = np.array([t for t in weekdays if 9 <= t.hour < 17], "datetime64[s]")
    assert all(a < b for a, b in pairwise(dates.tolist()))
    for part in (dates, dates[:100], np.append(dates, dates[-1] + np.timedelta64(3600, "s"))):
        assert Calendar.of([part]).steps == "8 times a day on 5 days a week"
