"""What makes a time series calm enough for a network, and the way back."""

from dataclasses import dataclass, replace

import numpy as np

from ... import kernels
from ...base.options import Rule, taken
from .options import LONGEST

_RULES = {
    "log": Rule(bool),
    "lags": Rule(int, many=True, low=1, high=LONGEST),
    "mean": Rule(float),
    "scale": Rule(float, low=0, open_low=True),
    "smoothing": Rule(float, many=True, low=0, high=1),
    "season": Rule(int, low=1, high=LONGEST),
    "waves": Rule(float, many=True),
    "effects": Rule(float, many=True),
}
MOST_LAGS, MOST_WAVES = 8, 8
WEEK = 7  # steps: what columns add is looked for within as many at least
LONG = 60  # steps: a longer season is a sum of waves, not a state for each of its steps
ORIGINS = 300  # at most so many forecasts judge a way to smooth
FAR = 10.0  # spreads of the last step: a level that is further from the window's mean is seen as if there
LEAST = 1e-3  # of the deviation of a series: its errors have no less
GAIN = 0.98  # what costs more than this part of the simpler way's error is not taken


@dataclass(frozen=True)
class Transform:
    """What makes a column calm enough for a network: logarithm, then the errors of exponential smoothing one
    step ahead or differences at some lags, then mean and standard deviation.

    Fitted on the training part alone. With ``B`` the shift by one row, differences multiply by ``(1 -
    B^lag)`` for each lag. ``smoothing``: alpha, beta, gamma and phi of `kernels.smoothing`, of the
    ``season``; ``waves``: of a long season, what cosines and sines of its harmonics are multiplied by;
    ``effects``: what columns that are known before they happen are.
    """

    log: bool
    lags: tuple
    mean: float = 0.0
    scale: float = 1.0
    smoothing: tuple = ()
    season: int = 1
    waves: tuple = ()
    effects: tuple = ()

    def __post_init__(self):
        for name in ("lags", "smoothing", "waves", "effects"):  # a file has lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @classmethod
    def fit(cls, values, season, lags=None, log=None):
        """By differences, of a column's training part; ``lags`` and ``log`` None are chosen.

        Logarithms are taken if swings within a season grow with its mean (correlation above 0.7). Lags are
        those of none, 1, the season, or both, whose differences have the least variance (Box & Jenkins
        1976), which is well enough for a column that is only read; of one that is forecast see `chosen`.
        """
        if log is None:
            parts = [values[i : i + season] for i in range(0, len(values) - season + 1, season)]
            known = values.min() > 0 and season > 1 and len(parts) >= 4
            with np.errstate(invalid="ignore"):  # swings or means that are all the same: NaN
                log = bool(
                    known and np.corrcoef([[p.mean(), p.std()] for p in parts], rowvar=False)[0, 1] > 0.7
                )
        if lags is None:
            choices = [(), (1,), *([(season,), (1, season)] if 1 < season <= len(values) // 4 else [])]
            lags = min(choices, key=lambda lags: cls(log, lags).forward(values).std())
        plain = cls(log, tuple(lags)).forward(values)
        return cls(log, tuple(lags), float(plain.mean()), float(plain.std()) or 1.0)

    @classmethod
    def of(cls, stored):
        """As a checkpoint keeps it. Raises ValueError."""
        found = cls(**taken(stored, _RULES, "transform", lacking=("smoothing", "season", "waves", "effects")))
        if len(found.lags) > MOST_LAGS or len(found.waves) > MOST_WAVES or len(found.waves) % 2:
            raise ValueError(f"its lags or waves are more than {MOST_LAGS}, or an odd number of waves")
        if len(found.smoothing) not in (0, 4):
            raise ValueError(f"its smoothing has {len(found.smoothing)} parameters, not 4")
        return found

    @property
    def lost(self) -> int:
        """Rows at the beginning that have no difference."""
        return sum(self.lags)

    def forward(self, values) -> np.ndarray:
        """``[N]`` to ``[N - lost]``."""
        values = np.log(values) if self.log else values
        for lag in self.lags:
            values = values[lag:] - values[:-lag]
        return (values - self.mean) / self.scale

    def response(self, horizon) -> np.ndarray:
        """``[horizon, horizon]``: what differences add to the values (or logarithms) from their step on."""
        psi, steps = self.psi(horizon), np.arange(horizon)
        return np.tril(psi[np.maximum(steps[:, None] - steps, 0)])

    def psi(self, horizon) -> np.ndarray:
        """``[horizon]``: what a difference, or an error of smoothing, adds to the values from its step on."""
        if self.smoothing:
            alpha, beta, gamma, phi = self.smoothing
            later = alpha * (1 + beta * np.cumsum(phi ** np.arange(1, horizon)))
            later[self.season - 1 :: self.season] += gamma if self.season > 1 else 0
            return np.concatenate([[1.0], later])
        recursion = self._recursion()
        psi = np.zeros(horizon)
        for j in range(horizon):
            psi[j] = (j == 0) + sum(c * psi[j - k] for k, c in recursion.items() if k <= j)
        return psi

    def spread(self, horizon) -> np.ndarray:
        """``[horizon]``: the deviation of a sum of independent differences, or errors, in units of one."""
        return np.sqrt(np.cumsum(self.psi(horizon) ** 2))

    def _recursion(self):
        """``c`` of ``value[t] = difference[t] + sum c[k] value[t - k]``."""
        polynomial = {0: 1.0}  # coefficients that are not 0, by their power
        for lag in self.lags:
            shifted = {k + lag: -c for k, c in polynomial.items()}
            polynomial = {k: polynomial.get(k, 0.0) + shifted.get(k, 0.0) for k in polynomial | shifted}
        return {k: -c for k, c in sorted(polynomial.items()) if k and c}

    def continued(self, history, z) -> np.ndarray:
        """Values (or logarithms) ``[n, horizon]`` after the ends of ``history [n, lost or more]``, from
        predicted ``z``.
        """
        history = np.log(history) if self.log else history
        values = np.concatenate([history, z * self.scale + self.mean], axis=1)
        start = history.shape[1]
        for t in range(start, values.shape[1]):
            for k, c in self._recursion().items():
                values[:, t] += c * values[:, t - k]
        return values[:, start:]


@dataclass(frozen=True)
class Smoothed:
    """A series after exponential smoothing, row by row.

    ``states [4, N]``: level, trend, seasonal state, error; ``fixed [N + beyond]``: what waves add; ``back
    [N + beyond]``: the row before of the same seasonal state, or -1.
    """

    states: np.ndarray
    fixed: np.ndarray
    back: np.ndarray


def smoothed(transform, values, known, index, angle, outer=None) -> Smoothed:
    """What the smoothing of a `Transform` makes of a series.

    Args:
        values: ``[N]``; known: bool ``[N]``.
        index: ``[N + beyond]``, integers: which step of the season a row is.
        angle: ``[N + beyond]``: where in the season of the waves, in radians.
        outer: ``[N + beyond, columns]``: what is known before it happens.
    """
    count, m = len(values), transform.season
    outer = outer if transform.effects else None
    fixed = regressors(len(transform.waves) // 2, angle, outer) @ np.array(
        transform.waves + transform.effects
    )
    y = (np.log(values) if transform.log else values) - fixed[:count]
    index = index % m
    back = rows_before(index)
    states = np.empty((4, count))
    start, trend, seasonal = _beginning(y, known, index[:count], m, transform.smoothing[3] > 0)
    kernels.smoothing.smooth(
        y, known, index[:count], start, trend, seasonal, np.array(transform.smoothing), states
    )
    return Smoothed(states, fixed, back)


def regressors(waves, angle, outer=None) -> np.ndarray:
    """``[N, 2 waves + columns]``: cosines and sines of harmonics, and the columns ``outer [N, columns]``."""
    parts = [f((k + 1) * angle)[:, None] for k in range(waves) for f in (np.cos, np.sin)]
    parts += [outer] if outer is not None else []
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(angle), 0))


def rows_before(index) -> np.ndarray:
    """``[N]``: the last row before each with the same index, or -1."""
    order = np.argsort(index, kind="stable")
    same = index[order[1:]] == index[order[:-1]]
    found = np.full(len(index), -1, np.int64)
    found[order[1:][same]] = order[:-1][same]
    return found


def _beginning(y, known, index, m, trending):
    """Level, trend and seasonal states before the first row, from the first rows."""
    first = np.flatnonzero(known)[: max(2 * m, 6)]
    if not len(first):
        return 0.0, 0.0, np.zeros(m)
    head, at = y[first], index[first]
    slope = 0.0
    if trending and len(head) >= 2 * m and m > 1:
        slope = float(head[m : 2 * m].mean() - head[:m].mean()) / m
    elif trending and len(head) > 2:
        slope = float(head[-1] - head[0]) / max(first[-1] - first[0], 1)
    flat = head - slope * (first - first[0])
    level = float(flat[: m if m > 1 else 4].mean())
    seasonal = np.zeros(m)
    if m > 1:
        sums = np.bincount(at, flat - level, m)
        seasonal = sums / np.maximum(np.bincount(at, minlength=m), 1)
    return level - slope, slope, seasonal


def chosen(
    values, known, index, angle, *, seasons, horizon, fit_until, log=None, origins=ORIGINS, outer=None
) -> Transform:
    """The smoothing of a series with the least error up to ``horizon`` steps ahead, by rolling origins.

    Parameters are fitted on the rows before ``fit_until``; with or without logarithms and season is decided
    on these and all further rows of ``values``.

    Args:
        index, angle: as `smoothed`, the latter of the longest of ``seasons``.
        seasons: steps of the seasons that it may have.
        origins: how many forecasts judge a way, at most.
        outer: ``[N, columns]``: what is known before it happens; what it adds is found by least squares.
    """
    positive = values[known].min(initial=np.inf) > 0
    found = []
    logs = [log] if log is not None else [False, True] if positive else [False]
    ways = [(1, 0)]
    for m in seasons:
        if m <= LONG or len(values) < 3 * m:
            ways += [(m, 0)] if 2.5 * m <= fit_until and m <= LONG * 3 else []
        if m > 24 and fit_until >= 2 * m:
            ways += [(1, k) for k in (1, 2, 4)]
        if LONG < m <= 200 and fit_until >= 3 * m:
            ways.append((m, 0))
    varies = outer is not None and outer.shape[1] and np.ptp(outer[:fit_until], axis=0).any()
    choices = (False, True) if varies else (False,)
    tried = [(*way, beside) for way in dict.fromkeys(ways) for beside in choices]
    begin = max([2 * m for m, _, _ in tried] + [8, fit_until // 5])
    begin = min(begin, max(fit_until // 2, 2))
    for way, (m, k, beside) in enumerate(tried):
        for logs_taken in logs:
            y = np.log(values) if logs_taken else values
            columns = regressors(k, angle[: len(values)], outer if beside else None)
            weights = _weights(y[:fit_until], known[:fit_until], columns[:fit_until], max([*seasons, WEEK]))
            fixed = columns @ weights
            own, back = index[: len(values)] % m, rows_before(index[: len(values)] % m)
            rest = y - fixed

            def limits(end, first=begin):
                return np.array([first, end, max(1, -(-(end - first) // origins)), horizon])

            start = _beginning(rest, known, own, m, True)
            parameters, cost = kernels.smoothing.search(
                values[:fit_until], rest[:fit_until], fixed[:fit_until], known[:fit_until], own[:fit_until],
                back[:fit_until], *start, limits(fit_until), logs_taken,
            )  # fmt: skip
            found_weights = tuple(weights.tolist())
            made = Transform(
                logs_taken,
                (),
                0.0,
                1.0,
                tuple(parameters.tolist()),
                m,
                found_weights[: 2 * k],
                found_weights[2 * k :],
            )
            after = smoothed(made, values, known, index[: len(values)], angle[: len(values)], outer)
            if len(values) > fit_until:
                cost = kernels.smoothing.cost(
                    values, after.fixed, known, back, after.states, made.smoothing[3],
                    *limits(len(values)).tolist(), logs_taken,
                )  # fmt: skip
            errors = after.states[3, begin:fit_until][known[begin:fit_until]]
            scale = float(errors.std()) if len(errors) > 1 else 0.0
            scale = max(scale, LEAST * float(y[:fit_until].std()))  # what follows a rule to the last digit
            found.append((cost / GAIN if way else cost, replace(made, scale=scale or 1.0)))
    return min(found, key=lambda f: f[0])[1]


def _weights(y, known, columns, m):
    """What columns ``[N, n]`` add, by least squares on what a moving mean of ``m`` rows leaves of all."""
    count = columns.shape[1]
    if not count or len(y) < m + 2 * count:
        return np.zeros(count)
    half, kernel = (m - 1) // 2, np.ones(m) / m
    both = np.column_stack([y, columns])
    trend = np.stack([np.convolve(c, kernel, "valid") for c in both.T], axis=1)
    rest = (both[half : half + len(trend)] - trend)[known[half : half + len(trend)]]
    return np.linalg.lstsq(rest[:, 1:], rest[:, 0], rcond=1e-8)[0]


def described(targets) -> str:
    """How targets are transformed, in words."""
    if len(targets) > 1:
        logs = sum(t.log for t in targets)
        return f"each smoothed in its own way, {logs:,} as logarithms"
    (target,) = targets
    calm = "logarithms" if target.log else "values"
    if not target.smoothing:
        lags = " and ".join(map(str, target.lags))
        return calm + (f", differences at lag {lags}" if lags else "")
    alpha, beta, gamma, phi = target.smoothing
    parts = [f"alpha {alpha:g}"]
    parts += [f"trend (beta {alpha * beta:.2g}, phi {phi:g})"] if phi else []
    parts += [f"season {target.season} (gamma {gamma:g})"] if target.season > 1 else []
    parts += [f"{len(target.waves) // 2} waves of the season"] if target.waves else []
    parts += ["what the known columns add"] if target.effects else []
    return f"{calm} by exponential smoothing, {', '.join(parts)}"
