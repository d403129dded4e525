"""Rows of a table by their numbers, and where such rows came from."""

from __future__ import annotations

from typing import Any

from ... import kernels
from ...base.devices import beside
from ...base.errors import InputError, ShapeError
from .. import Tensor
from ..pointwise import as_tensor
from ..shaping import getitem, indices_of, is_computed
from ..tape import BORROWED, Op, apply
from ..types import ArrayLike

__all__ = ["embedding"]


def _rows(table: Any, *, ids: Any) -> Any:
    if ids.size and not (ids.min() >= 0 and ids.max() < len(table)):
        raise InputError(
            f"embedding: ids run from {ids.min()} to {ids.max()}, the table has rows 0 to {len(table) - 1}"
        )
    return table.take(beside(ids, table), axis=0)


def _add_rows(g: Any, *, ids: Any, rows: int) -> Any:
    return kernels.scatter.add_rows(g.reshape(ids.size, g.shape[-1]), ids.reshape(-1), rows)


_embedding: Op = Op(
    "embedding", _rows, {"table": lambda g, table, ids: apply(_scatter, g, ids=ids, rows=len(table))}
)
_scatter: Op = Op("scatter_rows", _add_rows, {"g": lambda ct, ids: apply(_embedding, ct, ids=ids)})


def embedding(ids: ArrayLike, weight: ArrayLike, /) -> Tensor:
    """Rows of ``weight [n, width]`` by integer ``ids [...]``: ``[..., width]``. The gradient is a
    deterministic sum.

    Raises:
        InputError: an id outside ``[0, n)``; ``DtypeError``: ids that are no integers; ``ShapeError``: weight
            is no matrix.
    """
    weight = as_tensor(weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight {list(weight.shape)} must be [rows, width]")
    if is_computed(ids):  # in a step, which has no values yet
        return getitem(weight, ids)
    ids = indices_of("embedding", ids)
    rows = apply(_embedding, weight, ids=ids)
    if weight.version is not BORROWED:  # whose changes nobody would notice
        rows.origin = weight, ids, _changes(weight)
    return rows


def _changes(x: Tensor) -> int:
    return x.version[0] if x.version else 0


def source_of(rows: Tensor) -> tuple[Tensor, Any] | None:
    """``(table, ids)`` if ``rows`` came from `embedding` and nothing was changed in place since, else
    None.
    """
    table, ids, change = getattr(rows, "origin", None) or (None, None, None)
    return None if table is None or _changes(rows) or _changes(table) != change else (table, ids)
