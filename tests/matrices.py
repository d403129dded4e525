"""Matrices of all sizes and layouts, for tests of products."""

import numpy as np

rng = np.random.default_rng(4)
SIZES = [(m, 5, 7) for m in range(71)] + [(5, k, 7) for k in range(71)] + [(5, 7, n) for n in range(71)]
SIZES += [tuple(rng.integers(1, 71, 3).tolist()) for _ in range(150)]
SIZES += [(3, 600, 40), (300, 20, 33), (250, 300, 70), (1, 257, 1)]  # more than a block, more than a chunk


def operand(rng, rows, columns, dtype, layout):
    """A matrix whose memory is C, Fortran, or neither; what lies around it is NaN."""
    values = rng.standard_normal((rows, columns)).astype(dtype)
    if layout == "transposed":
        return np.asfortranarray(values)
    if layout == "strided":
        around = np.full((2 * rows, 3 * columns), np.nan, dtype)
        around[::2, 1::3] = values
        return around[::2, 1::3]
    return values
