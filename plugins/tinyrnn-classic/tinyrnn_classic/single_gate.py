"""Cells of one state and one gate."""

from typing import Literal

import numpy as np

from tinyrnn import Cell, InputError, relu, sigmoid, split, tanh

_ACTIVATIONS = {"tanh": tanh, "relu": relu}


class MGU(Cell):
    """Minimal gated unit.

    Zhou et al. 2016, equation 4.

    f = sigmoid(x W_f + h U_f + b_f)
    n = tanh(x W_h + (f h) U_h + b_h)
    h' = (1 - f) h + f n

    The paper joins h and x to one vector, and with them W and U to one matrix. W_f and W_h lie side by side
    in W, b_f and b_h in b.
    """

    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.b = self.weight(input_size, hidden_size, gates=2), self.bias(hidden_size, gates=2)
        self.U_f, self.U_h = (self.weight(hidden_size, hidden_size, init="orthogonal") for _ in range(2))

    def step(self, x, h):
        x_f, x_h = split(x @ self.W + self.b, 2)
        f = sigmoid(x_f + h @ self.U_f)
        n = tanh(x_h + (f * h) @ self.U_h)
        return (1 - f) * h + f * n


class UGRNN(Cell):
    """Update gate RNN.

    Collins, Sohl-Dickstein & Sussillo 2017.

    c = s(x W_c + h U_c + b_c)
    g = sigmoid(x W_g + h U_g + b_g)
    h' = g h + (1 - g) c

    s is the ``activation``. W_c and W_g lie side by side in W, and so they do in U and b. b_g starts at
    ``forget_bias``.
    """

    states = ("h",)

    def build(
        self,
        input_size,
        hidden_size,
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        forget_bias: float = 1.0,
    ):
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=2)
        self.b.data[hidden_size:] = forget_bias
        self.activation = _ACTIVATIONS[activation]

    def step(self, x, h):
        c, g = split(x @ self.W + h @ self.U + self.b, 2)
        g = sigmoid(g)
        return g * h + (1 - g) * self.activation(c)


class JANET(Cell):
    """Forget gate alone.

    van der Westhuizen & Lasenby 2018.

    s = x W_f + c U_f + b_f
    n = tanh(x W_c + c U_c + b_c)
    c' = sigmoid(s) c + (1 - sigmoid(s - beta)) n

    ``beta`` lets in more than is forgotten. b_f starts as the logarithm of numbers spread evenly over 1 to
    ``t_max - 1``, which makes a cell that remembers for up to ``t_max`` steps (chrono initialisation, Tallec
    & Ollivier 2018). W_f and W_c lie side by side in W, and so they do in U and b.
    """

    states = ("c",)

    def build(self, input_size, hidden_size, *, beta: float = 1.0, t_max: float = 100.0):
        if t_max < 2:
            raise InputError(f"t_max is {t_max}: it must be at least 2 steps")
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=2)
        times = self.bias(hidden_size, init=lambda generator, *shape: generator.uniform(1, t_max - 1, shape))
        self.b.data[:hidden_size] = np.log(times.data)
        self.beta = beta

    def step(self, x, c):
        s, n = split(x @ self.W + c @ self.U + self.b, 2)
        return sigmoid(s) * c + (1 - sigmoid(s - self.beta)) * tanh(n)
