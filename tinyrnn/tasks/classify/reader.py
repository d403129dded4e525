"""Labelled texts: tables with a column of texts and one of labels, or several; lines of fastText; folders of
files named after labels, or of folders named after labels.
"""

import ast
import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

from ...base.compressed import inner_name
from ...base.errors import InputError, few, shown
from ...training.screen import note
from ..tables.files import ENDINGS, Table, is_table, read_table
from ..tables.options import TableOptions
from ..text.sources import lines_of, refuse_splits, text_of, texts_below

PREFIX = "__label__"  # before each label of a line, in the files that fastText reads
_FLAGS = {
    **dict.fromkeys(("0", "false", "no", "0.0"), False),
    **dict.fromkeys(("1", "true", "yes", "1.0"), True),
}
_ABOUT = re.compile(r"(?i)(readme|licen[sc]e|copying|authors|changelog|citation|notice)(\.(md|txt|rst|cff))?")
_LIST = re.compile(r"\s*\[.*\]\s*", re.DOTALL)  # where a cell may hold several labels; else of texts
_QUOTED = re.compile(r"\s*\[\s*(['\"].*['\"]\s*)?\]\s*", re.DOTALL)
Labels = tuple[str, ...]
_FORMS = f"a table ({', '.join(ENDINGS[:5])} ...), lines of fastText, or a folder"


def read_examples(
    paths,
    *,
    text_column="text",
    label_column="label",
    multi_label: str | None = None,
    encoding="utf-8",
    how: TableOptions | None = None,
) -> tuple[list[str], list[str] | list[Labels]]:
    """Texts and the label of each; where any has several, or none, all have a tuple.

    Args:
        paths: tables; text files whose lines begin with ``__label__x``; folders of files (each line of a file
            is a text, its name the label) or of folders (each file is a text, the folder's name the label).
        label_column: the name of a column, or of several of 0 and 1, with commas between.
        multi_label: what stands between the labels of a cell.

    Raises:
        InputError: names file, row and column of what is missing or empty; or says that there is one label
            only.
    """
    if not paths:
        raise InputError(f"--task classify needs data: {_FORMS}")
    if multi_label == "":
        raise InputError("--multi-label is empty: give what stands between the labels of a text")
    how, pairs = how or TableOptions(), list[tuple[str, str | Labels]]()
    for path in map(Path, paths):
        if not os.path.exists(path):
            raise InputError(f"{path} does not exist: give {_FORMS}")
        if os.path.isdir(path):
            pairs += _folder(path, encoding)
        elif is_table(path) or how.separator is not None:
            pairs += _table(path, text_column, label_column, multi_label, encoding, how)
        else:
            pairs += _fasttext(path, encoding)
    texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    several = multi_label is not None or any(isinstance(label, tuple) for label in labels)
    if len({label if isinstance(label, tuple) else (label,) for label in labels}) < 2:
        found = f"all {len(labels):,} examples have the label {shown(labels[0])}" if labels else "no examples"
        raise InputError(f"{few(paths)}: {found}: there is nothing to tell apart")
    if several:
        return texts, [label if isinstance(label, tuple) else (label,) for label in labels]
    return texts, [str(label) for label in labels]


def label_columns(table: Table, label_column: str) -> list[str]:
    """The columns that ``--label-column`` names."""
    if label_column in table.columns or "," not in label_column:
        return [label_column]
    return [name.strip() for name in label_column.split(",")]


def text_table(path, text_column: str, encoding: str, how: TableOptions, label_column="") -> Table:
    """A table with a column of texts, and those of labels where they are named."""
    wanted = [text_column, *filter(None, (name.strip() for name in label_column.split(",")))]
    return read_table(path, how, encoding, wanted)


def _table(path, text_column, label_column, multi_label, encoding, how):
    table = text_table(path, text_column, encoding, how, label_column)
    named = label_columns(table, label_column)
    texts = table.texts(text_column, "--text-column")
    cells = table.column(named[0], "--label-column")
    if len(named) > 1:
        found: list = _flagged(table, named)
    elif any(isinstance(cell, list | tuple) or hasattr(cell, "shape") for cell in cells) or (
        all(
            isinstance(cell, str) and (_QUOTED if multi_label is None else _LIST).fullmatch(cell)
            for cell in cells
        )
    ):
        found = [_listed(table, i, named[0], cell) for i, cell in enumerate(cells)]
    else:
        found = [cell.strip() for cell in table.texts(named[0], "--label-column")]
    if multi_label is not None and found and isinstance(found[0], str):
        if lists := [i for i, cell in enumerate(found) if _LIST.fullmatch(cell)]:
            holds = f"{table.at(lists[0], named[0])} holds {shown(found[lists[0]])}"
            raise InputError(f"{holds}, a list, which others are not: write all alike")
        split = ([part.strip() for part in cell.split(multi_label)] for cell in found)
        found = [tuple(dict.fromkeys(filter(None, parts))) for parts in split]
    for i, (text, label) in enumerate(zip(texts, found, strict=True)):
        for name, empty in ((text_column, not text.strip()), (named[0], label == "")):
            if empty:
                raise InputError(f"{table.at(i, name)} is empty: fill it, or delete the row")
    table.tell((text_column, *named))
    return [(text.strip(), label) for text, label in zip(texts, found, strict=True)]


def _flagged(table, named) -> list[Labels]:
    """Labels of columns of 0 and 1 that bear their names."""
    columns = []
    for name in named:
        cells = [str(cell).strip().lower() for cell in table.column(name, "--label-column")]
        for i, cell in enumerate(cells):
            if cell not in _FLAGS:
                holds = f"{table.at(i, name)} holds {shown(cell)}"
                raise InputError(f"{holds}: of several columns of labels each holds 0 and 1")
        columns.append([_FLAGS[cell] for cell in cells])
    rows = zip(*columns, strict=True)
    return [tuple(name for name, yes in zip(named, row, strict=True) if yes) for row in rows]


def _listed(table, i, name, cell) -> Labels:
    """Labels of a cell that is a list of texts."""
    held, cell = cell, cell.tolist() if hasattr(cell, "shape") else cell
    if isinstance(cell, str):  # ['a', 'b'], as CSV has lists
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            cell = ast.literal_eval(cell.strip())
    texts = isinstance(cell, list | tuple) and all(isinstance(label, str) for label in cell)
    if not texts or not all(map(str.strip, cell)):
        raise InputError(f"{table.at(i, name)} holds {shown(held)}: write a list of labels, as in other rows")
    return tuple(dict.fromkeys(label.strip() for label in cell))


def split_labels(line: str) -> tuple[Labels, str]:
    """The labels that a line of fastText begins with, and its text: ``__label__one __label__two a text``."""
    labels, text = list[str](), line.strip()
    while text.startswith(PREFIX):
        label, *rest = text.split(None, 1)
        labels.append(label.removeprefix(PREFIX))
        text = rest[0] if rest else ""
    return tuple(dict.fromkeys(labels)), text


def _fasttext(path, encoding):
    pairs = []
    for number, line in enumerate(lines_of(text_of(path, encoding)), 1):
        labels, text = split_labels(line)
        if not (labels or text):
            continue
        if not (pairs or labels):
            raise InputError(f"{path} is not known: give {_FORMS}")
        if not (labels and all(labels) and text):
            lacks = "text" if labels else f"label ({PREFIX}...)"
            raise InputError(f"{path} row {number} has no {lacks}: add it, or delete the row")
        pairs.append((text, labels[0] if len(labels) == 1 else labels))
    return pairs


def _folder(path, encoding):
    """Of each folder its files, with the folder's name as label; or of each file its lines, with its name."""
    entries = sorted(path.iterdir())
    hidden, entries = [p.name for p in entries if p.name[0] == "."], [p for p in entries if p.name[0] != "."]
    hidden += [p.name for p in entries if _ABOUT.fullmatch(p.name) and p.is_file()]
    entries = [p for p in entries if p.name not in hidden]
    folders, files = [p for p in entries if p.is_dir()], [p for p in entries if p.is_file()]
    of_folders = len(folders) > 1 or not files
    if left_out := hidden + [p.name for p in (files if of_folders else folders)]:
        kind = "folders" if of_folders else "files"
        note(f"{path}: its {kind} are labels; left out: {few(left_out, 5)}")
    texts = {f: texts_below(f) if of_folders else [f] for f in (folders if of_folders else files)}
    if of_folders:
        refuse_splits(path, (f.name for f in folders))
        deeper = {p.parent.relative_to(f).parts[0] for f in folders for p in texts[f] if p.parent != f}
        if deeper:
            note(f"{path}: texts of the folders {few(sorted(deeper))} have the labels of those they are in")
    for file in (p for found in texts.values() for p in found):
        if Path(name := inner_name(file)).suffix.lower() in ENDINGS:
            raise InputError(f"{path} holds the table {name}: give that by its name, or take it out of there")
    if of_folders:
        read = [(text_of(p, encoding).strip(), f.name) for f in folders for p in texts[f]]
        if empty := sum(not text for text, _ in read):
            note(f"{path}: {empty:,} empty files are left out")
        return [(text, label) for text, label in read if text]
    names = [inner_name(p) for p in files]
    stems, kinds = [Path(name).stem for name in names], Counter(Path(name).suffix.lower() for name in names)
    if 1 < len(kinds) < len(names) and len(set(stems)) > 1:
        rare = next(name for name in names if Path(name).suffix.lower() == kinds.most_common()[-1][0])
        usual = kinds.most_common(1)[0][0] or "no ending"
        holds = f"{path} holds {rare} beside files of {usual}"
        raise InputError(f"{holds}: give it their ending if it is a label's, or take it out of there")
    labels = [
        stem if stems.count(stem) == 1 else name for stem, name in zip(stems, names, strict=True)
    ]  # rt-polarity.pos and rt-polarity.neg
    return [
        (line.strip(), label)
        for label, file in zip(labels, files, strict=True)
        for line in lines_of(text_of(file, encoding))
        if line.strip()
    ]
