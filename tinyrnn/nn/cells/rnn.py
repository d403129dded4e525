"""The simple recurrent network."""

from typing import Literal

from ...autograd import relu, sigmoid, tanh
from .. import Cell

_ACTIVATIONS = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid}


class RNN(Cell):
    """Simple recurrent cell.

    Elman 1990.

    h' = f(x W + h U + b)
    """

    states = ("h",)

    def build(self, input_size, hidden_size, *, activation: Literal["tanh", "relu", "sigmoid"] = "tanh"):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.activation = _ACTIVATIONS[activation]

    def step(self, x, h):
        return self.activation(x @ self.W + h @ self.U + self.b)
