"""Pairs of texts: two columns of a table or of lines with a separator, or two files line by line; a source
may have several targets, its references.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...base.errors import InputError, few, shown
from ...training.screen import note
from ..tables.files import Table, is_table, read_table
from ..tables.numbers import looks_like_value
from ..tables.options import TableOptions
from ..text.sources import lines_of, text_of

Pairs = tuple[list[str], list[tuple[str, ...]]]  # sources, and of each its targets
_SIDES = (  # what a first row that names its columns holds
    "source target src tgt trg input output question answer prompt response original translation "
    "arabic chinese czech danish dutch english finnish french german greek hebrew hindi hungarian italian "
    "japanese korean norwegian persian polish portuguese romanian russian spanish swedish turkish ukrainian "
    "vietnamese ar cs da de el en es fi fr he hi hu it ja ko nl no pl pt ro ru sv tr uk vi zh"
)
_NAME = re.compile(
    rf"(?i)(?:{'|'.join(_SIDES.split())})(?:[ _-]?(?:words?|sentences?|texts?|phrases?|words/sentences|\d))?"
)


def read_pairs(
    paths: Sequence[str | Path],
    *,
    encoding="utf-8",
    source: str | None = None,
    targets: Sequence[str] = (),
    source_column: str | None = None,
    target_column: str | None = None,
    how: TableOptions | None = None,
) -> Pairs:
    """Sources and their targets, one at least of each. Blank rows do not count, nor spaces around a text.

    Args:
        paths: tables, and text files with one pair a line, a tab or ``how.separator`` between its sides.
        source, targets: files whose lines belong together, beside ``paths`` or in their place.
        source_column, target_column: names of columns, of targets several with commas between; default:
            source and target, or the first two.

    Raises:
        InputError: names file and row of what is missing or empty; or a file cannot be read.
    """
    if bool(source) != bool(targets):
        raise InputError("--source and --target go together: give both files, whose lines are pairs")
    if not paths and not source:
        raise InputError(
            "--task translate needs data: a table or a text file with one pair a line, source and target "
            "between them a tab, or two files by --source and --target"
        )
    sources, references = list[str](), list[tuple[str, ...]]()
    found = [_lines(source, targets, encoding)] if source else []
    for path in map(Path, paths):
        found.append(_table(path, source_column, target_column, encoding, how or TableOptions()))
    for places, columns, _ in found:
        for place, (text, *others) in zip(places, zip(*columns, strict=True), strict=True):
            text, others = text.strip(), [other.strip() for other in others]
            if not (text or any(others)):
                continue
            if not (text and others[0]):
                side = "target" if text else "source"
                raise InputError(f"{place}: the {side} is empty: fill it, or delete the row")
            sources.append(text)
            references.append(tuple(other for other in others if other))
    if not sources:
        raise InputError(
            f"{few(paths or [source])}: there are no pairs: write one a line, source, tab, target"
        )
    for _, _, tell in found:
        tell()
    return sources, references


def source_of(path, source_column, target_column, encoding, how: TableOptions) -> tuple[Table, str]:
    """A table, and the name of its column of sources, as `read_pairs` reads it."""
    table = _read(path, source_column, target_column, encoding, how)
    return table, source_column or _chosen(table, source_column, target_column)[0]


def _read(path, source_column, target_column, encoding, how) -> Table:
    if not os.path.isfile(path):
        raise InputError(f"{path} does not exist or is no file: give a table or a text file with pairs")
    listed = ",".join(filter(None, (source_column, target_column)))
    wanted = [name.strip() for name in listed.split(",") if name.strip()]
    if how.separator is None and (not is_table(path) or Path(path).suffix.lower() in (".tsv", ".tab")):
        how = replace(how, separator="\t")  # commas are parts of texts
    tabs = how.separator in ("\t", "\\t")  # further columns may be missing
    table = read_table(path, how, encoding, wanted, names=_name_sides, least=2 if tabs else None)
    if len(table.columns) < 2:
        if how.separator is None:
            raise InputError(f"{path} has one column: give a table with one of sources and one of targets")
        between = f"{'tab' if tabs else shown(how.separator)} between source and target"
        cell = f"{str(table.frame.iloc[0, 0])[:40]!r}"
        raise InputError(f"{path} row {table.rows[0]} has no {between}: {cell}: mend it, or give --separator")
    return table


def _name_sides(cells: Sequence[str]) -> bool:
    """Whether two cells of a row, the first two where any are long, are names of sides, and it is no pair."""
    sides = [cell.lower() for cell in cells if _NAME.fullmatch(cell)]
    words = all(len(cell) <= 20 and len(cell.split()) < 3 for cell in cells)
    if len(set(sides)) < 2 or not (words or all(map(_NAME.fullmatch, cells[:2]))):
        return False
    return "en" in sides or any(len(side) > 2 for side in sides)  # "it, es" is rather a pair


def _chosen(table: Table, source_column, target_column) -> tuple[str, list[str]]:
    """The columns of sources and targets: those that are named, or called source and target; the only ones
    that are called as sides are; the only ones; the first without names, unless they hold numbers.

    Raises:
        InputError: several columns may be meant.
    """
    given = target_column or ""
    targets = (
        [given] if given in table.columns else [name.strip() for name in given.split(",") if name.strip()]
    )
    sides = [[source_column] if source_column else [], targets]
    rest = [name for name in table.columns if name not in (source_column, *targets)]
    for side, usual in zip(sides, ("source", "target"), strict=True):
        if not side and usual in rest:
            rest.remove(usual)
            side.append(usual)
    if not (lacking := [side for side in sides if not side]):
        return sides[0][0], targets
    ways = [[name for name in rest if _NAME.fullmatch(name)], rest]
    if table.columns[0] == "1" and not any(_is_number(table, name) for name in rest[: len(lacking)]):
        ways.append(rest[: len(lacking)])
    found = next((way for way in ways if len(way) == len(lacking)), None)
    if found is None:
        mend = "choose --source-column and --target-column from its columns"
        raise InputError(f"{table.name}: {mend} {few(map(shown, table.columns), 8)}")
    for side, name in zip(lacking, found, strict=True):
        side.append(name)
    return sides[0][0], targets


def _is_number(table: Table, name: str) -> bool:
    return all(map(looks_like_value, table.frame[name].tolist()[:100]))


def _table(path, source_column, target_column, encoding, how):
    """Where each row stands, its columns, and what says how it was read."""
    table = _read(path, source_column, target_column, encoding, how)
    source, targets = _chosen(table, source_column, target_column)
    columns = [table.texts(source, "--source-column")]
    columns += [table.texts(target, "--target-column") for target in targets]
    return [f"{path} row {row}" for row in table.rows], columns, lambda: table.tell((source, *targets))


def _lines(source, targets, encoding):
    """Where each line stands, the lines of all files, and what says how they were read."""
    files = [source, *targets]
    for path in files:
        if not os.path.isfile(path):
            raise InputError(f"{path} does not exist or is no file: give a text file with a text a line")
    columns = [lines_of(text_of(Path(path), encoding)) for path in files]
    for path, lines in zip(files, columns, strict=True):
        if len(lines) != len(columns[0]):
            counts = f"{source} has {len(columns[0]):,} lines, {path} has {len(lines):,}"
            raise InputError(f"{counts}: line by line they are pairs, so give files of as many lines")
    said = f"{source} and {few(targets, 3)}: {len(columns[0]):,} lines each, paired line by line"
    return [f"{source} row {i}" for i in range(1, len(columns[0]) + 1)], columns, lambda: note(said)
