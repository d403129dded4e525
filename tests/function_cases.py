"""Every public function of arrays: its NumPy form and the arguments it is tried with. A function without an
entry fails.

An entry is ``name: (reference, cases)``, a case ``(arrays, keyword arguments)``. Arguments that are not float
arrays stay as they are. ``DOMAIN`` restricts the values of arrays to where a function is smooth.
"""

import functools
import math

import numpy as np

import tinyrnn as tr
from tinyrnn.autograd import shaping

rng = np.random.default_rng(11)


def any_value(*shape):
    return np.asarray(rng.standard_normal(shape))


def apart(*shape):
    """Distinct values at least 0.1 apart, none within 0.05 of zero or an integer: no tie, kink or pole is
    near.
    """
    n = math.prod(shape)
    values = (np.arange(n) - n // 2) * 0.1 + 0.05 + 0.02 * rng.random(n)
    return np.asarray(rng.permutation(values).reshape(shape))


def positive(*shape):
    return np.asarray(0.3 + np.abs(rng.standard_normal(shape)))


SHAPES = [(3, 4), (), (2, 1, 3), (0, 3), (5,)]
PAIRS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((), (3,)),
    ((3,), ()),
    ((0, 3), (3,)),
    ((2, 3, 4), (3, 1)),
]


def unary(make=any_value):
    shaped = [((make(*s),), {}) for s in SHAPES]
    return [*shaped, ((make(6, 4).T[1::2, ::-1],), {})]  # and neither contiguous nor forward in memory


def binary(make_a=any_value, make_b=any_value):
    shaped = [((make_a(*a), make_b(*b)), {}) for a, b in PAIRS]
    return [
        *shaped,
        ((make_a(4, 3).T, make_b(6, 4)[::2]), {}),
        ((make_a(3, 4), 1.7), {}),
        ((0.6, make_b(3, 4)), {}),
    ]


def over_axes(make=any_value, **kwargs):
    """All forms of axis and keepdims, on arrays of two and three axes, 0-d and with an empty axis."""
    cases = [
        ((make(2, 3, 4),), {"axis": a, "keepdims": k, **kwargs})
        for a in (None, 0, -1, (0, 2), (-2,))
        for k in (False, True)
    ]
    return [
        *cases,
        ((make(),), kwargs),
        ((make(3, 4).T,), {"axis": 1, **kwargs}),
        ((make(2, 0),), {"axis": 0, **kwargs}),
    ]


def each(*cases):
    """Cases without keyword arguments, or (arrays, keyword arguments)."""
    return [c if len(c) == 2 and isinstance(c[1], dict) else (c, {}) for c in cases]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def logsumexp(x, axis=None, keepdims=False):
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def norm(x, axis=None, ord=2, keepdims=False):
    if ord == math.inf:
        return np.abs(x).max(axis=axis, keepdims=keepdims)
    return (np.abs(x) ** ord).sum(axis=axis, keepdims=keepdims) ** (1 / ord)


def layer_norm(x, shape, weight=1.0, bias=0.0, eps=1e-5):
    axes = tuple(range(-(1 if isinstance(shape, int) else len(shape)), 0))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps) * weight + bias


def attention(q, k, v, mask=None, is_causal=False, scale=None):
    scores = q @ np.swapaxes(k, -1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    return softmax(scores) @ v


def cross_entropy(x, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    """By its definition, one row after the other."""
    logp = np.log(softmax(x)).reshape(-1, x.shape[-1])
    classes, total = x.shape[-1], []
    w = np.ones(classes, x.dtype) if weight is None else weight
    rows = target.reshape(len(logp), -1)
    for lp, t in zip(logp, rows, strict=True):
        ids = target.dtype.kind in "iu"
        if ids and t[0] == ignore_index:
            total.append((0.0, 0.0))
            continue
        p = np.eye(classes)[t[0]] if ids else t
        p = p * (1 - label_smoothing) + label_smoothing / classes
        total.append((-(p * w * lp).sum(), w[t[0]] if ids else 1.0))
    losses, counts = np.array(total, x.dtype).reshape(-1, 2).T
    if reduction == "none":
        return losses.reshape(x.shape[:-1])
    return losses.sum() / (counts.sum() if reduction == "mean" else 1)


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean"):
    w = (1 if weight is None else weight[target]) * (target != ignore_index)
    losses = -np.take_along_axis(x, target[..., None], -1)[..., 0] * w
    return losses if reduction == "none" else losses.sum() / (np.sum(w) if reduction == "mean" else 1)


def reduced(losses):
    """A loss function with a reduction from one without."""
    return lambda *args, reduction="mean", **kwargs: {"mean": np.mean, "sum": np.sum, "none": np.asarray}[
        reduction
    ](losses(*args, **kwargs))


def bce(x, t, weight=1.0, pos_weight=1.0):
    return weight * -(pos_weight * t * np.log(sigmoid(x)) + (1 - t) * np.log(sigmoid(-x)))


def quantile(x, t, q):
    return np.where(t > x, q * (t - x), (1 - q) * (x - t))


def huber(x, t, delta=1.0):
    d = np.abs(x - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def ctc(lp, targets, steps, lengths, blank=0, reduction="mean", zero_infinity=False):
    """By enumerating every path (Graves et al. 2006, eq. 3)."""
    import itertools

    losses = []
    for n in range(lp.shape[1]):
        total = 0.0
        for path in itertools.product(range(lp.shape[2]), repeat=steps[n]):
            collapsed = [k for k, _ in itertools.groupby(path) if k != blank]
            if collapsed == list(targets[n][: lengths[n]]):
                total += np.exp(sum(lp[t, n, k] for t, k in enumerate(path)))
        losses.append(-np.log(total) if total else (0.0 if zero_infinity else np.inf))
    losses = np.array(losses, lp.dtype)
    if reduction == "mean":
        return (losses / np.maximum(lengths, 1)).mean()
    return losses.sum() if reduction == "sum" else losses


def crf(emissions, tags, transitions, start, end, mask=None, reduction="mean"):
    """By enumerating the tags of each sequence (Lample et al. 2016, section 2.2)."""
    import itertools

    losses, (steps, batch, count) = [], emissions.shape
    lengths = np.full(batch, steps) if mask is None else np.sum(mask, axis=0)
    for n, length in enumerate(lengths):
        scores = {}
        for path in itertools.product(range(count), repeat=int(length)):
            scores[path] = start[path[0]] + end[path[-1]]
            scores[path] += sum(emissions[t, n, k] for t, k in enumerate(path))
            scores[path] += sum(transitions[a, b] for a, b in itertools.pairwise(path))
        true = scores[tuple(tags[:length, n].tolist())]
        losses.append(np.log(sum(np.exp(s) for s in scores.values())) - true)
    losses = np.array(losses, emissions.dtype)
    return {"mean": losses.mean(), "sum": losses.sum(), "none": losses}[reduction]


def bounded(*shape):
    """Within (-0.9, 0.9)."""
    return np.asarray(0.9 * np.tanh(any_value(*shape)))


def above_one(*shape):
    return np.asarray(1 + positive(*shape))


def far(*shape):
    """Of either sign, and further from zero than any value of `apart` or 1.7."""
    return np.asarray((3 + positive(*shape)) * np.where(rng.random(shape) < 0.5, -1, 1))


def placed(f):
    """NumPy's functions that take a list, called with arrays."""
    return lambda *xs, **kwargs: f(xs, **kwargs)


def positive_definite(*shape):
    a = any_value(*shape)
    return a @ a.swapaxes(-1, -2) + np.eye(shape[-1])


X, LOGP = any_value(3, 4), np.log(softmax(any_value(3, 2, 3)))
IDS = np.array([1, 3, 0])
TAGS = np.array([[0, 2], [1, 1], [2, 0], [2, 1]])
LOSS_CASES = each(
    (apart(3, 4), any_value(3, 4)),
    *[((apart(3, 4), any_value(3, 4)), {"reduction": r}) for r in ("sum", "none")],
)
JOINED = [([any_value(2, 3), any_value(2, 3)], {"axis": a}) for a in (0, 1, -1)]
_sqrt_half_pi = 0.7978845608028654
erf = np.vectorize(math.erf, otypes=[float])

FUNCTIONS = {
    # pointwise
    **{name: (getattr(np, name), binary()) for name in ("add", "subtract", "multiply", "logaddexp")},
    **{name: (getattr(np, name), binary(apart, apart)) for name in ("maximum", "minimum")},
    "divide": (np.divide, binary(any_value, apart)),
    "power": (np.power, [*binary(positive, any_value), *each((X, 3), (X, 0), (2.0, X))]),
    **{name: (getattr(np, name), unary()) for name in ("negative", "square", "exp", "expm1", "sin", "cos", "tanh")},
    **{name: (getattr(np, name), unary(apart)) for name in ("reciprocal", "abs", "sign", "floor", "ceil", "round")},
    **{name: (getattr(np, name), unary(positive)) for name in ("sqrt", "log", "log1p")},
    **{name: (getattr(np, name), unary()) for name in ("asinh", "atan", "cosh", "exp2", "sinh")},
    **{name: (getattr(np, name), unary(bounded)) for name in ("acos", "asin", "atanh", "tan")},
    **{name: (getattr(np, name), unary(positive)) for name in ("log2", "log10")},
    "acosh": (np.acosh, unary(above_one)),
    **{name: (getattr(np, name), binary(apart, apart)) for name in ("atan2", "hypot")},
    "remainder": (np.remainder, [*binary(apart, far), *each((np.array([5.3, -4.2, 7.0]), np.array([2.0, -1.5, -2.3])))]),
    "sigmoid": (sigmoid, unary()),
    "softplus": (lambda x: np.log1p(np.exp(x)), unary()),
    "erf": (lambda x: erf(x).astype(x.dtype), unary()),
    "relu": (lambda x: np.maximum(x, 0), unary(apart)),
    "where": (np.where, each((X > 0, X, 2.0), (X > 0, any_value(4), X), (X[:, :1] > 0, any_value(3, 4), any_value(1, 4)))),
    "clip": (np.clip, each((apart(3, 4), -0.3, 0.4), ((apart(3, 4),), {"max": 0.2, "min": None}), (apart(3, 4), apart(4) - 0.1, 0.5))),
    **{
        name: (getattr(np, name), [*binary(), ((np.array([1.0, 2.0]), np.array([1.0, 3.0])), {})])
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    },
    **{name: (getattr(np, name), each((X > 0, X.T.reshape(3, 4) > 0))) for name in ("logical_and", "logical_or", "logical_xor")},
    "logical_not": (np.logical_not, each((X > 0,))),
    **{name: (getattr(np, name), each((np.array([1.0, np.nan, np.inf, -np.inf]),))) for name in ("isnan", "isinf", "isfinite")},
    # activations
    "silu": (lambda x: x * sigmoid(x), unary()),
    "gelu": (
        lambda x, approximate="none": 0.5 * x * (1 + (erf(x / 2**0.5) if approximate == "none" else np.tanh(_sqrt_half_pi * (x + 0.044715 * x**3)))),
        [*unary(), ((X,), {"approximate": "tanh"})],
    ),
    "leaky_relu": (lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x), [*unary(apart), ((apart(5), 0.3), {})]),
    "elu": (lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)), [*unary(apart), ((apart(5), 0.3), {})]),
    "hardsigmoid": (lambda x: np.clip(x / 6 + 0.5, 0, 1), unary(lambda *s: np.asarray(4 * apart(*s)))),
    # reductions
    **{name: (getattr(np, name), over_axes()) for name in ("sum", "mean", "prod")},
    "max": (np.max, [c for c in over_axes(apart) if c[0][0].size]),
    "min": (np.min, [c for c in over_axes(apart) if c[0][0].size]),
    "var": (
        lambda x, correction=0.0, **k: np.var(x, ddof=correction, **k),
        [*over_axes(), *over_axes(correction=1)[:6]],
    ),
    "std": (lambda x, correction=0.0, **k: np.std(x, ddof=correction, **k), [*over_axes()[:6], *over_axes(correction=1)[:6]]),
    "logsumexp": (logsumexp, over_axes()),
    "norm": (norm, [*over_axes(apart), *[((apart(3, 4),), {"axis": 1, "ord": o}) for o in (1, 3, math.inf)]]),
    "cumsum": (np.cumsum, each((X,), ((X,), {"axis": 0}), ((X.T,), {"axis": -1}), (any_value(0),))),
    "cumprod": (np.cumprod, each((X,), ((X,), {"axis": 0}), ((X.T * (X.T > -0.5),), {"axis": -1}), (any_value(0),), (np.array([0, 2, 0.0, 3]),))),
    "cummax": (
        lambda x, axis=None: np.maximum.accumulate(x.ravel() if axis is None else x, axis or 0),
        each((apart(3, 4),), ((apart(3, 4),), {"axis": 0}), ((apart(3, 4).T,), {"axis": -1}), (any_value(0),), (apart(),)),
    ),
    "sort": (np.sort, [((apart(2, 3, 4),), {"axis": a}) for a in (None, 0, -1)] + each((any_value(0, 3),))),
    "argsort": (np.argsort, [((apart(2, 3, 4),), {"axis": a}) for a in (None, 0, -1)] + each((any_value(0, 3),))),
    "median": (np.median, [c for c in over_axes(apart) if c[0][0].size]),
    "quantile": (
        np.quantile,
        [((c[0][0], q), c[1]) for c in over_axes(apart) if c[0][0].size for q in (0.3, [0.0, 0.5, 1.0], [[0.25, 0.7]])],
    ),
    "diff": (np.diff, each((X,), ((X,), {"axis": 0}), ((X,), {"n": 2}), ((X,), {"n": 0}), ((X,), {"n": 5}), (any_value(0),))),
    **{name: (getattr(np, name), [*over_axes()[2:4], ((X,), {})]) for name in ("argmax", "argmin")},
    **{name: (getattr(np, name), [((c[0][0] > 0,), c[1]) for c in over_axes()]) for name in ("all", "any", "count_nonzero")},
    "softmax": (softmax, [((any_value(2, 3, 4),), {"axis": a}) for a in (0, 1, -1)]),
    "log_softmax": (lambda x, axis=-1: np.log(softmax(x, axis)), [((any_value(2, 3, 4),), {"axis": a}) for a in (0, 1, -1)]),
    # shapes
    "reshape": (np.reshape, each((X, (2, 6)), (X.T, (-1,)), (any_value(), (1, 1)), (any_value(0, 3), (3, 0)))),
    "permute_dims": (np.transpose, each((any_value(2, 3, 4), (2, 0, 1)), (any_value(2, 3, 4), (-1, 0, 1)), (any_value(), ()))),
    "transpose": (np.transpose, each((any_value(2, 3, 4),), ((any_value(2, 3, 4),), {"axes": (1, 0, 2)}))),
    "swapaxes": (np.swapaxes, each((any_value(2, 3, 4), 0, -1))),
    "moveaxis": (np.moveaxis, each((any_value(2, 3, 4), 0, -1), (any_value(2, 3, 4), (0, -1), (1, 0)), (any_value(2, 3, 4), (), ()))),
    "array_split": (
        lambda x, n, axis=-1: np.array_split(x, n, axis=axis),
        each((any_value(2, 7), 3), ((any_value(3, 2), 5), {"axis": 0}), (any_value(2, 6), (1, 4)), (any_value(0), 2)),
    ),
    "hsplit": (np.hsplit, each((any_value(2, 6), 3), (any_value(6), 2), (any_value(2, 4, 3), [1, 3]))),
    "vsplit": (np.vsplit, each((any_value(4, 2), 2), (any_value(4, 2, 3), [1]))),
    "matrix_transpose": (np.matrix_transpose, each((any_value(2, 3, 4),))),
    "expand_dims": (np.expand_dims, [((X,), {"axis": a}) for a in (0, 1, 2, -1, -3, (0, 2))]),
    "squeeze": (np.squeeze, each((any_value(2, 1, 3),), (any_value(2, 1, 1), 1), (any_value(1, 2, 1), (0, -1)))),
    "broadcast_to": (np.broadcast_to, each((any_value(3, 1), (2, 3, 4)), (any_value(), (2,)), (any_value(1, 0), (3, 0)))),
    "flip": (np.flip, each((X,), ((X,), {"axis": 0}), ((X,), {"axis": (0, -1)}))),
    "roll": (np.roll, each((X, 2), ((X, -1), {"axis": 1}), ((X, (1, 2)), {"axis": (0, 1)}))),
    "pad": (np.pad, each((X, 1), (X, (1, 2)), ((X, [(0, 1), (2, 0)]), {"constant_values": 3}))),
    "astype": (lambda x, dtype: x.astype(dtype), each((X, np.float64))),
    "concat": (placed(np.concatenate), [*JOINED, ([any_value(2, 1), any_value(2, 3)], {"axis": 1}), ([X, X], {"axis": None})]),
    "stack": (placed(np.stack), [*JOINED, ([any_value(), any_value()], {})]),
    "split": (
        lambda x, n, axis=-1: np.split(x, n, axis=axis),
        each((any_value(2, 6), 3), ((any_value(4, 2), 2), {"axis": 0}), (any_value(2, 6), (1, 4)), (X, 1)),
    ),
    "unstack": (lambda x, axis=0: [np.take(x, i, axis) for i in range(x.shape[axis])], each((X,), ((X,), {"axis": -1}))),
    "to": (lambda x, device: x, each((X, "cpu"))),
    "getitem": (
        lambda x, key: x[key],
        each(
            *[(any_value(3, 4), k) for k in (1, -1, slice(None, None, -1), (slice(None), 2), (None, 1), (Ellipsis, -1), (1, 2))],
            *[(any_value(3, 4), k) for k in (IDS[::2], (slice(None), IDS), (IDS[:1], IDS[1:]), X > 0, X[:, 0] > 0, [0, 2, 2])],
            (any_value(), ()),
        ),
    ),
    # arrays
    "tile": (np.tile, each((X, 2), (X, (2, 1, 3)), (any_value(2, 3, 2), (2,)), (any_value(), 3))),
    "repeat": (np.repeat, each((X, 2), ((X, 3), {"axis": 0}), ((X, [1, 0, 2, 3]), {"axis": 1}))),
    "take": (np.take, each((X, IDS), ((X, IDS), {"axis": 1}), ((X, [[0, 2], [2, 1]]), {"axis": 0}), ((X, 1), {"axis": -1}))),
    "take_along_axis": (
        np.take_along_axis,
        each((X, np.array([[0, 3], [1, 1], [2, 0]])), ((X, np.array([[0, 2, 1, 1]])), {"axis": 0})),
    ),
    "triu": (np.triu, each((X,), ((any_value(2, 3, 3),), {"k": 1}))),
    "tril": (np.tril, each((X,), ((any_value(2, 3, 3),), {"k": -1}))),
    "diag": (np.diag, each((X,), ((X,), {"k": 1}), (any_value(3),), ((any_value(3),), {"k": -2}))),
    # products
    "matmul": (
        np.matmul,
        each(*[(any_value(*a), any_value(*b)) for a, b in [((3, 4), (4, 2)), ((4,), (4,)), ((4,), (4, 3)), ((2, 4), (4,)), ((5, 2, 4), (4,)),
               ((5, 2, 4), (4, 3)), ((4,), (2, 4, 3)), ((1, 2, 4), (6, 4, 3)), ((2, 1, 3, 4), (5, 4, 2)), ((0, 4), (4, 2)), ((2, 0), (0, 3))]]),
    ),
    "dot": (
        np.dot,
        each(*[(any_value(*a), any_value(*b)) for a, b in [((3, 4), (4, 2)), ((4,), (4,)), ((2, 3, 4), (4,)), ((4,), (4, 3)),
               ((), (3, 2)), ((3,), ()), ((2, 3, 4), (5, 4, 2)), ((2, 0), (0, 3))]]),
    ),
    "vecdot": (
        lambda a, b, axis=-1: np.vecdot(a, b, axis=axis),
        each((X, any_value(3, 4)), (X, any_value(4)), ((any_value(2, 3, 4), any_value(3, 1)), {"axis": -2}), (any_value(2, 0), any_value(0))),
    ),
    "kron": (np.kron, each((X, any_value(2, 2)), (any_value(3), any_value(2)), (any_value(2), any_value(2, 1, 3)), (any_value(), X))),
    "trace": (np.trace, each((X,), ((X,), {"offset": 1}), ((any_value(2, 3, 4),), {"axis1": -1, "axis2": 0}), ((X,), {"offset": -5}))),
    **{f"linalg.{name}": (getattr(np.linalg, name), each(*[(any_value(*s),) for s in ((3, 3), (1, 1), (2, 1, 2, 2), (0, 2, 2), (0, 0))])) for name in ("det", "inv", "slogdet")},
    "linalg.solve": (
        np.linalg.solve,
        each(*[(any_value(*a), any_value(*b)) for a, b in [((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3,)), ((2, 1, 2, 2), (3, 2, 4)), ((0, 0), (0, 2))]]),
    ),
    "linalg.cholesky": (
        np.linalg.cholesky,
        each(*[(positive_definite(*s),) for s in ((3, 3), (1, 1), (2, 2, 2), (0, 0))], ((positive_definite(3, 3),), {"upper": True})),
    ),
    "linalg.norm": (
        np.linalg.norm,
        [((apart(*s), o), {}) for o in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf) for s in ((3, 3), (2, 4), (4, 2))]
        + [((apart(2, 3, 4), "nuc"), {"axis": (2, 0), "keepdims": True}), ((apart(2, 3, 4), 1), {"axis": (-1, 1), "keepdims": True}), ((apart(2, 3, 4), -1), {"axis": (0, 1)})]
        + [((apart(2, 3, 4),), {}), ((apart(3, 4), 3), {"axis": 1}), ((apart(5), -math.inf), {}), ((apart(),), {}), ((any_value(0, 3),), {})],
    ),
    "outer": (np.outer, each((any_value(3), any_value(4)), (any_value(2, 2), any_value(3)))),
    "tensordot": (
        np.tensordot,
        each((any_value(2, 3, 4), any_value(3, 4, 5)), ((any_value(2, 3), any_value(3, 4)), {"axes": 1}),
             ((any_value(2, 3, 4), any_value(4, 2)), {"axes": ([0, 2], [1, 0])}), ((any_value(2), any_value(3)), {"axes": 0})),
    ),
    "einsum": (
        np.einsum,
        each(("ij,jk->ik", X, any_value(4, 2)), ("bij,bjk", any_value(2, 3, 4), any_value(2, 4, 2)), ("ii->i", any_value(3, 3)),
             ("ii", any_value(3, 3)), ("ij->j", X), ("ij->", X), ("i,j,k->kij", any_value(2), any_value(3), any_value(2)),
             ("...ij,...j->...i", any_value(2, 3, 4), any_value(4)), ("ij,ij->j", X, any_value(1, 4)), ("iji,j->ji", any_value(2, 3, 2), any_value(3))),
    ),
    "embedding": (lambda ids, w: w[ids], each((np.array([[0, 2], [2, 3]]), any_value(4, 3)), (np.array([], int), any_value(4, 3)))),
    "linear": (lambda x, w, b=0: x @ w + b, each((X, any_value(4, 2)), (any_value(2, 3, 4), any_value(4, 2), any_value(2)))),
    # layers
    "layer_norm": (layer_norm, each((X, 4), (X, 4, any_value(4), any_value(4)), (any_value(2, 3, 4), (3, 4), any_value(3, 4)))),
    "scaled_dot_product_attention": (
        attention,
        each((any_value(2, 3, 4), any_value(2, 5, 4), any_value(2, 5, 3)), (any_value(3, 4), any_value(3, 4), any_value(3, 2), np.tri(3, dtype=bool)),
             ((any_value(3, 4), any_value(3, 4), any_value(3, 2)), {"is_causal": True, "scale": 0.3}), (X, X, X, any_value(3, 3))),
    ),
    # losses
    "mse_loss": (reduced(lambda x, t: (x - t) ** 2), LOSS_CASES),
    "l1_loss": (reduced(lambda x, t: np.abs(x - t)), LOSS_CASES),
    "quantile_loss": (reduced(quantile), [((apart(3, 4), any_value(3, 4), q), {}) for q in (0.1, 0.5, 0.95)]),
    "huber_loss": (reduced(huber), [*LOSS_CASES, ((apart(3, 4), any_value(3, 4)), {"delta": 0.4})]),
    "binary_cross_entropy_with_logits": (
        reduced(bce),
        [((c[0][0], rng.random((3, 4))), c[1]) for c in LOSS_CASES]
        + [((X, rng.random((3, 4)), positive(4)), {"pos_weight": 2.5})],
    ),
    "nll_loss": (
        nll_loss,
        each((X, IDS), ((X, IDS, positive(4)), {"ignore_index": 3}), *[((X, IDS), {"reduction": r}) for r in ("sum", "none")]),
    ),
    "cross_entropy": (
        cross_entropy,
        each((X, IDS), (X, IDS, positive(4)), (any_value(2, 3, 4), np.array([[0, 1, 2], [3, 3, 1]])), (X, softmax(any_value(3, 4)), positive(4)),
             *[((X, IDS, positive(4)), {"ignore_index": 3, "label_smoothing": 0.2, "reduction": r}) for r in ("mean", "sum", "none")],
             ((X, IDS), {"ignore_index": 1}), ((X, IDS), {"label_smoothing": 0.1}), ((X, softmax(any_value(3, 4))), {"label_smoothing": 0.1, "reduction": "sum"})),
    ),
    "ctc_loss": (
        ctc,
        each(*[((LOGP, np.array([[1, 2], [2, 2]]), np.array([3, 3]), np.array([2, 2])), {"reduction": r}) for r in ("mean", "sum", "none")],
             ((LOGP, np.array([[1, 0], [2, 2]]), np.array([2, 2]), np.array([1, 2])), {"zero_infinity": True, "reduction": "none"}),
             ((LOGP, np.array([[1, 0], [0, 1]]), np.array([3, 2]), np.array([2, 0]), 2), {})),
    ),
    "crf_loss": (
        crf,
        each(*[((any_value(4, 2, 3), TAGS, any_value(3, 3), any_value(3), any_value(3)), {"reduction": r, "mask": m})
               for r in ("mean", "sum", "none") for m in (None, np.array([[1, 1], [1, 1], [1, 0], [1, 0]]))],
             ((any_value(1, 2, 3), TAGS[:1], any_value(3, 3), any_value(3), any_value(3)), {})),
    ),
}  # fmt: skip

# These have no value that NumPy could give; they have tests of their own.
ELSEWHERE = {"Tensor", "tensor", "no_grad", "check_grad", "dropout", "grad", "value_and_grad"}
ELSEWHERE |= {
    "jvp",
    "vjp",
    "jacobian",
    "hessian",
    "hvp",
    "custom_vjp",
    "checkpoint",
    "rand",
    "randn",
    "randint",
    "rand_like",
    "randn_like",
    "bernoulli",
}
ELSEWHERE |= {"crf_decode", "ctc_beam_decode", "ctc_greedy_decode"}  # give labels, not tensors
ELSEWHERE |= {"linear_cross_entropy"}  # tests/nn/test_vocabulary.py
ELSEWHERE |= set(
    "arange asarray eye from_dlpack from_torch full full_like linspace ones ones_like to_torch zeros zeros_like".split()
)

# Functions whose values tell nothing about a derivative.
NO_GRADIENT = set(
    "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor logical_not".split()
)
NO_GRADIENT |= set("isnan isinf isfinite argmax argmin argsort all any count_nonzero".split())

EXTRA = {"getitem", "to"}  # public as a method or an operator only


def public(name):
    """The function of an entry; that of ``linalg.det`` is ``tr.linalg.det``."""
    return getattr(shaping, name) if name in EXTRA else functools.reduce(getattr, name.split("."), tr)
