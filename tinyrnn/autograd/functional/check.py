"""The one gradient check: analytic against central differences, in float64, on a random projection."""

import numpy as np

from ...base.errors import GradientError
from .. import Tensor, sum
from ..pointwise import as_tensor
from ..tape import recording
from .transforms import grad
from .trees import tree_leaves, tree_map

__all__ = ["check_grad"]


@recording()
def check_grad(f, *args, order=2, eps=1e-6, rtol=1e-6, atol=1e-7, seed=0):
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
    structure, f = args, _flattened(f, args)
    args = [np.array(a.data if isinstance(a, Tensor) else a) for a in tree_leaves(structure)]
    varied = [i for i, a in enumerate(args) if a.dtype.kind == "f"]
    if not varied:
        raise GradientError(
            "check_grad: no argument is floating, so there is nothing to vary: give arrays of floats"
        )
    args = [Tensor(a.astype(np.float64) if i in varied else a) for i, a in enumerate(args)]
    if any(hasattr(a, "named_parameters") for a in structure):
        raise GradientError("check_grad: give the parameters of a module as arguments, not the module")
    directions = np.random.default_rng(seed)

    def allowed(numeric):
        return atol + rtol * np.maximum(1.0, np.abs(numeric))

    scalar = _projected(f, args, directions)
    for k in range(1, order + 1):
        analytic = grad(scalar, tuple(varied))(*args)
        for i, g in zip(varied, analytic, strict=True):
            x = args[i].data
            if g.shape != x.shape:
                raise GradientError(
                    f"order {k}: gradient of argument {i} has shape {list(g.shape)}, not {list(x.shape)}"
                )
            if x.size > 100 and all(
                _along(scalar, args, i, g, d, eps, allowed) for d in directions.standard_normal((3, *x.shape))
            ):
                continue
            _compare(scalar, args, i, g, k, eps, allowed)
        if k < order:
            scalar = _projected(grad(scalar, tuple(varied)), args, directions)


def _flattened(f, structure):
    """``f`` as a function of the leaves of its arguments."""

    def function(*leaves):
        leaves = iter(leaves)
        return f(*tree_map(lambda _: next(leaves), structure))

    return function


def _projected(f, args, directions):
    """``f`` followed by a dot product with one fixed random direction."""

    def outputs(*xs):
        return [y for y in map(as_tensor, tree_leaves(f(*xs))) if y.dtype.kind == "f"]

    weights = [directions.standard_normal(y.shape) for y in outputs(*args)]
    if not weights:
        raise GradientError(
            "check_grad: the function returns no floating tensor, so there is no gradient to check"
        )

    def scalar(*xs):
        total = Tensor(np.zeros(()))
        for w, y in zip(weights, outputs(*xs), strict=True):
            total = total + sum(Tensor(w) * y)
        return total

    return scalar


def _along(scalar, args, i, g, direction, eps, allowed):
    """True if gradient ``g`` of argument ``i`` agrees with the difference along ``direction``."""
    numeric = _difference(scalar, args, i, eps * direction) / eps
    return abs(float((g.data * direction).sum()) - numeric) <= allowed(numeric)


def _compare(scalar, args, i, g, order, eps, allowed):
    x = args[i].data
    numeric = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = eps * max(1.0, abs(x[index]))
        numeric[index] = _difference(scalar, args, i, step) / step[index]
    gaps = np.abs(g.data - numeric) / allowed(numeric)
    if not (gaps <= 1).all():
        index = tuple(
            map(int, np.unravel_index(gaps.argmax(), x.shape))
        )  # of the worst, which a NaN counts as
        where, got, expected = f"argument {i} at index {index}", g.data[index], numeric[index]
        raise GradientError(
            f"order {order}: the gradient of {where} is {got:.9g}, the central difference {expected:.9g}"
        )


def _difference(scalar, args, i, step):
    """Half the change of ``scalar`` from ``x - step`` to ``x + step``, ``x`` being argument ``i``."""
    values = [scalar(*args[:i], Tensor(args[i].data + s), *args[i + 1 :]).item() for s in (step, -step)]
    return (values[0] - values[1]) / 2
