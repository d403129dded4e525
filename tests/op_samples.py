"""Inputs for every op of the table: name -> list of (inputs, parameters). An op without samples fails the
suite.
"""

import numpy as np

from tinyrnn.kernels import losses

_rng = np.random.default_rng(7)
N = _rng.standard_normal


def away_from_zero(*shape):
    """Values with |x| in [0.3, 1.3]: no kink or pole is near."""
    x = N(shape)
    return np.asarray(np.sign(x) * (0.3 + np.abs(x) / (1 + np.abs(x))))


def positive(*shape):
    return np.asarray(0.3 + np.abs(N(shape)))


SHAPES = [((3, 4),), ((),), ((2, 1, 3),), ((0, 3),)]
PAIRS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((), (3,)),
    ((0, 3), (3,)),
    ((2, 3, 4), (3, 1)),
]


def unary(make):
    return [((make(*s[0]),), {}) for s in SHAPES]


def binary(make_a, make_b):
    return [((make_a(*a), make_b(*b)), {}) for a, b in PAIRS]


def any_value(*shape):
    return np.asarray(N(shape))


def reduced(x=None):
    axes = [None, (0,), (1,), (0, 1)]
    return [
        ((N((3, 4)) if x is None else x,), {"axis": a, "keepdims": k}) for a in axes for k in (False, True)
    ]


IDS = np.array([1, 0, 3, 3, 2])
SAMPLES = {name: binary(any_value, any_value) for name in ("add", "subtract", "multiply", "logaddexp")}
SAMPLES |= {name: binary(away_from_zero, away_from_zero) for name in ("maximum", "minimum")}
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
SAMPLES |= {name: [((N((3, 4)), N(4)), {})] for name in COMPARISONS}
SAMPLES |= {name: [((N((3, 4)) > 0, N(4) > 0), {})] for name in ("logical_and", "logical_or", "logical_xor")}
SAMPLES["logical_not"] = [((N((3, 4)) > 0,), {})]
SAMPLES["divide"] = binary(any_value, away_from_zero)
SAMPLES["power"] = [
    *binary(positive, any_value),
    ((N((3, 4)), 3), {}),
    ((N((3, 4)), 0), {}),
    ((2.0, N((3, 4))), {}),
]
for _name in ["negative", "square", "exp", "expm1", "sin", "cos", "tanh", "sigmoid", "softplus", "erf"]:
    SAMPLES[_name] = unary(any_value)
for _name in ["reciprocal", "relu", "abs", "sign", "floor", "ceil", "round"]:
    SAMPLES[_name] = unary(away_from_zero)
for _name in ["sqrt", "log", "log1p"]:
    SAMPLES[_name] = unary(positive)
for _name in ["asinh", "atan", "cosh", "exp2", "sinh"]:
    SAMPLES[_name] = unary(any_value)
for _name in ["log2", "log10"]:
    SAMPLES[_name] = unary(positive)
for _name in ["acos", "asin", "atanh", "tan"]:
    SAMPLES[_name] = unary(lambda *shape: np.asarray(np.tanh(N(shape)) * 0.9))
SAMPLES["acosh"] = unary(lambda *shape: np.asarray(1 + positive(*shape)))
SAMPLES |= {name: binary(away_from_zero, away_from_zero) for name in ("atan2", "hypot")}
SAMPLES["remainder"] = binary(away_from_zero, lambda *shape: np.asarray(3 * away_from_zero(*shape) ** -1))
SAMPLES["remainder"] += [((np.array([5.3, -4.2, 7.0, -0.3]), np.array([2.0, -1.5, -2.3, 0.7])), {})]
SAMPLES["where"] = [((np.asarray(N(a) > 0), any_value(*a), any_value(*b)), {}) for a, b in PAIRS] + [
    ((N((3, 4)) > 0, N((3, 4)), 2.0), {})
]
SAMPLES["clip"] = [
    ((away_from_zero(3, 4), -0.9, 0.7), {}),
    ((N(5), -np.inf, np.inf), {}),
    ((away_from_zero(3, 4), np.full(4, -0.2), np.full((3, 1), 0.8)), {}),
    ((away_from_zero(3, 4), np.full(4, 0.9), np.full(4, -0.9)), {}),
]
SAMPLES |= {name: reduced() for name in ("sum", "mean", "max", "min", "prod", "all", "any", "count_nonzero")}
SAMPLES["prod"] += reduced(np.array([[1.5, 0.0, 2.0], [0.0, 0.0, 3.0]]))
SAMPLES |= {
    name: [((np.array([1.0, np.nan, np.inf, -np.inf]),), {})] for name in ("isnan", "isinf", "isfinite")
}
SAMPLES["cumsum"] = [((N((3, 4)),), {"axis": a}) for a in (0, 1)]
SAMPLES["cumprod"] = [((N((3, 4)),), {"axis": a}) for a in (0, 1)]
SAMPLES["cumprod"] += [
    ((np.array([[1.5, 0.0, 2.0, 0.0], [0.7, 2.0, 3.0, -1.0]]),), {"axis": a}) for a in (0, 1)
]
SAMPLES["argsort"] = [((N((3, 4)),), {"axis": a}) for a in (0, 1)]
SAMPLES |= {name: [((N((3, 4)),), {"axis": 1, "keepdims": False})] for name in ("argmax", "argmin")}
SAMPLES |= {
    name: [((N((3, 4)),), {}), ((N((2, 3, 5)),), {}), ((N((3, 1)),), {})]
    for name in ("softmax", "log_softmax", "logsumexp")
}
SAMPLES["reshape"] = [((N((3, 4)),), {"newshape": (2, 6)}), ((N((3, 4)).T,), {"newshape": (12,)})]
SAMPLES["permute_dims"] = [((N((2, 3, 4)),), {"axes": (2, 0, 1)})]
SAMPLES["broadcast_to"] = [((N((3, 1)),), {"to": (2, 3, 4)}), ((any_value(),), {"to": (2,)})]
SAMPLES["flip"] = [((N((3, 4)),), {"axis": a}) for a in (None, 0, (0, 1))]
SAMPLES["roll"] = [((N((3, 4)),), {"shift": (2,), "axis": a}) for a in (None, 0)]
SAMPLES["roll"] += [((N((3, 4)),), {"shift": (1, -1), "axis": (0, 1)})]
SAMPLES["pad"] = [((N((3, 4)),), {"widths": [(1, 0), (0, 2)], "value": 3.0})]
SAMPLES["astype"] = [((N((3, 4)),), {"dtype": np.dtype(np.float64)})]
SAMPLES["to"] = [((N((3, 4)),), {"device": "cpu", "source": "cpu"})]
_KEYS = [
    1,
    (slice(None), 2),
    (slice(0, 3, 2), None),
    (Ellipsis, -1),
    np.array([0, 2, 2]),
    (np.array([0, 1]), np.array([3, 3])),
]
SAMPLES["getitem"] = [((N((3, 4)),), {"key": k}) for k in _KEYS[:4]]
SAMPLES["gather"] = [((N((3, 4)),), {"key": k}) for k in [*_KEYS[4:], N((3, 4)) > 0]]
SAMPLES["place"] = [((N((3, 4))[k],), {"key": k, "into": (3, 4)}) for k in _KEYS]
_ALONG = [
    (0, IDS[:4].reshape(1, 4) % 3),
    (1, IDS[:6].reshape(-1, 1)[:3]),
    (1, np.array([[0, 0], [3, 1], [-1, 2]])),
]
SAMPLES["take_along_axis"] = [((N((3, 4)), at), {"axis": axis}) for axis, at in _ALONG]
SAMPLES["put_along_axis"] = [((N(at.shape), at), {"axis": axis, "into": (3, 4)}) for axis, at in _ALONG]
SAMPLES["lookup"] = [((N((4, 3)), ids), {}) for ids in (IDS, IDS.reshape(5, 1), np.array(2))]
SAMPLES["place_rows"] = [((N((5, 3)), IDS), {"into": (4, 3)})]
SAMPLES["concat"] = [((N((2, 3)), N((2, 1))), {"axis": 1, "sizes": (3, 1)})]
SAMPLES["stack"] = [((N((2, 3)), N((2, 3))), {"axis": a}) for a in (0, 2)]
SAMPLES["split"] = [((N((2, 6)),), {"axis": 1, "points": (1, 4)})]
SAMPLES["unstack"] = [((N((2, 3)),), {"axis": a}) for a in (0, 1)]
SAMPLES["matmul"] = [
    ((N((3, 4)), N((4, 2))), {}),
    ((N((2, 3, 4)), N((2, 4, 5))), {}),
    ((N((2, 1, 3, 4)), N((5, 4, 2))), {}),
]
MATRICES = [((N((3, 3)),), {}), ((N((2, 1, 2, 2)),), {}), ((N((0, 2, 2)),), {}), ((N((1, 1)),), {})]
SAMPLES["solve"] = [((a[0], N((a[0].shape[-1], 2))), {}) for a, _ in MATRICES]
SAMPLES |= dict.fromkeys(("det", "inv", "slogdet"), MATRICES)
SAMPLES["det"] = [
    *MATRICES,
    ((np.ones((3, 3)),), {}),
    ((np.array([[[1.0, 2], [2, 4]], [[1, 2], [3, 4]]]),), {}),
]
SAMPLES["cholesky"] = [((a @ a.swapaxes(-1, -2) + np.eye(a.shape[-1]),), {}) for (a,), _ in MATRICES]
SAMPLES["svd"] = [((N(s),), {}) for s in ((3, 3), (2, 3, 2), (2, 4))]
SAMPLES["embedding"] = [((N((4, 3)),), {"ids": np.array([[0, 2], [2, 3]])})]
SAMPLES["scatter_rows"] = [((N((5, 3)),), {"ids": IDS, "rows": 4})]
SAMPLES["dropout"] = [((N((3, 4)),), {"p": 0.4, "key": 11})]
SAMPLES["cross_entropy"] = [((N((5, 4)),), {"ids": IDS})]
SAMPLES["cross_entropy_grad"] = [((N(5), N((5, 4))), {"ids": IDS})]
_COUNTS = IDS, np.array([1.0, 0.5, 0, 2, 1]), np.array([1.0, 1, 0, 1, 1])
SAMPLES["linear_cross_entropy"] = [
    (
        (N((5, 3)), N((3, 4)), N(4)),
        {"targets": losses.Targets(*_COUNTS, spread), "precision": None, "gradients": None},
    )
    for spread in (None, np.array([0.1, 0.2, 0, 0.3]))
]
SAMPLES["einsum"] = [((N((3, 4)), N((4, 2))), {"terms": ("ij", "jk"), "output": "ik"})]
SAMPLES["einsum"] += [((N((2, 3)), N((2, 3)), N(2)), {"terms": ("ij", "ik", "i"), "output": "k"})]
_LOGP = np.log(_rng.dirichlet(np.ones(3), (4, 3)))
_CTC = {
    "targets": np.array([[1, 2], [2, 2], [1, 0]]),
    "steps": np.array([4, 3, 2]),
    "lengths": np.array([2, 2, 0]),
}
SAMPLES["ctc"] = [((_LOGP,), {**_CTC, "blank": 0})]
