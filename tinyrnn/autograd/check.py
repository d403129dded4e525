"""The one gradient check: analytic against central differences, in float64, on a random projection."""

import numpy as np

from ..errors import GradientError
from .reductions import sum
from .tape import Tensor
from .transforms import grad, tree_leaves


def check_grad(f, *args, order=2, eps=1e-6, rtol=1e-6, atol=1e-7, seed=0):
    """Check the derivatives of ``f`` at ``args`` up to ``order``; return None or raise.

    ``f`` maps tensors to a tensor (or a tuple of them). Floating arguments are taken in float64 and varied, others stay as they
    are. The output is projected on a fixed random direction; every element of the gradient of that scalar is compared with
    a central difference of step ``eps * max(1, |x|)``. Order 2 checks the gradient's gradient the same way.

    Raises:
        GradientError: names the order, the argument and the index that differ most, with both values.
    """
    args = [np.array(a.data if isinstance(a, Tensor) else a) for a in args]
    varied = [i for i, a in enumerate(args) if a.dtype.kind == "f"]
    args = [Tensor(a.astype(np.float64) if i in varied else a) for i, a in enumerate(args)]
    directions = np.random.default_rng(seed)
    scalar = _projected(f, args, directions)
    for k in range(1, order + 1):
        _compare(scalar, args, varied, k, eps, rtol, atol)
        if k < order:
            gradient = grad(scalar, tuple(varied))
            scalar = _projected(gradient, args, directions)


def _projected(f, args, directions):
    """``f`` followed by a dot product with one fixed random direction."""

    def outputs(*xs):
        return [y for y in tree_leaves(f(*xs)) if y.dtype.kind == "f"]

    weights = [directions.standard_normal(y.shape) for y in outputs(*args)]

    def scalar(*xs):
        total = 0.0
        for w, y in zip(weights, outputs(*xs), strict=True):
            total = total + sum(Tensor(w) * y)
        return total

    return scalar


def _compare(scalar, args, varied, order, eps, rtol, atol):
    analytic = grad(scalar, tuple(varied))(*args)
    worst = (0.0, None)
    for i, g in zip(varied, analytic, strict=True):
        x = args[i].data
        if g.shape != x.shape:
            raise GradientError(f"order {order}: gradient of argument {i} has shape {list(g.shape)}, not {list(x.shape)}")
        for index in np.ndindex(x.shape):
            numeric = _difference(scalar, args, i, index, eps)
            gap = abs(g.data[index] - numeric) / (atol + rtol * max(1.0, abs(numeric)))
            if not gap <= worst[0]:  # a NaN counts as worst
                worst = (gap, (i, index, float(g.data[index]), numeric))
    if not worst[0] <= 1:
        i, index, got, numeric = worst[1]
        raise GradientError(
            f"order {order}: the gradient of argument {i} at index {index} is {got:.9g}, the central difference {numeric:.9g}"
        )


def _difference(scalar, args, i, index, eps):
    x = args[i].data
    step = eps * max(1.0, abs(x[index]))
    values = []
    for sign in (1, -1):
        moved = x.copy()
        moved[index] += sign * step
        values.append(float(scalar(*args[:i], Tensor(moved), *args[i + 1 :])))
    return (values[0] - values[1]) / (2 * step)
