"""Series as people have them in tables: what is read, what is asked, and rows that are missing."""

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.forecast.options import SeriesOptions
from tinyrnn.tasks.forecast.series import read_panel, read_series, understood


@pytest.fixture
def series(tmp_path):
    def make(dates, values=None, head="date,v", name="a.csv", more=lambda i: "", **how):
        values = range(len(dates)) if values is None else values
        rows = "".join(f"{d},{v}{more(i)}\n" for i, (d, v) in enumerate(zip(dates, values, strict=True)))
        (tmp_path / name).write_text(f"{head}\n{rows}", encoding="utf-8")
        return read_series(tmp_path / name, **how)

    return make


def days(first, count, unit="D", step=1):
    return [str(np.datetime64(first, unit) + step * i).replace("T", " ") for i in range(count)]


QUARTERS = [f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(24)]


@pytest.mark.parametrize(
    ("dates", "how", "words", "season", "ahead"),
    [
        ([f"{d[8:]}/{d[5:7]}/{d[:4]}" for d in days("2020-01-01", 60)], {}, "days", 7, "2020-03-01"),
        ([f"{d[8:]}-Jan-2020" for d in days("2020-01-06", 20)], {}, "days", 7, "2020-01-26"),
        (QUARTERS, {}, "quarters", 4, "2006Q1"),
        ([f"2020-W{w:02}" for w in range(1, 40)], {}, "weeks", 52, "2020-W40"),
        ([f"{d}:00:00.000Z" for d in days("2020-01-01T00", 48, "h")], {}, "hours", 24, "2020-01-03 00:00"),
        ([1577836800 + 3600 * i for i in range(48)], {}, "hours", 24, "2020-01-03 00:00"),
        ([1577836800000 + 86_400_000 * i for i in range(30)], {}, "days", 7, "2020-01-31"),
        (range(1950, 1980), {"date_column": "date"}, "years", 1, "1980"),
        (days("2020-01-06 00:00", 200, "m", 15), {}, "every 15 minutes", 96, "2020-01-08 02:00"),
    ],
)
def test_dates_give_frequency_season_and_what_comes_next(series, dates, how, words, season, ahead):
    found = series(dates, **how)
    assert found.calendar.words == words and found.season() == season
    assert found.shown(found.future(1)) == [ahead]
    said = understood([found])
    assert f"{words} from {found.shown(found.dates[:1])[0]} to " in said and "none missing" in said


def test_notation_and_separators_are_those_of_the_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Monat;Umsatz\n" + "".join(f"01.{m:02}.2020;1.{m:03},5 €\n" for m in range(1, 13)))
    found = read_series(path)
    assert found.values[:2, 0].tolist() == [1001.5, 1002.5] and found.season() == 12
    assert "fractions after ','" in understood([found]) and "Umsatz in €" in understood([found])
    path.write_text('date,sales,staff\n2020-01,"1,234",5\n2020-02,"2,345",6\n2020-03,"3,456",5\n')
    with pytest.raises(tr.InputError, match="--target from 'sales', 'staff'"):
        read_series(path)
    assert read_series(path, target="sales").values[:, 0].tolist() == [1234, 2345, 3456]


def test_columns_of_parts_are_dates_and_no_inputs(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("year,month,day,hour,y\n" + "".join(f"2020,1,1,{h},{h * h}\n" for h in range(24)))
    found = read_series(path)
    assert found.columns == ["y"] and found.calendar.words == "hours"
    path.write_text("Date;Time;CO\n" + "".join(f"10/03/2004;{h}.00.00;{h},5\n" for h in range(24)))
    found = read_series(path, dayfirst=True)
    assert found.calendar.words == "hours" and found.shown(found.future(1)) == ["2004-03-11 00:00"]
    path.write_text("Year,Quarter,y\n" + "".join(f"{2000 + i // 4},{i % 4 + 1},{i}\n" for i in range(12)))
    assert read_series(path).shown(read_series(path).future(1)) == ["2003Q1"]


@pytest.mark.parametrize("like", ["{0} mars 2020", "d{0}", "tag {0}", "2020|{0}"])
def test_dates_in_an_unknown_form_are_asked_for(series, like):
    dates = [like.format(i) for i in range(1, 20)]
    with pytest.raises(tr.InputError, match="column 'date' .* --date-format"):
        series(dates)
    assert series(dates, date_column="none").calendar.kind == "rows"


def test_other_texts_are_left_out_with_a_note(series, capsys):
    found = series(days("2020-01-01", 9), head="date,v,kind", more=lambda i: ",wet" if i % 2 else ",dry")
    assert found.columns == ["v"] and "column 'kind' is left out: it holds 'dry'" in capsys.readouterr().err


def test_clocks_that_change(series):
    """Hours of a clock in the week in which it is put back: 3 o'clock comes twice."""
    instants = np.datetime64("2024-10-20T22:00") + np.arange(24 * 14) * np.timedelta64(3600, "s")
    clock = [
        str(t + np.timedelta64(2 if i < 147 else 1, "h")).replace("T", " ")[:16]
        for i, t in enumerate(instants)
    ]
    with pytest.raises(tr.InputError, match="02:00 does not come after .* --time-zone"):
        series(clock)
    found = series(clock, time_zone="Europe/Berlin")
    assert found.calendar.words == "hours" and len(found) == 24 * 14 and found.filled == 0
    phase = found.phase(found.dates, 24)
    assert phase[100] == phase[100 + 24 * 7 + 1]  # the same hour of the clock
    step = found.calendar.position(found.dates) % 24
    assert step[100] == step[100 + 24 * 7 + 1] != step[100 + 24 * 7]
    with_offsets = [f"{c}:00+0{2 if i < 147 else 1}:00".replace(" ", "T") for i, c in enumerate(clock)]
    assert (series(with_offsets).dates == found.dates).all()
    days_of = series(days("2024-10-20", 20), time_zone="Europe/Berlin")  # one of them has 25 hours
    assert days_of.calendar.words == "days" and days_of.shown(days_of.future(1)) == ["2024-11-09"]


def trading(weeks=4):
    """Hours of weekdays from 9 to 16 o'clock."""
    return [f"{d} {h:02}:00" for d in days("2024-01-01", 7 * weeks)
            if np.is_busday(np.datetime64(d)) for h in range(9, 17)]  # fmt: skip


def test_hours_of_trading_are_a_calendar_of_their_own(series):
    found = series(trading())
    assert found.calendar.kind == "slots" and found.season() == 8 and found.filled == 0
    assert found.shown(found.future(9))[::8] == ["2024-01-29 09:00", "2024-01-30 09:00"]
    assert found.shown(found.future(1)) == ["2024-01-29 09:00"]  # from Friday to Monday
    phase = found.phase(found.dates, 8)
    assert phase[0] == phase[8] != phase[1]


@pytest.mark.parametrize(
    ("dates", "gone", "said"),
    [
        (QUARTERS, [9], "row 11: 1 row of quarters is missing, the first between 2002Q1 and 2002Q3"),
        (days("2020-01", 40, "M"), [5, 9, 10], "3 rows of months are missing, the first between 2020-05 and"),
        (days("2020-01-01", 40), [8], "1 row of days is missing, the first between 2020-01-08 and"),
        (days("2020-01-06", 40, step=7), [8], "1 row of weeks is missing"),
        (trading(), [20, 21], "2 rows of 40 times a week on 5 days are missing, the first between"),
        ([d for d in days("2020-01-01", 60) if np.is_busday(np.datetime64(d))], [12], "1 row of business"),
    ],
)  # fmt: skip
def test_missing_rows_are_named_and_filled_on_demand(series, dates, gone, said):
    kept = [i for i in range(len(dates)) if i not in gone]
    some = [dates[i] for i in kept]
    with pytest.raises(tr.InputError, match="--missing interpolate, zero, mask or skip") as raised:
        series(some, kept)
    assert said in str(raised.value)
    whole = series(dates)
    for missing in ("interpolate", "zero", "mask"):
        found = series(some, kept, missing=missing)
        np.testing.assert_array_equal(found.dates, whole.dates)
        assert found.filled == len(gone) and (~found.known).sum() == (len(gone) if missing == "mask" else 0)
        assert found.values[gone, 0].tolist() == ([0] * len(gone) if missing == "zero" else gone)
        assert f"{len(gone)} missing rows put in" in understood([found])
    skipped = series(some, kept, missing="skip")
    assert len(skipped) == len(some) and skipped.known.all()
    assert f"{len(gone)} missing rows skipped" in understood([skipped])


def test_cells_without_a_number_are_treated_alike(series):
    dates, cells = days("2020-01-01", 6), [0, 1, "", 3, "NA", 5]
    with pytest.raises(tr.InputError, match=r"row 4: column 'v' is empty \(and 1 more\).*--missing"):
        series(dates, cells)
    assert series(dates, cells, missing="interpolate").values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert series(dates, cells, missing="zero").values[:, 0].tolist() == [0, 1, 0, 3, 0, 5]
    assert series(dates, cells, missing="mask").known[:, 0].tolist() == [True, True, False, True, False, True]
    assert series(dates, cells, missing="skip").values[:, 0].tolist() == [0, 1, 3, 5]


def test_irregular_dates_are_asked_about(series):
    dates = [*days("2020-01-01 00:00", 20, "h"), "2020-01-01 19:10", "2020-01-01 20:00"]
    with pytest.raises(
        tr.InputError, match="are less than a step apart: make them regular, or give --missing skip"
    ):
        series(dates)
    assert len(series(dates, missing="skip")) == 22


def test_several_series_by_their_id(tmp_path):
    path = tmp_path / "panel.csv"
    rows = [f"{d},{k},{i}" for i, d in enumerate(days("2020-01-01", 12)) for k in ("north", "south")]
    path.write_text("date,shop,v\n" + "\n".join(rows))
    with pytest.raises(tr.InputError, match="does not come after .* give --id-column"):
        read_series(path)
    panel = read_panel(path, SeriesOptions(id_column="shop"))
    assert [s.id for s in panel] == ["north", "south"] and [len(s) for s in panel] == [12, 12]
    assert understood(panel).startswith("2 series, 24 rows, days from 2020-01-01 to 2020-01-12, none missing")
    path.write_text("date,shop,v\n" + "\n".join(r for r in rows if r != "2020-01-05,south,4"))
    with pytest.raises(tr.InputError, match="series south row .*: 1 row of days is missing"):
        read_panel(path, SeriesOptions(id_column="shop"))


def test_training_prints_what_was_understood(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "when;sales\n"
        + "".join(f"{d[8:]}.{d[5:7]}.{d[:4]};1,{i % 7}\n" for i, d in enumerate(days("2020-01-01", 90)))
    )
    small = "--task forecast --hidden 3 --steps 1 --horizon 2 --window 4".split()
    result = CliRunner().invoke(main, ["train", str(path), *small, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    flat = " ".join(result.output.split())
    for words in (
        "90 rows, days from 2020-01-01 to 2020-03-30, none missing",
        "columns separated by ';'",
        "season 7",
        "fractions after ','",
        "dates like 01.01.2020 with the day first",
    ):
        assert words in flat
