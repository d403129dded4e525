"""The simple recurrent network."""

from typing import Literal

from ...autograd import Tensor, relu, sigmoid, tanh
from .. import Cell

_ACTIVATIONS = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid}


class RNN(Cell):
    """Simple recurrent cell.

    Elman 1990.

    h' = f(x W + h U + b)
    """

    states = ("h",)

    def build(
        self, input_size: int, hidden_size: int, *, activation: Literal["tanh", "relu", "sigmoid"] = "tanh"
    ) -> None:
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.activation = _ACTIVATIONS[activation]

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return self.activation(x @ self.W + h @ self.U + self.b)
