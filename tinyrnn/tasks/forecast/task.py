"""Forecasts of time series, with prediction intervals, measured against naive forecasts."""

import hashlib
import math
from statistics import NormalDist
from types import MappingProxyType

import numpy as np

from ...autograd import expand_dims, matmul, maximum, softplus
from ...autograd.functional import zeros_like
from ...autograd.pointwise import constant
from ...base.errors import InputError, few, near, shown
from ...base.options import Rule, taken
from ...nn.functional import mse_loss, quantile_loss
from ...training import pictures, runs
from ...training.disturbances import hardened_numbers
from ...training.plan import Plan
from ...training.robustness import Numbers
from ...training.screen import note
from ...training.task import Task
from ..batches import Batches
from ..tables.files import frame_lines, pandas
from ..text.vocabulary import names
from .counts import cost as counts_cost
from .model import BATCH, COUNTS, Forecaster, Prepared, checked_column, stored, toeplitz
from .options import (
    CALM,
    LONGEST,
    ForecastOptions,
    SeriesPredictionOptions,
    SeriesReadingOptions,
    SeriesRobustnessOptions,
)
from .peers import forecasts_of_peers
from .pictures import draw_errors, draw_forecasts
from .series import read_panel, understood
from .transform import Transform, chosen, described

SELECTION = 0.15  # of the rows before the test part: they choose the best step
SELECTED = 2000  # at most so many forecasts are measured at each evaluation while training
FITTED = 20_000  # windows that the linear layer is fitted on, at most
RIDGE = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)
DOUBT, DOUBT_LINEAR = 0.3, 0.1  # what networks, or a linear layer, have to be better by, over one horizon
ENOUGH = 10  # horizons, after which intervals of networks are calibrated
MISSED = 0.1  # part of the values that an interval may hold more or less than it was made for
PEERS = {
    "model": "", "persistence": "persistence_", "seasonal naive": "seasonal_naive_", "ETS": "ets_",
    "Theta": "theta_",
}  # fmt: skip


class Forecasting(Task):
    """Forecasts of a time series, with intervals.

    Data: one table: dates, rising, or none, and numbers; of several series with --id-column. From Python also
    an array or a frame. Training and validation loss are not comparable: to the error of the
    forecast the first adds that of one step ahead. With --teacher-forced both are that of one step ahead.
    """

    name = "forecast"
    options = ForecastOptions
    plan = Plan(lr=2e-3, steps=500, eval_every=25, warmup=20)
    evaluation = SeriesReadingOptions
    prediction = SeriesPredictionOptions
    robustness = SeriesRobustnessOptions
    in_nats, unit, held_out = False, "rows", "test"
    loss_name = "loss (of scaled differences)"
    in_memory = "an array [N] or [N, columns] of numbers, or a pandas series or frame"
    drawn = MappingProxyType({"rmse": "RMSE (units of the series)"})
    rise = 100.0  # squared errors of single batches differ much

    def __init__(
        self, model, panel, *, parts, batch_size, seed, teacher_forced=False, fingerprint="", **hardening
    ):
        self.model, self.panel, self.parts, self.fingerprint = model, panel, parts, fingerprint
        self.teacher_forced, self.hardening = teacher_forced, hardening
        self.next_input = "--future-file FILE.csv" if panel[0].foreseen else ""
        self.prepared = Prepared(model, panel)
        starts, h = self.prepared.starts, model.horizon
        self.origins = _between(starts, [(model.needed, train - h + 1) for train, _ in parts])
        selection = _between(starts, [(max(train, model.needed), test - h + 1) for train, test in parts])
        self.selection = selection[:: -(-len(selection) // SELECTED)]
        self.batches = Batches(self.origins[:, None], batch_size, seed)
        if model.lags:
            fit_linear(self.prepared, self.origins, self.selection)

    @classmethod
    def build(cls, options, texts, origin=None):
        """The task that the options of ``tinyrnn train`` describe, on the table ``texts``.

        Raises:
            InputError: data that cannot be used or is too short, an unknown cell or option.
        """
        panel, settings = _read(options, texts), options.settings()
        if origin is not None and panel[0].columns != origin.columns:
            now, before = (few(map(shown, columns)) for columns in (panel[0].columns, origin.columns))
            raise InputError(f"{panel[0].name} has {now}, {options.from_run} reads {before}: name them alike")
        _refuse_other_steps(origin, panel)
        horizon, longest = options.horizon, max(panel, key=len)
        seasons = [options.season] if options.season else longest.seasons()
        seasons = seasons if origin is None else origin.seasons
        panel = _long_enough(panel, options, 2)
        parts = [_parts(len(s), options) for s in panel]
        lags = None if options.difference is None else _lags(options.difference)
        if options.head in COUNTS:
            _refuse_uncountable(panel, options)
        if len(panel) == 1:
            _refuse_short(panel[0], parts[0], options, options.window or 2, sum(lags or ()))
            if np.ptp(panel[0].values[: parts[0][0], 0]) == 0:
                said = f"{panel[0].values[0, 0]:g} in all rows of training"
                name = shown(panel[0].columns[0])
                raise InputError(f"{panel[0].name}: column {name} is {said}: choose another")
        if options.log:
            for s in panel:
                checked_column(s, s.columns[0], Transform(True, ()))
        season = (seasons or [1])[0]
        same = _constant(panel)
        foreseen = list(dict.fromkeys([*options.listed("future"), *same]))
        before = [] if origin is None else [(t.lags, t.log) for t in origin.transforms]
        others = {
            i: _column(panel, parts, i, season, foreseen, *before[i : i + 1])
            for i in range(1, len(panel[0].columns))
        }
        outer = [(i, others[i]) for i in map(panel[0].columns.index, foreseen)]
        if options.difference is None:
            targets = _smoothed(panel, parts, seasons, options, outer)
        elif len(panel) > 1:
            raise InputError("--difference is for one series, not for several: leave it out")
        else:
            known = panel[0].values[: parts[0][0], 0]
            targets = [Transform.fit(known, season, lags, options.log)]
        transforms, facts = [targets[0], *others.values()], {"steps": panel[0].calendar.steps}
        wide = options.difference is None or len(panel) > 1 or bool(foreseen)
        if wide:
            facts |= dict(
                ids=[s.id for s in panel], transforms=[stored(t) for t in targets], seasons=seasons or [1],
                foreseen=foreseen,
                positive=all(s.values[s.known[:, 0], 0].min(initial=0) >= 0 for s in panel),
            )  # fmt: skip
        lost = max(t.lost for t in transforms)
        third = (max(train for train, _ in parts) - lost) // 3
        window = options.window or max(2, min(2 * max(season, 6 if wide else 1), 60, third))
        if len(panel) == 1:
            _refuse_short(panel[0], parts[0], options, window, lost)
        own = dict(season=season, window=window, horizon=horizon, interval=options.interval)
        own |= {name: getattr(options, name) for name in ("head", "ensemble", "id_embed", "seed")}
        made = [stored(t) for t in transforms]
        model = Forecaster(panel[0].columns, made, facts, **own, **settings)
        if origin is not None and origin.horizon == horizon:  # until it is evaluated
            model.believe(origin.facts().get("panel", {}))
        kept = [i for i, (train, _) in enumerate(parts) if train - horizon >= model.needed]
        if not kept:
            _refuse_short(longest, _parts(len(longest), options), options, window, model.needed)
        digest = hashlib.sha256(b"".join(s.values.tobytes() + s.dates.tobytes() for s in panel)).hexdigest()
        rows = sum(map(len, panel))
        fingerprint = f"forecast-{rows}-{','.join(panel[0].columns)}-{digest[:16]}"
        names = ("batch_size", "seed", "teacher_forced", "noise", "adversarial")
        rest = {k: getattr(options, k) for k in names}
        return cls(model, panel, parts=parts, fingerprint=fingerprint, **rest)

    @classmethod
    def store(cls, data):
        """An array ``[N]`` or ``[N, columns]``, or a pandas series or frame, whose index holds the dates."""
        if isinstance(data, np.ndarray) and data.ndim in (1, 2) and data.size and data.dtype.kind in "fiu":
            table = data.reshape(len(data), -1)
            names = [f"value{i}" for i in range(table.shape[1])] if table.shape[1] > 1 else ["value"]
            data = pandas().DataFrame(table, columns=names)
        lines = frame_lines(data)
        return super().store(data) if lines is None else ("jsonl", lines)

    @staticmethod
    def rebuild(meta) -> Forecaster:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        columns, transforms = names(meta.get("columns"), "columns"), meta.get("transforms")
        if not isinstance(transforms, list) or len(transforms) != len(columns):
            raise ValueError(f"its transforms are {shown(transforms)}: not one a column")
        made = [stored(Transform.of(t)) for t in transforms]
        panel = _panel_facts(meta["panel"], columns) if "panel" in meta else None
        return Forecaster.restored(ForecastOptions, meta["model"], columns, made, panel)

    def introduction(self) -> str:
        """What is learned from."""
        model, targets = self.model, self.prepared.targets
        others = f" from {', '.join(model.columns[1:])}" if len(model.columns) > 1 else ""
        tests = sum(len(s) - test for s, (_, test) in zip(self.panel, self.parts, strict=True))
        choose = sum(test - train for train, test in self.parts)
        return (
            f"{understood(self.panel)}, season {' and '.join(map(str, model.seasons))}; "
            f"{model.columns[0]}{others}: {described(targets)}; "
            f"the last {tests:,} rows test, {choose:,} before them choose the best step"
        )

    @property
    def shape(self) -> str:
        """Of a step, in words."""
        model = self.model
        return f"batches of {self.batches.batch_size} windows of {model.window} + {model.horizon} steps"

    @property
    def steps_per_epoch(self) -> int:
        return self.batches.per_epoch

    @property
    def tokens_per_step(self) -> int:
        return self.batches.batch_size * (self.model.window + self.model.horizon)

    def loss(self, step: int):
        """The training loss of batch ``step``, a Tensor."""
        model, origins = self.model, self.origins[self.batches[step]]
        values, _ = model.parted(self.prepared.batch(origins)[0])

        def cost(read):
            inside, beyond = losses(self.prepared, origins, read)
            return inside if self.teacher_forced else inside + beyond

        return hardened_numbers(cost, values, model, **self.hardening)

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Figures of the rows that choose the best step, or None if ``stop()`` became true."""
        if stop():
            return None
        with self.model.evaluating():
            inside, beyond = losses(self.prepared, self.selection)
        said = self.model.outputs(self.prepared, self.selection)
        calibrate(self.prepared, self.selection, self.origins, *said)
        ends = self.model.ends(self.prepared, self.selection, *said)
        found = errors(self.prepared, self.selection, ends[0])
        loss = (inside if self.teacher_forced else beyond).item()
        return {"val_loss": loss, "rmse": found["rmse"], "trust": self.model.trust}

    def state_arrays(self):
        """What the last evaluation chose: how far intervals reach, and how far networks are believed."""
        model = self.model
        return {"calibration": model.calibration, "trust": np.array([model.trust, float(model.even)])}

    def load_state_arrays(self, arrays):
        """Continue from what ``state_arrays`` returned; ValueError if it is of another model. Runs of before
        have none.
        """
        if arrays:
            runs.refuse_other(self.state_arrays(), arrays, "state")
            self.model.calibration = np.array(arrays["calibration"], np.float64)
            trust, even = arrays["trust"].tolist()
            self.model.trust, self.model.even = trust, bool(even)

    def conclude(self, run):
        """The backtest of the best model on the test part; its pictures, where matplotlib is installed."""
        file, model, prepared = runs.weights_file(run.path), self.model, self.prepared
        with runs.reading(file, runs.ANOTHER):
            tensors, meta = runs.load_tensors(file)
            runs.put_weights(model, tensors)
            model.believe(meta.get("panel", {}))
        origins = _origins(prepared, [test for _, test in self.parts])
        said = model.forecast(prepared, origins)
        if pictures.available():
            with pictures.left_behind("forecast.png and errors.png"):
                first = prepared.series[origins] == 0
                draw(prepared, origins[first] - prepared.starts[0], said[:, first], run.path)
        figures = backtest(prepared, origins, said, peers=True)
        return [f"backtest    {len(origins):,} origins", *self.lines(figures)]

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """`backtest` on the table ``texts``, or on the test part of the data of ``run``."""
        panel, config = _of_run(model, run, texts, options)
        prepared = Prepared(model, panel)
        tests = [0 if texts else _parts(len(s), config)[1] for s in panel]
        return backtest(prepared, _origins(prepared, tests), peers=True)

    @staticmethod
    def probe(model, texts, run, options) -> Numbers:
        """The windows before each origin; every one is disturbed for itself."""
        panel, config = _of_run(model, run, texts, options)
        prepared = Prepared(model, panel)
        origins = _origins(prepared, [0 if texts else _parts(len(s), config)[1] for s in panel])
        origins = origins[options.examples_of(len(origins))]
        past = prepared.batch(origins)[0]

        def cost(values):
            return losses(prepared, origins, values)[1]

        def figures(values):
            read = model.joined(values, past).numpy()
            found = backtest(prepared, origins, model.forecast(prepared, origins, read))
            with model.evaluating():
                loss = cost(values).item()
            return {**{k: found[k] for k in ("rmse", "coverage")}, "loss": loss}

        return Numbers(model, model.parted(past)[0], cost, figures)

    @staticmethod
    def lines(figures):
        """A table of the model beside other forecasts."""
        names = {name: prefix for name, prefix in PEERS.items() if f"{prefix}rmse" in figures}
        yield f"{'':16} {'RMSE':>10} {'MAE':>10} {'sMAPE':>7} {'MASE':>7}"
        rows = [*names.items()]
        if "measured" in figures:  # what is compared stands together
            rows[3:3] = [("", ""), ("model", "same_")]
        for name, prefix in rows:
            if not name:
                yield f"on {figures['measured']:,} of these forecasts, since ETS and Theta take long:"
                continue
            rmse, mae, smape, mase = (figures[prefix + k] for k in ("rmse", "mae", "smape", "mase"))
            yield f"{name:16} {rmse:10.5g} {mae:10.5g} {smape:7.2f} {mase:7.3f}"
        if not figures.get("trust", 1):
            least = "the networks gained nothing on the rows that choose, and are not believed (trust 0)"
            yield f"{least}: this is exponential smoothing"
        held = f"{figures['coverage']:.1%} of the true values lie in the interval"
        yield f"{figures['horizon']} steps ahead; {held}, made for {figures['interval']:.0%}"
        yield f"CRPS {figures['crps']:.5g}"
        if abs(figures["coverage"] - figures["interval"]) > MISSED:
            yield "the interval is more than 10 points off: what comes is unlike what it was made from"
        better = []
        for name, prefix in names.items():
            own = "same_rmse" if "measured" in figures and name in ("ETS", "Theta") else "rmse"
            if prefix and figures[f"{prefix}rmse"] <= figures[own]:
                better.append(name)
        if better:
            yield f"this model does not beat {' and '.join(better)}: use that in its place"

    @staticmethod
    def predict(model, inputs, run, options):
        """The ``horizon`` steps after the end of a table, or of the data of ``run``."""
        panel, config = _of_run(model, run, inputs, options)
        if options.series is not None:
            panel = [s for s in panel if s.id == options.series] or _refuse_series(panel, options.series)
        foreseen = _foreseen(model, panel, config, options.future_file)
        for s in panel:
            if len(s) < model.needed:
                made = f"a forecast of this model is made from {model.needed}"
                raise InputError(f"{s.name} has {len(s)} rows{f' of {s.id}' * bool(s.id)}, {made}")
        prepared = Prepared(model, panel, foreseen)
        found = model.forecast(prepared, prepared.starts + prepared.ends)
        if options.plot:
            title = f"{_named(panel[0])}: {_steps(model)} after its end"
            words = dict(interval=model.interval, title=title)
            if len(panel) > 1:
                drawn = f"{options.plot} shows {shown(panel[0].id)}, the first of {len(panel):,} series"
                note(f"{drawn}: --series chooses another")
            rows, dates = 4 * model.horizon + model.window, panel[0].future(model.horizon)
            draw_forecasts(panel[0], model.columns[0], [(dates, found[:, 0])], rows, options.plot, **words)
        for i, s in enumerate(panel):
            dates = s.shown(s.future(model.horizon))
            for date, value, lower, upper in zip(dates, *found[:, i].tolist(), strict=True):
                row = {"date": date, "forecast": value, "lower": lower, "upper": upper}
                yield {"id": s.id, **row} if s.id else row

    @classmethod
    def cells(cls, prediction):
        """The ends of the interval as low and high."""
        names = {"lower": "low", "upper": "high"}
        return super().cells({names.get(k, k): v for k, v in prediction.items()})

    @staticmethod
    def shown(prediction):
        """Id where there are several series, date, forecast, interval."""
        first = f"{prediction['id']}\t" if "id" in prediction else ""
        return first + "{date}\t{forecast:.6g}\t{lower:.6g} to {upper:.6g}".format_map(prediction)


def losses(prepared, flat, values=None):
    """Of the rows inside the windows, one step ahead, and of the free-running forecasts beyond.

    Squared error of the value (with the head "quantile" the absolute one), plus quantile losses of the
    interval's ends; beyond, errors are those of the values (or logarithms) themselves, the sums of the
    differences', in units of what their sum would be if they were independent. Of counts, beyond: the
    negative log-likelihood.

    Args:
        flat: rows of ``prepared`` that are forecast from.
        values: ``[window, origins, measured]``, what is read in place of the windows' own.
    """
    model, h = prepared.model, prepared.model.horizon
    past, ahead, mask, ids = prepared.batch(flat)
    past = past if values is None else model.joined(values, past)
    before = flat + np.arange(1 - model.window, 0)[:, None]
    later = flat + np.arange(h)[:, None]
    found = [[], []]
    line = model.straight(past) if model.lags else None
    for net in model.members:
        inside, beyond = model(past, ahead, mask, ids, net)
        error = constant(prepared.x[before, 0], inside) - inside[:, :, 0]
        found[0].append(_loss(model, error, inside, prepared.known[before]))
        known = prepared.known[later]
        error = constant(prepared.x[later, 0], beyond) - beyond[:, :, 0]
        if not known.all():
            error = error * constant(known, beyond)
        if model.counts:
            said = _summed(prepared, flat, beyond[:, :, 0], spread=False)
            found[1].append(_count_loss(prepared, flat, said, beyond, known))
        else:
            sums = _summed(prepared, flat, error)
            found[1].append(_loss(model, sums - line.T if model.lags else sums, beyond, known))
    return [sum(costs[1:], costs[0]) / len(costs) if len(costs) > 1 else costs[0] for costs in found]


def _summed(prepared, flat, errors, spread=True):
    """What errors ``[horizon, n]`` add up to, in units of their sum's deviation or of one error's."""
    model = prepared.model
    if len(prepared.panel) == 1:
        matrix = model.response if spread else toeplitz(prepared.psis[0])
        return matmul(constant(matrix, errors), errors)
    which, steps = prepared.series[flat], np.arange(model.horizon)
    found = prepared.psis[which][:, np.maximum(steps[:, None] - steps, 0)] * np.tri(model.horizon)
    found = found / prepared.spreads[which][:, :, None] if spread else found
    return matmul(constant(found, errors), expand_dims(errors.T, axis=-1))[:, :, 0].T


def _mean(cost, known):
    """The mean of what is known."""
    if known.all():
        return cost.mean()
    return (cost * constant(known, cost)).sum() / max(int(known.sum()), 1)


def _loss(model, error, said, known):
    center = error.abs() if model.head == "quantile" else error * error
    if model.counts:
        return _mean(center, known)
    low, high = (1 - model.interval) / 2, (1 + model.interval) / 2
    whole = bool(known.all())
    if whole and model.head == "gaussian":
        center = mse_loss(error, zeros_like(error))
        ends = [(-softplus(said[:, :, 1]), low), (softplus(said[:, :, 2]), high)]
        return center + sum(quantile_loss(end, error.detach(), q) for end, q in ends)
    target = error.detach()
    for end, q in ((-softplus(said[:, :, 1]), low), (softplus(said[:, :, 2]), high)):
        off = target - end
        center = center + maximum(off * q, off * (q - 1))
    return _mean(center, known)


def _count_loss(prepared, flat, sums, said, known):
    unit = prepared.scales[prepared.series[flat]]
    base = constant((prepared.base(flat) / unit[:, None]).T, said)
    mean = softplus(base + sums) * constant(unit, said) + 1e-6
    counts = constant(np.nan_to_num(prepared.true(flat).T), said)
    cost = counts_cost(mean, counts, None if prepared.model.head == "poisson" else said[:, :, 1])
    return _mean(cost / constant(np.sqrt(unit), said), known)


def fit_linear(prepared, train, selection):
    """Fit the linear layer by ridge regression on what smoothing leaves after the rows ``train``; how
    strongly it is drawn to 0, or that it is left out, what comes after ``selection`` decides.
    """
    model = prepared.model
    if not len(selection):
        return
    train = train[:: -(-len(train) // FITTED)]
    (x, y), (x_new, y_new) = (_linear_data(prepared, rows) for rows in (train, selection))
    square, product = x.T @ x, x.T @ y
    least = np.abs(y_new).mean() / (1 + DOUBT_LINEAR / np.sqrt(_horizons(prepared, selection)))
    best = None
    for strength in RIDGE:
        weight = np.linalg.solve(square + strength * len(x) * np.eye(len(square)), product)
        cost = np.abs(y_new - x_new @ weight).mean()
        if cost < least:
            best, least = weight, cost
    if best is not None:
        model.linear.weight.assign_(best.astype(model.dtype))


def _linear_data(prepared, flat):
    """What the linear layer reads, and what it is to say: ``[n, 2 lags]``, ``[n, horizon]``."""
    model, parts = prepared.model, []
    for first in range(0, len(flat), BATCH):
        rows = flat[first : first + BATCH]
        past = prepared.batch(rows)[0][-model.lags :]
        read = np.concatenate([past[:, :, 0].T, past[:, :, model.measured - 1].T], axis=1)
        later = rows[:, None] + np.arange(model.horizon)
        sums = prepared.summed(prepared.series[rows], prepared.x[later, 0] * prepared.known[later])
        which = prepared.series[rows]
        parts.append((read, sums / (prepared.scales[which][:, None] * prepared.spreads[which])))
    return [np.concatenate(p).astype(np.float64) for p in zip(*parts, strict=True)]


def _horizons(prepared, flat):
    """How many horizons of rows there are after ``flat``: forecasts of neighbours err alike."""
    return len(flat) / prepared.model.horizon + len(set(prepared.series[flat].tolist()))


def calibrate(prepared, flat, train, said, line):
    """First, how far the networks are trusted: what part of what they ``said`` has the least error after
    ``flat``; ``line``: what the linear layer said.

    Then how far the intervals reach, so that they hold their part of the values there (split conformal
    prediction: Lei et al. 2018), each step for itself. Where that is few horizons, what networks say of the
    interval is not used: smoothing and the linear layer are measured after ``train`` as well, and the
    interval is the wider of both.
    """
    model = prepared.model
    if model.counts or not len(flat):
        return
    true, costs = prepared.true(flat), []
    units = np.nan_to_num(prepared.units(flat), nan=1.0)[:, None]
    for trust in TRUSTS if model.smooth else ():
        model.trust = trust
        off = np.abs(true - model.ends(prepared, flat, said, line)[0]) / units
        costs.append(np.nanmean(off) * (1 + DOUBT / np.sqrt(_horizons(prepared, flat))) ** trust)
    model.trust = TRUSTS[int(np.argmin(costs))] if costs else 1.0
    model.even = _horizons(prepared, flat) < ENOUGH
    scores = _scores(prepared, flat, said, line)
    if model.even:
        train = train[:: -(-len(train) // SELECTED)]
        trusted, model.trust = model.trust, 0.0
        before = np.array(
            [
                _quantile(s, model.interval)
                for s in _scores(prepared, train, *model.outputs(prepared, train)).T
            ]
        )
        model.trust = trusted
        model.calibration = before * max(1.0, _quantile(scores / before, model.interval))
    else:
        model.calibration = np.array([_quantile(s, model.interval) for s in scores.T])


def _scores(prepared, flat, said, line):
    """``[n, horizon]``: how far true values are from forecasts, in units of the interval; NaN: unknown."""
    model = prepared.model
    true, logs = prepared.true(flat), prepared.logs[prepared.series[flat]][:, None]
    true = np.where(logs, np.log(np.where(logs, true, 1)), true)
    middle, reach = model.reached(prepared, flat, said, line)
    return np.maximum((middle - true) / reach[0], (true - middle) / reach[1])


def _quantile(scores, part):
    """What holds that part of scores, and of one more of their kind; between a twentieth and 50."""
    found = np.sort(scores[np.isfinite(scores)])
    if not len(found):
        return 1.0
    rank = int(np.ceil((len(found) + 1) * part)) - 1
    return float(np.clip(found[min(rank, len(found) - 1)], 0.05, 50))


def errors(prepared, flat, guess, true=None) -> dict:
    """RMSE, MAE, sMAPE (percent, of the M4 competition) and MASE of forecasts ``[n, horizon]``."""
    true = prepared.true(flat) if true is None else true
    error = np.abs(true - guess)
    size = np.abs(true) + np.abs(guess)
    relative = np.where(size > 0, 200 * error / np.where(size > 0, size, 1), 0.0)
    by = error / prepared.units(flat)[:, None]
    known = ~np.isnan(true)
    relative = np.where(known, relative, np.nan)
    return {
        "rmse": np.sqrt(np.nanmean(error**2)), "mae": np.nanmean(error), "smape": np.nanmean(relative),
        "mase": np.nanmean(by),
    }  # fmt: skip


def backtest(prepared, flat, said=None, peers=False) -> dict:
    """Errors of forecasts from each of the rows ``flat`` (a rolling origin), beside those of naive forecasts.

    ``persistence`` repeats the last value, ``seasonal_naive`` the last season; with ``peers`` exponential
    smoothing (ETS) and Theta, fitted once before the first origin, where statsforecast is installed. MASE
    divides the absolute error by the mean one of the seasonal naive forecast one step ahead before the first
    origin of its series (Hyndman & Koehler 2006). ``coverage`` is the part of the true values inside the
    prediction interval, ``crps`` the continuous ranked probability score of a normal distribution with that
    interval, its sides scaled apart (Gneiting & Raftery 2007). ``said``: the forecasts, if they are known.
    """
    model = prepared.model
    true = prepared.true(flat)
    said = model.forecast(prepared, flat) if said is None else said
    ahead, m = np.arange(model.horizon), model.season
    guesses = {
        "": said[0],
        "persistence_": np.repeat(prepared.filled[flat - 1][:, None], model.horizon, axis=1),
        "seasonal_naive_": prepared.filled[np.maximum(flat[:, None] - m + ahead % m, 0)],
    }
    found = {}
    for name, guess in guesses.items():
        found |= {f"{name}{k}": v for k, v in errors(prepared, flat, guess, true).items()}
    if peers and (others := forecasts_of_peers(prepared, flat)):
        some = others.pop("")
        for name, guess in others.items():
            found |= {f"{name}_{k}": v for k, v in errors(prepared, flat[some], guess).items()}
        if len(some) < len(flat):
            own = errors(prepared, flat[some], said[0, some])
            found |= {"measured": len(some), **{f"same_{k}": v for k, v in own.items()}}
    known = ~np.isnan(true)
    found["coverage"] = ((true >= said[1]) & (true <= said[2]))[known].mean()
    found["crps"] = np.nanmean(_crps(true, said, model.interval))
    whole = {k: int(v) if k == "measured" else float(v) for k, v in found.items()}
    return whole | {"interval": model.interval, "horizon": model.horizon, "trust": model.trust}


def _crps(true, said, interval):
    """Of normal distributions with the forecasts' intervals, halves of two below and above the forecast."""
    off, far = true - said[0], NormalDist().inv_cdf((1 + interval) / 2)
    below, above = (np.maximum(side, 1e-300) / far for side in (said[0] - said[1], said[2] - said[0]))
    here, other = np.where(off < 0, (below, above), (above, below))
    z = np.clip(off / here, -40, 40)  # as if infinite
    inside = np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2))  # of the distribution, up to there
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    root = 1 / math.sqrt(math.pi)
    return (
        off * inside + here * (2 * density - root) + (other - here) * (1 / math.sqrt(2 * math.pi) - root / 2)
    )


def draw(prepared, origins, said, folder):
    """Of the first series, ``forecast.png``: forecasts one horizon apart and beyond the end; ``errors.png``:
    errors by origin and step.
    """
    model, series = prepared.model, prepared.panel[0]
    values = series.values[:, series.columns.index(model.columns[0])]
    dates = np.concatenate([series.dates, series.future(model.horizon)])
    parts = [
        (dates[origins[i] : origins[i] + model.horizon], said[:, i])
        for i in range(0, len(origins), model.horizon)
    ]
    if model.horizon == 1:  # one line
        parts = [(dates[origins], said[:, :, 0])]
    if rest := (len(series) - origins[0]) % model.horizon:  # its last steps lie beyond the end
        last = np.array([len(series) - rest])
        parts.append((dates[last[0] : len(series)], model.forecast(series, last)[:, 0, :rest]))
    parts.append((dates[len(series) :], model.forecast(series)[:, 0]))
    title = f"{_named(series)}: the test part, forecast {_steps(model)} at a time; then the future"
    if unknown := few(series.foreseen, 3):  # nobody has said them yet
        title += f" if {unknown} were as on average"
    words, rows = dict(interval=model.interval, title=title), len(series) - origins[0] + 2 * model.horizon
    draw_forecasts(series, model.columns[0], parts, rows, folder / "forecast.png", **words)
    off = said[0] - values[origins[:, None] + np.arange(model.horizon)]
    draw_errors(series, origins, off, model.columns[0], folder / "errors.png")


def _named(series):
    return f"{series.name}{f', {series.id}' * bool(series.id)}"


def _refuse_series(panel, key):
    ids = [s.id for s in panel if s.id]
    there = near(key, ids, "choose from") if ids else "there is one only: leave --series out"
    raise InputError(f"{panel[0].name} has no series {shown(key)}: {there}")


def _steps(model):
    return f"{model.horizon} step{'s' * (model.horizon > 1)}"


def _between(starts, parts):
    """Rows of a `Prepared` between first and last ones of each series."""
    rows = [
        start + np.arange(first, max(last, first)) for start, (first, last) in zip(starts, parts, strict=True)
    ]
    return np.concatenate(rows)


def _origins(prepared, firsts):
    """Rows to forecast from, of each series from a first one on, or from the first that can be."""
    model = prepared.model
    parts = []
    for n, first in zip(prepared.ends.tolist(), firsts, strict=True):
        first = max(first, model.needed, model.season + 1)
        parts.append((first, n - model.horizon + 1))
    found = _between(prepared.starts, parts)
    if not len(found):
        n, (first, _) = max(zip(prepared.ends.tolist(), parts, strict=True))
        raise InputError(
            f"{prepared.panel[0].name} has {n} rows: {first} come before the first forecast and "
            f"{model.horizon} test it: give a longer series"
        )
    return found


def _read(options: ForecastOptions, texts, told=True):
    if options.val:
        raise InputError(
            "--val is not for series: the end of the file tests the forecasts, see --val-fraction"
        )
    if len(texts) != 1:
        raise InputError("--task forecast needs one table with a column of dates and columns of numbers")
    return read_panel(texts[0], options, told=told)


def _of_run(model, run, files, given):
    """The series in ``files``, else those of ``run``, and the options of the run."""
    options, texts = Forecasting.trained(run, given, files)
    panel = _read(options, texts, told=False)  # training said it
    _refuse_other_steps(model, panel)
    return panel, options


def _refuse_other_steps(model, panel):
    """Series of other steps than those that a model learned from, None: there is none."""
    learned, steps = None if model is None else model.panel.get("steps"), panel[0].calendar.steps
    if learned and learned != steps:
        such = f"give such a table{', of two weeks or more' * (' days' in learned)}"
        raise InputError(f"{panel[0].name} has {steps}, the model learned from {learned}: {such}")


def _foreseen(model, panel, options, file):
    """``[horizon, columns]`` for each series: what is known of the steps after its end."""
    needed = [name for name in model.foreseen if name in options.listed("future")]
    if not needed:
        return None
    if file is None:
        raise InputError(
            f"the model reads {few(needed)} of the steps to forecast: give them by --future-file"
        )
    given = {s.id: s for s in read_panel(file, options, future=True)}
    found = []
    for s in panel:
        values = np.full((model.horizon, len(s.columns)), np.nan)
        if s.id not in given:
            raise InputError(f"{file} has no rows of {shown(s.id)}: give one for each step")
        rows = dict(zip(given[s.id].dates.tolist(), given[s.id].values, strict=True))
        dates = s.future(model.horizon)
        for j, date in enumerate(dates.tolist() if dates.dtype.kind == "M" else range(model.horizon)):
            if date not in rows:
                missing = s.shown(dates[j : j + 1])[0]
                raise InputError(
                    f"{file} has no row for {missing}: give one for each of the {model.horizon} steps"
                )
            values[j, [s.columns.index(n) for n in needed]] = rows[date][
                [given[s.id].columns.index(n) for n in needed]
            ]
        found.append(values)
    return found


def _parts(rows, options):
    """The first row that chooses the best step, and the first of the test part."""
    tests = round(options.val_fraction * rows)
    test = rows - (max(tests, options.horizon) if options.id_column else tests)
    return test - max(round(SELECTION * test), options.horizon), test


def _long_enough(panel, options, needed):
    """The series that are long enough to train on, some or the only one."""
    long = [_parts(len(s), options)[0] >= needed + options.horizon for s in panel]
    if len(panel) == 1 or not any(long):
        return panel[:1]
    if not all(long):
        short = [s.id for s, enough in zip(panel, long, strict=True) if not enough]
        note(f"{panel[0].name}: too short for --horizon {options.horizon}, left out: {few(short)}")
    return [s for s, enough in zip(panel, long, strict=True) if enough]


def _refuse_short(series, part, options, window, lost):
    (train, test), horizon = part, options.horizon
    if train < max(lost + window + horizon, (options.season or 1) + 1) or len(series) - test < horizon:
        raise InputError(
            f"{series.name}: {len(series)} rows are too few for --window {window} and --horizon {horizon}: "
            f"{train} train, of which differences take {lost}, {test - train} choose the best step, "
            f"{len(series) - test} test: lower --window, --horizon or --season, or give a longer series"
        )


def _refuse_uncountable(panel, options):
    for s in panel:
        values = s.values[s.known[:, 0], 0]
        wrong = values[(values < 0) | (values != np.round(values))]
        if len(wrong):
            said = f"column {shown(s.columns[0])} holds {wrong[0]:g}"
            raise InputError(f"{s.name}: {said}, which is no count: leave --head {options.head} out")


def _smoothed(panel, parts, seasons, options, outer):
    """The smoothing of each series; ``outer``: columns that are known before they happen, with transforms."""
    origins = max(20, min(300, 18_000 // len(panel)))
    log = False if options.head in COUNTS else options.log
    found = []
    for s, (train, test) in zip(panel, parts, strict=True):
        angle = 2 * np.pi * s.phase(s.dates, max(seasons, default=1))
        known = [(s.values[:test, i] - t.mean) / t.scale for i, t in outer]
        found.append(
            chosen(
                s.values[:test, 0], s.known[:test, 0], s.calendar.position(s.dates[:test]), angle[:test],
                seasons=seasons, horizon=options.horizon, fit_until=train, log=log, origins=origins,
                outer=np.stack(known, axis=1) if known else None,
            )
        )  # fmt: skip
    return found


def _constant(panel):
    """Columns that never change within a series."""
    if len(panel) == 1:
        return []
    return [
        name for i, name in enumerate(panel[0].columns)
        if i and all(np.ptp(s.values[:, i]) == 0 for s in panel)
    ]  # fmt: skip


def _column(panel, parts, i, season, foreseen, calm=(None, None)):
    """How a column that is read beside the target is transformed; ``calm``: its lags, and whether it has
    logarithms, where that is known.
    """
    values = [s.values[:train, i] for s, (train, _) in zip(panel, parts, strict=True)]
    if len(panel) == 1 and panel[0].columns[i] not in foreseen:
        return Transform.fit(values[0], season, *calm)
    together = np.concatenate(values)
    return Transform(False, (), float(together.mean()), float(together.std()) or 1.0)


def _panel_facts(stored_panel, columns):
    """The panel of a checkpoint, looked at. Raises ValueError."""
    rules = {
        "ids": Rule(str, many=True),
        "seasons": Rule(int, many=True, low=1, high=LONGEST),
        "foreseen": Rule(str, many=True),
        "positive": Rule(bool),
        "trust": Rule(float, low=0, high=1),
        "steps": Rule(str),
        "even": Rule(bool),
        "calibration": Rule(float, many=True, low=0),
    }
    if not isinstance(stored_panel, dict):
        raise ValueError(f"its panel is {shown(stored_panel)}, which has no entries")
    rest = {k: v for k, v in stored_panel.items() if k != "transforms"}
    found = taken(rest, rules, "panel", lacking=tuple(rules))
    transforms = stored_panel.get("transforms", [])
    ids = found.get("ids", ())
    if not isinstance(transforms, list) or len(transforms) != len(ids) or len(set(ids)) != len(ids):
        raise ValueError(f"its panel has {len(ids)} ids and transforms {shown(transforms)}")
    if not set(found.get("foreseen", ())) <= set(columns):
        raise ValueError(f"its panel foresees {shown(found['foreseen'])}, which are no columns")
    made = {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
    return made | ({"transforms": [stored(Transform.of(t)) for t in transforms]} if ids else {})


def _lags(text):
    if text == CALM:
        return None
    try:
        lags = tuple(int(part) for part in text.split(","))
    except ValueError:
        lags = (-1,)
    if min(lags) < 0:
        said = text if len(text) < 80 else shown(text)
        raise InputError(f"--difference {said}: give lags in steps such as 1 or 1,12, or 0 for none")
    return tuple(lag for lag in lags if lag)
