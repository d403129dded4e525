"""Antisymmetric and Lipschitz RNN: Euler steps of equations whose matrices keep them stable."""

import math

from tinyrnn import Cell, sigmoid, split, tanh


def _normal(std):
    """An initialiser: normal of standard deviation ``std``."""
    return lambda generator, *shape: generator.normal(0.0, std, shape)


class AntisymmetricRNN(Cell):
    """Antisymmetric RNN.

    Chang, Chen, Haber & Chi 2019, section 3, with diffusion; the gated one with ``gated``.

    a = h (W - W^T) - gamma h
    h' = h + epsilon tanh(a + x V + b)

    With ``gated`` epsilon is multiplied by sigmoid(a + x V_z + b_z); V and V_z then lie side by side in V, b
    and b_z in b. h is [B, hidden]. W starts normal with variance 1/hidden, V with 1/input, b at 0.
    """

    states = ("h",)

    def build(
        self, input_size, hidden_size, *, gated: bool = False, epsilon: float = 0.3, gamma: float = 0.5
    ):
        self.W = self.weight(hidden_size, hidden_size, init=_normal(1 / math.sqrt(hidden_size)))
        gates = 2 if gated else 1
        self.V = self.weight(input_size, hidden_size, gates=gates, init=_normal(1 / math.sqrt(input_size)))
        self.b = self.bias(hidden_size, gates=gates)
        self.gated, self.epsilon, self.gamma = gated, epsilon, gamma

    def step(self, x, h):
        a = h @ (self.W - self.W.T) - self.gamma * h
        v = x @ self.V + self.b
        if not self.gated:
            return h + self.epsilon * tanh(a + v)
        v, v_z = split(v, 2)
        return h + self.epsilon * sigmoid(a + v_z) * tanh(a + v)


class LipschitzRNN(Cell):
    """Lipschitz RNN.

    Erichson, Azencot, Queiruga, Hodgkinson & Mahoney 2021, section 3, by the forward Euler scheme.

    A = (1 - beta) (M_A + M_A^T) + beta (M_A - M_A^T) - gamma I
    W = (1 - beta) (M_W + M_W^T) + beta (M_W - M_W^T) - gamma I
    h' = h + epsilon (h A + tanh(h W + x U + b))

    h is [B, hidden]. ``beta`` from 0.5 to 1 leads from any to an antisymmetric matrix. M_A and M_W start
    normal with standard deviation ``init_std`` / hidden, as in the authors' code.
    """

    states = ("h",)

    def build(
        self,
        input_size,
        hidden_size,
        *,
        epsilon: float = 0.3,
        beta: float = 0.75,
        gamma: float = 0.001,
        init_std: float = 1.0,
    ):
        self.M_A, self.M_W = (
            self.weight(hidden_size, hidden_size, init=_normal(init_std / hidden_size)) for _ in range(2)
        )
        self.U, self.b = self.weight(input_size, hidden_size), self.bias(hidden_size)
        self.epsilon, self.beta, self.gamma = epsilon, beta, gamma

    def _times(self, h, M):
        """h times the matrix that is made of M."""
        beta = self.beta
        return h @ ((1 - beta) * (M + M.T) + beta * (M - M.T)) - self.gamma * h

    def step(self, x, h):
        nonlinear = tanh(self._times(h, self.M_W) + x @ self.U + self.b)
        return h + self.epsilon * (self._times(h, self.M_A) + nonlinear)
