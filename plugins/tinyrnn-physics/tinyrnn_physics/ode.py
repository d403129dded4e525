"""ODE-RNN: between two inputs the state follows a differential equation."""

from tinyrnn import Cell, InputError, sigmoid, split, tanh


def _normal(generator, n_in, n_out):
    return generator.normal(0.0, 0.1, (n_in, n_out))


class ODERNN(Cell):
    """Neural ODE between inputs, a gated recurrent unit at each.

    Rubanova, Chen & Duvenaud 2019, algorithm 1, with dh/dt of Chen et al. 2018, by the classical Runge-Kutta
    method in ``substeps`` equal steps.

    f(h) = tanh(h F_1 + c_1) F_2 + c_2
    s = dh/dt = f(h) after the time ``time``, from h
    r = sigmoid(x W_r + s U_r + b_r)
    z = sigmoid(x W_z + s U_z + b_z)
    n = tanh(x W_n + (r s) U_n + b_n)
    h' = z s + (1 - z) n

    h is [B, hidden]; the layer inside f is ``width`` wide, or as wide as h if that is 0. r and z lie side by
    side in U. A substep from k_1 = f(h) on, d = ``time`` / ``substeps``: k_2 = f(h + d/2 k_1), k_3 = f(h +
    d/2 k_2), k_4 = f(h + d k_3), and h + d/6 (k_1 + 2 k_2 + 2 k_3 + k_4). F_1 and F_2 start normal with
    standard deviation 0.1, as in the authors' code.
    """

    states = ("h",)

    def build(self, input_size, hidden_size, *, substeps: int = 1, time: float = 0.2, width: int = 0):
        if substeps < 1 or width < 0:
            raise InputError(f"ode-rnn: substeps is {substeps}, width {width}: they must be at least 1 and 0")
        width = width or hidden_size
        self.F_1, self.c_1 = self.weight(hidden_size, width, init=_normal), self.bias(width)
        self.F_2, self.c_2 = self.weight(width, hidden_size, init=_normal), self.bias(hidden_size)
        self.W, self.b = self.weight(input_size, hidden_size, gates=3), self.bias(hidden_size, gates=3)
        self.U = self.weight(hidden_size, hidden_size, gates=2, init="orthogonal")
        self.U_n = self.weight(hidden_size, hidden_size, init="orthogonal")
        self.substeps, self.time = substeps, time

    def _slope(self, h):
        return tanh(h @ self.F_1 + self.c_1) @ self.F_2 + self.c_2

    def _evolved(self, h):
        """h after ``time``."""
        d = self.time / self.substeps
        for _ in range(self.substeps):
            k_1 = self._slope(h)
            k_2 = self._slope(h + d / 2 * k_1)
            k_3 = self._slope(h + d / 2 * k_2)
            k_4 = self._slope(h + d * k_3)
            h = h + d / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
        return h

    def step(self, x, h):
        s = self._evolved(h)
        x_r, x_z, x_n = split(x @ self.W + self.b, 3)
        s_r, s_z = split(s @ self.U, 2)
        r, z = sigmoid(x_r + s_r), sigmoid(x_z + s_z)
        n = tanh(x_n + (r * s) @ self.U_n)
        return z * s + (1 - z) * n
