"""Exponential smoothing in the form of its errors (Hyndman, Koehler, Ord & Snyder 2008, chapter 2): level,
damped trend, seasonal states; and the search for its parameters by errors many steps ahead.
"""

import numpy as np

from .jit import jit

ALPHA = np.array([0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.9, 1.0])
BETA = np.array([0.0, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4])  # of alpha
GAMMA = np.array([0.0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0])
PHI = np.array([0.0, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0])  # 0: no trend
SWEEPS = 3


@jit
def smooth(y, known, index, first, trend, seasonal, parameters, states):
    """Level, trend, seasonal state and error of each row into ``states [4, N]``.

    Args:
        y, known: ``[N]``; where nothing is known the states go on.
        index: ``[N]``, which of the ``seasonal [m]`` states a row has; these are changed.
        first, trend: the states before the first row.
        parameters: ``[4]``: alpha, beta, gamma, phi.
    """
    alpha, beta, gamma, phi = parameters[0], parameters[1] * parameters[0], parameters[2], parameters[3]
    level = first
    for t in range(len(y)):
        i = index[t]
        ahead = level + phi * trend
        error = y[t] - ahead - seasonal[i] if known[t] else 0.0
        level = ahead + alpha * error
        trend = phi * trend + beta * error
        seasonal[i] += gamma * error
        states[0, t] = level
        states[1, t] = trend
        states[2, t] = seasonal[i]
        states[3, t] = error


@jit
def cost(values, fixed, known, back, states, phi, begin, end, stride, horizon, log):
    """Mean absolute error of forecasts of ``values`` from every ``stride``-th origin between rows ``begin``
    and ``end``, at most ``horizon`` steps ahead.

    Args:
        fixed: ``[N]``, what is added to forecasts.
        back: ``[N]``, the row before of the same seasonal state, or -1.
        log: forecasts are of logarithms.
    """
    total, count = 0.0, 0
    origin = begin
    while origin < end:
        level, step, far = states[0, origin - 1], states[1, origin - 1], 0.0
        power = 1.0
        for h in range(min(horizon, end - origin)):
            row = origin + h
            power *= phi
            far += power
            if known[row]:
                p = row
                while p >= origin:
                    p = back[p]
                said = level + far * step + (states[2, p] if p >= 0 else 0.0) + fixed[row]
                total += abs(values[row] - (np.exp(min(said, 700.0)) if log else said))
                count += 1
        origin += stride
    return total / max(count, 1)


@jit
def search(values, y, fixed, known, index, back, start, trend, seasonal, limits, log):
    """The parameters with the least `cost`, by turns one after the other on a grid: ``[4]`` and the cost.

    Args:
        limits: begin, end, stride, horizon, as in `cost`.
    """
    begin, end, stride, horizon = limits
    best = np.array([0.3, 0.03, 0.1 if len(seasonal) > 1 else 0.0, 0.9])
    states = np.empty((4, len(y)))
    least = np.inf
    for _ in range(SWEEPS):
        before = least
        for which in (0, 3, 1, 2):
            if which == 2 and len(seasonal) == 1:
                continue
            grid = ALPHA if which == 0 else BETA if which == 1 else GAMMA if which == 2 else PHI
            for value in grid:
                tried = best.copy()
                tried[which] = value
                smooth(y, known, index, start, trend, seasonal.copy(), tried, states)
                found = cost(values, fixed, known, back, states, tried[3], begin, end, stride, horizon, log)
                if found < least * (1 - 1e-6):
                    least = found
                    best = tried
        if least >= before * (1 - 1e-3):
            break
    return best, least
