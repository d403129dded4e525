"""Forecasts of counts: Poisson and negative binomial, of whose values none is below 0."""

import numpy as np

from ...autograd import log, softplus
from ...base.errors import InputError

_LEAST = 1e-3  # of the size of a negative binomial distribution
_SHIFT = 6  # from here on Stirling's series is exact in float32


def size_of(said):
    """The size r of a negative binomial distribution, of variance ``mean + mean^2 / r``."""
    return softplus(said) + _LEAST


def log_gamma(x):
    """Of a Tensor above 0: Stirling's series at ``x + 6``, and back."""
    y = x + _SHIFT
    below = x
    for k in range(1, _SHIFT):
        below = below * (x + k)
    series = 1 / (12 * y) - 1 / (360 * y * y * y)
    return (y - 0.5) * log(y) - y + 0.5 * float(np.log(2 * np.pi)) + series - log(below)


def cost(mean, counts, said=None):
    """Negative log-likelihood of ``counts``, without what depends on these alone; ``said`` None: Poisson."""
    if said is None:
        return mean - counts * log(mean)
    r = size_of(said)
    both = log(r + mean)
    return log_gamma(r) - log_gamma(r + counts) - r * (log(r) - both) - counts * (log(mean) - both)


def quantiles(mean, said, interval) -> np.ndarray:
    """Mean, lower and upper end of the interval ``[3, ...]`` of distributions with these means.

    Raises:
        InputError: SciPy is not installed.
    """
    try:
        from scipy import stats
    except ImportError:
        raise InputError("intervals of counts are made by SciPy: pip install 'tinyrnn[forecast]'") from None
    if said is None:
        found = stats.poisson(mean)
    else:
        r = np.logaddexp(said, 0) + _LEAST
        found = stats.nbinom(r, r / (r + mean))
    return np.stack([mean, found.ppf((1 - interval) / 2), found.ppf((1 + interval) / 2)])
