"""Texts from memory, as files that readers read."""

import json
from typing import Any


def pairs_of(data: Any, first: str, second: str) -> list[dict[str, str]]:
    """Pairs of texts, or a pandas frame with columns of these names, as rows; empty: ``data`` is neither."""
    if hasattr(data, "to_dict") and {first, second} <= set(getattr(data, "columns", ())):
        return [{first: str(a), second: str(b)} for a, b in zip(data[first], data[second], strict=True)]
    try:
        rows = [tuple(pair) for pair in data]
    except TypeError:
        return []
    fits = rows and all(len(row) == 2 and all(isinstance(text, str) for text in row) for row in rows)
    return [dict(zip((first, second), row, strict=True)) for row in rows] if fits else []


def json_lines(rows: list[dict[str, str]]) -> str:
    """Rows as a file of JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
