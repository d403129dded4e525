"""IndRNN and RG-LRU: the recurrent matrix is a diagonal."""

import math
from typing import Literal

import numpy as np

from tinyrnn import Cell, clip, exp, maximum, relu, sigmoid, softplus, split, sqrt, tanh


def _lecun_normal(generator, n_in, n_out):
    return generator.normal(0.0, 1 / math.sqrt(n_in), (n_in, n_out))


class IndRNN(Cell):
    """Independently recurrent network.

    Li et al. 2018, section 3.

    h' = f(x W + u h + b)

    u starts uniform in [0, bound], and is held to [-bound, bound] whenever it is used. ``bound`` is the
    paper's gamma^(1/T) for a growth by gamma in T steps; at 1 nothing grows without end, however long the
    sequence.
    """

    states = ("h",)

    def build(
        self, input_size, hidden_size, *, activation: Literal["relu", "tanh"] = "relu", bound: float = 1.0
    ):
        self.W = self.weight(input_size, hidden_size)
        self.u = self.bias(hidden_size, init=lambda generator, *shape: generator.uniform(0.0, bound, shape))
        self.b = self.bias(hidden_size)
        self.activation = {"relu": relu, "tanh": tanh}[activation]
        self.bound = bound

    def step(self, x, h):
        return self.activation(x @ self.W + clip(self.u, -self.bound, self.bound) * h + self.b)


class RGLRU(Cell):
    """Real-gated linear recurrent unit.

    De et al. 2024 (Griffin), equations 1 to 4.

    r = sigmoid(x W_a + b_a)
    i = sigmoid(x W_x + b_x)
    a = sigmoid(Lambda)^(c r)
    h' = a h + sqrt(1 - a^2) (i x)

    Lambda starts such that sigmoid(Lambda)^c, the fastest decay, is uniform in [min_decay, max_decay]. W_a
    and W_x lie side by side in W. Where the widths of x and h differ, x W_p stands in the place of x in the
    last line, and W_p is the last part of W. Powers are taken in logarithms, and 1 - a^2 as tanh(-log a) (1 +
    a^2), which keeps its digits when a is near 1.
    """

    states = ("h",)

    def build(
        self, input_size, hidden_size, *, c: float = 8.0, min_decay: float = 0.9, max_decay: float = 0.999
    ):
        def slow(generator, *shape):
            a = generator.uniform(min_decay, max_decay, shape) ** (1 / c)
            return np.log(a) - np.log1p(-a)

        widths_differ = input_size != hidden_size
        self.parts = 3 if widths_differ else 2
        self.W = self.weight(input_size, hidden_size, gates=self.parts, init=_lecun_normal)
        self.b_a, self.b_x = self.bias(hidden_size), self.bias(hidden_size)
        self.Lambda = self.bias(hidden_size, init=slow)
        self.c = c

    def step(self, x, h):
        r, i, *projected = split(x @ self.W, self.parts)
        decay = maximum(self.c * softplus(-self.Lambda) * sigmoid(r + self.b_a), 1e-30)  # -log a
        a = exp(-decay)
        u = sigmoid(i + self.b_x) * (projected[0] if projected else x)
        return a * h + sqrt(tanh(decay) * (1 + a * a)) * u
