"""Fast weights: Ba, Hinton, Mnih, Leibo & Ionescu 2016, "Using fast weights to attend to the recent past"."""

import numpy as np

from tinyrnn import Cell, einsum, layer_norm, relu


class FastWeights(Cell):
    """An RNN that is drawn to its recent states, by a matrix that they are written into (section 3).

    ::

        A  = lambda A + eta h h^T                          (1)
        g  = f(LN(W h + C x)), then ``steps`` times
        g  = f(LN(W h + C x + A g))                        (2)
        h' = g

    Args:
        decay: lambda.
        rate: eta.
        steps: inner steps S.
        gain: of the layer normalisation at first. The paper's is 1, with which outputs are large at first.

    States: h [hidden], A [hidden, hidden].
    """

    states = ("h", "A")

    def build(
        self,
        input_size,
        hidden_size,
        *,
        decay: float = 0.95,
        rate: float = 0.5,
        steps: int = 1,
        gain: float = 0.45,
    ):
        self.state_sizes = {"h": hidden_size, "A": (hidden_size, hidden_size)}
        self.C, self.W, self.b = self.affine(input_size, hidden_size, recurrent_init=self.near_zero)
        self.gain = self.bias(hidden_size, init=gain)
        self.decay, self.rate, self.steps = decay, rate, steps

    def step(self, x, h, A):
        A = self.decay * A + self.rate * h[:, :, None] * h[:, None, :]
        z = x @ self.C + h @ self.W
        g = self.f(z)
        for _ in range(self.steps):
            g = self.f(z + einsum("bij,bj->bi", A, g))
        return g, A

    @staticmethod
    def near_zero(generator, n_in, n_out):
        """0.05 times the identity (section 4)."""
        return 0.05 * np.eye(n_in, n_out)

    def f(self, z):
        return relu(layer_norm(z, self.hidden_size, self.gain, self.b))
