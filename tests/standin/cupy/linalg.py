"""Of ``cupy.linalg`` what is used, computed by NumPy. A singular matrix is no error there, as errors would
have to be waited for: here too.
"""

import numpy as np

from ._array import given, wrapped


def _computed(name, *arrays, **options):
    try:
        y = getattr(np.linalg, name)(*map(given, arrays), **options)
    except np.linalg.LinAlgError:
        y = np.full(arrays[-1].shape, np.nan, arrays[-1].dtype)
    return wrapped(tuple(y) if isinstance(y, tuple) else y)


def cholesky(a):
    return _computed("cholesky", a)


def det(a):
    return _computed("det", a)


def inv(a):
    return _computed("inv", a)


def slogdet(a):
    return _computed("slogdet", a)


def solve(a, b):
    if a.shape[:-1] != b.shape[: a.ndim - 1] or b.ndim not in (a.ndim, a.ndim - 1):
        raise ValueError("a must have (..., M, M) shape and b must have (..., M) or (..., M, K)")
    return _computed("solve", a, b)


def svd(a, full_matrices=True, compute_uv=True):
    return _computed("svd", a, full_matrices=full_matrices, compute_uv=compute_uv)
