"""One step of each optimiser over flat arrays: one pass, in place. The equations stand in
``tinyrnn/nn/optim.py``.

All numbers come in the arrays' own precision (``rest`` is 1 - beta): a bare 1 would make a float32 loop a
float64 one. Each kernel has its plain reference, and its twin for CuPy arrays in C.
"""

import functools

import numpy as np

from .jit import jit


@jit
def take(g, out):
    """Copy a gradient to its place; the sum of its squares."""
    total = 0.0
    for i in range(g.size):
        out[i] = g[i]
        total += np.float64(g[i]) * np.float64(g[i])
    return total


@jit
def sgd(p, g, m, lr, momentum, nesterov, decay, scale):
    for i in range(p.size):
        gi = g[i] * scale + decay * p[i]
        m[i] = momentum * m[i] + gi
        p[i] -= lr * (gi + momentum * m[i] if nesterov else m[i])


@jit
def rmsprop(p, g, v, m, lr, alpha, rest, eps, momentum, decay, scale):
    for i in range(p.size):
        gi = g[i] * scale + decay * p[i]
        v[i] = alpha * v[i] + rest * gi * gi
        m[i] = momentum * m[i] + gi / (np.sqrt(v[i]) + eps)
        p[i] -= lr * m[i]


@jit
def adagrad(p, g, v, lr, eps, decay, scale):
    for i in range(p.size):
        gi = g[i] * scale + decay * p[i]
        v[i] += gi * gi
        p[i] -= lr * gi / (np.sqrt(v[i]) + eps)


@jit
def adam(p, g, m, v, lr, beta1, rest1, beta2, rest2, eps, decay, decoupled, correction1, correction2, scale):
    for i in range(p.size):
        gi = g[i] * scale
        if decoupled:
            p[i] -= lr * decay * p[i]
        else:
            gi += decay * p[i]
        m[i] = beta1 * m[i] + rest1 * gi
        v[i] = beta2 * v[i] + rest2 * gi * gi
        p[i] -= lr * (m[i] / correction1) / (np.sqrt(v[i] / correction2) + eps)


# For CuPy: what is kept beside p, numbers in the order of the functions above, the same statements in C.
_CUDA = {
    "sgd": (
        "m",
        "lr, momentum, nesterov, decay, scale",
        """
        T gi = g * scale + decay * p;
        m = momentum * m + gi;
        p -= lr * (nesterov ? gi + momentum * m : m)
        """,
    ),
    "rmsprop": (
        "v, m",
        "lr, alpha, rest, eps, momentum, decay, scale",
        """
        T gi = g * scale + decay * p;
        v = alpha * v + rest * gi * gi;
        m = momentum * m + gi / (sqrt(v) + eps);
        p -= lr * m
        """,
    ),
    "adagrad": (
        "v",
        "lr, eps, decay, scale",
        """
        T gi = g * scale + decay * p;
        v += gi * gi;
        p -= lr * gi / (sqrt(v) + eps)
        """,
    ),
    "adam": (
        "m, v",
        "lr, beta1, rest1, beta2, rest2, eps, decay, decoupled, correction1, correction2, scale",
        """
        T gi = g * scale;
        if (decoupled) p -= lr * decay * p; else gi += decay * p;
        m = beta1 * m + rest1 * gi;
        v = beta2 * v + rest2 * gi * gi;
        p -= lr * (m / correction1) / (sqrt(v / correction2) + eps)
        """,
    ),
}


@functools.cache
def cuda(cupy, rule):
    """The function of that name for CuPy arrays: one kernel."""
    slots, numbers, statements = _CUDA[rule]
    flags = ("nesterov", "decoupled")
    inputs = ["T g", *[f"{'bool' if n in flags else 'T'} {n}" for n in numbers.split(", ")]]
    outputs = ", ".join(f"T {name}" for name in ["p", *slots.split(", ")])
    kernel = cupy.ElementwiseKernel(", ".join(inputs), outputs, statements, f"tinyrnn_{rule}")
    kept = len(slots.split(", "))
    return lambda p, g, *rest: kernel(g, *rest[kept:], p, *rest[:kept])


def take_reference(g, out):
    out[...] = g
    return (g * g).sum(dtype=np.float64)


def sgd_reference(p, g, m, lr, momentum, nesterov, decay, scale):
    g = g * scale + decay * p
    m[...] = momentum * m + g
    p -= lr * (g + momentum * m if nesterov else m)


def rmsprop_reference(p, g, v, m, lr, alpha, rest, eps, momentum, decay, scale):
    g = g * scale + decay * p
    v[...] = alpha * v + rest * g * g
    m[...] = momentum * m + g / (np.sqrt(v) + eps)
    p -= lr * m


def adagrad_reference(p, g, v, lr, eps, decay, scale):
    g = g * scale + decay * p
    v += g * g
    p -= lr * g / (np.sqrt(v) + eps)


def adam_reference(
    p, g, m, v, lr, beta1, rest1, beta2, rest2, eps, decay, decoupled, correction1, correction2, scale
):
    g = g * scale
    if decoupled:
        p -= lr * decay * p
    else:
        g = g + decay * p
    m[...] = beta1 * m + rest1 * g
    v[...] = beta2 * v + rest2 * g * g
    p -= lr * (m / correction1) / (np.sqrt(v / correction2) + eps)
