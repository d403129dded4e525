"""The one gradient check: analytic against central differences, in float64, on a random projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...base.errors import GradientError
from .. import Tensor, sum
from ..pointwise import as_tensor
from ..tape import recording
from ..types import Tree
from .transforms import grad
from .trees import tree_leaves, tree_map

__all__ = ["check_grad"]


_NOT_FINITE = (
    "a slope is infinite or undefined there; in a branch that where() does not pick it is multiplied by 0, "
    "which gives NaN: make the argument of that branch safe as well, "
    "where(x > 0, sqrt(where(x > 0, x, 1)), 0); else check at another point"
)
_Scalar = Callable[..., Tensor]


def check_grad(
    f: Callable[..., Tree],
    *args: Tree,
    order: int = 2,
    eps: float = 1e-6,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    seed: int = 0,
) -> None:
    """Check the derivatives of ``f`` at ``args`` up to ``order``; return None or raise.

    Args:
        f: maps tensors to a tensor (or a structure of them).
        args: tensors, arrays, or structures of them (counted leaf by leaf in messages). Floating ones are
            taken in float64 and varied, others stay as they are.
        order: 1, or 2 to check the gradient's own gradient as well.
        eps: step of the central differences, times ``max(1, |x|)``.
        rtol, atol: the difference allowed is ``atol + rtol * max(1, |derivative|)``.
        seed: of the random directions.

    The output is projected on a random direction. The gradient of that number is compared with central
    differences: for an argument of up to 100 elements along each of them, for a larger one along random
    directions.

    Raises:
        GradientError: names the order, the argument and the index that differ most, with both values.
    """
    arrays = [np.array(a.data if isinstance(a, Tensor) else a) for a in tree_leaves(args)]
    varied = tuple(i for i, a in enumerate(arrays) if a.dtype.kind == "f")
    if not varied:
        raise GradientError("check_grad: no argument is floating, nothing to vary: give arrays of floats")
    if any(hasattr(a, "named_parameters") for a in args):
        raise GradientError("check_grad: give the parameters of a module as arguments, not the module")
    leaves = [Tensor(a.astype(np.float64) if i in varied else a) for i, a in enumerate(arrays)]
    directions = np.random.default_rng(seed)

    def function(*leaves: Any) -> Tree:
        """``f`` of the leaves of its arguments."""
        values = iter(leaves)
        return f(*tree_map(lambda _: next(values), args))

    def allowed(numeric: Any) -> Any:
        return atol + rtol * np.maximum(1.0, np.abs(numeric))

    with recording():
        scalar = _projected(function, leaves, directions)
        for k in range(1, order + 1):
            for i, g in zip(varied, grad(scalar, varied)(*leaves), strict=True):
                x = leaves[i].data
                if g.shape != x.shape:
                    shapes = f"{list(g.shape)}, not {list(x.shape)}"
                    raise GradientError(f"order {k}: gradient of argument {i} has shape {shapes}")
                along = directions.standard_normal((3, *x.shape)) if x.size > 100 else ()
                if len(along) and all(_along(scalar, leaves, i, g, d, eps, allowed) for d in along):
                    continue
                _compare(scalar, leaves, i, g, k, eps, allowed)
            if k < order:
                scalar = _projected(grad(scalar, varied), leaves, directions)


def _projected(f: Callable[..., Tree], args: Sequence[Tensor], directions: np.random.Generator) -> _Scalar:
    """``f`` followed by a dot product with one fixed random direction."""

    def outputs(*xs: Tensor) -> list[Tensor]:
        return [y for y in map(as_tensor, tree_leaves(f(*xs))) if y.dtype.kind == "f"]

    weights = [directions.standard_normal(y.shape) for y in outputs(*args)]
    if not weights:
        raise GradientError("check_grad: the function returns no floating tensor: there is nothing to check")

    def scalar(*xs: Tensor) -> Tensor:
        total = Tensor(np.zeros(()))
        for w, y in zip(weights, outputs(*xs), strict=True):
            total = total + sum(Tensor(w) * y)
        return total

    return scalar


def _along(
    scalar: _Scalar, args: list[Tensor], i: int, g: Tensor, direction: Any, eps: float, allowed: Any
) -> bool:
    """True if gradient ``g`` of argument ``i`` agrees with the difference along ``direction``."""
    numeric = _difference(scalar, args, i, eps * direction) / eps
    return bool(abs(float((g.data * direction).sum()) - numeric) <= allowed(numeric))


def _compare(
    scalar: _Scalar, args: list[Tensor], i: int, g: Tensor, order: int, eps: float, allowed: Any
) -> None:
    x = args[i].data
    numeric = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = eps * max(1.0, abs(x[index]))
        numeric[index] = _difference(scalar, args, i, step) / step[index]
    gaps = np.abs(g.data - numeric) / allowed(numeric)
    if not (gaps <= 1).all():
        index = tuple(map(int, np.unravel_index(gaps.argmax(), x.shape)))  # a NaN counts as the worst
        got = f"the gradient of argument {i} at index {index} is {g.data[index]:.9g}"
        said = f"order {order}: {got}, the central difference {numeric[index]:.9g}"
        if not np.isfinite([g.data[index], numeric[index]]).all():
            said += f" ({_NOT_FINITE})"
        raise GradientError(said)


def _difference(scalar: _Scalar, args: list[Tensor], i: int, step: Any) -> float:
    """Half the change of ``scalar`` from ``x - step`` to ``x + step``, ``x`` being argument ``i``."""
    values = [scalar(*args[:i], Tensor(args[i].data + s), *args[i + 1 :]).item() for s in (step, -step)]
    return float(values[0] - values[1]) / 2
