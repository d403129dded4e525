"""Forecasts of time series, with prediction intervals, measured against naive forecasts."""

import hashlib
from dataclasses import asdict
from types import MappingProxyType

import numpy as np

from ...autograd import matmul, softplus
from ...autograd.functional import zeros_like
from ...autograd.pointwise import constant
from ...base.errors import InputError, shown
from ...nn.functional import mse_loss, quantile_loss
from ...training import pictures, runs
from ...training.disturbances import hardened_numbers
from ...training.plan import Plan
from ...training.robustness import Numbers
from ...training.task import Task
from ..batches import Batches
from ..text.vocabulary import names
from .model import Forecaster, checked_column
from .options import ForecastOptions, SeriesPredictionOptions, SeriesReadingOptions, SeriesRobustnessOptions
from .pictures import draw_errors, draw_forecasts
from .series import read_panel, understood
from .transform import Transform

SELECTION = 0.15  # of the rows before the test part: they choose the best step
SELECTED = 2000  # at most so many forecasts are measured at each evaluation while training


class Forecasting(Task):
    """Forecasts of a time series, with intervals.

    Data: one CSV file whose first row names the columns: dates (2012-01-31, rising; or none) and numbers.
    From Python also an array or a frame. Training and validation loss are not comparable: to the error of the
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
        self, model, series, *, train_rows, test_row, batch_size, seed, teacher_forced=False, fingerprint="",
        **hardening,
    ):  # fmt: skip
        self.model, self.series, self.fingerprint = model, series, fingerprint
        self.teacher_forced, self.hardening = teacher_forced, hardening
        self.inputs = model.inputs(series)
        self.origins = np.arange(model.needed, train_rows - model.horizon + 1)
        selection = np.arange(train_rows, test_row - model.horizon + 1)
        self.selection = selection[:: -(-len(selection) // SELECTED)]
        self.train_rows, self.test_row = train_rows, test_row
        self.batches = Batches(self.origins[:, None], batch_size, seed)

    @classmethod
    def build(cls, options, texts):
        """The task that the options of ``tinyrnn train`` describe, on the CSV file ``texts``.

        Raises:
            InputError: data that cannot be used or is too short, an unknown cell or option.
        """
        settings = options.settings()
        series = _read(options, texts)
        train_rows, test_row = _parts(len(series), options)
        season, horizon = options.season or series.season(), options.horizon

        def refuse_short(window, lost):
            if train_rows < max(lost + window + horizon, season + 1) or len(series) - test_row < horizon:
                raise InputError(
                    f"{series.name}: {len(series)} rows are too few for --window {window} and --horizon "
                    f"{horizon}: "
                    f"{train_rows} train, of which differences take {lost}, {test_row - train_rows} choose "
                    "the best step, "
                    f"{len(series) - test_row} test: lower --window, --horizon or --season, or give a longer "
                    "series"
                )

        lags = None if options.difference is None else _lags(options.difference)
        refuse_short(options.window or 2, sum(lags or ()))
        known = series.values[:train_rows]
        if np.ptp(known[:, 0]) == 0:
            said = f"column {shown(series.columns[0])} is {known[0, 0]:g} in all rows of training"
            raise InputError(f"{series.name}: {said}: choose another")
        if options.log:
            checked_column(series, series.columns[0], Transform(True, ()))
        transforms = [Transform.fit(known[:, 0], season, lags, options.log)]
        transforms += [Transform.fit(known[:, i], season) for i in range(1, known.shape[1])]
        lost = max(t.lost for t in transforms)
        window = options.window or max(2, min(2 * season, 60, (train_rows - lost) // 3))
        refuse_short(window, lost)
        own = dict(
            season=season, window=window, horizon=horizon, interval=options.interval, seed=options.seed
        )
        model = Forecaster(series.columns, [asdict(t) for t in transforms], **own, **settings)
        digest = hashlib.sha256(series.values.tobytes() + series.dates.tobytes()).hexdigest()[:16]
        fingerprint = f"forecast-{len(series)}-{','.join(series.columns)}-{digest}"
        names = ("batch_size", "seed", "teacher_forced", "noise", "adversarial")
        rest = {k: getattr(options, k) for k in names}
        return cls(model, series, train_rows=train_rows, test_row=test_row, fingerprint=fingerprint, **rest)

    @classmethod
    def store(cls, data):
        """An array ``[N]`` or ``[N, columns]``, or a pandas series or frame, whose index holds the dates."""
        if hasattr(data, "to_csv"):
            dated = str(data.index.dtype).startswith(("datetime", "period"))  # else it numbers the rows
            return "csv", data.to_csv(index=dated, index_label="date" if dated else None)
        if not (
            isinstance(data, np.ndarray) and data.ndim in (1, 2) and data.size and data.dtype.kind in "fiu"
        ):
            return super().store(data)
        table = data.reshape(len(data), -1)
        names = ["value"] if table.shape[1] == 1 else [f"value{i}" for i in range(table.shape[1])]
        lines = [",".join(names), *(",".join(map(repr, row)) for row in table.tolist())]
        return "csv", "\n".join(lines) + "\n"

    @staticmethod
    def rebuild(meta) -> Forecaster:
        """The model that a checkpoint's metadata describes, with fresh weights."""
        columns, transforms = names(meta.get("columns"), "columns"), meta.get("transforms")
        if not isinstance(transforms, list) or len(transforms) != len(columns):
            raise ValueError(f"its transforms are {shown(transforms)}: not one a column")
        return Forecaster.restored(
            ForecastOptions, meta["model"], columns, [asdict(Transform.of(t)) for t in transforms]
        )

    def introduction(self) -> str:
        """What is learned from."""
        target, n = self.model.transforms[0], len(self.series)
        lags = " and ".join(map(str, target.lags))
        calm = ("logarithms" if target.log else "values") + (f", differences at lag {lags}" if lags else "")
        others = f" from {', '.join(self.model.columns[1:])}" if len(self.model.columns) > 1 else ""
        return (
            f"{understood([self.series])}, season {self.model.season}; "
            f"{self.model.columns[0]}{others}: {calm}; "
            f"the last {n - self.test_row:,} rows test, {self.test_row - self.train_rows:,} before them "
            "choose the best step"
        )

    @property
    def shape(self) -> str:
        """Of a step, in words."""
        return (
            f"batches of {self.batches.batch_size} windows of {self.model.window} + {self.model.horizon} "
            "steps"
        )

    @property
    def steps_per_epoch(self) -> int:
        return self.batches.per_epoch

    @property
    def tokens_per_step(self) -> int:
        return self.batches.batch_size * (self.model.window + self.model.horizon)

    def loss(self, step: int):
        """The training loss of batch ``step``, a Tensor."""
        model, origins = self.model, self.origins[self.batches[step]]
        values, _ = model.parted(model.batch(self.inputs, origins)[0])

        def cost(read):
            inside, beyond = losses(model, self.inputs, origins, read)
            return inside if self.teacher_forced else inside + beyond

        return hardened_numbers(cost, values, model, **self.hardening)

    def evaluate(self, stop=lambda: False) -> dict | None:
        """Figures of the rows that choose the best step, or None if ``stop()`` became true."""
        if stop():
            return None
        with self.model.evaluating():
            inside, beyond = losses(self.model, self.inputs, self.selection)
        found = backtest(self.model, self.series, self.selection)
        return {"val_loss": (inside if self.teacher_forced else beyond).item(), "rmse": found["rmse"]}

    def conclude(self, run):
        """The backtest of the best model on the test part; its pictures, where matplotlib is installed."""
        file = runs.weights_file(run.path)
        with runs.reading(file, runs.ANOTHER):
            runs.put_weights(self.model, runs.load_tensors(file)[0])
        origins = _origins(self.model, self.series, self.test_row)
        said = self.model.forecast(self.series, origins)
        if pictures.available():
            with pictures.left_behind("forecast.png and errors.png"):
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
    def probe(model, texts, run, options) -> Numbers:
        """The windows before each origin; every one is disturbed for itself."""
        series, config = _of_run(run, texts, options)
        origins = _origins(model, series, 0 if texts else _parts(len(series), config)[1])
        origins = origins[options.examples_of(len(origins))]
        inputs = model.inputs(series)
        past, _ = model.batch(inputs, origins)

        def cost(values):
            return losses(model, inputs, origins, values)[1]

        def figures(values):
            read = model.joined(values, past).numpy()
            found = backtest(model, series, origins, model.forecast(series, origins, read))
            with model.evaluating():
                loss = cost(values).item()
            return {**{k: found[k] for k in ("rmse", "coverage")}, "loss": loss}

        return Numbers(model, model.parted(past)[0], cost, figures)

    @staticmethod
    def lines(figures):
        """A table of the model beside naive forecasts."""
        yield f"{'':16} {'RMSE':>10} {'MAE':>10} {'MASE':>7}"
        rows = {"model": "", "persistence": "persistence_", "seasonal naive": "seasonal_naive_"}
        for name, prefix in rows.items():
            rmse, mae, mase = (figures[prefix + k] for k in ("rmse", "mae", "mase"))
            yield f"{name:16} {rmse:10.5g} {mae:10.5g} {mase:7.3f}"
        said = (
            f"{figures['horizon']} steps ahead; {figures['coverage']:.1%} of the true values lie in the "
            "interval"
        )
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
        if options.plot:
            words = dict(interval=model.interval, title=f"{series.name}: {_steps(model)} after its end")
            rows = 4 * model.horizon + model.window
            draw_forecasts(series, model.columns[0], [(dates, said)], rows, options.plot, **words)
        for date, value, lower, upper in zip(series.shown(dates), *said.tolist(), strict=True):
            yield {"date": date, "forecast": value, "lower": lower, "upper": upper}

    @staticmethod
    def shown(prediction):
        """Date, forecast, interval."""
        return "{date}\t{forecast:.6g}\t{lower:.6g} to {upper:.6g}".format_map(prediction)


def losses(model, inputs, origins, values=None):
    """Of the rows inside the windows, one step ahead, and of the free-running forecasts beyond.

    Squared error of the value, plus quantile losses of the interval's ends; beyond, errors are those of the
    values (or logarithms) themselves, the sums of the differences', in units of what their sum would be if
    they were independent.

    Args:
        inputs: of the series, ``[N, columns + 3]``.
        values: ``[window, origins, columns]``, what is read in place of the windows' own.
    """
    past, ahead = model.batch(inputs, origins)
    inside, beyond = model(past if values is None else model.joined(values, past), ahead)
    after = inputs[origins + np.arange(1 - model.window, 0)[:, None], 0]
    later = inputs[origins + np.arange(model.horizon)[:, None], 0]
    sums = matmul(constant(model.response, beyond), constant(later, beyond) - beyond[:, :, 0])
    return [
        _loss(model.interval, constant(after, inside) - inside[:, :, 0], inside),
        _loss(model.interval, sums, beyond),
    ]


def _loss(interval, error, said):
    ends = [
        quantile_loss(end, error.detach(), q)
        for end, q in zip(
            (-softplus(said[:, :, 1]), softplus(said[:, :, 2])),
            np.array([(1 - interval) / 2, (1 + interval) / 2]),
            strict=True,
        )
    ]
    return mse_loss(error, zeros_like(error)) + ends[0] + ends[1]


def backtest(model, series, origins, said=None) -> dict:
    """Errors of forecasts from each of ``origins`` (rows of ``series``; a rolling origin), beside those of
    naive forecasts.

    ``persistence`` repeats the last value, ``seasonal_naive`` the last season. MASE divides the mean absolute
    error by that of the seasonal naive forecast one step ahead before the first origin (Hyndman & Koehler
    2006). ``coverage`` is the part of the true values inside the prediction interval. ``said``: the
    forecasts, if they are known.
    """
    values, m = checked_column(series, model.columns[0], model.transforms[0]), model.season
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
    if rest := (len(series) - origins[0]) % model.horizon:  # its last steps lie beyond the end
        last = np.array([len(series) - rest])
        parts.append((dates[last[0] : len(series)], model.forecast(series, last)[:, 0, :rest]))
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
            f"{series.name} has {len(series)} rows: {first} come before the first forecast and "
            f"{model.horizon} test it: "
            "give a longer series"
        )
    return np.arange(first, len(series) - model.horizon + 1)


def _read(options: ForecastOptions, texts):
    if options.val:
        raise InputError(
            "--val is not for series: the end of the file tests the forecasts, see --val-fraction"
        )
    if len(texts) != 1:
        raise InputError("--task forecast needs one table with a column of dates and columns of numbers")
    (series,) = read_panel(texts[0], options)
    return series


def _of_run(run, files, given):
    """The series in ``files``, else that of ``run``, and the options of the run."""
    options, texts = Forecasting.trained(run, given, files)
    return _read(options, texts), options


def _parts(rows, options):
    """The first row that chooses the best step, and the first of the test part."""
    test = rows - round(options.val_fraction * rows)
    return test - max(round(SELECTION * test), options.horizon), test


def _lags(text):
    try:
        lags = tuple(int(part) for part in text.split(","))
    except ValueError:
        lags = (-1,)
    if min(lags) < 0:
        said = text if len(text) < 80 else shown(text)
        raise InputError(f"--difference {said}: give lags in steps such as 1 or 1,12, or 0 for none")
    return tuple(lag for lag in lags if lag)
