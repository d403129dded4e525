"""sLSTM: exponential gates, and a recurrent matrix."""

from typing import Literal

from tinyrnn import Cell, abs, exp, maximum, sigmoid, softplus, split, tanh, where


class SLSTM(Cell):
    """Long short-term memory with exponential gates.

    Beck et al. 2024 (xLSTM), equations 8 to 17, with one head.

    i~, f~, z~, o~ = x W + h R + b
    log f = log sigmoid(f~), or f~
    m' = max(log f + m, i~)
    i = exp(i~ - m')
    f = exp(log f + m - m')
    c' = f c + i tanh(z~)
    n' = f n + i
    h' = sigmoid(o~) c' / n'

    The gates lie side by side in W, R and b in the order i, f, z, o. n normalises, m keeps the exponentials
    from overflowing: h does not depend on it. With ``forget_gate`` "exp" the forget gate is an exponential as
    well. The forget bias starts at 1. Where the input gate has been closed from the start, so that c' and n'
    are 0 (below 1e-30), h' is 0.
    """

    states = ("h", "c", "n", "m")

    def build(
        self,
        input_size,
        hidden_size,
        *,
        forget_gate: Literal["sigmoid", "exp"] = "sigmoid",
        forget_bias: float = 1.0,
    ):
        self.W, self.R, self.b = self.affine(input_size, hidden_size, gates=4)
        self.b.data[hidden_size : 2 * hidden_size] = forget_bias
        self.forget_gate = forget_gate

    def step(self, x, h, c, n, m):
        i, f, z, o = split(x @ self.W + h @ self.R + self.b, 4)
        f = m + (f if self.forget_gate == "exp" else -softplus(-f))
        m = maximum(f, i)
        f, i = exp(f - m), exp(i - m)
        c, n = f * c + i * tanh(z), f * n + i
        return sigmoid(o) * c / where(abs(n) < 1e-30, 1.0, n), c, n, m
