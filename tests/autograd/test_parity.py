"""Every function that PyTorch has too equals it: values, gradients, gradients of gradients, in float64.

A case is the function here, the same function in PyTorch, and its float inputs, by which gradients are taken.
Its id starts with the name of the function. Cells are compared in ``test_cells.py``, optimisers in
``test_optim.py``.
"""

import functools
import inspect
import itertools
from math import inf, nan

import numpy as np
import pytest

import tinyrnn as tr

torch = pytest.importorskip("torch")
F = torch.nn.functional
T = torch.tensor
pytestmark = pytest.mark.parity
torch.set_num_threads(1)

draw = np.random.default_rng(11)


def case(name, ours, theirs, *inputs, order=2):
    """``order`` 0 compares values, 1 gradients too, 2 their gradients too; a comment says why it is less than
    2.
    """
    return pytest.param(ours, theirs, inputs, order, id=name)


def same(name, f, *inputs, order=2):
    """A case where one text means the same to both."""
    return case(name, f, f, *inputs, order=order)


def both(f, g, *fixed, **some):
    """``f`` here and ``g`` in PyTorch with further arguments, whose arrays become tensors of PyTorch's."""
    return lambda *x: f(*x, *fixed, **some), lambda *x: g(*x, *torched(fixed), **torched(some))


def torched(value):
    if isinstance(value, dict):
        return {k: torched(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(torched, value))
    return T(value) if isinstance(value, np.ndarray) else value


def options(**values):
    """Every combination of the values, as a dict, and how it reads in an id."""
    for chosen in itertools.product(*values.values()):
        words = ["given" if isinstance(v, np.ndarray) else v for v in chosen]
        yield (
            dict(zip(values, chosen, strict=True)),
            " ".join(f"{k}={v}" for k, v in zip(values, words, strict=True)),
        )


def normal(*shape):
    return draw.standard_normal(shape)


def positive(*shape):
    return 0.3 + np.abs(normal(*shape))


# ------------------------------------------------------------------ pointwise

SHAPES = [(3, 4), (), (2, 0, 3)]
PAIRS = [((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 4), (3, 1)), ((), (3,)), ((3,), (1, 3)), ((0, 3), (3,))]
UNARY = dict.fromkeys(
    "abs asinh atan ceil cos cosh erf exp exp2 expm1 floor negative relu round sigmoid sign sin sinh square "
    "tan tanh".split(),
    normal,
)
UNARY |= dict.fromkeys("log log10 log1p log2 reciprocal sqrt".split(), positive)
UNARY |= dict.fromkeys("acos asin atanh".split(), lambda *shape: 0.9 * np.tanh(normal(*shape)))
UNARY |= {"acosh": lambda *shape: 1 + positive(*shape)}
BINARY = dict.fromkeys(
    "add atan2 hypot subtract multiply maximum minimum logaddexp".split(), (normal, normal)
)
BINARY |= {"divide": (normal, positive), "power": (positive, normal)}
BINARY |= {"remainder": (lambda *shape: 5 * normal(*shape), lambda *shape: normal(*shape) - 0.1)}
ACTIVATIONS = {
    "elu": [{}, {"alpha": 0.7}],
    "gelu": [{}, {"approximate": "none"}, {"approximate": "tanh"}],
    "leaky_relu": [{}, {"negative_slope": 0.3}],
    "silu": [{}],
    "softplus": [{}],
}
RENAMED = {"power": "pow", "equal": "eq"}


def pair(name, *fixed, **some):
    """The function of this name here, and the one of PyTorch."""
    theirs = RENAMED.get(name, name)
    return both(getattr(tr, name), getattr(F if hasattr(F, theirs) else torch, theirs), *fixed, **some)


CASES = [
    case(f"{name} {shape}", *pair(name), make(*shape)) for name, make in UNARY.items() for shape in SHAPES
]
CASES += [
    case(f"{name} {a} {b}", *pair(name), make_a(*a), make_b(*b))
    for name, (make_a, make_b) in BINARY.items()
    for a, b in PAIRS
]
CASES += [
    case(f"{name} {some} {shape}", *pair(name, **some), 2 * normal(*shape))
    for name, several in ACTIVATIONS.items()
    for some in several
    for shape in SHAPES
]
# PyTorch's hardsigmoid has a gradient in single precision and no second one: its formula has both.
CASES += [
    case(f"hardsigmoid {shape}", tr.hardsigmoid, lambda x: F.relu6(x + 3) / 6, 3 * normal(*shape))
    for shape in SHAPES
]
CASES += [case("hardsigmoid", *pair("hardsigmoid"), 3 * normal(9), order=0)]

CASES += [case(f"{name} ends", *pair(name), np.array([-1.0, 0.0, 1.0]), order=0) for name in ("acos", "asin")]
CASES += [case(f"{name} ends", *pair(name), np.array([1.0, 1e200]), order=0) for name in ("acosh", "asinh")]
CASES += [
    case(f"{name} axes", *pair(name), *np.meshgrid([-1.5, 0.0, 2.0], [-0.0, 1.0, -3.0]), order=0)
    for name in ("atan2", "hypot")
]

# Where a plain formula would overflow or lose its digits. (PyTorch's softplus is x from 20 on, 2e-9 less than
# it should be.)
WIDE = np.linspace(-38.3, 38.9, 29)
CASES += [case(f"{name} wide", *pair(name), 20 * WIDE) for name in "elu erf gelu sigmoid silu tanh".split()]
CASES += [
    case("softplus wide", *pair("softplus"), WIDE[WIDE < 20]),
    # PyTorch's second derivative is NaN where exp(a - b) overflows.
    case("logaddexp wide", *pair("logaddexp"), 20 * WIDE, 30 * WIDE[::-1].copy(), order=1),
    case("expm1 near 0", *pair("expm1"), 1e-9 * WIDE),
    case("log1p near 0", *pair("log1p"), 1e-9 * WIDE),
]

# At kinks and ties both document the same choice.
TIES, TOO = np.array([[2.0, -1.0, 2.0], [0.5, 0.5, 0.5], [0.0, -3.0, 0.0]]), np.array([2.0, 1.0, 0.0])
ORIGIN = TIES * np.array([[0], [1], [1]])
CASES += [case(f"{name} ties", *pair(name), TIES, TOO) for name in ("maximum", "minimum")]
CASES += [case(f"{name} 0", *pair(name), TIES) for name in ("abs", "leaky_relu", "relu", "sign")]
CASES += [
    case("max ties", *both(tr.max, torch.amax, 1), TIES),
    case("min ties", *both(tr.min, torch.amin, 0), TIES),
    case("max ties of all", tr.max, torch.amax, TIES),
    case("round halves", *pair("round"), np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])),
    case("clip ends", *both(tr.clip, torch.clamp, -1, 2), TIES),
    case("elu 0", *pair("elu"), TIES, order=1),  # the second derivative jumps there
    # PyTorch's second derivative of the root of 0 is NaN.
    case(
        "norm 0", lambda x: tr.norm(x, axis=1), lambda x: torch.linalg.vector_norm(x, dim=1), ORIGIN, order=1
    ),
    case("std 0", lambda x: tr.std(x, axis=1), lambda x: torch.std(x, dim=1, correction=0), TIES, order=1),
]
CASES += [
    case(
        f"norm ord={p} ties",
        lambda x, p=p: tr.norm(x, 1, p),
        lambda x, p=p: torch.linalg.vector_norm(x, p, 1),
        TIES,
    )
    for p in (1, 2, 3, 4, inf, -inf)
]

CASES += [
    same(f"{name} operator", f, positive(3, 4))
    for name, f in {
        "abs": lambda x: abs(x - 1),
        "add": lambda x: (x + 2, 2.5 + x),
        "divide": lambda x: (x / 2, 2.5 / x),
        "matmul": lambda x: x @ x.T,
        "multiply": lambda x: (x * 2, 2.5 * x, x * x),
        "negative": lambda x: -x,
        "power": lambda x: (x**0, x**1, x**2, x**3, x**0.5, x**-1, x**-1.5, 2.0**x, x**x),
        "subtract": lambda x: (x - 2, 2.5 - x),
    }.items()
]
CASES += [
    same("power of 0", lambda x: (x**0, x**1, x**2, x**3, x**2.5), np.zeros(3)),
    same("power of the negative", lambda x: (x**0, x**2, x**3, x**-1), -positive(3)),
    # PyTorch's second derivatives by the exponent are NaN there: 0 times the logarithm of 0 or its slope.
    same("power of the number 0", lambda x: 0.0**x, positive(3), order=1),
    case("power of 0, both tensors", *pair("power"), np.zeros(4), np.array([0.0, 1.0, 2.0, 2.5]), order=1),
]

X, LOW, HIGH = (
    normal(5, 4),
    np.array(-0.6),
    np.array([0.1, 0.4, 0.8, -1.0]),
)  # the last limit is below the other
CASES += [
    case("clip min", *both(tr.clip, torch.clamp, min=-0.4), X),
    case("clip max", *both(tr.clip, torch.clamp, max=0.3), X),
    case("clip both", *both(tr.clip, torch.clamp, -0.4, 0.3), X),
    case("clip min > max", *both(tr.clip, torch.clamp, 0.4, -0.3), X),
    case("clip tensors", tr.clip, torch.clamp, X, LOW, HIGH),
    case("clip min tensor", lambda x, a: tr.clip(x, min=a), lambda x, a: x.clamp(min=a), X, HIGH),
    case("clip max tensor", lambda x, a: tr.clip(x, max=a), lambda x, a: x.clamp(max=a), X, HIGH),
    case("clip limits alone", lambda a, b: tr.clip(X, a, b), lambda a, b: T(X).clamp(a, b), LOW, HIGH),
]

MASK = normal(3, 4) > 0
MASK[:, 0] = True  # something is left in every row
CASES += [
    case(
        f"where {a} {b}",
        lambda x, y: tr.where(MASK, x, y),
        lambda x, y: torch.where(T(MASK), x, y),
        normal(*a),
        normal(*b),
    )
    for a, b in [((3, 4), (3, 4)), ((4,), (3, 1)), ((), (2, 1, 1))]
]
CASES += [
    case(
        "where x, number", lambda x: tr.where(MASK, x, 2.5), lambda x: torch.where(T(MASK), x, 2.5), normal(4)
    ),
    case(
        "where number, x", lambda x: tr.where(MASK, 0, x), lambda x: torch.where(T(MASK), 0, x), normal(3, 4)
    ),
    case(
        "where x, x",
        lambda x: tr.where(x > 0, x * x, -x),
        lambda x: torch.where(x > 0, x * x, -x),
        normal(3, 4),
    ),
    case(
        "astype float32",
        lambda x: tr.astype(x, "float32").astype("float64"),
        lambda x: x.float().double(),
        normal(3, 4),
    ),
]

# Values without a gradient: bools, integers, NaN.
SPECIAL = np.array([0.0, nan, inf, -inf, 2.0, -3.0])
COMPARED = "equal not_equal greater greater_equal less less_equal maximum minimum".split()
LOGIC = "logical_and logical_or logical_xor".split()
TESTED = "erf exp expm1 floor isfinite isinf isnan logical_not relu round sigmoid square tanh".split()
TESTED += "all any argmax argmin count_nonzero".split()
CASES += [
    case(f"{name} of NaN", *pair(name), *np.meshgrid(SPECIAL, SPECIAL), order=0) for name in COMPARED + LOGIC
]
CASES += [case(f"{name} of NaN", *pair(name), SPECIAL, order=0) for name in TESTED]
CASES += [case(f"{name} of bools", *pair(name), TIES > 0, TOO > 0, order=0) for name in LOGIC]
CASES += [
    case("logaddexp of infinity", *pair("logaddexp"), *np.meshgrid(SPECIAL[2:], SPECIAL[2:]), order=0),
    case(
        "max of NaN",
        *both(tr.max, torch.amax, 1),
        np.stack([SPECIAL, np.roll(SPECIAL, 2), 0 * TOO[[0] * 6]]),
        order=0,
    ),
    case(
        "min of NaN",
        *both(tr.min, torch.amin, 0),
        np.stack([SPECIAL, np.roll(SPECIAL, 2), 0 * TOO[[0] * 6]]),
        order=0,
    ),
    case("clip of NaN", *both(tr.clip, torch.clamp, -1.0, 2.5), SPECIAL, order=0),
    same("logical_not operator", lambda x: ~(x > 0), TIES, order=0),
    same(
        "logical_xor operator",
        lambda x: ((x > 0) & (x < 2), (x > 0) | (x < 2), (x > 0) ^ (x < 2)),
        TIES,
        order=0,
    ),
    same("equal operator", lambda x: (x == 2, x != 2, x < 2, x <= 2, x > 2, x >= 2), TIES, order=0),
    case("astype integers", lambda x: tr.astype(x, np.int64), lambda x: x.long(), 9 * normal(3, 4), order=0),
]

# ------------------------------------------------------------------ reductions

AXES = [None, 0, -1, (1,), (0, 2), (-1, 0, 1)]
CUBE = normal(2, 3, 4)
ZEROS = normal(2, 3, 4) * (draw.random((2, 3, 4)) > 0.2)
ZEROS[0, 0], ZEROS[1] = [1, 0, 0, 2], normal(3, 4)


def dims(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)


def reduction(name, theirs, x, label="", order=2, **some):
    """Cases over axes, with and without ``keepdims``."""
    return [
        case(
            " ".join([name, *label.split(), f"axis={a} keepdims={keep}"]),
            lambda x, a=a, keep=keep: getattr(tr, name)(x, axis=a, keepdims=keep, **some),
            lambda x, a=a, keep=keep: theirs(x, dim=dims(x, a), keepdim=keep, **torched(some)),
            x,
            order=order,
        )
        for a in AXES
        for keep in (False, True)
    ]


def torch_prod(x, dim, keepdim):
    """PyTorch takes one axis at a time."""
    for a in sorted((a % x.ndim for a in dim), reverse=True):
        x = x.prod(a, keepdim=keepdim)
    return x


for name, theirs in {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}.items():
    CASES += reduction(name, theirs, CUBE)
CASES += reduction("logsumexp", torch.logsumexp, CUBE) + reduction(
    "logsumexp", torch.logsumexp, 300 * CUBE, "wide"
)
CASES += reduction("prod", torch_prod, CUBE) + reduction("prod", torch_prod, ZEROS, "zeros")
for c in (0, 1, 0.5):
    CASES += reduction("var", torch.var, CUBE, f"correction={c}", correction=c)
    CASES += reduction("std", torch.std, CUBE, f"correction={c}", correction=c)
for p in (0, 1, 2, 3, 2.5, -2, inf, -inf):
    CASES += reduction("norm", torch.linalg.vector_norm, CUBE, f"ord={p}", ord=p)
for name in ("all", "any"):
    CASES += reduction(name, getattr(torch, name), ZEROS, order=0)
CASES += [
    case(f"{name} of {shape}", *both(getattr(tr, name), theirs, 1), np.zeros(shape))
    for name, theirs in {
        "sum": torch.sum,
        "prod": torch.prod,
        "logsumexp": torch.logsumexp,
        "cumsum": torch.cumsum,
    }.items()
    for shape in [(2, 0), (0, 3)]
]
ALONG = {
    "cumprod": torch.cumprod,
    "cummax": lambda x, a: torch.cummax(x, a)[0],
    "sort": lambda x, a: torch.sort(x, dim=a, stable=True)[0],
}
CASES += [
    case(f"{name} {label} axis={a}", *both(getattr(tr, name), theirs, a), x)
    for name, theirs in ALONG.items()
    for a in (0, 1, -1)
    for label, x in {"cube": CUBE, "zeros": ZEROS, "ties": np.round(2 * CUBE) / 2}.items()
]
CASES += [
    case(f"{name} axis=None", getattr(tr, name), lambda x: x.ravel().cumprod(0), CUBE) for name in ["cumprod"]
]
CASES += [
    case(
        f"argsort axis={a}",
        *both(tr.argsort, lambda x, a: torch.argsort(x, dim=a, stable=True), a),
        np.round(2 * CUBE),
        order=0,
    )
    for a in (0, -1)
]
CASES += [
    case(
        f"quantile {q} axis={a} keepdims={keep}",
        *both(lambda x, q, a, k: tr.quantile(x, q, a, keepdims=k), torch.quantile, q, a, keep),
        CUBE,
    )
    for q in (0.3, np.array([0.0, 0.5, 0.9]))
    for a in (None, 0, -1)
    for keep in (False, True)
]
CASES += [
    case(f"median axis={a}", *both(tr.median, lambda x, a: torch.quantile(x, 0.5, a), a), CUBE)
    for a in (None, 0, 1, -1)
]
CASES += [case(f"{name} of nothing", *pair(name), np.zeros((0, 3))) for name in ("sum", "prod")]
CASES += [case(f"{name} of a number", *pair(name), normal()) for name in ("sum", "mean", "prod")]
CASES += [case("prod of the number 0", *pair("prod"), np.zeros(()))]
CASES += [case("max of a number", tr.max, torch.amax, normal())]
CASES += [case("max of (0, 3)", *both(tr.max, torch.amax, 1), np.zeros((0, 3)))]
CASES += [
    case(f"prod of {row}", *both(tr.prod, torch.prod, 0), np.array(row))
    for row in ([2, 3.0, -1], [2, 0.0, -1], [0, 2.0, 0])
]
CASES += [case(f"cumsum axis={a}", *pair("cumsum", a), CUBE) for a in (0, 1, -1, -3)]
CASES += [case("cumsum axis=None", tr.cumsum, lambda x: x.ravel().cumsum(0), CUBE)]
CASES += [
    case(f"{name} {axis} {keep}", *pair(name, axis, keep), CUBE, order=0)
    for name in ("argmax", "argmin")
    for axis in (None, 0, -1)
    for keep in (False, True)
]
CASES += [
    case(
        f"count_nonzero {a}",
        *both(tr.count_nonzero, lambda x, a: x.count_nonzero(dims(x, a)), a),
        ZEROS,
        order=0,
    )
    for a in AXES
]
CASES += [
    case(f"{name} of bools", *pair(name), TIES > 0, order=0)
    for name in "all any sum prod count_nonzero".split()
]
CASES += [
    case(f"{name} {label} axis={axis}", *pair(name, axis), x)
    for name in ("softmax", "log_softmax")
    for label, x in {
        "cube": CUBE,
        "wide": 300 * CUBE,
        "row": normal(5),
        "one class": normal(3, 1),
        "empty": normal(0, 3),
    }.items()
    for axis in range(-x.ndim, x.ndim)
]
CASES += [
    case(
        f"{name} masked",
        lambda x, name=name: getattr(tr, name)(tr.where(MASK, x, -inf), axis=1),
        lambda x, name=name: getattr(torch, name)(torch.where(T(MASK), x, -inf), 1),
        normal(3, 4),
    )
    for name in ("softmax", "logsumexp")
]

# ------------------------------------------------------------------ products

MATRICES = [
    *[
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 3)),
        ((3, 4), (4, 2)),
        ((1, 4), (4, 1)),
        ((0, 4), (4, 2)),
        ((3, 0), (0, 2)),
    ],
    *[((2, 3, 4), (4,)), ((4,), (2, 4, 3)), ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((2, 3, 4), (2, 4, 5))],
    *[
        ((2, 1, 3, 4), (5, 4, 2)),
        ((5, 3, 4), (2, 1, 4, 2)),
        ((2, 5, 3, 4), (4, 2)),
        ((2, 5, 3, 4), (4,)),
        ((4,), (2, 5, 4, 3)),
    ],
    *[((1, 2, 4), (6, 4, 3)), ((2, 5, 3, 4), (2, 5, 4, 2)), ((0, 3, 4), (4, 2))],
]
EINSUMS = {
    "ij,jk->ik": [(2, 3), (3, 4)],
    "ij,jk": [(2, 3), (3, 4)],
    "ba": [(2, 3)],
    "ij->ji": [(2, 3)],
    "ij->": [(2, 3)],
    "ijk->j": [(2, 3, 4)],
    "ii": [(3, 3)],
    "ii->i": [(3, 3)],
    "iij->j": [(3, 3, 2)],
    "iji,j->i": [(3, 2, 3), (2,)],
    "i,j->ij": [(3,), (4,)],
    "i,i->": [(3,), (3,)],
    "ij,ij->ij": [(3, 1), (3, 4)],  # size 1 broadcasts
    "ij,ij->i": [(3, 1), (1, 4)],
    "bij,bjk->bik": [(2, 3, 4), (2, 4, 5)],
    "bij,jk->bik": [(2, 3, 4), (4, 5)],
    "...ij,...jk->...ik": [(2, 1, 3, 4), (5, 4, 2)],
    "...i,...i": [(2, 3), (2, 3)],
    "i...->...": [(2, 3, 4)],
    "...ii->...i": [(2, 3, 3)],
    "b n, a n m, b m -> b a": [(2, 3), (4, 3, 5), (2, 5)],
    "ij,k->i": [(2, 3), (4,)],  # labels that are in one operand alone
    ",i->i": [(), (3,)],
    "ij,jk->ki": [(2, 0), (0, 3)],
}
TENSORDOTS = [
    (0, (2, 3), (4,)),
    (1, (2, 3), (3, 4)),
    (2, (2, 3, 4), (3, 4, 5)),
    (([1, 0], [0, 2]), (2, 3, 4), (3, 5, 2)),
    (([-1], [-2]), (2, 3, 4), (4, 5)),
]
CASES += [case(f"matmul {a} {b}", *pair("matmul"), normal(*a), normal(*b)) for a, b in MATRICES]
CASES += [
    case(
        f"einsum {s}",
        lambda *x, s=s: tr.einsum(s, *x),
        lambda *x, s=s: torch.einsum(s, *x),
        *[normal(*a) for a in shapes],
    )
    for s, shapes in EINSUMS.items()
]
CASES += [
    case(f"tensordot {axes}", *pair("tensordot", axes), normal(*a), normal(*b)) for axes, a, b in TENSORDOTS
]
CASES += [case("outer", *pair("outer"), normal(3), normal(4))]
CASES += [
    case("dot rows", tr.dot, torch.dot, normal(4), normal(4)),
    case("dot matrices", tr.dot, torch.matmul, normal(3, 4), normal(4, 2)),
    case("kron", *pair("kron"), normal(2, 3), normal(4, 2)),
    case("kron of other dimensions", *pair("kron"), normal(2), normal(2, 1, 3)),
    case("trace", *pair("trace"), normal(3, 4)),
    case("vecdot", tr.vecdot, torch.linalg.vecdot, normal(3, 4), normal(4)),
    case(
        "vecdot axis",
        lambda a, b: tr.vecdot(a, b, axis=0),
        lambda a, b: torch.linalg.vecdot(a, b, dim=0),
        CUBE,
        CUBE,
    ),
]


# (Of a singular matrix PyTorch takes the gradient of the determinant for 0.)
for name in ("det", "inv", "slogdet"):
    ours, theirs = getattr(tr.linalg, name), getattr(torch.linalg, name)
    CASES += [
        case(f"linalg.{name} {s}", ours, theirs, normal(*s))
        for s in ((3, 3), (1, 1), (2, 3, 2, 2), (0, 2, 2))
    ]
CASES += [
    case(
        f"linalg.cholesky {upper=}",
        lambda x, u=upper: tr.linalg.cholesky(x @ x.mT + np.eye(3), upper=u),
        lambda x, u=upper: torch.linalg.cholesky(x @ x.mT + T(np.eye(3)), upper=u),
        normal(2, 3, 3),
    )
    for upper in (False, True)
]
CASES += [
    case(f"linalg.solve {a} {b}", tr.linalg.solve, torch.linalg.solve, normal(*a), normal(*b))
    for a, b in [((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 1)), ((2, 1, 2, 2), (3, 2, 4))]
]
CASES += [
    case(f"linalg.norm {p} {x.shape}", *both(tr.linalg.norm, torch.linalg.matrix_norm, p), x)
    for p in ("fro", "nuc", 1, -1, 2, -2, inf, -inf)
    for x in (normal(3, 3), normal(2, 4), normal(4, 2))
]
CASES += [
    case(
        "linalg.norm axes",
        *both(lambda x, p, a, k: tr.linalg.norm(x, p, a, k), torch.linalg.matrix_norm, p, (2, 0), True),
        CUBE,
    )
    for p in ("nuc", 1, -inf)
]
CASES += [
    case("linalg.norm nuc equal", *both(tr.linalg.norm, torch.linalg.matrix_norm, "nuc"), np.eye(3), order=1)
]
CASES += [case("linalg.norm of all", tr.linalg.norm, torch.linalg.norm, CUBE)]
CASES += [
    case(
        f"linear {shape} {bias=}",
        tr.linear,
        lambda x, w, *b: F.linear(x, w.T, *b),
        *[normal(*shape), normal(4, 5), normal(5)][: 2 + bias],
    )
    for shape in [(4,), (3, 4), (2, 3, 4)]
    for bias in (False, True)
]

# ------------------------------------------------------------------ shapes and indices

IDS = np.array([[1, 0, 3], [3, 3, 2]])
AT = np.array([[[2, 0, 0, 1]], [[1, 1, 2, 0]]])
SHAPING = {
    "array_split": [
        *[both(tr.array_split, lambda x, n: x.tensor_split(n, -1), n) for n in (1, 3, 5, [1, 3])],
        (lambda x: tr.array_split(x, 2, axis=1), lambda x: x.tensor_split(2, 1)),
    ],
    "diff": [both(tr.diff, torch.diff, *a) for a in ((), (2,), (1, 0), (3, 1), (0,))],
    "hsplit": [both(tr.hsplit, torch.hsplit, n) for n in (3, [1])],
    "moveaxis": [both(tr.moveaxis, torch.moveaxis, *a) for a in ((0, 2), (-1, 0), ((0, 1), (-1, 0)))],
    "vsplit": [both(tr.vsplit, torch.vsplit, n) for n in (2, [1])],
    "broadcast_to": [
        both(tr.broadcast_to, torch.broadcast_to, (5, 2, 3, 4)),
        (lambda x: tr.broadcast_to(x[:, :1], (2, 3, 4)), lambda x: x[:, :1].broadcast_to(2, 3, 4)),
    ],
    "concat": [
        (lambda x: tr.concat([x, x * x]), lambda x: torch.cat([x, x * x])),
        (
            lambda x: tr.concat([x, x[:, :0], x[:, 1:]], axis=1),
            lambda x: torch.cat([x, x[:, :0], x[:, 1:]], 1),
        ),
        (lambda x: tr.concat([x[..., :1], x], axis=-1), lambda x: torch.cat([x[..., :1], x], -1)),
        (lambda x: tr.concat([x, x[0]], axis=None), lambda x: torch.cat([x.ravel(), x[0].ravel()])),
    ],
    "diag": [
        *[(lambda x, k=k: tr.diag(x[0], k), lambda x, k=k: x[0].diag(k)) for k in (0, 1, -2, 3)],
        *[(lambda x, k=k: tr.diag(x[0, 0], k=k), lambda x, k=k: x[0, 0].diag(k)) for k in (0, 2, -1)],
    ],
    "expand_dims": [both(tr.expand_dims, torch.unsqueeze, a) for a in (0, 2, 3, -1, -4)],
    "flip": [both(tr.flip, lambda x, a: x.flip(dims(x, a)), a) for a in (None, 0, -1, (0, 2))],
    "matrix_transpose": [(tr.matrix_transpose, lambda x: x.mT)],
    "pad": [
        (lambda x: tr.pad(x, 1), lambda x: F.pad(x, (1,) * 6)),
        (lambda x: tr.pad(x, (1, 2)), lambda x: F.pad(x, (1, 2) * 3)),
        (lambda x: tr.pad(x, [(0, 0), (1, 0), (2, 3)]), lambda x: F.pad(x, (2, 3, 1, 0))),
        (
            lambda x: tr.pad(x, [(0, 0), (0, 0), (0, 2)], constant_values=1.5),
            lambda x: F.pad(x, (0, 2), value=1.5),
        ),
    ],
    "permute_dims": [both(tr.permute_dims, torch.permute, a) for a in ((0, 1, 2), (2, 0, 1), (-1, 1, 0))],
    "repeat": [
        both(tr.repeat, torch.repeat_interleave, 2),
        (lambda x: tr.repeat(x, 3, axis=1), lambda x: x.repeat_interleave(3, 1)),
        (lambda x: tr.repeat(x, [2, 0, 1], axis=1), lambda x: x.repeat_interleave(T([2, 0, 1]), 1)),
        (lambda x: tr.repeat(x, np.array([1, 2]), axis=-3), lambda x: x.repeat_interleave(T([1, 2]), -3)),
    ],
    "reshape": [
        *[both(tr.reshape, torch.reshape, s) for s in ((6, 4), (-1,), (2, -1, 2), (4, 3, 2))],
        (lambda x: tr.reshape(x.T, -1), lambda x: x.permute(2, 1, 0).reshape(-1)),
    ],
    "roll": [
        *[both(tr.roll, torch.roll, shift) for shift in (1, -5, 25)],
        *[both(tr.roll, torch.roll, *s) for s in ((2, 0), (-1, -1), ((1, -2), (0, 2)), ((1, 1), (1, 1)))],
    ],
    "split": [
        *[
            both(tr.split, lambda x, n: x.tensor_split(n, -1), n)
            for n in (1, 2, 4, [1], [1, 3], [0, 4], [2, 2])
        ],
        (lambda x: tr.split(x, 3, axis=1)[1], lambda x: x.tensor_split(3, 1)[1]),
        (lambda x: tr.split(x, [2], axis=-2)[::-1], lambda x: x.tensor_split([2], -2)[::-1]),
    ],
    "squeeze": [
        (lambda x: tr.squeeze(x[:1, :, :1]), lambda x: x[:1, :, :1].squeeze()),
        (lambda x: tr.squeeze(x[:1, :, :1], 0), lambda x: x[:1, :, :1].squeeze(0)),
        (lambda x: tr.squeeze(x[:1, :, :1], (0, -1)), lambda x: x[:1, :, :1].squeeze((0, -1))),
    ],
    "stack": [
        (lambda x, a=a: tr.stack([x, x * x], axis=a), lambda x, a=a: torch.stack([x, x * x], a))
        for a in (0, 2, 3, -1, -4)
    ],
    "transpose": [both(tr.transpose, torch.permute, a) for a in ((1, 0, 2), (2, 1, 0))],
    "swapaxes": [both(tr.swapaxes, torch.swapaxes, *a) for a in ((0, 1), (0, -1), (1, 1))],
    "take": [
        both(tr.take, torch.take, IDS),
        (lambda x: tr.take(x, [1, 0, 1], axis=0), lambda x: x.index_select(0, T([1, 0, 1]))),
        (lambda x: tr.take(x, [2, 2], axis=-2), lambda x: x.index_select(-2, T([2, 2]))),
        (lambda x: tr.take(x, IDS, axis=2), lambda x: x[:, :, T(IDS)]),
        (lambda x: tr.take(x, 1, axis=1), lambda x: x.select(1, 1)),
    ],
    "take_along_axis": [
        both(tr.take_along_axis, torch.take_along_dim, AT, 1),
        both(tr.take_along_axis, torch.take_along_dim, AT[:, :, :1], -1),  # the other sizes broadcast
        both(tr.take_along_axis, torch.take_along_dim, AT % 2, 0),
        (
            lambda x: tr.take_along_axis(x, tr.argmin(x, axis=0, keepdims=True), axis=0),
            lambda x: x.amin(0, keepdim=True),
        ),
    ],
    "tile": [both(tr.tile, lambda x, r: x.tile(r), r) for r in (2, (2,), (2, 1, 3), (2, 1, 1, 2), (1, 0))],
    "tril": [both(tr.tril, torch.tril, k) for k in (0, 1, -1, 5)],
    "triu": [both(tr.triu, torch.triu, k) for k in (0, 2, -2)],
    "unstack": [
        *[(lambda x, a=a: tr.unstack(x, axis=a), lambda x, a=a: x.unbind(a)) for a in (0, 1, -1)],
        (lambda x: tr.unstack(x, axis=1)[2], lambda x: x.unbind(1)[2]),
    ],
}
CASES += [
    case(f"{name} {i}", *two, CUBE) for name, several in SHAPING.items() for i, two in enumerate(several)
]
I, J = np.array([1, 0, 1, 1]), np.array([2, 0, 2, -1])
S = np.s_
KEYS = [
    1,
    -1,
    S[0, 2],
    S[0, 1, -4],
    S[:],
    S[1:],
    S[0:0],
    S[:, 0:3:2],
    S[..., 1],
    ...,
    None,
    S[:, None, 1],
    S[0, ..., None, 2:],
]
KEYS += [
    I,
    S[:, J],
    S[..., J],
    S[I, J],
    S[I, :, J],
    S[I, J, 3],
    S[I[:, None], J],
    S[0:1, J, 1:3],
    S[I, None, J],
    [1, 0, 1],
]
KEYS += [np.array(1), np.zeros(0, int), np.array([True, False])]
KEYS += [CUBE > 0, S[:, CUBE[0] > 0], S[0, CUBE[0] < 0], S[:, MASK[:, 1], :1]]
CASES += [
    case(f"getitem {i}", *both(lambda x, k: x[k], lambda x, k: x[k], k), CUBE) for i, k in enumerate(KEYS)
]
CASES += [
    case("getitem by tensors", lambda x: x[tr.tensor(I), tr.tensor(J)], lambda x: x[T(I), T(J)], CUBE),
    case("getitem backwards", lambda x: x[:, ::-1, 3:0:-2], lambda x: x.flip(1)[..., [3, 1]], CUBE),
    case(
        "getitem rows",
        lambda x: tr.stack([row * row for row in x]),
        lambda x: torch.stack([row * row for row in x]),
        CUBE,
    ),
    case("embedding", lambda w: tr.embedding(IDS, w), lambda w: F.embedding(T(IDS), w), normal(4, 3)),
    case("embedding one id", lambda w: tr.embedding(2, w), lambda w: F.embedding(T(2), w), normal(4, 3)),
]

# ------------------------------------------------------------------ layers

CASES += [
    case(
        f"layer_norm {sizes} {given} parameters {eps=}",
        lambda x, *p, s=sizes, eps=eps: tr.layer_norm(x, s, *p, eps=eps),
        lambda x, *p, s=sizes, eps=eps: F.layer_norm(x, tuple(np.atleast_1d(s)), *p, eps=eps),
        *[CUBE, normal(*np.atleast_1d(sizes)), normal(*np.atleast_1d(sizes))][: 1 + given],
    )
    for sizes in (4, (4,), (3, 4), (2, 3, 4))
    for given in (0, 1, 2)
    for eps in (1e-5, 0.1)
]
CASES += [
    case(
        "layer_norm bias alone",
        lambda x, b: tr.layer_norm(x, 4, bias=b),
        lambda x, b: F.layer_norm(x, (4,), bias=b),
        CUBE,
        X[0],
        order=1,  # PyTorch's second derivative fails without a weight
    )
]


SEEN = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
BLIND = SEEN & np.array([[True], [False], [True]])  # a query that may attend to nothing gets zeros


def torch_attention(*x, **some):
    # The other implementations have no second derivative.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return F.scaled_dot_product_attention(*x, **some)


def attention(name, shapes, *mask, fixed=(), **some):
    functions = both(tr.scaled_dot_product_attention, torch_attention, *fixed, **some)
    return case(f"scaled_dot_product_attention {name}", *functions, *[normal(*s) for s in shapes], *mask)


for lead in [(), (2,), (2, 3)]:
    shapes = [(*lead, 3, 4), (*lead, 5, 4), (*lead, 5, 6)]
    for some, label in options(scale=(None, 0.3)):
        label = f"{lead} {label}"
        CASES += [
            attention(f"no mask {label}", shapes, **some),
            attention(f"causal {label}", shapes, is_causal=True, **some),
            attention(f"causal, fewer keys {label}", [*shapes[1::-1], (*lead, 3, 2)], is_causal=True, **some),
            attention(f"bools {label}", shapes, fixed=[SEEN], **some),
            attention(f"bools for each {label}", shapes, fixed=[draw.random((*lead, 3, 5)) > 0.1], **some),
            attention(f"nothing to attend to {label}", shapes, fixed=[BLIND], **some),
            *[
                attention(f"numbers {s} {label}", shapes, normal(*s), **some)
                for s in ((3, 5), (1, 5), (3, 1))
            ],
            attention(f"numbers for each {label}", shapes, normal(*lead, 3, 5), **some),
            attention(f"numbers and -inf {label}", shapes, fixed=[np.where(SEEN, 0.5, -inf)], **some),
        ]

# ------------------------------------------------------------------ losses

REDUCTIONS = ("mean", "sum", "none")
WEIGHT = positive(4)
TARGETS = [np.array(3), np.array([2, 0, 1, 3, 2]), np.array([[1, 0, 2], [3, 2, 2]])]


def by_class(f):
    """PyTorch's ``f``, which has the axis of the classes after that of the batch."""

    def moved(*x, **some):
        return f(*[a.movedim(-1, min(1, a.ndim - 1)) if a.is_floating_point() else a for a in x], **some)

    return moved


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


for ids in TARGETS:
    shape = (*ids.shape, 4)
    ours_and_theirs = tr.cross_entropy, by_class(F.cross_entropy)
    for some, label in options(reduction=REDUCTIONS, weight=(None, WEIGHT), label_smoothing=(0.0, 0.1)):
        label = f"{shape} {label}"
        CASES += [
            case(f"cross_entropy {label}", *both(*ours_and_theirs, ids, **some), normal(*shape)),
            case(
                f"cross_entropy probabilities {label}",
                *both(*ours_and_theirs, **some),
                normal(*shape),
                softmax(normal(*shape)),
            ),
        ]
        if ids.ndim:
            CASES += [
                case(
                    f"cross_entropy ignored {label}",
                    *both(*ours_and_theirs, ids, ignore_index=2, **some),
                    normal(*shape),
                )
            ]
    CASES += [
        case(
            f"nll_loss {shape} {label}", *both(tr.nll_loss, by_class(F.nll_loss), ids, **some), normal(*shape)
        )
        for some, label in options(reduction=REDUCTIONS, weight=(None, WEIGHT), ignore_index=(-100, 2))
    ]
CASES += [
    # The mean over no target is NaN.
    case(f"{name} all ignored", *pair(name, np.array([2, 2]), ignore_index=2), X[:2], order=0)
    for name in ("cross_entropy", "nll_loss")
]
CASES += [
    case(f"cross_entropy {label}", *pair("cross_entropy", np.array([3, 0, 2]), **some), x)
    for x, scale in ((normal(3, 4), 1), (300 * normal(3, 4), 300))
    for some, label in [
        ({}, f"{scale}"),
        ({"label_smoothing": 0.1}, f"{scale} smoothed"),
        ({"label_smoothing": 1.0}, f"{scale} even"),
    ]
]


def theirs_of_linear(x, matrix, bias, *, ids, **some):
    """PyTorch's function takes the weight as [out, in], and no further axes."""
    y = F.linear_cross_entropy(x.flatten(0, -2), matrix.T, T(ids).flatten(), linear_bias=bias, **some)
    return y.reshape(ids.shape) if some["reduction"] == "none" else y


CASES += [
    case(
        f"linear_cross_entropy {label} {classes}",
        lambda x, matrix, bias, ids=ids, some=some: tr.linear_cross_entropy(
            x, matrix, ids, linear_bias=bias, **some
        ),
        lambda x, matrix, bias, ids=ids, some=some: theirs_of_linear(x, matrix, bias, ids=ids, **some),
        normal(2, 3, 2),
        normal(2, classes),
        normal(classes),
        order=1 if classes > 9 else 2,
    )
    for classes in (5, 1030)  # beyond 1,024 by blocks
    for ids in [draw.integers(0, classes, (2, 3))]
    for some, label in options(
        reduction=REDUCTIONS, label_smoothing=(0.0, 0.1), ignore_index=(-100, ids[0, 0])
    )
]
CASES += [
    case(
        "cross_entropy masked",
        lambda x: tr.cross_entropy(tr.where(MASK, x, -inf), np.array([0, 0, 0])),
        lambda x: F.cross_entropy(torch.where(T(MASK), x, -inf), T([0, 0, 0])),
        normal(3, 4),
    ),
    case(
        "binary_cross_entropy_with_logits wide",
        *pair("binary_cross_entropy_with_logits"),
        20 * WIDE,
        np.linspace(0, 1, 29),
    ),
]

for name, several in {
    "mse_loss": [{}],
    "l1_loss": [{}],
    "huber_loss": [{}, {"delta": 0.4}, {"delta": 2.0}],
    "binary_cross_entropy_with_logits": [
        some
        for some, _ in options(
            weight=(None, WEIGHT, positive(3, 4)), pos_weight=(None, WEIGHT, positive(3, 4))
        )
    ],
}.items():
    CASES += [
        case(
            f"{name} {i} {reduction=}",
            *both(getattr(tr, name), getattr(F, name), reduction=reduction, **some),
            X[:3],
            softmax(normal(3, 4)),
        )
        for i, some in enumerate(several)
        for reduction in REDUCTIONS
    ]

LABELS, LENGTHS = (
    np.array([[1, 1, 2], [3, 2, 9], [9, 9, 9], [2, 9, 9]]),
    np.array([3, 2, 0, 1]),
)  # 9 only pads
IN_A_ROW = np.concatenate([row[:n] for row, n in zip(LABELS, LENGTHS, strict=True)])
STEPS, TOO_FEW = np.array([6, 4, 5, 1]), np.array([3, 4, 5, 1])  # 1 1 2 needs 4 steps: a blank in between


def ctc(*facts, **some):
    """The functions of logits: PyTorch's gradient by log-probabilities is right only together with that of
    log_softmax.
    """
    ours, theirs = pair("ctc_loss", *facts, **some)
    return lambda x: ours(tr.log_softmax(x)), lambda x: theirs(x.log_softmax(-1))


# PyTorch has no second derivative of it, and NaN for the first one of an infinite loss.
for labels, form in ((LABELS, "padded"), (IN_A_ROW, "in a row")):
    for some, label in options(reduction=REDUCTIONS, zero_infinity=(False, True), blank=(0, 4)):
        name, known = f"ctc_loss {form} {label}", int(some["zero_infinity"])
        CASES += [
            case(name, *ctc(labels, STEPS, LENGTHS, **some), normal(6, 4, 5), order=1),
            case(
                f"{name} too few steps", *ctc(labels, TOO_FEW, LENGTHS, **some), normal(6, 4, 5), order=known
            ),
        ]
LONG = np.tile([1, 2, 3, 1, 1, 2], (2, 3))
CASES += [
    case("ctc_loss long", *ctc(LONG, np.array([60, 40]), np.array([18, 10])), normal(60, 2, 5), order=1),
    case("ctc_loss wide", *ctc(LONG, np.array([9, 8]), np.array([3, 5])), 100 * normal(9, 2, 5), order=1),
    case(
        "ctc_loss blanks alone",
        *ctc(np.zeros((2, 0), int), np.array([1, 3]), np.array([0, 0])),
        normal(3, 2, 2),
        order=1,
    ),
]

# ------------------------------------------------------------------ derivatives as functions


def curve(x):
    return x * x * x[0] + 1 / (2 + x * x)


def height(x, y):
    return (curve(x) * y).sum() + (x * x * y * y).sum() ** 2


def own_height(x):
    return height(x, x)


def height_and_more(x):
    return height(x, x), 2 * x


def two(x, y):
    return curve(x) * y, (x * y * y).sum()


def gram(x):
    return x @ x.T


def recorded(name):
    """Of ``torch.autograd.functional``, as what ``torch.func`` has for it warns that it uses a deprecated
    part of PyTorch.
    """
    return functools.partial(getattr(torch.autograd.functional, name), create_graph=True)


rounded = tr.custom_vjp(tr.round)
rounded.defvjp(lambda x: (tr.round(x), x), lambda x, g: (3 * g * x,))


def torch_rounded(x):
    slope = 1.5 * x * x
    return x.round().detach() + slope - slope.detach()


# Each is differentiated twice more.
P, Q = normal(3), normal(3)
torch_checkpoint = functools.partial(torch.utils.checkpoint.checkpoint, height, use_reentrant=False)
CASES += [
    case("grad", tr.grad(height), torch.func.grad(height), P, Q),
    case("grad by both", tr.grad(height, (0, 1)), torch.func.grad(height, (0, 1)), P, Q),
    case(
        "grad and more",
        tr.grad(height_and_more, has_aux=True),
        torch.func.grad(height_and_more, has_aux=True),
        P,
    ),
    case(
        "grad of grad",
        *[lambda x, g=g: g(lambda x: (g(own_height)(x) * x).sum())(x) for g in (tr.grad, torch.func.grad)],
        P,
    ),
    case(
        "value_and_grad",
        tr.value_and_grad(height),
        lambda *x: torch.func.grad_and_value(height)(*x)[::-1],
        P,
        Q,
    ),
    case("vjp", *[lambda x, g, f=f: f(curve, x)[1](g) for f in (tr.vjp, torch.func.vjp)], P, Q),
    case(
        "vjp of two", *[lambda x, y, f=f: f(two, x, y)[1]((x, y[0])) for f in (tr.vjp, torch.func.vjp)], P, Q
    ),
    case("jvp", *[lambda x, v, f=f: f(curve, x, v) for f in (tr.jvp, recorded("jvp"))], P, Q),
    case("jvp of two", *[lambda x, y, f=f: f(two, (x, y), (y, x)) for f in (tr.jvp, recorded("jvp"))], P, Q),
    case("jacobian", tr.jacobian(curve), torch.func.jacrev(curve), P),
    case("jacobian of two by both", tr.jacobian(two, (0, 1)), torch.func.jacrev(two, (0, 1)), P, Q),
    case("jacobian of a matrix", tr.jacobian(gram), torch.func.jacrev(gram), normal(2, 3)),
    case("hessian", tr.hessian(height), torch.func.jacrev(torch.func.jacrev(height)), P, Q),
    case("hessian by both", tr.hessian(height, (0, 1)), lambda *x: recorded("hessian")(height, x), P, Q),
    case(
        "hvp", lambda x, v: tr.hvp(own_height, x, v), lambda x, v: recorded("hvp")(own_height, x, v)[1], P, Q
    ),
    case(
        "hvp of two",
        lambda *x: tr.hvp(height, x, x[::-1]),
        lambda *x: recorded("hvp")(height, x, x[::-1])[1],
        P,
        Q,
    ),
    case("checkpoint", tr.checkpoint(height), torch_checkpoint, P, Q),
    case("custom_vjp", rounded, torch_rounded, 9 * P),
]

# ------------------------------------------------------------------ new tensors

F64 = {"dtype": torch.float64}
CREATION = {
    "arange": [
        (lambda: tr.arange(5), lambda: torch.arange(5)),
        (lambda: tr.arange(2, 9, 3), lambda: torch.arange(2, 9, 3)),
        (lambda: tr.arange(1.5, -1, -0.5), lambda: torch.arange(1.5, -1, -0.5, **F64)),
    ],
    "asarray": [(lambda: tr.asarray([[1.5, 2]]), lambda: torch.asarray([[1.5, 2]], **F64))],
    "eye": [
        (lambda: tr.eye(3), lambda: torch.eye(3, **F64)),
        (lambda: tr.eye(2, 3), lambda: torch.eye(2, 3, **F64)),
    ],
    "full": [
        (lambda: tr.full((2, 3), 1.5), lambda: torch.full((2, 3), 1.5, **F64)),
        (lambda: tr.full((), 7), lambda: torch.full((), 7)),
    ],
    "full_like": [(lambda: tr.full_like(CUBE, 1.5), lambda: torch.full_like(T(CUBE), 1.5))],
    "linspace": [
        (lambda: tr.linspace(-1, 2, 7), lambda: torch.linspace(-1, 2, 7, **F64)),
        (lambda: tr.linspace(3, 1, 1), lambda: torch.linspace(3, 1, 1, **F64)),
    ],
    "ones": [
        (lambda: tr.ones((2, 3)), lambda: torch.ones(2, 3, **F64)),
        (lambda: tr.ones(2, dtype="int32"), lambda: torch.ones(2, dtype=torch.int32)),
    ],
    "ones_like": [(lambda: tr.ones_like(IDS), lambda: torch.ones_like(T(IDS)))],
    "tensor": [
        (lambda: tr.tensor([[1, 2], [3, 4]]), lambda: T([[1, 2], [3, 4]])),
        (lambda: tr.tensor(True), lambda: T(True)),
    ],
    "zeros": [
        (lambda: tr.zeros(3), lambda: torch.zeros(3, **F64)),
        (lambda: tr.zeros((0, 2)), lambda: torch.zeros(0, 2, **F64)),
    ],
    "zeros_like": [(lambda: tr.zeros_like(CUBE), lambda: torch.zeros_like(T(CUBE)))],
}
CASES += [
    case(f"{name} {i}", *two, order=0) for name, several in CREATION.items() for i, two in enumerate(several)
]


# ------------------------------------------------------------------ the comparison


def leaves(value):
    """The tensors of nested tuples and lists."""
    return [x for v in value for x in leaves(v)] if isinstance(value, tuple | list) else [value]


def dot(tensors, weights):
    return sum([(x * w).sum() for x, w in zip(tensors, weights, strict=True)])


def torch_grad(outputs, inputs, weights, **some):
    """Zeros too where an output depends on none of the inputs."""
    depending = [(y, w) for y, w in zip(outputs, weights, strict=True) if y.requires_grad]
    if not depending:
        return [torch.zeros_like(x) for x in inputs]
    ys, ws = zip(*depending, strict=True)
    return torch.autograd.grad(ys, inputs, ws, materialize_grads=True, **some)


def assert_equal(what, ours, theirs):
    assert len(ours) == len(theirs), what
    for i, (x, t) in enumerate(zip(ours, theirs, strict=True)):
        assert (x.shape, f"torch.{x.dtype}") == (tuple(t.shape), str(t.dtype)), f"{what} {i}"
        np.testing.assert_allclose(
            x.numpy(), t.numpy(force=True), rtol=1e-9, atol=1e-12, err_msg=f"{what} {i}"
        )


@pytest.mark.parametrize(("ours", "theirs", "inputs", "order"), CASES)
def test_equals_pytorch(ours, theirs, inputs, order):
    xs, ts = [tr.tensor(x) for x in inputs], [T(x, requires_grad=order > 0) for x in inputs]
    values = leaves(theirs(*ts))
    assert_equal("value", leaves(ours(*xs)), values)
    if not order:
        return
    weights = np.random.default_rng(1)
    u, v = ([weights.standard_normal(x.shape) for x in several] for several in (values, inputs))

    def slopes(xs, u):
        return tr.grad(lambda xs: dot(leaves(ours(*xs)), u))(xs)

    ut = [T(w, requires_grad=True) for w in u]
    expected = torch_grad(values, ts, ut, create_graph=order > 1)
    assert_equal("gradient", slopes(xs, u), expected)

    def projected(xs, u):
        found = slopes(xs, u)
        return dot(found, v), found

    second, first = tr.grad(projected, (0, 1), has_aux=True)(xs, [tr.tensor(w) for w in u])
    assert_equal(
        "recorded gradient", first, expected
    )  # it may take another way than one that is not recorded
    if order > 1:
        assert_equal(
            "gradient of the gradient", leaves(second), torch_grad(expected, ts + ut, [T(w) for w in v])
        )


def test_every_function_is_compared():
    # PyTorch has nothing of the kind, or it is no function of tensors
    apart = {"autocast", "check_grad", "load", "no_grad", "scan", "train"}
    apart |= {"quantile_loss", "ctc_greedy_decode", "ctc_beam_decode", "crf_decode"}
    apart |= {"crf_loss"}  # tests/nn/test_crf.py
    # other random numbers
    apart |= {"bernoulli", "dropout", "rand", "rand_like", "randint", "randn", "randn_like"}
    apart |= {"clip_grad_norm"}  # PyTorch adds 1e-6 to the norm
    apart |= {"from_dlpack", "from_torch", "to_torch"}  # below, and in tests/gpu
    apart |= {"compress", "from_keras", "to_keras"}  # in tests/tools
    functions = {name for name in tr.__all__ if inspect.isfunction(getattr(tr, name))}
    functions |= {f"linalg.{name}" for name in tr.linalg.__all__}
    assert functions - {c.id.split()[0] for c in CASES} == apart


@pytest.mark.parametrize("x", [CUBE, CUBE.astype("float32"), IDS, MASK], ids=lambda x: str(x.dtype))
@pytest.mark.parametrize("key", [..., (..., slice(None, None, 2)), (1, 0)])
def test_memory_is_shared_with_pytorch(x, key):
    theirs, own = T(x)[key], tr.tensor(x)[key]
    ours, seen = tr.from_dlpack(theirs), torch.from_dlpack(own)
    back = torch.from_dlpack(ours)
    for y in (ours, seen, back):
        np.testing.assert_array_equal(y.numpy(), x[key])
    theirs.zero_()
    own.assign_(0)
    for y in (ours, seen, back):
        assert not y.numpy().any()
    back.fill_(1)
    assert ours.numpy().all() and theirs.all()
