"""A selective state space: Gu & Dao 2023, "Mamba: linear-time sequence modeling with selective state
spaces".
"""

import numpy as np

from tinyrnn import Cell, exp, softplus, split


class Selective(Cell):
    """A diagonal state space for each unit, whose step size, input and output depend on the input
    (algorithm 2).

    ::

        S' = exp(Delta A) S + Delta u B^T        A = -exp(log_A)
        h' = S' C + D u

    with u = W x, Delta = softplus(W_d x + b_d) of every unit, B and C [size] of the input, one for all units.

    Args:
        size: numbers of the state of a unit, N.
        min_step, max_step: between which Delta is at first, drawn evenly in its logarithm.

    States: h [hidden], S [hidden, size].
    """

    states = ("h", "S")

    def build(
        self, input_size, hidden_size, *, size: int = 16, min_step: float = 0.001, max_step: float = 0.1
    ):
        self.state_sizes = {"h": hidden_size, "S": (hidden_size, size)}
        self.size = size
        self.W, self.W_d = (self.weight(input_size, hidden_size) for _ in range(2))
        self.W_BC = self.weight(input_size, size, gates=2)

        def steps(generator, n_in, n_out):
            drawn = np.exp(generator.uniform(np.log(min_step), np.log(max_step), (n_in, n_out)))
            return drawn + np.log(-np.expm1(-drawn))  # softplus of it is what was drawn

        self.b_d = self.bias(hidden_size, init=steps)
        self.log_A = self.weight(
            hidden_size, size, init=lambda _, n, m: np.tile(np.log(np.arange(1.0, m + 1)), (n, 1))
        )
        self.D = self.bias(hidden_size, init=1.0)

    def step(self, x, h, S):
        u, delta = x @ self.W, softplus(x @ self.W_d + self.b_d)
        B, C = split(x @ self.W_BC, 2)
        S = exp(-delta[:, :, None] * exp(self.log_A)) * S + (delta * u)[:, :, None] * B[:, None, :]
        return (S * C[:, None, :]).sum(axis=2) + self.D * u, S
