"""Forecasts with prediction intervals."""

import functools
from dataclasses import asdict

import numpy as np

from ...autograd import concat, expand_dims
from ...autograd.pointwise import constant
from ...base.errors import InputError, shown
from ...compiler import scan
from ...nn import Dropout, Linear
from ..model import TaskModel
from .transform import Transform

BATCH = 512  # windows forecast at once
FARTHEST = 1e15  # standard deviations from the mean: squares of them are finite in float32


class Forecaster(TaskModel):
    """Recurrent layers that read a window, then run on with what they forecast.

    At each step they see the columns, transformed, where in the season it is, and how far beyond the last
    known row; they say the next transformed value and how far below and above it the interval reaches. Beyond
    the window a forecast is fed back as if it were the value (free running); columns other than the target
    are 0 there. An untrained network forecasts what its
    differences do: the value before, the season before, or both, and the mean change.

    Args:
        columns: their names, the target first; ``transforms``: one each.
        season, window, horizon: in steps.
        interval: part of the future values that the interval is to contain.
        settings: of `RNN`; dropout also falls on its outputs inside the window.
    """

    task = "forecast"

    def __init__(self, columns, transforms, *, season, window, horizon, interval=0.9, seed=0, **settings):
        own = dict(season=season, window=window, horizon=horizon, interval=interval)
        super().__init__(seed, settings, **own)
        self.columns, self.transforms = list(columns), [Transform(**t) for t in transforms]
        self.season, self.window, self.horizon, self.interval = season, window, horizon, interval
        self.rnn = self.recurrent(len(columns) + 3)
        self.dropout = Dropout(self.settings["dropout"], generator=self.generator)
        self.output = Linear(self.rnn.output_size, 3, **self.shared)
        self.output.weight.assign_(np.zeros_like(self.output.weight.data))
        # of a sum of independent errors, in units of one
        self.spread = np.sqrt(np.cumsum(self.transforms[0].psi(horizon) ** 2))[:, None]

    @functools.cached_property
    def response(self):
        """``[horizon, horizon]``: how differences add up to values, in units of ``spread``."""
        return (self.transforms[0].response(self.horizon) / self.spread).astype(self.dtype)

    @property
    def needed(self) -> int:
        """Rows that a forecast is made from."""
        return self.window + max(t.lost for t in self.transforms)

    def forward(self, past, ahead):
        """Windows and what is known of the steps beyond, to forecasts.

        Args:
            past: ``[window, B, columns + 3]``; see ``inputs``.
            ahead: ``[horizon - 1, B, columns + 2]``: the same of the rows beyond, without the target.

        Returns:
            ``(inside, beyond)``: of each row of the window but the first, and of the ``horizon`` after it,
            ``[..., B, 3]``: the value, then how far the interval reaches below and above it, before their
            softplus.
        """
        past, ahead = constant(past, self.output.weight), constant(ahead, self.output.weight)
        ys, final = self.rnn(past)
        said = self.output(self.dropout(ys))
        last, beyond = said[-1], expand_dims(said[-1], axis=0)
        if len(ahead):

            def step(x, said, *states):
                y, new = self.rnn.step(concat([said[:, :1], x], axis=-1), self.rnn.layered(states))
                return self.output(y), *self.rnn.flat(new)

            step.__qualname__ = f"forecast with {self.settings['cell']}"
            training = self.rnn.training
            self.rnn.eval()  # what is dropped is dropped from the window
            free, _ = scan(step, ahead, (last, *self.rnn.flat(final)))
            self.rnn.train(training)
            beyond = concat([beyond, free], axis=0)
        return said[:-1], beyond

    def inputs(self, series, count=0) -> np.ndarray:
        """``[N + count, columns + 3]``: of the rows of ``series`` and ``count`` beyond what the network sees
        of each.

        Columns, transformed (0 where unknown), sine and cosine of the season's phase, and 0.
        """
        found = np.zeros((len(series) + count, len(self.columns) + 3), self.dtype)
        for i, (name, transform) in enumerate(zip(self.columns, self.transforms, strict=True)):
            calm = transform.forward(checked_column(series, name, transform))
            if np.abs(calm).max(initial=0) > FARTHEST:
                far = (
                    f"column {shown(name)} goes more than {FARTHEST:g} deviations beyond what was trained on"
                )
                raise InputError(f"{series.name}: {far}: mend its largest values")
            found[transform.lost : len(series), i] = calm
        dates = np.concatenate([series.dates, series.future(count)]) if count else series.dates
        angle = 2 * np.pi * series.phase(dates, self.season)
        found[:, -3], found[:, -2] = np.sin(angle), np.cos(angle)
        return found

    def batch(self, inputs, origins):
        """``(past, ahead)`` for ``forward``: windows that end before ``origins``, rows of ``inputs``."""
        past = inputs[np.asarray(origins) + np.arange(-self.window, 0)[:, None]]
        ahead = inputs[np.asarray(origins) + np.arange(1, self.horizon)[:, None]]
        ahead[:, :, -1] = np.arange(1, self.horizon)[:, None] / self.horizon
        return past, np.concatenate(
            [0 * ahead[:, :, 1 : len(self.columns)], ahead[:, :, len(self.columns) :]], axis=-1
        )

    def parted(self, past):
        """``past`` as its columns' values, and the rest, which is known without measuring."""
        return past[:, :, : len(self.columns)], past[:, :, len(self.columns) :]

    def joined(self, values, past):
        """``past`` with other ``values`` of its columns, a Tensor."""
        like = self.output.weight
        return concat([constant(values, like), constant(self.parted(past)[1], like)], axis=-1)

    def forecast(self, series, origins=None, past=None) -> np.ndarray:
        """Forecasts ``[3, origins, horizon]`` of the target: value, lower and upper end of the interval.

        Args:
            series: a `Series` with this model's columns; see `read_series`.
            origins: rows of it: row ``t`` and what follows is forecast from the rows before; default: what
                follows the end.
            past: what the network reads before each origin in place of the series' own, ``[window, origins,
                columns + 3]`` as ``batch`` gives it.

        Raises:
            InputError: the series is too short, or holds values that have no logarithm.
        """
        if len(series) < self.needed:
            raise InputError(
                f"{series.name} has {len(series)} rows, a forecast of this model is made from {self.needed}"
            )
        inputs, target, found = self.inputs(series, self.horizon), self.transforms[0], []
        origins = np.array([len(series)] if origins is None else origins)
        values = series.values[:, series.columns.index(self.columns[0])]
        with self.evaluating():
            for first in range(0, len(origins), BATCH):
                part = origins[first : first + BATCH]
                read, ahead = self.batch(inputs, part)
                read = read if past is None else past[:, first : first + BATCH]
                beyond = self(read, ahead)[1].numpy().astype(np.float64)
                lost = max(target.lost, 1)
                middle = target.continued(values[part[:, None] + np.arange(-lost, 0)], beyond[:, :, 0].T)
                reach = target.scale * self.spread.T * np.logaddexp(beyond[:, :, 1:], 0).transpose(2, 1, 0)
                ends = np.stack([middle, middle - reach[0], middle + reach[1]])
                found.append(np.exp(ends) if target.log else ends)
        return np.concatenate(found, axis=1)

    def inherited(self) -> dict:
        """Also its columns, and how the target is transformed."""
        names, target = [c for c in self.columns if "," not in c], self.transforms[0]
        own = {"target": self.columns[0], "columns": ",".join(names) if names == self.columns else None}
        lags = ",".join(map(str, target.lags)) or "0"
        return {**super().inherited(), **own, "difference": lags, "log": target.log}

    def facts(self) -> dict:
        """Columns and how each is transformed."""
        return {"columns": self.columns, "transforms": [asdict(t) for t in self.transforms]}


def checked_column(series, name, transform):
    """The values of a column; InputError if it is missing, or has no logarithm where that is needed."""
    if name not in series.columns:
        raise InputError(f"{series.name} has no numeric column {shown(name)}, which the model reads")
    values = series.values[:, series.columns.index(name)]
    if transform.log and values.min() <= 0:
        date = series.shown(series.dates[[int(values.argmin())]])[0]
        said = f"column {shown(name)} is {values.min():g} at {date} and has no logarithm"
        raise InputError(f"{series.name}: {said}: train with --no-log")
    return values
