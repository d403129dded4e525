"""Tables as people have them: each way to write one has its right values, or a question with both."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

from tinyrnn.base.errors import InputError
from tinyrnn.tasks.tables.dates import date_column, read_dates
from tinyrnn.tasks.tables.files import from_frame, is_table, read_table
from tinyrnn.tasks.tables.numbers import Notation, is_missing, is_numeric, units_of
from tinyrnn.tasks.tables.options import DateOptions, TableOptions


@pytest.fixture
def table(tmp_path):
    def make(text, name="data.csv", wanted=(), **how):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table(path, TableOptions(**how), wanted=wanted)

    return make


def rows(table):
    return [list(row) for row in table.frame.itertuples(index=False)]


# ------------------------------------------------------------------ columns


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_what_separates_columns_is_found(table, separator):
    text = (
        "\n".join(separator.join(row) for row in (("date", "sales"), ("2020-01", "3"), ("2020-02", "4.5")))
        + "\n"
    )
    found = table(text)
    assert found.columns == ["date", "sales"] and rows(found) == [["2020-01", "3"], ["2020-02", "4.5"]]
    assert bool(found.said) == (separator != ",")  # what is not the rule of the ending is said


def test_semicolons_with_decimal_commas(table):
    found = table("date;sales;price\n2020-01-01;1.234,5;0,5\n2020-01-02;2.000,25;1,75\n")
    notation = Notation.of(found, ["sales", "price"])
    assert notation.decimal == "," and "','" in notation.said
    assert notation.values(found.frame["sales"]).tolist() == [1234.5, 2000.25]
    assert notation.values(found.frame["price"]).tolist() == [0.5, 1.75]


def test_decimal_commas_in_one_column_are_no_separators(table):
    found = table("value\n1,5\n2,5\n3,75\n")
    assert found.columns == ["value"]
    assert Notation.of(found, ["value"]).values(found.frame["value"]).tolist() == [1.5, 2.5, 3.75]


def test_texts_with_commas_in_one_column(table):
    found = table('text\nyes, well\nno; that, is, it\n"quite" so\n')
    assert rows(found) == [["yes, well"], ["no; that, is, it"], ['"quite" so']]


def test_two_ways_to_read_a_file_are_a_question(table):
    with pytest.raises(InputError, match=r"several ways.*','.*';'.*--separator"):
        table("a,b;c\nx,y;z\nu,v;w\n")
    assert table("a,b;c\nx,y;z\nu,v;w\n", separator=";").columns == ["a,b", "c"]


def test_what_stands_above_the_names_is_named(table):
    with pytest.raises(InputError, match="first row has 1 cells, those below have 3"):
        table("Report of 2020\ndate;a;b\n2020-01-01;x;3\n2020-01-02;y;4\n2020-01-03;y;5\n")


def test_rows_with_too_many_or_too_few_cells_are_named(table):
    with pytest.raises(
        InputError, match="row 3 has 3 cells, the first row has 2: put texts in double quotes"
    ):
        table("label,text\n0,fine\n1,I saw it, and it was great\n")
    with pytest.raises(InputError, match="row 3 has 1 cells, the first row has 2"):
        table("a,b\n1,2\n3\n5,6\n7,8\n")


def test_blank_rows_do_not_count_but_are_counted(table):
    found = table("a,b\n\n1,2\n,\n3,4\n")
    assert rows(found) == [["1", "2"], ["3", "4"]] and found.rows == [3, 5]


def test_quotes_of_a_tab_separated_file_merge_no_rows(table):
    found = table('a\tb\n"so he said\t1\nand left"\t2\n', "data.tsv")
    assert rows(found) == [['"so he said', "1"], ['and left"', "2"]] and "quotes" in found.said[0]
    found = table('a\tb\n"with a\ttab"\t1\n"he said ""no"""\t2\n', "data.tsv")
    assert rows(found) == [["with a\ttab", "1"], ['he said "no"', "2"]]


def test_line_ends_within_quotes(table):
    found = table('text,label\n"one\ntwo",1\nthree,0\n')
    assert rows(found) == [["one\ntwo", "1"], ["three", "0"]] and found.rows == [2, 3]


def test_a_lone_return_is_a_part_of_its_cell(table):
    assert rows(table("a,b\r\nx\ry,1\r\nz,2\r\n")) == [["x\ry", "1"], ["z", "2"]]
    assert rows(table("a,b\rx,1\ry,2\r")) == [["x", "1"], ["y", "2"]]  # as on a Macintosh of old


def test_long_cells(table):
    long = "word " * 50_000
    assert rows(table(f'text,label\n"{long}",1\nb,0\n'))[0] == [long, "1"]


def test_unfinished_quotes_are_named(table):
    with pytest.raises(InputError, match="row"):
        table('text,label\n"one,1\ntwo,0\nthree,1,2\n')


def test_quotes_are_judged_by_the_whole_file(table):
    late = "a\tb\n" + "".join(f"{i}\t{i}\n" for i in range(60_000)) + '"so\tx\nit"\ty\n'
    found = table(late, "data.tsv")
    assert rows(found)[-2:] == [['"so', "x"], ['it"', "y"]]
    with pytest.raises(InputError, match=r"row 3: .*mend the quotes"):
        table('a,b\n"x, y",1\n"x" y,2\n')
    assert rows(table('a,b\nx,1\n"x" y,2\n')) == [["x", "1"], ['"x" y', "2"]]


def test_line_ends_within_quotes_where_every_line_has_its_cells(table):
    found = table('label,text\n1,"one\ntwo, three"\n0,four\n')
    assert rows(found) == [["1", "one\ntwo, three"], ["0", "four"]]


def test_private_characters_are_no_returns(table):
    assert rows(table("a,b\r\nx\ry\ue000\ue00d,1\r\n")) == [["x\ry\ue000\ue00d", "1"]]


def test_separators_of_several_characters(table):
    assert rows(table("a || b\nx, y || z\n", separator=" || ")) == [["x, y", "z"]]
    for separator in ("", "\n", '"'):
        with pytest.raises(InputError, match="give what stands between columns"):
            table("a,b\n1,2\n", separator=separator)


def test_the_separator_that_excel_writes_above_the_first_row(table):
    for first in ("sep=;", '"sep=;"'):
        found = table(f"{first}\r\na,b;c\r\nx;y,z\r\n")
        assert found.columns == ["a,b", "c"] and rows(found) == [["x", "y,z"]] and found.rows == [3]
    with pytest.raises(InputError, match="is empty"):
        table("sep=;\n\n")


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet"])
@pytest.mark.parametrize(
    "data", [b"", b"no such file", b"PAR1" + b"x" * 50 + b"PAR1", b"PK\x03\x04" + b"x" * 50]
)
def test_damaged_files_of_other_programs(table, name, data):
    with pytest.raises(
        InputError, match=rf"{name} is no (xlsx|parquet) file that pandas can read .*: save it anew"
    ):
        table(data, name)


def test_columns_without_a_name_have_a_number(table):
    assert table(",a,b\n0,x,y\n1,z,u\n").columns == ["1", "a", "b"]
    assert table("2020-01,\n2020-02,6\n2020-03,7\n").columns == ["1", "2"]


def test_wanted_names_find_the_way_whatever_the_rows_hold(table):
    with pytest.raises(InputError, match="row 2 has 3 cells, the first row has 2"):
        table("label,text\n0,a, b\n1,c, d, e\n", wanted=("text", "label"))


# ------------------------------------------------------------------ the first row


def test_a_first_row_of_data_names_nothing(table):
    found = table("2020-01-01,5\n2020-01-02,6\n2020-01-03,7\n")
    assert found.columns == ["1", "2"] and len(found) == 3 and "first row is data" in found.said[0]
    assert table("2020-01-01,5\n2020-01-02,6\n", header=True).columns == ["2020-01-01", "5"]


def test_years_as_names_are_a_question(table):
    text = "country,2019,2020\nA,1,2\nB,3,4\n"
    with pytest.raises(InputError, match=r"--header or --no-header"):
        table(text)
    assert table(text, header=True).columns == ["country", "2019", "2020"]
    assert table(text, header=False).columns == ["1", "2", "3"]


def test_columns_that_are_wanted_name_the_way(table):
    assert table("label,text\n0,good; fine\n1,bad; poor\n", wanted=("text", "label")).columns == [
        "label",
        "text",
    ]


# ------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("cell", "decimal", "value"),
    [
        ("1,234.5", ".", 1234.5), ("1.234,5", ",", 1234.5), ("1 234,5", ",", 1234.5),
        ("1'234.5", ".", 1234.5), ("1\u202f234", ".", 1234), ("$1,234", ".", 1234), ("-$5", ".", -5),
        ("$-5", ".", -5), ("(3.50)", ".", -3.5), ("12 %", ".", 12), ("3,5 €", ",", 3.5), ("EUR 7", ".", 7),
        ("−4", ".", -4), ("+.5", ".", 0.5), ("1e-3", ".", 1e-3), ("1,23,4", ".", np.nan),
        ("12 34", ".", np.nan), ("abc", ".", np.nan), ("(3", ".", np.nan), ("1.2.3", ".", np.nan),
        ("", ".", np.nan), ("1,234", ",", 1.234), (7, ".", 7), (True, ".", np.nan), (None, ".", np.nan),
    ],
)  # fmt: skip
def test_a_number_however_written(cell, decimal, value):
    np.testing.assert_equal(Notation(decimal).value(cell), value)


def test_thousands_alone_in_a_file_with_commas(table):
    found = table('day,sales\n1,"1,234"\n2,950\n3,"12,500"\n')
    notation = Notation.of(found, ["sales"])
    assert notation.values(found.frame["sales"]).tolist() == [1234, 950, 12500] and "1,234" in notation.said


def test_thousands_or_fractions_are_a_question(table):
    found = table("day;sales\n1;1,234\n2;5,678\n")
    with pytest.raises(
        InputError, match=r"row 2: column 'sales' holds '1,234', which is 1234 or 1.234.*--decimal"
    ):
        Notation.of(found, ["sales"])
    assert Notation.of(table("day;sales\n1;1,234\n2;5,67\n"), ["sales"]).decimal == ","
    assert Notation.of(table("day;sales\n1;1,234\n2;5,678\n", decimal="."), ["sales"]).decimal == "."


def test_two_signs_before_fractions_are_a_question(table):
    with pytest.raises(InputError, match=r"1.5 in row 2 and 2,5 in row 3.*--decimal"):
        Notation.of(table("a;b\nx;1.5\ny;2,5\n"), ["b"])


def test_units_of_a_column(table):
    assert units_of(table("a,b\nx,$1\ny,$2\n"), "b") == "$"
    with pytest.raises(InputError, match="bring all to one unit"):
        units_of(table("a,b\nx,12%\ny,0.5\n"), "b")
    with pytest.raises(InputError, match="bring all to one unit"):
        units_of(table("a,b\nx,$12\ny,€5\n"), "b")


def test_what_stands_for_nothing():
    assert all(map(is_missing, ["", " NA ", "?", "n/a", "NaN", None, np.nan, "-"])) and not is_missing("0")


def test_numeric_columns(table):
    found = table("a,b,c\nx,1,NA\ny,?,NA\nz,3,NA\n")
    assert [is_numeric(found, c, Notation()) for c in "abc"] == [False, True, False]


# ------------------------------------------------------------------ dates


def days(*texts):
    return np.array(texts, "datetime64[s]")


@pytest.mark.parametrize(
    ("cells", "instants", "unit"),
    [
        (("2020-01", "2020-02"), ("2020-01-01", "2020-02-01"), "M"),
        (("2020/1/31", "2020/2/1"), ("2020-01-31", "2020-02-01"), "D"),
        (("2020-01-31T06:00", "2020-01-31T07:00"), ("2020-01-31T06", "2020-01-31T07"), "m"),
        (("2020-01-31 06:00:01.5", "2020-01-31 07:00:00"), ("2020-01-31T06:00:01", "2020-01-31T07:00"), "s"),
        (("2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00"), ("2024-10-27T00", "2024-10-27T01"), "m"),
        (("2024-10-27T00:00:00.000Z", "2024-10-27T01:00:00.000Z"), ("2024-10-27T00", "2024-10-27T01"), "m"),
        (("31/01/2020", "01/02/2020"), ("2020-01-31", "2020-02-01"), "D"),
        (("01/31/2020", "02/01/2020"), ("2020-01-31", "2020-02-01"), "D"),
        (("31.01.20", "01.02.20"), ("2020-01-31", "2020-02-01"), "D"),
        (("1/31/2020 1:00 PM", "1/31/2020 2:00 PM"), ("2020-01-31T13", "2020-01-31T14"), "m"),
        (("06-Jan-2020", "07-Jan-2020"), ("2020-01-06", "2020-01-07"), "D"),
        (("6 January 2020", "7 January 2020"), ("2020-01-06", "2020-01-07"), "D"),
        (("Jan 6, 2020", "Feb 7, 2020"), ("2020-01-06", "2020-02-07"), "D"),
        (("Mon, 06 Jan 2020", "Tue, 07 Jan 2020"), ("2020-01-06", "2020-01-07"), "D"),
        (("Jan-2020", "Feb-2020"), ("2020-01-01", "2020-02-01"), "M"),
        (("2000Q1", "2000Q2"), ("2000-01-01", "2000-04-01"), "Q"),
        (("Q1 2000", "Q2 2000"), ("2000-01-01", "2000-04-01"), "Q"),
        (("2020-W01", "2020-W02"), ("2019-12-30", "2020-01-06"), "W"),
        (("2020-W01-3", "2020-W01-4"), ("2020-01-01", "2020-01-02"), "D"),
        (("20200131", "20200201"), ("2020-01-31", "2020-02-01"), "D"),
        (("1577836800", "1577840400"), ("2020-01-01T00", "2020-01-01T01"), "m"),
        (("1577836800000", "1577923200000"), ("2020-01-01", "2020-01-02"), "D"),
        (("1950", "1951"), ("1950-01-01", "1951-01-01"), "Y"),
    ],
)  # fmt: skip
def test_dates_however_written(table, cells, instants, unit):
    found = table("date;sales\n" + "".join(f"{c};{i}\n" for i, c in enumerate(cells)))
    assert date_column(found, DateOptions()) == ("date",)
    dates = read_dates(found, ("date",), DateOptions())
    np.testing.assert_array_equal(dates.values, days(*instants))
    assert dates.unit == unit


def test_dates_are_written_as_they_were_read(table):
    for cells in (("2000Q1", "2000Q2"), ("2020-W01", "2020-W02"), ("2020-01", "2020-02"), ("1950", "1951")):
        found = table("date,sales\n" + "".join(f"{c},{i}\n" for i, c in enumerate(cells)))
        dates = read_dates(found, ("date",), DateOptions())
        assert dates.shown(dates.values) == list(cells)


def test_numbers_are_no_dates(table):
    found = table("sales,other\n1577836800,5\n1577836100,6\n")
    assert date_column(found, DateOptions()) == ()
    assert date_column(table("a,b\n1950,1\n1951,2\n"), DateOptions()) == ()


def test_day_or_month_first_by_what_rises_and_what_is_regular(table):
    monthly = table("date,y\n01/01/2020,1\n01/02/2020,2\n01/03/2020,3\n01/04/2021,4\n")
    with pytest.raises(
        InputError, match=r"01/02/2020.*2020-02-01 or 2020-01-02.*--dayfirst or --no-dayfirst"
    ):
        read_dates(table("date,y\n01/01/2020,1\n01/02/2020,2\n01/03/2020,3\n"), ("date",), DateOptions())
    assert read_dates(monthly, ("date",), DateOptions(dayfirst=True)).values[1] == np.datetime64("2020-02-01")
    rising = table("date,y\n05/01/2020,1\n06/01/2020,2\n01/02/2020,3\n")  # the month first: it would fall
    assert read_dates(rising, ("date",), DateOptions()).values[2] == np.datetime64("2020-02-01")
    regular = table(
        "date,y\n01/01/2020,1\n01/04/2020,2\n01/07/2020,3\n01/10/2020,4\n"
    )  # quarters, or every third day
    with pytest.raises(InputError, match="--dayfirst"):
        read_dates(regular, ("date",), DateOptions())


def test_a_cell_that_is_no_date_is_named(table):
    found = table("date,y\n2020-01-01,1\n2020-01-02,2\nsoon,3\n")
    with pytest.raises(
        InputError, match=r"row 4: column 'date' holds 'soon', which is no date like 2020-01-01"
    ):
        read_dates(found, ("date",), DateOptions())
    with pytest.raises(InputError, match="row 3"):
        read_dates(table("date,y\n2020-02-28,1\n2020-02-30,2\n"), ("date",), DateOptions())


def test_offsets_in_some_rows_alone_are_named(table):
    found = table("date,y\n2020-01-01T00:00Z,1\n2020-01-01T01:00,2\n")
    with pytest.raises(InputError, match="row 3.*no offset"):
        read_dates(found, ("date",), DateOptions())


def test_hours_that_clocks_show_twice(table):
    hours = [
        "2024-10-27 00:00",
        "2024-10-27 01:00",
        "2024-10-27 02:00",
        "2024-10-27 02:00",
        "2024-10-27 03:00",
    ]
    found = table("date,y\n" + "".join(f"{h},1\n" for h in hours))
    dates = read_dates(found, ("date",), DateOptions(time_zone="Europe/Berlin"))
    assert (np.diff(dates.values).astype(int) == 3600).all() and dates.shown(dates.values) == hours
    with pytest.raises(InputError, match="Europe/Berlin"):
        read_dates(found, ("date",), DateOptions(time_zone="Mars"))


def test_a_format_is_obeyed(table):
    found = table("when,y\n2020|03|01,1\n2020|04|01,2\n")
    dates = read_dates(found, ("when",), DateOptions(date_format="%Y|%d|%m"))
    np.testing.assert_array_equal(dates.values, days("2020-01-03", "2020-01-04"))


@pytest.mark.parametrize(("offset", "hours"), [("-0500", (5, 6)), ("+0200", (-2, -1))])
def test_offsets_in_a_format_are_read(table, offset, hours):
    found = table(f"when,y\n01|2020 00:00 {offset},1\n01|2020 01:00 {offset},2\n")
    dates = read_dates(found, ("when",), DateOptions(date_format="%m|%Y %H:%M %z"))
    first = np.datetime64("2020-01-01T00", "s")
    np.testing.assert_array_equal(dates.values, first + np.array(hours) * np.timedelta64(3600, "s"))
    assert dates.zone == "UTC"


def test_a_column_each_for_year_month_and_day(table):
    found = table("Year,Month,Day,Hour,y\n2020,1,31,0,5\n2020,1,31,1,6\n")
    columns = date_column(found, DateOptions())
    assert columns == ("Year", "Month", "Day", "Hour")
    np.testing.assert_array_equal(
        read_dates(found, columns, DateOptions()).values, days("2020-01-31T00", "2020-01-31T01")
    )
    with pytest.raises(InputError, match="row 2: 2021-2-29 is no day"):
        read_dates(
            table("year,month,day,y\n2021,2,29,1\n2021,3,1,1\n"), ("year", "month", "day"), DateOptions()
        )


# ------------------------------------------------------------------ other files


def test_json_lines_keep_what_ends_no_line(table):
    found = table('{"text": "a\u2028b", "label": "x"}\n{"text": "c\u0085d", "label": "y"}\n', "data.jsonl")
    assert rows(found) == [["a\u2028b", "x"], ["c\u0085d", "y"]]
    with pytest.raises(InputError, match="row 2 has no 'label'"):
        table('{"text": "a", "label": "x"}\n{"text": "c"}\n', "data.jsonl")


def test_parquet_and_excel(tmp_path):
    frame = pd.DataFrame({"date": pd.date_range("2020-01-31", periods=3, freq="D"), "y": [1.5, 2.5, 3.5]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    for name in ("a.parquet", "a.xlsx"):
        found = read_table(tmp_path / name)
        assert found.columns == ["date", "y"] and found.frame["y"].tolist() == [1.5, 2.5, 3.5]
        dates = read_dates(found, date_column(found, DateOptions()), DateOptions())
        assert dates.shown(dates.values) == ["2020-01-31", "2020-02-01", "2020-02-02"]
    with pd.ExcelWriter(tmp_path / "b.xlsx") as writer:
        frame.to_excel(writer, sheet_name="one", index=False)
        frame.head(2).to_excel(writer, sheet_name="two", index=False)
    with pytest.raises(InputError, match=r"2 sheets \(one, two\).*--sheet"):
        read_table(tmp_path / "b.xlsx")
    assert len(read_table(tmp_path / "b.xlsx", TableOptions(sheet="two"))) == 2


def test_a_frame_with_its_index(tmp_path):
    frame = pd.DataFrame({"y": [1, 2]}, index=pd.period_range("2000Q1", periods=2, freq="Q"))
    found = from_frame("frame", frame)
    dates = read_dates(found, date_column(found, DateOptions()), DateOptions())
    assert dates.unit == "Q" and dates.shown(dates.values) == ["2000Q1", "2000Q2"]


def zipped(data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inner.csv", data)
        archive.writestr("__MACOSX/._inner.csv", b"x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("d.csv.gz", gzip.compress),
        ("d.csv.bz2", bz2.compress),
        ("d.csv.xz", lzma.compress),
        ("d.zip", zipped),
    ],
)
def test_compressed_tables(table, tmp_path, name, pack):
    found = table(pack(b"a,b\n1,2\n"), name)
    assert rows(found) == [["1", "2"]] and is_table(tmp_path / name)
    with pytest.raises(InputError, match="damaged"):
        table(pack(b"a,b\n" + b"1,2\n" * 1000)[:40], name)
    with pytest.raises(InputError, match="no such file|damaged"):
        table(b"a,b\n1,2\n", name)


@pytest.mark.parametrize("name", ["data.csv", "data.jsonl"])
def test_without_pandas(table, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"tables are read by pandas: pip install 'tinyrnn\[tables\]'"):
        table('{"a": 1}\n' if name.endswith("l") else "a,b\n1,2\n", name)


@pytest.mark.parametrize("dates", [("2020-01-06", "2020-01-07"), ("06-Jan-2020", "07-Jan-2020")])
def test_numbers_beside_dates_are_no_times_of_day(table, dates):
    """20.03 is a number, unless its column is named as times are, or days are there several times."""
    found = table(f"date,y\n{dates[0]},20.03\n{dates[1]},19.67\n")
    assert date_column(found, DateOptions()) == ("date",)
    assert read_dates(found, ("date",), DateOptions()).unit == "D"
    unique = table(f"date,sunrise\n{dates[0]},06:12\n{dates[1]},06:13\n")
    assert date_column(unique, DateOptions()) == ("date",)
    named = table(f"date,time,y\n{dates[0]},06.12,1\n{dates[1]},06.13,2\n")
    assert date_column(named, DateOptions()) == ("date", "time")
    several = table(f"date,at,y\n{dates[0]},06:12,1\n{dates[0]},07:12,2\n")
    assert date_column(several, DateOptions()) == ("date", "at")
    with pytest.raises(InputError, match="06.78"):
        read_dates(
            table(f"date,time,y\n{dates[0]},06.78,1\n{dates[1]},06.13,2\n"), ("date", "time"), DateOptions()
        )


def test_messages_stay_short_and_long_integers_are_no_dates(table):
    long = "x" * 5000
    with pytest.raises(InputError, match="several ways") as error:
        table(f"a,b;c\n{long},y;z\nu,{long};w\n")
    assert len(str(error.value)) < 600
    assert date_column(table(f"date,y\n{'9' * 5001},1\n{'9' * 5002},2\n"), DateOptions()) == ()
    with pytest.raises(InputError, match="blank characters"):
        table(" " * 300_000 + "\na,b\n1,2\n")
    assert table(f"{'9' * 5001},b\n1,2\n3,4\n", header=True).columns[1] == "b"
    with pytest.raises(InputError, match="first row"):
        table(f"{'9' * 5001},b\n1,2\n3,4\n")
    assert date_column(table("date,y\n\u00b2\u00b2,1\n\u00b3\u00b3,2\n"), DateOptions()) == ()
