"""Pairs of texts: files with one pair a line."""

import os
from pathlib import Path

from ...base.errors import InputError, few
from ..text.sources import lines_of, text_of


def read_pairs(paths, *, separator=None, encoding="utf-8") -> tuple[list[str], list[str]]:
    """Sources and targets: the first two columns of text files. Blank lines and further columns are left out.

    Args:
        separator: between the columns; default: a tab. Spaces around the two texts do not count.

    Raises:
        InputError: names file and row of what is missing or empty; or a file cannot be read.
    """
    if not paths:
        raise InputError(
            "--task translate needs data: a text file with one pair a line, source and target between them a "
            "tab"
        )
    if separator == "":
        raise InputError("--separator is empty: give what stands between source and target")
    separator, pairs = "\t" if separator is None else separator.replace("\\t", "\t"), []
    shown = "tab" if separator == "\t" else repr(separator)
    for path in map(Path, paths):
        if not os.path.isfile(path):
            raise InputError(f"{path} does not exist or is no file: give a text file with one pair a line")
        for row, line in enumerate(lines_of(text_of(path, encoding)), 1):
            if not line.strip():
                continue
            source, found, rest = line.partition(separator)
            target = rest.partition(separator)[0]
            if not found:
                said = (
                    f"has no {shown} between source and target: {line.strip()[:40]!r}: mend it, or give "
                    "--separator"
                )
                raise InputError(f"{path} row {row} {said}")
            if not (source.strip() and target.strip()):
                side = "target" if source.strip() else "source"
                raise InputError(f"{path} row {row}: the {side} is empty: fill it, or delete the row")
            pairs.append((source.strip(), target.strip()))
    if not pairs:
        raise InputError(f"{few(paths)}: there are no pairs: write one a line, source, {shown}, target")
    return tuple(map(list, zip(*pairs, strict=True)))
