"""Labelled texts: CSV, TSV and JSONL files with a column of text and one of labels, or a folder of files
named after labels.
"""

import csv
import io
import json
import os
from pathlib import Path

from ...base.errors import InputError, few, shown
from ..text.sources import lines_of, text_of


def read_examples(
    paths, *, text_column="text", label_column="label", encoding="utf-8"
) -> tuple[list[str], list[str]]:
    """Texts and labels of files (``.csv``, ``.tsv``, ``.jsonl``), or of a folder: a file's name is the label
    of its lines.

    Raises:
        InputError: names file, row and column of what is missing or empty; or says that there is one label
            only.
    """
    if not paths:
        raise InputError(
            "--task classify needs data: a .csv, .tsv or .jsonl file, or a folder of files named after labels"
        )
    pairs = []
    for path in map(Path, paths):
        if not os.path.exists(path):
            raise InputError(f"{path} does not exist: give a .csv, .tsv or .jsonl file, or a folder")
        reader = _folder if os.path.isdir(path) else TABLES.get(path.suffix.lower())
        if reader is None:
            raise InputError(
                f"{path}: {path.suffix or 'a file without ending'} is not known: use .csv, .tsv, .jsonl or a "
                "folder"
            )
        pairs += reader(path, (text_column, label_column), encoding)
    texts, labels = (list(column) for column in zip(*pairs, strict=True)) if pairs else ([], [])
    if len(set(labels)) < 2:
        found = (
            f"all {len(labels):,} examples have the label {shown(labels[0])}"
            if labels
            else "there are no examples"
        )
        raise InputError(f"{few(paths)}: {found}: there is nothing to tell apart")
    return texts, labels


def _checked(path, number, row, columns):
    """Text and label of a row; a number is a text too, as it is in a table."""
    values = [row[column] for column in columns]
    for column, value in zip(columns, values, strict=True):
        if isinstance(value, bool | list | dict):
            holds = f"column {shown(column)} holds {shown(value)}, which is no text"
            raise InputError(f"{path} row {number}: {holds}: write a text")
        if value is None or not str(value).strip():
            raise InputError(
                f"{path} row {number}: column {shown(column)} is empty: fill it, or delete the row"
            )
    return tuple(str(value).strip() for value in values)


def _columns_exist(path, found, columns):
    for column, name in zip(columns, ("--text-column", "--label-column"), strict=True):
        if found.count(column) > 1:
            raise InputError(f"{path} has {found.count(column)} columns {shown(column)}: rename all but one")
        if column not in found:
            choice = f"choose {name} from {few(map(shown, found))}" if found else "name its columns"
            raise InputError(f"{path} has no column {shown(column)}: {choice}")


def separator_of(names, delimiter) -> str:
    """What separates the columns of a file whose first row was read as ``names`` with another delimiter;
    empty: nothing known.
    """
    others = {";": "';'", "\t": "tabs", ",": "','", "|": "'|'"}
    return next((t for d, t in others.items() if d != delimiter and len(names) == 1 and d in names[0]), "")


def _separated(delimiter):
    def read(path, columns, encoding):
        file, pairs = io.StringIO(text_of(path, encoding), newline=""), []
        rows = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            names = list(rows.fieldnames or [])
            if not names:
                raise InputError(f"{path} is empty: give a file whose first row names the columns")
            if foreign := separator_of(names, delimiter):
                mend = f"save it with {delimiter!r} between its columns"
                raise InputError(f"{path} is separated by {foreign}, not by {delimiter!r}: {mend}")
            _columns_exist(path, names, columns)
            for row in rows:
                if None in row:  # cells that no column is named for: a text with a comma, not in quotes
                    cells = f"{len(row) - 1 + len(row[None])} cells, the first row has {len(row) - 1}"
                    raise InputError(f"{path} row {rows.line_num} has {cells}: put texts in double quotes")
                pairs.append(_checked(path, rows.line_num, row, columns))
        except csv.Error as error:
            raise InputError(f"{path} row {rows.line_num + 1}: {error}: mend the row") from None
        return pairs

    return read


def _json_lines(path, columns, encoding):
    pairs = []
    for number, line in enumerate(lines_of(text_of(path, encoding)), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} row {number}: {error}: every row must be one JSON object") from None
        if not isinstance(row, dict):
            raise InputError(
                f"{path} row {number}: {line[:40]} is no JSON object: write one with the columns "
                f"{', '.join(columns)}"
            )
        _columns_exist(f"{path} row {number}", list(row), columns)
        pairs.append(_checked(path, number, row, columns))
    return pairs


def _folder(path, _columns, encoding):
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    stems = [p.stem for p in files]
    names = [
        p.stem if stems.count(p.stem) == 1 else p.name for p in files
    ]  # rt-polarity.pos and rt-polarity.neg
    return [
        (line.strip(), name)
        for name, file in zip(names, files, strict=True)
        for line in lines_of(text_of(file, encoding))
        if line.strip()
    ]


# How the files are read that hold texts and labels, by their endings.
TABLES = {".csv": _separated(","), ".tsv": _separated("\t"), ".jsonl": _json_lines}
