"""Cells without gates that remember by their form: an identity matrix, a slow state."""

from functools import partial

from tinyrnn import Cell, InputError, concat, relu, sigmoid, split
from tinyrnn.nn import init


class IRNN(Cell):
    """Identity-initialised rectifiers.

    Le, Jaitly & Hinton 2015.

    h' = relu(x W + h U + b)

    U starts as ``scale`` times the identity (the paper takes less than 1 where long memory does no good), W
    as normal numbers of standard deviation 0.001, b as zeros.
    """

    states = ("h",)

    def build(self, input_size, hidden_size, *, scale: float = 1.0):
        small = partial(init.normal, std=0.001)
        self.W, self.U, self.b = self.affine(input_size, hidden_size, init=small, recurrent_init="identity")
        self.U.data *= scale

    def step(self, x, h):
        return relu(x @ self.W + h @ self.U + self.b)


class SCRN(Cell):
    """Structurally constrained network.

    Mikolov et al. 2015.

    s' = (1 - alpha) x B + alpha s
    h' = sigmoid(s' P + x A + h R)
    y' = (h', s')

    The paper's output is f(h' U + s' V), a linear layer over hidden and context units. Here they lie side by
    side in one state, ``hidden_size + context`` wide, and U lies above V in the matrix of the linear layer
    that follows.
    """

    states = ("y",)

    def build(self, input_size, hidden_size, *, context: int = 40, alpha: float = 0.95):
        if context < 1 or not 0 <= alpha <= 1:
            raise InputError(
                f"context is {context}, alpha {alpha}: there must be 1 unit at least, and alpha lie from 0 "
                "to 1"
            )
        self.state_sizes = {"y": hidden_size + context}
        self.A, self.B = self.weight(input_size, hidden_size), self.weight(input_size, context)
        self.P = self.weight(context, hidden_size)
        self.R = self.weight(hidden_size, hidden_size, init="orthogonal")
        self.alpha = alpha

    def step(self, x, y):
        h, s = split(y, [self.hidden_size])
        s = (1 - self.alpha) * (x @ self.B) + self.alpha * s
        h = sigmoid(s @ self.P + x @ self.A + h @ self.R)
        return concat([h, s], axis=1)
