"""Whatever holds a table (CSV, JSON, Excel, Parquet, a frame in memory) is read by the same rules: the same
cells have the same values, the same faults the same sentence.
"""

import datetime
import json

import numpy as np
import pandas as pd
import pytest

import tinyrnn as tr
from tinyrnn.base.errors import InputError
from tinyrnn.tasks.classify.options import ClassifyOptions
from tinyrnn.tasks.classify.reader import read_examples
from tinyrnn.tasks.forecast.options import SeriesOptions
from tinyrnn.tasks.forecast.series import read_panel, understood
from tinyrnn.tasks.forecast.task import Forecasting
from tinyrnn.tasks.signals.reader import read_signals
from tinyrnn.tasks.tables.files import frame_lines, read_table
from tinyrnn.tasks.tables.options import TableOptions

DAYS = pd.date_range("2020-01-01", periods=12, freq="D")
VALUES = (np.arange(12) * 5 % 7 + 0.5).tolist()
SMALL = dict(hidden=4, steps=2, quiet=True)


def as_csv(path, frame):
    frame.to_csv(path, index=False)


def as_jsonl(path, frame):
    path.write_text(frame_lines(frame))


def as_json(path, frame):
    path.write_text(json.dumps([json.loads(line) for line in frame_lines(frame).splitlines()]))


def as_parquet(path, frame):
    pytest.importorskip("pyarrow")
    frame.to_parquet(path)


def as_xlsx(path, frame):
    pytest.importorskip("openpyxl")
    frame.to_excel(path, index=False)


SOURCES = {"csv": as_csv, "jsonl": as_jsonl, "json": as_json, "parquet": as_parquet, "xlsx": as_xlsx}


@pytest.fixture(params=SOURCES)
def stored(request, tmp_path):
    def store(frame):
        path = tmp_path / f"a.{request.param}"
        SOURCES[request.param](path, frame)
        return path

    return store


@pytest.fixture
def sheet(tmp_path):
    pytest.importorskip("openpyxl")

    def store(rows):
        pd.DataFrame(rows).to_excel(tmp_path / "a.xlsx", header=False, index=False)
        return tmp_path / "a.xlsx"

    return store


def series(path, **how):
    (found,) = read_panel(path, SeriesOptions(**how))
    return found


def from_memory(tmp_path, data, **how):
    suffix, text = Forecasting.store(data)
    path = tmp_path / f"memory.{suffix}"
    path.write_text(text)
    return series(path, **how)


# ------------------------------------------------------------------ the same of every source


def test_dates_and_numbers(stored):
    found = series(stored(pd.DataFrame({"day": DAYS, "v": VALUES})))
    assert found.columns == ["v"] and found.values[:, 0].tolist() == VALUES
    assert found.shown(found.dates[[0, -1]]) == ["2020-01-01", "2020-01-12"]


@pytest.mark.parametrize("beside", ["time", "hour"])
def test_times_beside_days(stored, beside):
    hours = [i % 6 for i in range(12)]
    times = hours if beside == "hour" else [f"{h:02}:00:00" for h in hours]
    frame = pd.DataFrame({"date": DAYS[[i // 6 for i in range(12)]], beside: times, "v": VALUES})
    found = series(stored(frame), missing="interpolate")
    assert found.shown(found.dates[[1, 6]]) == ["2020-01-01 01:00", "2020-01-01 06:00"]


def test_units_that_differ_are_refused_by_every_task(stored):
    frame = pd.DataFrame({"id": list("aabb"), "x": ["5", "1%", "2", "3"], "label": list("uuvv")})
    path = stored(frame)
    with pytest.raises(InputError, match="column 'x' holds 5 in row ., 1%"):
        read_signals([path], ClassifyOptions(id_column="id"))
    with pytest.raises(InputError, match="column 'x' holds 5 in row"):
        read_panel(path, SeriesOptions(target="x", columns="x"))


def test_the_sign_of_fractions_is_asked_and_obeyed(stored):
    path = stored(pd.DataFrame({"v": ["1,234", "2,345"] * 4, "w": ["a", "b"] * 4}))
    if path.suffix != ".csv":  # where it separates columns it is in quotes
        with pytest.raises(InputError, match=r"'1,234', which is 1234 or 1.234: say by --decimal"):
            series(path, columns="v", target="v")
    found = series(path, columns="v", target="v", decimal=",")
    assert found.values[:2, 0].tolist() == [1.234, 2.345]


def test_empty_cells(stored):
    path = stored(pd.DataFrame({"v": [1.0, None, 3.0], "n": pd.array([1, 2, None], "Int64")}))
    with pytest.raises(InputError, match="row .: column 'v' is empty"):
        series(path, target="v")
    found = series(path, target="v", missing="interpolate")
    assert found.values.tolist() == [[1, 1], [2, 2], [3, 2]]


def test_labels_that_are_true_and_false(stored):
    texts, labels = read_examples([stored(pd.DataFrame({"text": ["a", "b"], "label": [True, False]}))])
    assert (texts, labels) == (["a", "b"], ["True", "False"])


def test_names_that_are_there_twice(tmp_path, sheet):
    (tmp_path / "a.csv").write_text("v,v\n1,2\n3,4\n")
    (tmp_path / "a.jsonl").write_text('{"v": 1, "v": 2}\n')
    for path in (tmp_path / "a.csv", sheet([["v", "v"], [1, 2], [3, 4]])):
        with pytest.raises(InputError, match="has 2 columns 'v': rename all but one"):
            read_table(path)
    with pytest.raises(InputError, match="row 1: 'v' is there twice"):
        read_table(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="the frame has 2 columns 'v'"):
        frame_lines(pd.DataFrame([[1, 2]], columns=["v", "v"]))


# ------------------------------------------------------------------ Excel


def test_a_sheet_without_names(sheet):
    path = sheet([[d.to_pydatetime(), v] for d, v in zip(DAYS, VALUES, strict=True)])
    for how in ({}, dict(header=False)):
        found = series(path, **how)
        assert (found.columns, len(found)) == (["2"], 12)
        assert any("the first row is data" in said for said in found.said)
    assert len(read_table(path, TableOptions(header=True))) == 11
    with pytest.raises(InputError, match="the first row .* may name the columns or be data: say by --header"):
        read_table(sheet([[2020, 2021], [1, 2], [3, 4]]))
    for header in (True, False):
        assert len(read_table(path.parent / "a.xlsx", TableOptions(header=header))) == 3 - header


def test_a_title_above_the_names(sheet):
    table = [["date", "v"], *([d.to_pydatetime(), v] for d, v in zip(DAYS, VALUES, strict=True))]
    with pytest.raises(InputError, match="its first row has 1 cell, 'Report', .* delete what stands above"):
        read_table(sheet([["Report", None], *table]))
    found = read_table(sheet([[None, None], *table]))  # rows keep their numbers
    assert (found.columns, found.rows[0], len(found)) == (["date", "v"], 3, 12)
    assert read_table(sheet([[None, "v"], [0, 5.5], [1, 6.5], [2, 7.5]])).columns == ["1", "v"]


def test_texts_of_a_sheet_that_other_readers_take_for_nothing(sheet):
    path = sheet([["text", "label"], ["a", "NA"], ["b", "None"], ["c", "x"]])
    assert read_examples([path])[1] == ["NA", "None", "x"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_files_that_name_their_columns(tmp_path, name):
    path = tmp_path / name
    SOURCES[name[2:]](path, pd.DataFrame({"v": [1, 2]}))
    with pytest.raises(InputError, match="names its columns in any case: say --header"):
        read_table(path, TableOptions(header=False))


# ------------------------------------------------------------------ frames


@pytest.mark.parametrize(("index", "shown"), [
    (DAYS, "2020-01-01"),
    (pd.Index(DAYS.astype(str), name="date"), "2020-01-01"),
    (DAYS.astype(str), "2020-01-01"),
    ([d.date() for d in DAYS], "2020-01-01"),
    (pd.Index(range(1990, 2002), name="year"), "1990"),
    ([f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(12)], "2000Q1"),
    (pd.period_range("2000Q1", periods=12, freq="Q"), "2000Q1"),
    (pd.period_range("2000-01", periods=12, freq="M"), "2000-01"),
    (pd.period_range("2000-01-03", periods=12, freq="W"), "2000-01-03"),
])  # fmt: skip
def test_every_index_that_holds_dates(tmp_path, index, shown):
    for data in (pd.DataFrame({"v": VALUES}, index=index), pd.Series(VALUES, index=index, name="v")):
        found = from_memory(tmp_path, data)
        assert (found.columns, len(found), found.values[:, 0].tolist()) == (["v"], 12, VALUES)
        assert found.shown(found.dates[:1]) == [shown]


@pytest.mark.parametrize("columns", [None, [2020], ["5"]])
def test_names_of_columns_that_are_numbers_are_no_values(tmp_path, columns):
    found = from_memory(tmp_path, pd.DataFrame(VALUES, columns=columns))
    assert len(found) == 12 and found.columns == [str((columns or [0])[0])]


def test_an_index_that_may_number_the_rows(tmp_path, capsys):
    with pytest.raises(InputError, match=r"may be years or number the rows: say rename_axis\('year'\), or"):
        Forecasting.store(pd.DataFrame({"v": VALUES}, index=list(range(1990, 2002))))
    found = from_memory(tmp_path, pd.DataFrame({"v": VALUES}, index=list(range(0, 24, 2))))
    assert found.calendar.kind == "rows" and "such as 0, is left out" in capsys.readouterr().err


def test_an_index_of_several_levels(tmp_path):
    index = pd.MultiIndex.from_product([["a", "b"], DAYS], names=["id", "date"])
    path = tmp_path / "a.jsonl"
    path.write_text(Forecasting.store(pd.DataFrame({"v": VALUES * 2}, index=index))[1])
    found = read_panel(path, SeriesOptions(id_column="id"))
    both = pd.DataFrame({"date": DAYS, "v": VALUES}).set_index("date", drop=False)
    assert from_memory(tmp_path, both).columns == ["v"]
    assert [s.id for s in found] == ["a", "b"] and "days from 2020-01-01 to 2020-01-12" in understood(found)


def test_columns_of_frames_are_chosen_as_those_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"Review": ["good", "bad"] * 20, "Stars": [5, 1] * 20, "sad": [0, 1] * 20, "n": 0})
    run = tr.train(frame, "classify", text_column="Review", label_column="Stars", **SMALL)
    assert run.model.labels == ["1", "5"]
    assert [p["text"] for p in run.predict(frame)] == frame.Review.tolist()
    assert len(run.predict(frame.Review)) == 40
    assert run.evaluate(frame).keys() == run.evaluate().keys()
    assert len(run.robust(frame, kinds="typo", strengths=0.1)) == 2
    with pytest.raises(InputError, match="has no column 'text': choose text_column= from 'Review'"):
        tr.train(frame, "classify", **SMALL)
    pairs = pd.DataFrame({"en": [f"a{i}" for i in range(12)], "fr": "b", "fr2": "c"})
    run = tr.train(pairs, "translate", source_column="en", target_column="fr,fr2", **SMALL)
    assert [p["source"] for p in run.predict(pairs)] == pairs.en.tolist()
    steps = pd.DataFrame({"g": np.repeat(np.arange(8), 4), "x": np.arange(32.0)})
    steps["label"] = np.where(steps.g % 2, "u", "v")
    run = tr.train(steps, "classify", id_column="g", **SMALL)
    assert [p["sequence"] for p in run.predict(steps)] == [str(i) for i in range(8)]


def test_forecasts_from_frames(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    days = pd.date_range("2020-01-01", periods=120).astype(str)
    walk = np.random.default_rng(0).standard_normal(120).cumsum()
    frame = pd.DataFrame({"v": walk}, pd.Index(days, name="date"))
    run = tr.train(frame, "forecast", horizon=3, **SMALL)
    for rows, first in ((120, "2020-04-30"), (100, "2020-04-10")):
        assert run.predict(frame[:rows])[0]["date"] == first
    assert run.evaluate(frame)["rmse"] > 0


# ------------------------------------------------------------------ sentences


@pytest.mark.parametrize(("name", "text", "said"), [
    ("a.csv", "d,v\n" + "x,1,\n" * 5, "delete the ',' at their ends, or name that column too"),
    ("a.csv", "d,v\n" + "x,1,125\n" * 5, "put numbers with ',' in them in double quotes"),
    ("a.csv", "# source: x\n# of 2020\nd,v\nx,1\ny,2\n", "begins with comments, '# source: x': delete"),
    ("a.json", "[1, 2]", "row 1: 1 is no JSON object"),
    ("a.json", "[\n", "a.json: Expecting .*, or the file one list of them"),
])  # fmt: skip
def test_what_stands_around_a_table(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_table(tmp_path / name)


# ------------------------------------------------------------------ sequences


def steps(tmp_path, *times, **how):
    rows = [f"a,{t},{i},u" for i, t in enumerate(times)] + [f"b,{t},{i},v" for i, t in enumerate(times[:2])]
    (tmp_path / "s.csv").write_text("\n".join(["id,t,x,label", *rows]) + "\n")
    found = read_signals([tmp_path / "s.csv"], ClassifyOptions(id_column="id", time_column="t", **how))
    return found.values[0][:, 0].tolist()


def test_times_that_order_the_rows(tmp_path):
    dates = "05/02/2020", "01/03/2020", "03/01/2020"
    with pytest.raises(InputError, match="say by --dayfirst or --no-dayfirst"):
        steps(tmp_path, *dates)
    assert steps(tmp_path, *dates, dayfirst=True) == [2, 0, 1]
    assert steps(tmp_path, *dates, dayfirst=False) == [1, 2, 0]
    assert steps(tmp_path, "10:10:00", "10:9:00", "10:11:30") == [1, 0, 2]
    assert steps(tmp_path, "0 days 00:00:01.3", "0 days 00:00:01.2", "1 day 00:00:00") == [1, 0, 2]
    with pytest.raises(InputError, match="goes back to 00:01:00 in sequence a, which may be the day after"):
        steps(tmp_path, "23:58:00", "23:59:00", "00:01:00")
    with pytest.raises(InputError, match="twice in sequence a"):
        steps(tmp_path, "10:00", "10:00", "10:01")


def test_times_of_python_and_labels_of_bytes(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"id": ["a", "a", "b"], "t": [datetime.time(9), datetime.time(8), datetime.time(7)]})
    frame["x"], frame["label"] = [1.0, 2.0, 3.0], [b"u", b"u", b"v"]
    frame.to_parquet(tmp_path / "a.parquet")
    found = read_signals([tmp_path / "a.parquet"], ClassifyOptions(id_column="id", time_column="t"))
    assert found.values[0][:, 0].tolist() == [2, 1] and found.fields["label"] == ["u", "v"]
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3)), y=np.array([b"a", b"b"]))
    assert read_signals([tmp_path / "a.npz"], ClassifyOptions()).fields["label"] == ["a", "b"]
    (tmp_path / "b.npz").write_text("no arrays")
    with pytest.raises(InputError, match="it is no file of NumPy"):
        read_signals([tmp_path / "b.npz"], ClassifyOptions())
