"""Files of tables, read by pandas: CSV, TSV, JSON lines, Parquet, Excel, compressed or not.

What separates columns, and whether the first row names them, is found by trying every way: where two fit,
both are shown in an error that asks. What was found is in ``said``.
"""

import csv
import io
import itertools
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...base.compressed import inner_name, unpacked
from ...base.errors import InputError, TooLargeError, few, near, shown
from ..text.sources import text_of
from .numbers import Notation, looks_like_value
from .options import TableOptions

ENDINGS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".xls", ".ods")
_ENGINES = {".xlsx": "openpyxl", ".xls": "xlrd", ".ods": "odf"}
SEPARATORS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}
_TRIED = 1 << 18  # characters of a file that ways are tried on
_RETURN = "\ue00d"  # stands for a lone carriage return, which is a part of its cell
_USUAL = 0.5  # part of the rows that have as many cells as the first, of a file that is so separated


def pandas() -> Any:
    """The library.

    Raises:
        InputError: it is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise InputError("tables are read by pandas: pip install 'tinyrnn[tables]'") from None
    return pandas


@dataclass
class Table:
    """Rows and columns of a file.

    ``frame``: a pandas frame; of files of text its cells are texts, of others what these hold; ``rows``: the
    number of each row in the file, the first being 1; ``how``: as it was read; ``said``: what was found.
    """

    name: str
    frame: Any
    rows: list[int]
    how: TableOptions = field(default_factory=TableOptions)
    said: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        return list(self.frame.columns)

    def __len__(self) -> int:
        return len(self.frame)

    def column(self, name: str, flag: str) -> list[Any]:
        """The cells of a column that the option ``flag`` names; InputError if there is none."""
        if name not in self.columns:
            found = near(name, self.columns, f"choose {flag} from") if self.columns else "name its columns"
            raise InputError(f"{self.name} has no column {shown(name)}: {found}")
        return self.frame[name].tolist()

    def at(self, i: int, name: str) -> str:
        """Where a cell is, for messages."""
        return f"{self.name} row {self.rows[i]}: column {shown(name)}"


def is_table(path: Path) -> bool:
    """Whether a file is one, by its ending."""
    return os.path.isfile(path) and Path(inner_name(path)).suffix.lower() in ENDINGS


def read_table(path, how: TableOptions | None = None, encoding="utf-8", wanted=()) -> Table:
    """A file as a `Table`.

    Args:
        wanted: names of columns that there must be: a way to read the file that gives them is taken.

    Raises:
        InputError: names file and row of what cannot be read, or asks which of two ways is right.
    """
    path, how = Path(path), how or TableOptions()
    if not os.path.isfile(path):
        raise InputError(f"{path} does not exist or is no file: give a table ({', '.join(ENDINGS[:5])})")
    ending = Path(inner_name(path)).suffix.lower()
    if ending in (".parquet", ".xlsx", ".xls", ".ods"):
        table = _binary(path, ending, how)
    elif ending in (".jsonl", ".ndjson"):
        table = _json_lines(path, text_of(path, encoding))
    else:
        table = _separated(path, text_of(path, encoding), ending, how, wanted)
    twice = [name for name, n in Counter(table.columns).items() if n > 1]
    if twice:
        raise InputError(
            f"{path} has {Counter(table.columns)[twice[0]]} columns {shown(twice[0])}: rename all but one"
        )
    if not len(table):
        raise InputError(f"{path} has no rows of data: give a file whose first row names the columns")
    return table


# ------------------------------------------------------------------ text


@dataclass(frozen=True)
class _Way:
    """To take a text apart; ``quoted``: '"' encloses cells."""

    separator: str
    quoted: bool

    def records(self, text: str) -> list[list[str]]:
        """Cells of each row, blank ones included; csv.Error where quotes enclose no whole cells."""
        csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
        quoting = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        file = io.StringIO(text, newline="\n")
        return list(csv.reader(file, delimiter=self.separator, quoting=quoting, strict=True))

    @property
    def words(self) -> str:
        of = SEPARATORS.get(self.separator, repr(self.separator))
        return f"columns separated by {of}" + ("" if self.quoted else ", quotes as they are")


def _separated(path, text, ending, how, wanted) -> Table:
    text = text.replace("\r\n", "\n")
    if "\n" not in text.rstrip("\r"):  # lines as on a Macintosh of old
        text = text.replace("\r", "\n")
    text = text.replace("\r", _RETURN)  # which readers of CSV take for the end of a row
    if not text.strip():
        raise InputError(f"{path} is empty: give a file whose first row names the columns")
    way = _way(path, text, ending, how, wanted)
    frame = _frame(path, text, way)
    if _RETURN in text:
        frame = frame.map(lambda cell: cell.replace(_RETURN, "\r"))
    rows = [
        i for i, row in enumerate(frame.itertuples(index=False), 1) if any(c and str(c).strip() for c in row)
    ]
    frame = frame.iloc[[i - 1 for i in rows]].reset_index(drop=True)
    cells = frame.iloc[0].tolist()
    named = how.header
    if named is None:
        named = set(wanted) <= {c.strip() for c in cells} if wanted else not _is_data(path, frame, how)
        named = named or bool(wanted)  # a task that asks for names says what there is
    if named:
        frame = frame.iloc[1:].reset_index(drop=True).set_axis([c.strip() for c in cells], axis=1)
        rows = rows[1:]
    else:
        frame = frame.set_axis([str(i) for i in range(1, len(cells) + 1)], axis=1)
    said = [] if named else ["the first row is data: columns are named 1, 2, ... (--header: it names them)"]
    if (
        how.separator is None
        and len(cells) > 1
        and way.separator != ("\t" if ending in (".tsv", ".tab") else ",")
    ):
        said.insert(0, way.words)
    elif not way.quoted:
        said.insert(0, "quotes are as they are: they enclose no cells")
    return Table(str(path), frame, rows, how, said)


def _frame(path, text, way):
    """All rows as a frame of texts without names."""
    library = pandas()
    given = dict(sep=way.separator, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False)
    quoting = csv.QUOTE_MINIMAL if way.quoted else csv.QUOTE_NONE
    try:
        widths = [len(row) for row in way.records(text)]
    except csv.Error as error:
        raise InputError(f"{path}: {error}: mend the quotes") from None
    width = next(n for n in widths if n)
    for i, n in enumerate(widths, 1):
        if n not in (0, width):
            first = f"the first row has {width}"
            mend = "put texts in double quotes, or mend the row" if n > width else "mend or delete the row"
            raise InputError(f"{path} row {i} has {n} cells, {first}: {mend}")
    try:
        return library.read_csv(
            io.StringIO(text, newline="\n"), names=range(width), quoting=quoting, lineterminator="\n", **given
        ).fillna("")
    except library.errors.ParserError as error:
        why = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise InputError(f"{path}: {why}: mend the quotes in that row") from None
    except MemoryError:
        raise TooLargeError(f"{path} does not fit into memory: give a part of it") from None


def _way(path, text, ending, how, wanted) -> _Way:
    """How a text is taken apart."""
    head = text[:_TRIED]
    cut = len(head) < len(text)
    head = head[: head.rfind("\n") + 1] if cut and "\n" in head else head
    given = None if how.separator is None else how.separator.replace("\\t", "\t")
    if given is not None and len(given) != 1:
        raise InputError(f"--separator is {shown(given)}: give one character, or leave it out")
    fits = [_fit(s, head, cut) for s in ([given] if given else SEPARATORS)]
    if given:
        return fits[0].way
    usual = "\t" if ending in (".tsv", ".tab") else ","
    found = [f for f in fits if f.share == 1 and f.width > 1]
    found = [f for f in found if set(wanted) <= f.names] or found if wanted else found
    if len(found) > 1:
        best = max(f.clean for f in found)
        found = [f for f in found if f.clean == best]
    if len(found) > 1:
        ways = " or ".join(f"{f.way.words}: {few(f.records[-1], 4)}" for f in found)
        raise InputError(f"{path} can be read in several ways, {ways}: say which by --separator")
    if found:
        return found[0].way
    near = max(fits, key=lambda f: (f.share if f.width > 1 else 0, f.way.separator == usual))
    if near.width > 1 and near.share >= _USUAL:
        return near.way  # whoever reads it all names the row that is wrong
    below = [f for f in fits if f.below > 1]
    lines = [line for line in head.split("\n") if line.strip()]
    if below and not all(looks_like_value(line) for line in lines[1:]):
        first, n = below[0].width, below[0].below
        mend = "delete what stands above the names of the columns"
        raise InputError(
            f"{path}: its first row has {first} cells, those below have {n} ({below[0].way.words}): {mend}"
        )
    whole = next((f for f in fits if f.share == 1), None)  # one column
    if whole is not None and whole.way.quoted:
        return whole.way
    return _Way("\x1f", False)


@dataclass
class _Fit:
    """How well a way fits: ``share`` of the rows have as many cells as the first, ``width``."""

    way: _Way
    records: list[list[str]]

    @property
    def width(self) -> int:
        return len(self.records[0])

    @property
    def share(self) -> float:
        return sum(len(r) == self.width for r in self.records) / len(self.records)

    @property
    def below(self) -> int:
        """Of three rows or more below the first, how many cells all of them have; 1: they differ."""
        widths = {len(r) for r in self.records[1:]}
        return widths.pop() if len(widths) == 1 and len(self.records) > 3 else 1

    @property
    def merged(self) -> bool:
        """Whether quotes enclose ends of lines."""
        return any("\n" in cell for r in self.records for cell in r)

    @property
    def names(self) -> set[str]:
        return {cell.strip() for cell in self.records[0]}

    @property
    def clean(self) -> float:
        """The part of the cells below the first row that are numbers or dates."""
        cells = list(itertools.chain.from_iterable(self.records[1:101]))
        return sum(looks_like_value(c) for c in cells) / max(len(cells), 1)


def _fit(separator, head, cut) -> _Fit:
    """The better of two ways: with quotes that enclose cells, or with quotes as they are."""
    fits = []
    for quoted in (True, False):
        try:
            records = [r for r in _Way(separator, quoted).records(head) if any(c.strip() for c in r)]
        except csv.Error:
            continue
        fits.append(
            _Fit(_Way(separator, quoted), records[:-1] if cut and quoted and len(records) > 1 else records)
        )
    if len(fits) == 1:  # a cut may end inside of quotes
        return fits[0]
    quoted, plain = fits
    misread = quoted.merged or quoted.share < 1  # quotes that enclose no end of a line are quotes
    return plain if misread and plain.share == 1 and '"' in head else quoted


def _is_data(path, frame, how) -> bool:
    """Whether the first row looks like those below it: a number or a date in each column of such."""
    below = frame.iloc[1:201]
    like = [below[c].map(looks_like_value).mean() > 0.5 if len(below) else False for c in frame.columns]
    first = [looks_like_value(c) for c in frame.iloc[0]]
    of_values = [here for here, column in zip(first, like, strict=True) if column]
    if not of_values or not any(of_values):
        return False
    years = [int(c) for c in frame.iloc[0] if str(c).strip().isdigit() and 1800 <= int(c) <= 2200]
    if not all(of_values) or (len(years) == sum(first) and len(years) > 1):
        row = few(frame.iloc[0].tolist(), 4)
        ask = "say by --header or --no-header"
        raise InputError(f"{path}: the first row ({row}) may name the columns or be data: {ask}")
    return True


# ------------------------------------------------------------------ other files


def _json_lines(path, text) -> Table:
    objects, rows = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} row {number}: {error}: every row must be one JSON object") from None
        if not isinstance(row, dict):
            raise InputError(f"{path} row {number}: {line[:40]} is no JSON object: write one a row")
        if objects and (lacks := objects[0].keys() - row.keys()):
            raise InputError(
                f"{path} row {number} has no {shown(min(lacks))}, which the first row has: add it"
            )
        objects.append(row)
        rows.append(number)
    library = pandas()
    frame = library.DataFrame(objects, dtype=object) if objects else library.DataFrame()
    return Table(str(path), frame, rows)


def _binary(path, ending, how) -> Table:
    library = pandas()
    try:
        with unpacked(path) as file:
            data = io.BytesIO(file.read())
        if ending == ".parquet":
            frame, said = library.read_parquet(data), []
        else:
            frame, said = _sheet(
                path, library.read_excel(data, sheet_name=None, dtype=object, engine=_ENGINES[ending]), how
            )
    except ImportError as error:
        raise InputError(f"{path}: {error}: pip install 'tinyrnn[tables]'") from None
    except (ValueError, OSError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is no {ending[1:]} file that pandas can read ({error}): save it anew"
        ) from None
    return from_frame(str(path), frame, said)


def _sheet(path, sheets, how):
    full = {name: frame for name, frame in sheets.items() if len(frame)}
    if how.sheet is not None and how.sheet not in sheets:
        raise InputError(f"{path} has no sheet {shown(how.sheet)}: {near(how.sheet, sheets, 'choose from')}")
    if how.sheet is None and len(full) > 1:
        raise InputError(f"{path} has {len(full)} sheets ({few(full)}): choose one by --sheet")
    name = how.sheet or next(iter(full or sheets))
    frame = sheets[name].dropna(how="all")
    return frame, [f"sheet {name}"] if len(sheets) > 1 else []


def from_frame(name: str, frame: Any, said=()) -> Table:
    """A `Table` of a pandas frame, whose index becomes a column where it has a name or holds dates."""
    library = pandas()
    index = frame.index
    if not isinstance(index, library.RangeIndex) and (
        any(n is not None for n in index.names)
        or isinstance(index, library.DatetimeIndex | library.PeriodIndex)
    ):
        frame = frame.rename_axis([n or "date" for n in index.names]).reset_index()
    frame = frame.set_axis([str(c).strip() for c in frame.columns], axis=1).reset_index(drop=True)
    return Table(name, frame, list(range(2, len(frame) + 2)), TableOptions(), list(said))
