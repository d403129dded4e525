"""Ops against the NumPy expressions that compute the same: large arrays forward and backward, and the cost of
a tiny op.

python benchmarks/kernels.py            # prints the table, writes benchmarks/results/kernels.json
"""

import os
import sys

# Ops run on one thread, so their peer does. And glibc is to keep freed memory: by default it returns large
# arrays to the system and gets them back page by page, which costs more than most ops and hits now the one
# side, now the other.
SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | SETTINGS)

import numpy as np  # noqa: E402
from timing import interleaved, parser, save, table  # noqa: E402

import tinyrnn as tr  # noqa: E402


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def logsumexp(x):
    top = x.max(axis=-1, keepdims=True)
    return np.log(np.exp(x - top).sum(axis=-1)) + top[..., 0]


def spread(g, x):
    return np.broadcast_to(g[..., None], x.shape)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def clip_grad(g, x, y):
    return np.where((x >= 0.5) & (x <= 1), g, 0)


def silu_grad(g, x, y):
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def var_grad(g, x, y):
    return spread(2 / WIDTH * g, x) * (x - x.mean(-1, keepdims=True))


def log_softmax_grad(g, x, y):
    return g - np.exp(y) * g.sum(-1, keepdims=True)


def cross_entropy(x):
    return (logsumexp(x) - x[np.arange(len(x)), IDS]).mean()


def cross_entropy_grad(g, x, y):
    p = softmax(x)
    p[np.arange(len(x)), IDS] -= 1
    return p * (g / len(x))


def columns(x):
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)


def columns_grad(g, x, y):
    return y * (g - (g * y).sum(0))


ROWS, WIDTH = 1000, 1000
IDS = np.random.default_rng(1).integers(0, WIDTH, ROWS)

# name: tinyrnn's function, NumPy's forward, NumPy's gradient of (g, x, y)
CASES = {
    "add": (lambda x: x + 1.5, lambda x: x + 1.5, lambda g, x, y: g),
    "multiply": (lambda x: x * x, lambda x: x * x, lambda g, x, y: g * x + g * x),
    "sqrt": (tr.sqrt, np.sqrt, lambda g, x, y: 0.5 * g / y),
    "exp": (tr.exp, np.exp, lambda g, x, y: g * y),
    "log": (tr.log, np.log, lambda g, x, y: g / x),
    "sin": (tr.sin, np.sin, lambda g, x, y: g * np.cos(x)),
    "tanh": (tr.tanh, np.tanh, lambda g, x, y: g * (1 - y * y)),
    "sigmoid": (tr.sigmoid, sigmoid, lambda g, x, y: g * y * (1 - y)),
    "softplus": (tr.softplus, softplus, lambda g, x, y: g * sigmoid(x)),
    "relu": (tr.relu, lambda x: np.maximum(x, 0), lambda g, x, y: np.where(y > 0, g, 0)),
    "silu": (tr.silu, lambda x: x * sigmoid(x), silu_grad),
    "clip": (lambda x: tr.clip(x, 0.5, 1.0), lambda x: np.clip(x, 0.5, 1.0), clip_grad),
    "logaddexp": (lambda x: tr.logaddexp(x, 1.0), lambda x: np.logaddexp(x, 1.0), lambda g, x, y: g * sigmoid(x - 1)),
    "where": (lambda x: tr.where(x > 1, x, 0), lambda x: np.where(x > 1, x, 0), lambda g, x, y: np.where(x > 1, g, 0)),
    "sum of rows": (lambda x: x.sum(-1), lambda x: x.sum(-1), lambda g, x, y: spread(g, x)),
    "mean of rows": (lambda x: x.mean(-1), lambda x: x.mean(-1), lambda g, x, y: spread(g / WIDTH, x)),
    "max of rows": (lambda x: x.max(-1), lambda x: x.max(-1), lambda g, x, y: spread(g, x) * (x == y[:, None])),
    "var of rows": (lambda x: x.var(-1), lambda x: x.var(-1), var_grad),
    "max of columns": (lambda x: x.max(0), lambda x: x.max(0), lambda g, x, y: g * (x == y)),
    "var of columns": (lambda x: x.var(0), lambda x: x.var(0), lambda g, x, y: 2 / ROWS * g * (x - x.mean(0))),
    "norm of rows": (lambda x: x.norm(-1), lambda x: np.sqrt((x * x).sum(-1)), lambda g, x, y: (g / y)[:, None] * x),
    "logsumexp": (lambda x: tr.logsumexp(x, axis=-1), logsumexp, lambda g, x, y: g[:, None] * softmax(x)),
    "softmax": (tr.softmax, softmax, lambda g, x, y: y * (g - (g * y).sum(-1, keepdims=True))),
    "softmax of columns": (lambda x: tr.softmax(x, axis=0), columns, columns_grad),
    "log_softmax": (tr.log_softmax, lambda x: x - logsumexp(x)[:, None], log_softmax_grad),
    "cross_entropy": (lambda x: tr.cross_entropy(x, IDS), cross_entropy, cross_entropy_grad),
}  # fmt: skip


def large(dtype):
    x = (0.1 + np.random.default_rng(0).random((ROWS, WIDTH)) * 2).astype(dtype)
    plain = tr.asarray(x)
    for name, (f, forward, gradient) in CASES.items():
        g = np.ones_like(forward(x))
        leaf = tr.tensor(x, requires_grad=True)

        def ours_both(f=f, g=g, leaf=leaf):
            leaf.grad = None
            f(leaf).backward(tr.asarray(g))

        def numpys_both(forward=forward, gradient=gradient, g=g):
            return gradient(g, x, forward(x))

        times = interleaved(
            [lambda f=f: f(plain), lambda forward=forward: forward(x), ours_both, numpys_both]
        )
        a, b, c, d = (1e3 * t for t in times)
        yield {
            "op": name,
            "dtype": dtype,
            "forward ms": f"{a:.2f}",
            "NumPy ms": f"{b:.2f}",
            "forward ratio": f"{b / a:.2f}",
            "with backward ms": f"{c:.2f}",
            "NumPy by hand ms": f"{d:.2f}",
            "ratio": f"{d / c:.2f}",
        }


def tiny():
    x, m = np.ones(4), np.ones((4, 4))
    plain, leaf = tr.asarray(x), tr.tensor(x, requires_grad=True)
    matrix, weight = tr.asarray(m), tr.tensor(m, requires_grad=True)
    calls = {
        "add": (lambda: np.add(x, x), lambda: tr.add(plain, plain), lambda: tr.add(leaf, plain)),
        "multiply": (
            lambda: np.multiply(x, x),
            lambda: tr.multiply(plain, plain),
            lambda: tr.multiply(leaf, plain),
        ),
        "tanh": (lambda: np.tanh(x), lambda: tr.tanh(plain), lambda: tr.tanh(leaf)),
        "sum": (lambda: np.sum(x), lambda: tr.sum(plain), lambda: tr.sum(leaf)),
        "matmul": (
            lambda: np.matmul(m, m),
            lambda: tr.matmul(matrix, matrix),
            lambda: tr.matmul(weight, matrix),
        ),
    }
    for name, functions in calls.items():
        numpys, unrecorded, recorded = (1e6 * t for t in interleaved(functions, rounds=25, at_least=0.01))
        yield {
            "op": name,
            "NumPy us": f"{numpys:.2f}",
            "unrecorded us": f"{unrecorded:.2f}",
            "recorded us": f"{recorded:.2f}",
            "added / NumPy": f"{unrecorded / numpys - 1:.1f}",
            "added, recorded / NumPy": f"{recorded / numpys - 1:.1f}",
        }


def main():
    parser(__doc__).parse_args()
    np.seterr(all="ignore")
    small = list(tiny())
    print("Four elements (4 x 4 for matmul):\n")
    print(table(list(small[0]), small))
    rows = [row for dtype in ("float32", "float64") for row in large(dtype)]
    print(f"\n{ROWS} x {WIDTH}, ratios above 1: tinyrnn is faster:\n")
    print(table(list(rows[0]), rows))
    save("kernels", "python benchmarks/kernels.py", {"large": rows, "tiny": small})


if __name__ == "__main__":
    main()
