"""Forecasts of time series, with prediction intervals, measured against naive forecasts."""

import hashlib
from dataclasses import asdict
from types import MappingProxyType

import numpy as np

from ...autograd import concat, expand_dims, matmul, softplus, tensor
from ...base.errors import InputError
from ...compiler import scan
from ...kernels.generator import Generator
from ...nn import RNN, Dropout, Linear, Module
from ...nn import registry as plugins
from ...nn.functional import mse_loss, quantile_loss
from ...training import pictures, runs
from ...training.task import Task
from ..batches import Batches
from .pictures import draw_errors, draw_forecasts
from .series import read_series
from .transform import Transform

SELECTION = 0.15  # of the rows before the test part: they choose the best step
SELECTED = 2000  # at most so many forecasts are measured at each evaluation while training
BATCH = 512  # windows forecast at once


class Forecaster(Module):
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

    def __init__(
        self, columns, transforms, *, season, window, horizon, interval=0.9, hidden, layers=1, dropout=0.0, dtype="float32",
        seed=0, **settings,
    ):  # fmt: skip
        self.columns, self.transforms = list(columns), [Transform(**t) for t in transforms]
        self.season, self.window, self.horizon, self.interval = season, window, horizon, interval
        sizes = dict(
            season=season, window=window, horizon=horizon, interval=interval, hidden=hidden, layers=layers
        )
        self.settings = {**sizes, "dropout": dropout, "dtype": dtype, **settings}
        self.generator = Generator(seed)
        shared = {"dtype": dtype, "generator": self.generator}
        self.rnn = RNN(
            settings.pop("cell"),
            len(columns) + 3,
            hidden,
            num_layers=layers,
            dropout=dropout,
            **settings,
            **shared,
        )
        self.dropout = Dropout(dropout, generator=self.generator)
        self.output = Linear(self.rnn.output_size, 3, **shared)
        self.output.weight.assign_(np.zeros_like(self.output.weight.data))
        reach = self.transforms[0].response(horizon)
        self.spread = np.linalg.norm(
            reach, axis=1, keepdims=True
        )  # of a sum of independent errors, in units of one
        self.response = (reach / self.spread).astype(dtype)

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
        ys, final = self.rnn(past)
        said = self.output(self.dropout(ys))
        last, beyond = said[-1], expand_dims(said[-1], axis=0)
        if len(ahead):
            counts = [len(cell.states) for cell in self.rnn.cells]
            starts = np.cumsum([0, *counts])

            def step(x, said, *states):
                layers = [tuple(states[a : a + n]) for a, n in zip(starts, counts, strict=False)]
                y, new = self.rnn.step(concat([said[:, :1], x], axis=-1), layers)
                return self.output(y), *[s for layer in new for s in layer]

            step.__qualname__ = f"forecast with {self.settings['cell']}"
            training = self.rnn.training
            self.rnn.eval()  # what is dropped is dropped from the window
            free, _ = scan(step, ahead, (last, *[s for layer in final for s in layer]))
            self.rnn.train(training)
            beyond = concat([beyond, free], axis=0)
        return said[:-1], beyond

    def inputs(self, series, count=0) -> np.ndarray:
        """``[N + count, columns + 3]``: of the rows of ``series`` and ``count`` beyond what the network sees
        of each.

        Columns, transformed (0 where unknown), sine and cosine of the season's phase, and 0.
        """
        found = np.zeros((len(series) + count, len(self.columns) + 3), self.settings["dtype"])
        for i, (name, transform) in enumerate(zip(self.columns, self.transforms, strict=True)):
            found[transform.lost : len(series), i] = transform.forward(_checked(series, name, transform))
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

    def forecast(self, series, origins=None) -> np.ndarray:
        """Forecasts ``[3, origins, horizon]`` of the target: value, lower and upper end of the interval.

        Args:
            series: a `Series` with this model's columns; see `read_series`.
            origins: rows of it: row ``t`` and what follows is forecast from the rows before; default: what
                follows the end.

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
            for part in np.split(origins, range(BATCH, len(origins), BATCH)):
                beyond = self(*self.batch(inputs, part))[1].numpy().astype(np.float64)
                lost = max(target.lost, 1)
                middle = target.continued(values[part[:, None] + np.arange(-lost, 0)], beyond[:, :, 0].T)
                reach = target.scale * self.spread.T * np.logaddexp(beyond[:, :, 1:], 0).transpose(2, 1, 0)
                ends = np.stack([middle, middle - reach[0], middle + reach[1]])
                found.append(np.exp(ends) if target.log else ends)
        return np.concatenate(found, axis=1)

    def describe(self) -> dict:
        """Everything that ``Forecasting.rebuild`` needs besides the weights."""
        return {
            "task": Forecasting.name,
            "model": self.settings,
            "columns": self.columns,
            "transforms": [asdict(t) for t in self.transforms],
            "package": plugins.package_of(self.settings["cell"]),
        }


def _checked(series, name, transform):
    if name not in series.columns:
        raise InputError(f"{series.name} has no numeric column {name!r}, which the model reads")
    values = series.values[:, series.columns.index(name)]
    if transform.log and values.min() <= 0:
        shown = series.shown(series.dates[[int(values.argmin())]])[0]
        raise InputError(
            f"{series.name}: column {name!r} is {values.min():g} at {shown} and has no logarithm: train with --no-log"
        )
    return values


class Forecasting(Task):
    """The task ``forecast``."""

    name = "forecast"
    defaults = MappingProxyType(
        dict(
            hidden=32,
            layers=1,
            dropout=0.0,
            lr=2e-3,
            steps=500,
            batch_size=32,
            eval_every=25,
            val_fraction=0.33,
            warmup=20,
        )
    )
    in_nats, unit = False, "rows"
    loss_name = "loss (of scaled differences)"
    drawn = MappingProxyType({"rmse": "RMSE (units of the series)"})
    rise = 100.0  # squared errors of single batches differ much

    def __init__(
        self, model, series, *, train_rows, test_row, batch_size, seed, teacher_forced=False, fingerprint=""
    ):
        self.model, self.series, self.teacher_forced, self.fingerprint = (
            model,
            series,
            teacher_forced,
            fingerprint,
        )
        self.inputs = model.inputs(series)
        self.origins = np.arange(model.needed, train_rows - model.horizon + 1)
        selection = np.arange(train_rows, test_row - model.horizon + 1)
        self.selection = selection[:: -(-len(selection) // SELECTED)]
        self.train_rows, self.test_row = train_rows, test_row
        self.batches = Batches(self.origins[:, None], batch_size, seed)
        # quantiles of the interval's ends
        self.quantiles = np.array([(1 - model.interval) / 2, (1 + model.interval) / 2])

    @classmethod
    def build(cls, options, texts):
        """The task that the options of ``tinyrnn train`` describe, on the CSV file ``texts``.

        Raises:
            InputError: data that cannot be used or is too short, an unknown cell or option.
        """
        cell_options = plugins.read_options(options["cell"], options["cell_opt"])
        series = _read(options, texts)
        train_rows, test_row = _parts(len(series), options)
        season, horizon = options["season"] or series.season(), options["horizon"]

        def refuse_short(window, lost):
            if train_rows < max(lost + window + horizon, season + 1) or len(series) - test_row < horizon:
                raise InputError(
                    f"{series.name}: {len(series)} rows are too few for --window {window} and --horizon {horizon}: "
                    f"{train_rows} train, of which differences take {lost}, {test_row - train_rows} choose the best step, "
                    f"{len(series) - test_row} test: lower --window, --horizon or --season, or give a longer series"
                )

        refuse_short(options["window"] or 2, 0)
        known = series.values[:train_rows]
        if np.ptp(known[:, 0]) == 0:
            said = f"column {series.columns[0]!r} is {known[0, 0]:g} in all rows of training: choose another"
            raise InputError(f"{series.name}: {said}")
        if options["log"]:
            _checked(series, series.columns[0], Transform(True, ()))
        lags = None if options["difference"] is None else _lags(options["difference"])
        transforms = [Transform.fit(known[:, 0], season, lags, options["log"])]
        transforms += [Transform.fit(known[:, i], season) for i in range(1, known.shape[1])]
        lost = max(t.lost for t in transforms)
        window = options["window"] or max(2, min(2 * season, 60, (train_rows - lost) // 3))
        refuse_short(window, lost)
        names = "cell hidden layers dropout recurrent_dropout weight_drop zoneout variational horizon interval dtype seed"
        settings = {k: options[k] for k in names.split()}
        shape = dict(season=season, window=window, cell_options=cell_options)
        model = Forecaster(series.columns, [asdict(t) for t in transforms], **shape, **settings)
        digest = hashlib.sha256(series.values.tobytes() + series.dates.tobytes()).hexdigest()[:16]
        fingerprint = f"forecast-{len(series)}-{','.join(series.columns)}-{digest}"
        rest = {k: options[k] for k in ("batch_size", "seed", "teacher_forced")}
        return cls(model, series, train_rows=train_rows, test_row=test_row, fingerprint=fingerprint, **rest)

    @staticmethod
    def rebuild(meta) -> Forecaster:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        return Forecaster(meta["columns"], meta["transforms"], **meta["model"])

    def introduction(self) -> str:
        """What is learned from."""
        target, n = self.model.transforms[0], len(self.series)
        lags = " and ".join(map(str, target.lags))
        calm = ("logarithms" if target.log else "values") + (f", differences at lag {lags}" if lags else "")
        others = f" from {', '.join(self.model.columns[1:])}" if len(self.model.columns) > 1 else ""
        return (
            f"{n:,} rows, season {self.model.season}; {self.model.columns[0]}{others}: {calm}; "
            f"the last {n - self.test_row:,} rows test, {self.test_row - self.train_rows:,} before them choose the best step"
        )

    @property
    def shape(self) -> str:
        """Of a step, in words."""
        return f"batches of {self.batches.batch_size} windows of {self.model.window} + {self.model.horizon} steps"

    @property
    def steps_per_epoch(self) -> int:
        return self.batches.per_epoch

    @property
    def tokens_per_step(self) -> int:
        return self.batches.batch_size * (self.model.window + self.model.horizon)

    def loss(self, step: int):
        """The training loss of batch ``step``, a Tensor."""
        origins = self.origins[self.batches[step]]
        inside, beyond = self._losses(origins)
        return inside if self.teacher_forced else inside + beyond

    def _losses(self, origins):
        """Of the rows inside the windows, one step ahead, and of the free-running forecasts beyond.

        Squared error of the value, plus quantile losses of the interval's ends; beyond, errors are those of
        the values (or logarithms) themselves, the sums of the differences', in units of what their sum would
        be if they were independent.
        """
        model = self.model
        inside, beyond = model(*model.batch(self.inputs, origins))
        after = self.inputs[origins + np.arange(1 - model.window, 0)[:, None], 0]
        later = self.inputs[origins + np.arange(model.horizon)[:, None], 0]
        return [
            self._loss(tensor(after) - inside[:, :, 0], inside),
            self._loss(matmul(model.response, tensor(later) - beyond[:, :, 0]), beyond),
        ]

    def _loss(self, error, said):
        below, above = -softplus(said[:, :, 1]), softplus(said[:, :, 2])
        ends = [
            quantile_loss(end, error.detach(), q)
            for end, q in zip((below, above), self.quantiles, strict=True)
        ]
        return mse_loss(error, np.zeros(error.shape, error.dtype)) + ends[0] + ends[1]

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Figures of the rows that choose the best step, or None if ``stop()`` became true."""
        if stop():
            return None
        with self.model.evaluating():
            inside, beyond = self._losses(self.selection)
        found = backtest(self.model, self.series, self.selection)
        return {"val_loss": (inside if self.teacher_forced else beyond).item(), "rmse": found["rmse"]}

    def conclude(self, run):
        """The backtest of the best model on the test part; its pictures, where matplotlib is installed."""
        self.model.load_state_dict(runs.load_tensors(runs.weights_file(run.path))[0])
        origins = _origins(self.model, self.series, self.test_row)
        said = self.model.forecast(self.series, origins)
        if pictures.available():
            draw(self.model, self.series, origins, said, run.path)
        return [
            f"backtest    {len(origins):,} origins",
            *self.lines(backtest(self.model, self.series, origins, said)),
        ]

    @staticmethod
    def evaluate_run(model, texts, run, options) -> dict:
        """`backtest` on the CSV file ``texts``, or on the test part of the data of ``run``."""
        series, config = _of_run(run, texts, options)
        return backtest(
            model, series, _origins(model, series, 0 if texts else _parts(len(series), config)[1])
        )

    @staticmethod
    def lines(figures):
        """A table of the model beside naive forecasts."""
        yield f"{'':16} {'RMSE':>10} {'MAE':>10} {'MASE':>7}"
        rows = {"model": "", "persistence": "persistence_", "seasonal naive": "seasonal_naive_"}
        for name, prefix in rows.items():
            rmse, mae, mase = (figures[prefix + k] for k in ("rmse", "mae", "mase"))
            yield f"{name:16} {rmse:10.5g} {mae:10.5g} {mase:7.3f}"
        said = f"{figures['horizon']} steps ahead; {figures['coverage']:.1%} of the true values lie in the interval"
        yield f"{said}, made for {figures['interval']:.0%}"
        better = [
            name for name, prefix in rows.items() if prefix and figures[f"{prefix}rmse"] <= figures["rmse"]
        ]
        if better:
            yield f"this model does not beat {' and '.join(better)}: use that in its place"

    @staticmethod
    def predict(model, inputs, run, options):
        """The ``horizon`` steps after the end of a CSV file, or of the data of ``run``."""
        series, _ = _of_run(run, inputs, options)
        said, dates = model.forecast(series)[:, 0], series.future(model.horizon)
        if options["plot"]:
            words = dict(interval=model.interval, title=f"{series.name}: {_steps(model)} after its end")
            rows, target = 4 * model.horizon + model.window, options["plot"]
            draw_forecasts(series, model.columns[0], [(dates, said)], rows, target, **words)
        for date, value, lower, upper in zip(series.shown(dates), *said.tolist(), strict=True):
            yield {"date": date, "forecast": value, "lower": lower, "upper": upper}

    @staticmethod
    def shown(prediction):
        """Date, forecast, interval."""
        return "{date}\t{forecast:.6g}\t{lower:.6g} to {upper:.6g}".format_map(prediction)


def backtest(model, series, origins, said=None) -> dict:
    """Errors of forecasts from each of ``origins`` (rows of ``series``; a rolling origin), beside those of
    naive forecasts.

    ``persistence`` repeats the last value, ``seasonal_naive`` the last season. MASE divides the mean absolute
    error by that of the seasonal naive forecast one step ahead before the first origin (Hyndman & Koehler
    2006). ``coverage`` is the part of the true values inside the prediction interval. ``said``: the
    forecasts, if they are known.
    """
    values, m = series.values[:, series.columns.index(model.columns[0])], model.season
    ahead = np.arange(model.horizon)
    true = values[origins[:, None] + ahead]
    said = model.forecast(series, origins) if said is None else said
    guesses = {
        "": said[0],
        "persistence_": np.repeat(values[origins - 1][:, None], model.horizon, axis=1),
        "seasonal_naive_": values[origins[:, None] - m + ahead % m],
    }
    known = values[: origins[0]]
    unit = max(np.abs(known[m:] - known[:-m]).mean(), 1e-9 * np.abs(known).max(), 1e-30)
    found = {}
    for name, guess in guesses.items():
        error = true - guess
        found |= {f"{name}rmse": np.sqrt((error**2).mean()), f"{name}mae": np.abs(error).mean()}
        found[f"{name}mase"] = found[f"{name}mae"] / unit
    found["coverage"] = ((true >= said[1]) & (true <= said[2])).mean()
    return {k: float(v) for k, v in found.items()} | {"interval": model.interval, "horizon": model.horizon}


def draw(model, series, origins, said, folder):
    """``forecast.png``: forecasts one horizon apart and beyond the end; ``errors.png``: errors by origin and
    step.
    """
    values = series.values[:, series.columns.index(model.columns[0])]
    dates = np.concatenate([series.dates, series.future(model.horizon)])
    parts = [
        (dates[origins[i] : origins[i] + model.horizon], said[:, i])
        for i in range(0, len(origins), model.horizon)
    ]
    if model.horizon == 1:  # one line
        parts = [(dates[origins], said[:, :, 0])]
    parts.append((dates[len(series) :], model.forecast(series)[:, 0]))
    title = f"{series.name}: the test part, forecast {_steps(model)} at a time; then the future"
    words, rows = dict(interval=model.interval, title=title), len(series) - origins[0] + 2 * model.horizon
    draw_forecasts(series, model.columns[0], parts, rows, folder / "forecast.png", **words)
    errors = said[0] - values[origins[:, None] + np.arange(model.horizon)]
    draw_errors(series, origins, errors, model.columns[0], folder / "errors.png")


def _steps(model):
    return f"{model.horizon} step{'s' * (model.horizon > 1)}"


def _origins(model, series, first):
    """Rows to forecast from, ``first`` or the first that can be."""
    first = max(first, model.needed, model.season + 1)
    if len(series) < first + model.horizon:
        raise InputError(
            f"{series.name} has {len(series)} rows: {first} come before the first forecast and {model.horizon} test it: "
            "give a longer series"
        )
    return np.arange(first, len(series) - model.horizon + 1)


def _read(options, texts):
    if options["val"]:
        raise InputError(
            "--val is not for series: the end of the file tests the forecasts, see --val-fraction"
        )
    if len(texts) != 1:
        raise InputError("--task forecast needs one CSV file with a column of dates and columns of numbers")
    columns = options["columns"] and [c.strip() for c in options["columns"].split(",")]
    names = ("target", "date_column", "missing", "encoding")
    return read_series(texts[0], columns=columns, **{k: options[k] for k in names})


def _of_run(run, files, options):
    """The series in ``files``, else that of ``run``, and the options of the run."""
    config = runs.Run(run).config["options"]
    return _read(
        {**config, "encoding": options["encoding"] or config["encoding"]}, files or config["texts"]
    ), config


def _parts(rows, options):
    """The first row that chooses the best step, and the first of the test part."""
    test = rows - round(options["val_fraction"] * rows)
    return test - max(round(SELECTION * test), options["horizon"]), test


def _lags(text):
    try:
        lags = tuple(int(part) for part in text.split(","))
    except ValueError:
        lags = (-1,)
    if min(lags) < 0:
        raise InputError(f"--difference {text}: give lags in steps such as 1 or 1,12, or 0 for none")
    return tuple(lag for lag in lags if lag)
