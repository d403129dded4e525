"""Forecasts with prediction intervals."""

import functools
from dataclasses import asdict, dataclass

import numpy as np

from ...autograd import concat, expand_dims, matmul
from ...autograd.pointwise import constant
from ...base.errors import InputError, shown
from ...compiler import scan
from ...nn import Dropout, Embedding, Linear, Module
from ..model import TaskModel
from .graphs import forecast_graphs
from .series import Series
from .transform import FAR, Transform, smoothed

BATCH = 512  # windows forecast at once
LAGS = 24  # rows at the end of the window that the linear layer reads
FARTHEST = 1e15  # standard deviations from the mean: squares of them are finite in float32
OUTPUTS = {"gaussian": 3, "quantile": 3, "poisson": 1, "negative-binomial": 2}
COUNTS = ("poisson", "negative-binomial")


class Member(Module):
    """One network of an ensemble: recurrent layers, and what is read off them."""

    def __init__(self, model, inputs):
        self.rnn = model.recurrent(inputs)
        self.dropout = Dropout(model.settings["dropout"], generator=model.generator)
        self.output = Linear(self.rnn.output_size, OUTPUTS[model.head], **model.shared)
        self.output.weight.assign_(np.zeros_like(self.output.weight.data))


class Forecaster(TaskModel):
    """Recurrent layers that read a window, then run on with what they forecast.

    At each step they see the columns, transformed, where in the seasons it is, and how far beyond the last
    known row; with exponential smoothing also how far the series without its season is from its mean in the
    window, and beyond it where smoothing sees it. They say the next transformed value and how far below and
    above it the interval reaches. Beyond the window a forecast is fed back as if it were the value (free
    running); columns that are not known before they happen are 0 there. An untrained network forecasts what
    smoothing does, or differences: the value before, the season before, or both, and the mean change.

    Args:
        columns: their names, the target first; ``transforms``: one each.
        panel: of several series, or of smoothing: the ``ids`` and each one's ``transforms`` of the target,
            the ``seasons``, the columns ``foreseen``, whether no value is ``below`` 0, and what widens the
            intervals at each step, ``calibration [horizon]``.
        season, window, horizon: in steps.
        interval: part of the future values that the interval is to contain.
        head: what is said of the future; see ``OUTPUTS``.
        ensemble: networks whose mean forecasts; id_embed: width of what is learned of each id.
        settings: of `RNN`; dropout also falls on its outputs inside the window.
    """

    task = "forecast"

    def __init__(
        self, columns, transforms, panel=None, *, season, window, horizon, interval=0.9, head="gaussian",
        ensemble=1, id_embed=0, seed=0, **settings,
    ):  # fmt: skip
        own = dict(season=season, window=window, horizon=horizon, interval=interval)
        own |= dict(head=head, ensemble=ensemble, id_embed=id_embed)
        super().__init__(seed, settings, **own)
        self.columns, self.transforms = list(columns), [Transform(**t) for t in transforms]
        self.season, self.window, self.horizon, self.interval = season, window, horizon, interval
        self.head, self.panel, self.counts = head, panel or {}, head in COUNTS
        self.seasons = self.panel.get("seasons") or [season]
        self.foreseen = list(self.panel.get("foreseen") or ())
        own = self.panel.get("transforms")
        self.targets = {i: Transform(**t) for i, t in zip(self.panel.get("ids", ()), own or (), strict=True)}
        self.smooth = bool(self.transforms[0].smoothing)
        for t in (self.transforms[0], *self.targets.values()):
            if len(t.effects) not in (0, len(self.foreseen)) or bool(t.smoothing) != self.smooth:
                raise ValueError(f"its transforms do not fit {len(self.foreseen)} columns known in advance")
        self.below = not self.panel.get("positive", False)
        self.believe(self.panel)
        # the columns, and how far from the window's mean
        self.measured = len(columns) + self.smooth
        self.width = self.measured + 2 * len(self.seasons) + 1
        self.embedding = Embedding(len(self.targets) + 1, id_embed, **self.shared) if id_embed else None
        first = Member(self, self.width + id_embed)
        self.rnn, self.dropout, self.output = first.rnn, first.dropout, first.output
        self.lags = min(window, LAGS) if self.smooth and not self.counts else 0
        self.linear = Linear(2 * self.lags, horizon, **self.shared) if self.lags else None
        if self.linear is not None:
            self.linear.weight.assign_(np.zeros_like(self.linear.weight.data))
        self.others = [Member(self, self.width + id_embed) for _ in range(ensemble - 1)]

    def believe(self, panel):
        """Take what an evaluation chose from a ``panel`` of facts: how far intervals reach, and how far the
        networks are trusted. Raises ValueError if it is of another horizon.
        """
        found = panel.get("calibration") or [1.0] * self.horizon
        if len(found) != self.horizon:
            raise ValueError(f"its calibration is of {len(found)} steps, not {self.horizon}")
        self.calibration = np.array(found)
        self.trust, self.even = panel.get("trust", 1.0), panel.get("even", False)

    @property
    def members(self):
        """The networks of the ensemble."""
        return [self, *self.others]

    def target_of(self, key) -> Transform:
        """The transform of the series of an id; of one that is unknown, the usual one."""
        return self.targets.get(key, self.transforms[0])

    @functools.cached_property
    def spread(self):
        """``[horizon]``: of a sum of independent errors, in units of one."""
        return self.transforms[0].spread(self.horizon)

    @functools.cached_property
    def response(self):
        """``[horizon, horizon]``: how differences add up to values, in units of ``spread``."""
        return (self.transforms[0].response(self.horizon) / self.spread[:, None]).astype(self.dtype)

    @property
    def needed(self) -> int:
        """Rows that a forecast is made from, at least."""
        if self.smooth:
            return max(4, *(t.season + 1 for t in (self.transforms[0], *self.targets.values())))
        return self.window + max(t.lost for t in self.transforms)

    def forward(self, past, ahead, mask=None, ids=None, member=None):
        """Windows and what is known of the steps beyond, to forecasts.

        Args:
            past: ``[window, B, width]``; see `Prepared`.
            ahead: ``[horizon - 1, B, width - 1]``: the same of the rows beyond, without the target.
            mask: ``[window, B]``, 0 where nothing is known; ids: ``[B]``, which series it is.
            member: of the ensemble; default: the first.

        Returns:
            ``(inside, beyond)``: of each row of the window but the first, and of the ``horizon`` after it,
            ``[..., B, outputs]``: the value, then how far the interval reaches below and above it, before
            their softplus.
        """
        net = self if member is None else member
        past, ahead = constant(past, self.output.weight), constant(ahead, self.output.weight)
        if self.embedding is not None:
            past, ahead = self._with_ids(past, ids), self._with_ids(ahead, ids)
        ys, final = net.rnn(past, mask=mask)
        said = net.output(net.dropout(ys))
        last, beyond = said[-1], expand_dims(said[-1], axis=0)
        if len(ahead):

            def step(x, said, *states):
                y, new = net.rnn.step(concat([said[:, :1], x], axis=-1), net.rnn.layered(states))
                return net.output(y), *net.rnn.flat(new)

            step.__qualname__ = f"forecast with {self.settings['cell']}"
            training = net.rnn.training
            net.rnn.eval()  # what is dropped is dropped from the window
            free, _ = scan(step, ahead, (last, *net.rnn.flat(final)))
            net.rnn.train(training)
            beyond = concat([beyond, free], axis=0)
        return said[:-1], beyond

    def _with_ids(self, xs, ids):
        if not len(xs):
            return xs
        known = expand_dims(self.embedding(ids), axis=0)
        return concat([xs, known + constant(np.zeros((len(xs), 1, 1), self.dtype), xs)], axis=-1)

    def straight(self, past):
        """``[B, horizon]``: what the linear layer adds to the values, in units of their spread; it reads the
        last errors of smoothing and how far the level is from its mean. It is fitted in closed form
        (`fit_linear`), and no gradient moves it.
        """
        columns = [past[-self.lags :, :, k].T for k in (0, self.measured - 1)]
        read = concat([constant(c, self.output.weight) for c in columns], axis=-1)
        return matmul(read, self.linear.weight.detach())

    def parted(self, past):
        """``past`` as its measured values, and the rest, which is known without measuring."""
        return past[:, :, : self.measured], past[:, :, self.measured :]

    def joined(self, values, past):
        """``past`` with other measured ``values``, a Tensor."""
        like = self.output.weight
        return concat([constant(values, like), constant(self.parted(past)[1], like)], axis=-1)

    def forecast(self, series, origins=None, past=None, foreseen=None) -> np.ndarray:
        """Forecasts ``[3, origins, horizon]`` of the target: value, lower and upper end of the interval.

        Args:
            series: a `Series` with this model's columns, see `read_series`; or `Prepared`.
            origins: rows of it: row ``t`` and what follows is forecast from the rows before; default: what
                follows the end (of each series).
            past: what the network reads before each origin in place of the series' own, ``[window, origins,
                width]`` as `Prepared.batch` gives it.
            foreseen: ``[horizon, columns]``: of what follows the end what is known, NaN where nothing is.

        Raises:
            InputError: the series is too short, or holds values that have no logarithm.
        """
        if isinstance(series, Series):
            if len(series) < self.needed:
                made = f"a forecast of this model is made from {self.needed}"
                raise InputError(f"{series.name} has {len(series)} rows, {made}")
            origins = np.array([len(series)] if origins is None else origins) + self.window
            series = Prepared(self, [series], None if foreseen is None else [foreseen])
        flat = series.starts + series.ends if origins is None else origins
        return self.ends(series, flat, *self.outputs(series, flat, past))

    def outputs(self, prepared, flat, past=None):
        """What the networks say on the mean after the rows ``flat``, ``[horizon, n, outputs]``, and the
        linear layer, ``[n, horizon]`` (0: there is none).
        """
        said, lines = [], []
        with self.evaluating():
            for first in range(0, len(flat), BATCH):
                part = slice(first, first + BATCH)
                read = prepared.batch(flat[part])
                read = read if past is None else (past[:, part], *read[1:])
                said.append(np.mean([self(*read, member=net)[1].numpy() for net in self.members], axis=0))
                lines += [self.straight(read[0]).numpy()] if self.lags else []
        line = np.concatenate(lines).astype(np.float64) if lines else 0.0
        return np.concatenate(said, axis=1).astype(np.float64), line

    def ends(self, prepared, flat, said, line):
        """``[3, n, horizon]``: values and ends of their intervals, of `outputs`."""
        if self.counts:
            from .counts import quantiles

            mean = prepared.mean(flat, said[:, :, 0].T)
            return quantiles(mean, said[:, :, 1].T if self.head != "poisson" else None, self.interval)
        middle, reach = self.reached(prepared, flat, said, line)
        reach = self.calibration * reach
        ends = np.stack([middle, middle - reach[0], middle + reach[1]])
        logs = prepared.logs[prepared.series[flat]][:, None]
        ends = np.where(logs, np.exp(np.minimum(ends, 700)), ends)
        return ends if self.below else np.maximum(ends, 0)

    def reached(self, prepared, flat, said, line):
        """Values, or logarithms, ``[n, horizon]``, and how far their intervals reach below and above them
        before these are calibrated ``[2, n, horizon]``.
        """
        which = prepared.series[flat]
        unit = prepared.scales[which][:, None] * prepared.spreads[which]
        middle = prepared.values_of(flat, self.trust * said[:, :, 0].T) + unit * line
        far = np.ones_like(said[:, :, 1:]) if self.even else np.logaddexp(said[:, :, 1:], 0)
        return middle, unit * far.transpose(2, 1, 0)

    def inherited(self) -> dict:
        """Also its columns, what is forecast of them, and which are known before they happen."""
        names, target = [c for c in self.columns if "," not in c], self.transforms[0]
        own = {"target": self.columns[0], "columns": ",".join(names) if names == self.columns else None}
        lags = None if self.smooth else ",".join(map(str, target.lags)) or "0"
        log = target.log if len(self.targets) < 2 else None  # each of several has its own
        own |= {"difference": lags, "log": log, "future": ",".join(self.foreseen) or None}
        return {**super().inherited(), **own}

    def graphs(self, *, over_time=True) -> dict:
        """``read``, ``step`` and ``end``; see `forecast_graphs`."""
        return forecast_graphs(self)

    def rows(self) -> dict:
        """Those of the series."""
        names = [*self.targets, None]  # the last is every other
        return {"embedding.weight": ("series", names, 0)} if self.embedding is not None else {}

    def facts(self) -> dict:
        """Columns, how each is transformed, and the panel."""
        found = {"columns": self.columns, "transforms": [stored(t) for t in self.transforms]}
        if self.panel or (self.calibration != 1).any():
            own = dict(calibration=self.calibration.tolist(), trust=self.trust, even=self.even)
            found["panel"] = {**self.panel, **own}
        return found


def stored(transform) -> dict:
    """As a checkpoint keeps it: one of differences as it always did."""
    found = asdict(transform)
    return found if transform.smoothing else {k: found[k] for k in ("log", "lags", "mean", "scale")}


@dataclass
class Prepared:
    """Several series as a `Forecaster` sees them, one after the other: before each ``window`` rows of
    nothing, after each ``horizon`` that are still to come.

    ``x [R, width]``: columns, transformed (0 where unknown), a place for how far from the window's mean, sine
    and cosine of the seasons' phases, and 0; ``known [R]``: whether the target is; ``raw [R]``: the target,
    NaN where unknown; ``filled [R]``: with something there; ``series [R]``: which; ``starts``, ``ends``: of
    each series the first row, and how many it has; ``states``, ``fixed``, ``back``: as `Smoothed`.
    """

    def __init__(self, model, panel, foreseen=None):
        self.model, self.panel = model, panel
        h, w = model.horizon, model.window
        self.ends = np.array([len(s) for s in panel])
        sizes = self.ends + w + h
        begins = np.cumsum(sizes) - sizes
        self.starts = begins + w
        rows = int(sizes.sum())
        self.x = np.zeros((rows, model.width), model.dtype)
        self.known, self.raw, self.filled = np.zeros(rows, bool), np.full(rows, np.nan), np.zeros(rows)
        self.series = np.repeat(np.arange(len(panel)), sizes)
        self.states, self.fixed, self.back = np.zeros((4, rows)), np.zeros(rows), np.full(rows, -1, np.int64)
        targets = [model.target_of(s.id) for s in panel]
        self.targets, self.scales = targets, np.array([t.scale for t in targets])
        self.logs = np.array([t.log for t in targets])
        self.phis = np.array([t.smoothing[3] if t.smoothing else 0.0 for t in targets])
        self.outer = [model.columns.index(name) for name in model.foreseen]
        cache = {}
        for t in targets:
            if t not in cache:
                cache[t] = t.psi(h), t.spread(h)
        self.psis = np.stack([cache[t][0] for t in targets])
        self.spreads = np.stack([cache[t][1] for t in targets])
        index = {key: i for i, key in enumerate(model.targets)}
        self.ids = np.array([index.get(s.id, len(index)) for s in panel])
        for i, s in enumerate(panel):
            self._fill(i, s, None if foreseen is None else foreseen[i])

    def _fill(self, i, series, foreseen):
        model, h, n = self.model, self.model.horizon, len(series)
        here = slice(self.starts[i], self.starts[i] + n)
        later = slice(here.stop, here.stop + h)
        x = self.x
        dates = np.concatenate([series.dates, series.future(h)])
        both = slice(here.start, later.stop)
        for k, name in reversed([*enumerate(model.columns)]):  # the target last: others may add to it
            transform = self.targets[i] if k == 0 else model.transforms[k]
            values = checked_column(series, name, transform)
            known = series.known[:, series.columns.index(name)]
            if transform.smoothing:
                angle = 2 * np.pi * series.phase(dates, max(model.seasons))
                outer = x[both][:, self.outer].astype(np.float64)
                after = smoothed(transform, values, known, series.calendar.position(dates), angle, outer)
                self.states[:, here], self.fixed[both] = after.states, after.fixed
                self.back[both] = np.where(after.back >= 0, after.back + here.start, -1)
                calm = after.states[3] / transform.scale
            else:
                calm = np.zeros(n)
                calm[transform.lost :] = transform.forward(values)
            if np.abs(calm).max(initial=0) > FARTHEST:
                far = (
                    f"column {shown(name)} goes more than {FARTHEST:g} deviations beyond what was trained on"
                )
                raise InputError(f"{series.name}: {far}: mend its largest values")
            x[here, k] = np.where(known, calm, 0)
            if k == 0:
                self.known[here], self.raw[here] = known, np.where(known, values, np.nan)
                self.filled[here] = values
            elif name in model.foreseen:
                later_values = np.full(h, np.nan)
                if foreseen is not None:
                    later_values = foreseen[:, series.columns.index(name)]
                if np.ptp(values) == 0:  # the same for ever
                    later_values = np.where(np.isnan(later_values), values[-1], later_values)
                x[later, k] = np.nan_to_num((later_values - transform.mean) / transform.scale)
        for j, season in enumerate(model.seasons):
            angle = 2 * np.pi * series.phase(dates, season)
            at = model.measured + 2 * j
            x[both, at], x[both, at + 1] = np.sin(angle), np.cos(angle)

    def batch(self, flat):
        """``(past, ahead, mask, ids)`` for ``forward``: windows that end before rows ``flat``."""
        model = self.model
        flat = np.asarray(flat)
        inside = flat + np.arange(-model.window, 0)[:, None]
        past = self.x[inside]
        ahead = self.x[flat + np.arange(1, model.horizon)[:, None]]
        ahead[:, :, -1] = np.arange(1, model.horizon)[:, None] / model.horizon
        kept = [k for k, name in enumerate(model.columns) if name not in model.foreseen]
        ahead[:, :, kept] = 0
        known = self.known[inside]
        if model.smooth:
            which = self.series[flat]
            unit = (self.scales * self.spreads[:, -1])[which]
            plain = self.states[0, inside] * known
            mean = plain.sum(0) / np.maximum(known.sum(0), 1)
            level = np.clip((self.states[0, inside] - mean) / unit, -FAR, FAR)
            past[:, :, model.measured - 1] = known * level
            level = self.base(flat, seasonal=False).T
            ahead[:, :, model.measured - 1] = np.clip((level - mean) / unit, -FAR, FAR)[1:]
        ids = self.ids[self.series[flat]]
        return past, ahead[:, :, 1:], None if known.all() else known, ids

    def base(self, flat, seasonal=True):
        """``[n, horizon]``: what smoothing forecasts from each of the rows ``flat``."""
        h, which = self.model.horizon, self.series[flat]
        far = np.cumsum(self.phis[which][:, None] ** np.arange(1, h + 1), axis=1)
        found = self.states[0, flat - 1][:, None] + far * self.states[1, flat - 1][:, None]
        if not seasonal:
            return found
        rows = flat[:, None] + np.arange(h)
        last = self.back[rows]
        while (later := last >= flat[:, None]).any():
            last = np.where(later, self.back[last], last)
        return found + np.where(last >= 0, self.states[2, np.maximum(last, 0)], 0.0) + self.fixed[rows]

    def summed(self, which, z):
        """What errors ``z [n, horizon]``, in units of their deviation, add to values of series ``which``."""
        h = z.shape[1]
        if len(self.panel) == 1:
            return z @ toeplitz(self.psis[0]).T * self.scales[0]
        found = np.stack(
            [(self.psis[which, : j + 1][:, ::-1] * z[:, : j + 1]).sum(1) for j in range(h)], axis=1
        )
        return found * self.scales[which][:, None]

    def values_of(self, flat, z):
        """Values, or logarithms, ``[n, horizon]`` after predicted ``z``."""
        which = self.series[flat]
        if self.model.smooth:
            return self.base(flat) + self.summed(which, z)
        target = self.targets[0]
        lost = max(target.lost, 1)
        return target.continued(self.filled[flat[:, None] + np.arange(-lost, 0)], z)

    def mean(self, flat, z):
        """The mean of counts, above 0."""
        unit = self.scales[self.series[flat]][:, None]
        return unit * np.logaddexp(self.values_of(flat, z) / unit, 0) + 1e-6

    def units(self, flat):
        """``[n]``: the mean absolute error of the seasonal naive forecast one step ahead, before the first of
        the rows ``flat`` in its series; NaN for one of several that never changed, which has no MASE.
        """
        m, which, found = self.model.season, self.series[flat], np.ones(len(flat))
        for i in np.unique(which).tolist():
            known = self.filled[self.starts[i] : flat[which == i].min()]
            unit = np.abs(known[m:] - known[:-m]).mean() if len(known) > m else 0.0
            least = max(1e-9 * np.abs(known).max(initial=0), 1e-30)
            found[which == i] = unit if unit > least else np.nan if len(self.panel) > 1 else least
        return found

    def true(self, flat):
        """``[n, horizon]``: what came, NaN where nothing is known."""
        return self.raw[flat[:, None] + np.arange(self.model.horizon)]


def toeplitz(psi):
    """``[H, H]``: what errors add to the values from their step on."""
    steps = np.arange(len(psi))
    return np.tril(psi[np.maximum(steps[:, None] - steps, 0)])


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
