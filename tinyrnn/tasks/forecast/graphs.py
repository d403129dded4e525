"""A forecaster of one series as graphs, for places where tinyrnn is not."""

import numpy as np

from ...autograd import (
    clip,
    concat,
    cos,
    exp,
    floor,
    log,
    matmul,
    mean,
    minimum,
    reshape,
    sin,
    softplus,
    sum,
    where,
)  # fmt: skip
from ...autograd.pointwise import constant
from ...base.errors import InputError
from ...compiler.graph import Graph
from ...nn.rnn import joined
from .transform import FAR

LARGEST = {"float32": 88.0, "float64": 700.0}  # whose exponential is finite


def forecast_graphs(model) -> dict:
    """What a `Forecaster` computes, in three parts.

    ``read``: ``values [N, B, 1]``, N at least ``needed``, and ``first_phases [B, seasons]``, in [0, 1): where
    in each season the first of them is, to states. ``step``: states to the next ones and to ``said``, what
    the networks say of the next step; after ``horizon - 1`` calls of it, one after the other, ``end``: ``said
    [B, 3 * horizon]``, that of ``read`` first, and the states of ``read`` that it asks for, to ``forecast``,
    ``lower`` and ``upper [B, horizon]``.

    Raises:
        InputError: it forecasts counts, or reads more than one column of one series by even steps.
    """
    several = (
        len(model.columns) > 1 or len(model.targets) > 1 or model.foreseen or model.embedding is not None
    )
    if several or model.counts:
        what = "counts" if model.counts else "several columns or series"
        raise InputError(f"a forecaster of {what} cannot be written out yet: train on one column of numbers")
    return _Written(model).graphs()


class _Written:
    def __init__(self, model):
        self.model, self.transform, self.dtype = model, model.target_of(None), np.dtype(model.dtype)
        if len(model.targets) == 1:  # a panel of one, or of smoothing
            (self.transform,) = model.targets.values()
        self.h, self.smooth, t = model.horizon, model.smooth, self.transform
        self.spread = t.spread(self.h)
        self.unit = float(t.scale * self.spread[-1])
        self.periods = np.array(model.seasons, np.float64)
        self.longest = int(np.argmax(self.periods))

    def graphs(self):
        read, step, end = (Graph.of(self.model) for _ in range(3))
        self.read(read)
        self.step(step)
        self.end(end)
        return {"read": read, "step": step, "end": end}

    # ------------------------------------------------------------------ what comes before

    def read(self, graph):
        values = graph.rows("values", 1, over_time=True)
        phases = graph.rows("first_phases", len(self.periods))
        angles, phases = self.angles(graph, values, phases)
        plain = graph.call(self.logged, values)
        if self.smooth:
            calm, level = self.smoothing(graph, plain, angles)
        else:
            calm, level = self.differences(graph, plain)
        left = graph.scan(
            lambda xs, old: ((old[0] + 0 * xs[0],), (old[0] + 1.0,)),
            [values],
            [self.fixed(graph, 0.0)],
            reverse=True,
            name="left",
        )[0][0]
        live = graph.call(lambda n: where(n < self.model.window, 0 * n + 1.0, 0 * n), left)
        parts = [calm]
        if self.smooth:
            parts.append(self.deviations(graph, level, live))
        lagged = self.model.lags and self.lagged(graph, parts, live)
        waves = graph.call(self.waves, angles)
        xs = graph.call(lambda *xs: concat([*xs, 0 * xs[0]], axis=-1), *parts, waves)
        said = []
        for k, net in enumerate(self.model.members):
            _, final = net.rnn.into(graph, xs, mask=live)
            last = graph.call(lambda h, net=net: net.output(h), final[-1][0])
            for name, item in zip(self.states(k, net), net.rnn.flat(final), strict=True):
                graph.output(name, item)
            graph.output(f"said_{k}", last)
            said.append(last)
        graph.output("said", graph.call(self.together, *said))
        graph.output("phases", phases)
        if lagged:
            graph.output("line", graph.call(lambda r: matmul(r, self.model.linear.weight), lagged))

    def angles(self, graph, like, phases):
        """Of every row where in the seasons it is, and where the row after them is."""
        each = constant((1 / self.periods).astype(self.dtype), self.model.output.weight)

        def go_on(xs, old):
            later = old[0] + each
            return (old[0] + 0 * xs[0],), (later - floor(later),)

        (angles,), (after,) = graph.scan(go_on, [like], [phases], name="seasons")
        return angles, after

    def waves(self, phases):
        """``[B, 2 * seasons]``: sine and cosine of each."""
        each = [phases[:, j : j + 1] * (2 * np.pi) for j in range(len(self.periods))]
        return concat([f(angle) for angle in each for f in (sin, cos)], axis=-1)

    def logged(self, values):
        return log(values) if self.transform.log else values * 1.0

    def wave(self, phases):
        """What waves of the longest season add, of phases ``[B, n]``."""
        count = len(self.transform.waves) // 2
        found = 0 * phases
        for k in range(count):
            angle = (k + 1) * 2 * np.pi * phases
            found = found + self.transform.waves[2 * k] * cos(angle)
            found = found + self.transform.waves[2 * k + 1] * sin(angle)
        return found

    def smoothing(self, graph, plain, angles):
        """Errors in units of their deviation, and levels, of exponential smoothing."""
        t, m, j = self.transform, self.transform.season, self.longest
        rest = plain
        if t.waves:
            rest = graph.call(lambda y, p: y - self.wave(p[:, j : j + 1]), plain, angles)
        size = max(2 * m, 6)
        first = constant(np.arange(size, dtype=self.dtype)[None], self.model.output.weight)

        def collect(xs, old):
            return (), (where(first == old[1], xs[0], old[0]), old[1] + 1.0)

        _, begun = graph.scan(
            collect, [rest], [self.fixed(graph, 0.0, size), self.fixed(graph, 0.0)], name="first"
        )
        states, _ = graph.scan(lambda xs, _: (self.beginning(*xs), ()), begun, name="beginning")
        alpha, beta, gamma, phi = t.smoothing

        def smoothed(xs, old):
            level, trend, seasonal = old
            ahead = level + phi * trend
            error = xs[0] - ahead - seasonal[:, :1]
            news = ahead + alpha * error, phi * trend + alpha * beta * error
            turned = shifted(seasonal, seasonal[:, :1] + gamma * error)
            return (error / t.scale, news[0]), (*news, turned)

        (calm, level), final = graph.scan(smoothed, [rest], states, name="smoothing")
        for name, item in zip(("level", "trend", "seasonal"), final, strict=True):
            graph.output(name, item)
        return calm, level

    def beginning(self, head, n):
        """Level, trend and seasonal states before the first row, as `transform._beginning`: of the first
        rows ``head [B, size]``, of which there are ``n [B, 1]``.
        """
        m, size = self.transform.season, max(2 * self.transform.season, 6)
        n, rows = minimum(n, float(size)), np.arange(size, dtype=self.dtype)[None]
        there = where(constant(rows, head) < n, 0 * head + 1.0, 0 * head)
        slope = 0 * n
        if self.transform.smoothing[3] > 0:
            last = sum(where(constant(rows, head) == n - 1, head, 0.0), axis=-1, keepdims=True)
            slope = (last - head[:, :1]) / (n - 1)
            if m > 1:
                means = [mean(head[:, a : a + m], axis=-1, keepdims=True) for a in (0, m)]
                slope = where(n >= 2 * m, (means[1] - means[0]) / m, slope)
        flat = head - slope * constant(rows, head)
        level = mean(flat[:, : m if m > 1 else 4], axis=-1, keepdims=True)
        if m == 1:
            return level - slope, slope, 0 * level
        over = (flat - level) * there
        sums, counts = (sum(reshape(x, (-1, size // m, m)), axis=1) for x in (over, there))
        return level - slope, slope, sums / where(counts < 1, 1.0, counts)

    def differences(self, graph, plain):
        """Differences at the lags, in units of their deviation; no levels."""
        t, calm = self.transform, plain
        for i, lag in enumerate(t.lags):
            (calm,), _ = graph.scan(
                lambda xs, old: ((xs[0] - old[0][:, :1],), (shifted(old[0], xs[0]),)),
                [calm],
                [self.fixed(graph, 0.0, lag)],
                name=f"difference{i}",
            )
        if t.lost:
            _, (history,) = graph.scan(
                lambda xs, old: ((), (shifted(old[0], xs[0]),)),
                [plain],
                [self.fixed(graph, 0.0, t.lost)],
                name="history",
            )
            graph.output("history", history)
        return graph.call(lambda z: (z - t.mean) / t.scale, calm), None

    def deviations(self, graph, level, live):
        """How far levels are from their mean in the window; it is kept as ``mean``."""
        _, sums = graph.scan(
            lambda xs, old: ((), (old[0] + xs[0] * xs[1], old[1] + xs[1])),
            [level, live],
            [self.fixed(graph, 0.0), self.fixed(graph, 0.0)],
            name="mean",
        )
        middle = graph.call(lambda total, n: total / n, *sums)
        graph.output("mean", middle)
        return graph.call(lambda x, mid: clip((x - mid) / self.unit, -FAR, FAR), level, middle)

    def lagged(self, graph, parts, live):
        """The last rows of what is measured, as one row; 0 where there are none."""
        found = []
        for part in parts:
            _, (last,) = graph.scan(
                lambda xs, old: ((), (shifted(old[0], xs[0] * xs[1]),)),
                [part, live],
                [self.fixed(graph, 0.0, self.model.lags)],
                name="lags",
            )
            found.append(last)
        return graph.call(joined, *found)

    # ------------------------------------------------------------------ what comes after

    def step(self, graph):
        phases = graph.state("phases", self.zeros(len(self.periods)))
        passed = graph.state("passed", self.zeros(1))
        fed = [graph.state(f"said_{k}", self.zeros(3)) for k, _ in enumerate(self.model.members)]
        known = []
        if self.smooth:
            given = [graph.rows(name, 1) for name in ("level", "trend", "mean")]
            phi = self.transform.smoothing[3]
            power = graph.state("power", self.zeros(2))  # phi^k, and the sum of them so far
            # the row before is the first that is forecast: this is the one after it
            powers = graph.call(lambda p, n: self.next_power(p, n, phi), power, passed)

            def ahead(level, trend, mid, powers):
                return clip((level + powers[:, 1:] * trend - mid) / self.unit, -FAR, FAR)

            known = [graph.call(ahead, *given, powers)]
            graph.keep(power, powers)
        each = constant((1 / self.periods).astype(self.dtype), self.model.output.weight)

        def later(phases):
            found = phases + each
            return found - floor(found)

        here = graph.call(later, phases)
        waves = graph.call(self.waves, here)
        passed_now = graph.call(lambda n: n + 1.0, passed)
        news = []
        for k, net in enumerate(self.model.members):
            items = net.rnn.states_into(graph, f"_{k}")
            parts = [fed[k], *known, waves, passed_now]

            def read(said, *rest):
                return concat([said[:, :1], *rest[:-1], rest[-1] / self.h], axis=-1)

            y, _ = net.rnn.into(graph, graph.call(read, *parts), items, keep=True)
            news.append(graph.call(lambda y, net=net: net.output(y), y))
            graph.keep(fed[k], news[-1])
        graph.keep(phases, here)
        graph.keep(passed, passed_now)
        graph.output("said", graph.call(self.together, *news))

    @staticmethod
    def next_power(power, passed, phi):
        """phi^k and their sum for the next k; before the first step they are of k = 1."""
        begun = where(passed < 1, phi, power[:, :1])
        total = where(passed < 1, phi, power[:, 1:])
        return concat([begun * phi, total + begun * phi], axis=-1)

    def end(self, graph):
        model, t, h = self.model, self.transform, self.h
        said = graph.rows("said", 3 * h)
        names = ("level", "trend", "seasonal") if self.smooth else ("history",) if t.lost else ()
        widths = {"seasonal": t.season, "history": t.lost}
        given = {name: graph.rows(name, widths.get(name, 1)) for name in names}
        if model.lags:
            given["line"] = graph.rows("line", h)
        if t.waves:
            given["phases"] = graph.rows("phases", len(self.periods))
        keys, unit = list(given), t.scale * self.spread
        response = self.matrix(t.response(h).T * (t.scale * model.trust))

        def ends(said, *rest):
            known = dict(zip(keys, rest, strict=True))
            z = concat([said[:, 3 * k : 3 * k + 1] for k in range(h)], axis=-1) if h > 1 else said[:, :1]
            middle = matmul(z, response) + self.base(known)
            if "line" in known:
                middle = middle + known["line"] * self.row(unit)
            found = [middle]
            for side, sign in ((1, -1.0), (2, 1.0)):
                far = concat([said[:, 3 * k + side : 3 * k + side + 1] for k in range(h)], axis=-1)
                far = 0 * far + 1.0 if model.even else softplus(far)
                found.append(middle + sign * (far * self.row(unit * model.calibration)))
            if t.log:
                found = [exp(minimum(x, LARGEST[self.dtype.name])) for x in found]
            return found if model.below else [where(x < 0, 0.0, x) for x in found]

        outs, _ = graph.scan(lambda xs, _: (ends(*xs), ()), [said, *given.values()], name="forecast")
        for name, item in zip(("forecast", "lower", "upper"), outs, strict=True):
            graph.output(name, item)

    def base(self, known):
        """What is forecast without the networks, ``[B, horizon]``."""
        t, h = self.transform, self.h
        if not self.smooth:
            mean_alone = t.continued(self.start(t.lost), np.zeros((1, h)))
            found = self.row(mean_alone[0])
            if t.lost:
                of_each = type(t)(False, t.lags).continued(np.eye(t.lost), np.zeros((t.lost, h)))
                found = found + matmul(known["history"], self.matrix(of_each))
            return found
        far = np.cumsum(t.smoothing[3] ** np.arange(1, h + 1))
        found = known["level"] + known["trend"] * self.row(far)
        m = t.season
        if m > 1:
            turns = concat([known["seasonal"]] * (-(-h // m)), axis=-1)[:, :h]
            found = found + turns
        if t.waves:
            j = self.longest
            steps = self.row(np.arange(h) / self.periods[j])
            found = found + self.wave(known["phases"][:, j : j + 1] + steps)
        return found

    def start(self, lost):
        """Values whose logarithms, or they themselves, are 0."""
        return np.full((1, max(lost, 1)), 1.0 if self.transform.log else 0.0)

    # ------------------------------------------------------------------ tensors

    def states(self, k, net):
        """Names of the states of a member."""
        cells = enumerate(net.rnn.cells)
        return [f"{name}_{layer}_{k}" for layer, cell in cells for name in cell.states]

    @staticmethod
    def together(*said):
        """The mean of what the members say."""
        found = said[0] * 1.0
        for s in said[1:]:
            found = found + s
        return found / len(said)

    def zeros(self, width):
        return constant(np.zeros((1, width), self.dtype), self.model.output.weight)

    def row(self, values):
        return constant(np.asarray(values, self.dtype)[None], self.model.output.weight)

    def matrix(self, values):
        return constant(np.ascontiguousarray(values, self.dtype), self.model.output.weight)

    def fixed(self, graph, value, width=1):
        return graph.constant(np.full((1, width), value, self.dtype), "start")


def shifted(rows, last):
    """Rows without their first column, and ``last [B, 1]`` behind them."""
    return concat([rows[:, 1:], last], axis=-1) if rows.shape[1] > 1 else last
