"""Texts from memory, as files that readers read."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ...base.errors import InputError, shown


def pair_lines(data: Any, first: str, second: str, several: bool = False) -> str | None:
    """Pairs of texts as JSON lines; None: ``data`` is of no such kind. ``several``: the second of a pair may
    be a list of texts.

    Raises:
        InputError: an entry is no pair of texts.
    """
    if isinstance(data, str | bytes | Mapping) or not isinstance(data, Iterable) or hasattr(data, "read"):
        return None
    rows = []
    for i, pair in enumerate(data):
        row = tuple(pair) if isinstance(pair, Iterable) and not isinstance(pair, str | Mapping) else ()
        if several and len(row) == 2 and isinstance(row[1], list | tuple):
            row = (row[0], [label if isinstance(label, str) else None for label in row[1]])
        texts = [text for part in row for text in (part if several and isinstance(part, list) else [part])]
        if len(row) != 2 or isinstance(row[0], list) or not all(isinstance(text, str) for text in texts):
            wanted = f"give pairs ({first}, {second}) of texts"
            raise InputError(f"entry {i} of the data is {shown(pair)}: {wanted}")
        rows.append(json.dumps(dict(zip((first, second), row, strict=True)), ensure_ascii=False) + "\n")
    return "".join(rows) or None


def texts_of(texts: Any) -> list[str]:
    """A list of texts; InputError for anything else, a single text too, though it is a sequence of texts."""
    listed: list[Any] = [None] if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
    if not all(isinstance(text, str) for text in listed):
        raise InputError(f"the texts are {shown(texts)}: give a list of texts")
    return listed
