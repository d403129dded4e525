"""What makes a time series calm enough for a network, and the way back."""

from dataclasses import dataclass

import numpy as np

from ...base.options import Rule, taken
from .options import LONGEST

_RULES = {
    "log": Rule(bool),
    "lags": Rule(int, many=True, low=1, high=LONGEST),
    "mean": Rule(float),
    "scale": Rule(float, low=0, open_low=True),
}
MOST_LAGS = 8


@dataclass(frozen=True)
class Transform:
    """What makes a column calm enough for a network: logarithm, differences at some lags, mean and standard
    deviation.

    Fitted on the training part alone. With ``B`` the shift by one row, differences multiply by ``(1 -
    B^lag)`` for each lag.
    """

    log: bool
    lags: tuple
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(cls, values, season, lags=None, log=None):
        """Of a column's training part; ``lags`` and ``log`` None are chosen.

        Logarithms are taken if swings within a season grow with its mean (correlation above 0.7). Lags are
        those of none, 1, the season, or both, whose differences have the least variance (Box & Jenkins 1976).
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
        found = cls(**taken(stored, _RULES, "transform"))
        if len(found.lags) > MOST_LAGS:
            raise ValueError(f"its lags are {len(found.lags)}, more than {MOST_LAGS}")
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
        """``[horizon]``: what a difference adds to the values from its step on."""
        recursion = self._recursion()
        psi = np.zeros(horizon)
        for j in range(horizon):
            psi[j] = (j == 0) + sum(c * psi[j - k] for k, c in recursion.items() if k <= j)
        return psi

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
