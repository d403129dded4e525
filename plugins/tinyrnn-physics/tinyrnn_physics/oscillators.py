"""coRNN, UnICORNN and LEM: oscillators, and equations of several time scales."""

import math

from tinyrnn import Cell, sigmoid, split, tanh


def _within(limit):
    """An initialiser: uniform in ``+-limit``."""
    return lambda generator, *shape: generator.uniform(-limit, limit, shape)


class CoRNN(Cell):
    """Coupled oscillatory recurrent network.

    Rusch & Mishra 2021, equations 1 to 3, with the damping at the old velocity, as in the authors' code.

    z' = z + dt (tanh(y W + z W_z + x V + b) - gamma y - epsilon z)
    y' = y + dt z'

    y are the positions of the oscillators [B, hidden], the output, and z their velocities. W and W_z lie one
    below the other in W. ``gamma`` is the square of the frequency of an oscillator alone, ``epsilon`` its
    damping; the paper tunes both and dt to each task. Parameters start uniform in +-1/sqrt(n), n the number
    of all that enters the tanh.
    """

    states = ("y", "z")

    def build(self, input_size, hidden_size, *, dt: float = 0.5, gamma: float = 1.0, epsilon: float = 1.0):
        start = _within(1 / math.sqrt(input_size + 2 * hidden_size))
        self.W, self.W_z = (self.weight(hidden_size, hidden_size, init=start) for _ in range(2))
        self.V, self.b = self.weight(input_size, hidden_size, init=start), self.bias(hidden_size, init=start)
        self.dt, self.gamma, self.epsilon = dt, gamma, epsilon

    def step(self, x, y, z):
        force = tanh(y @ self.W + z @ self.W_z + x @ self.V + self.b)
        z = z + self.dt * (force - self.gamma * y - self.epsilon * z)
        return y + self.dt * z, z


class UnICORNN(Cell):
    """Undamped independent controlled oscillatory network, one layer.

    Rusch & Mishra 2021 (UnICORNN), section 2: the symplectic Euler steps of a Hamiltonian system.

    z' = z - dt sigmoid(c) (tanh(w y + x V + b) + alpha y)
    y' = y + dt sigmoid(c) z'

    y are the positions of the oscillators [B, hidden], the output, and z their velocities. No oscillator acts
    upon another one in the same layer. w starts uniform in [0, 1], c in [-0.1, 0.1], b at 0.
    """

    states = ("y", "z")

    def build(self, input_size, hidden_size, *, dt: float = 1.0, alpha: float = 0.5):
        self.V = self.weight(input_size, hidden_size)
        self.w = self.bias(hidden_size, init=lambda generator, *shape: generator.uniform(0.0, 1.0, shape))
        self.b = self.bias(hidden_size)
        self.c = self.bias(hidden_size, init=_within(0.1))
        self.dt, self.alpha = dt, alpha

    def step(self, x, y, z):
        dt = self.dt * sigmoid(self.c)
        z = z - dt * (tanh(self.w * y + x @ self.V + self.b) + self.alpha * y)
        return y + dt * z, z


class LEM(Cell):
    """Long expressive memory.

    Rusch, Mishra, Erichson & Mahoney 2022, equation 3.

    dt_1 = dt sigmoid(y W_1 + x V_1 + b_1)
    dt_2 = dt sigmoid(y W_2 + x V_2 + b_2)
    z' = (1 - dt_1) z + dt_1 tanh(y W_z + x V_z + b_z)
    y' = (1 - dt_2) y + dt_2 tanh(z' W_y + x V_y + b_y)

    y [B, hidden] is the output. The blocks 1, 2, z lie side by side in W, and 1, 2, z, y in V and b. All
    parameters start uniform in +-1/sqrt(hidden).
    """

    states = ("y", "z")

    def build(self, input_size, hidden_size, *, dt: float = 1.0):
        start = _within(1 / math.sqrt(hidden_size))
        self.W = self.weight(hidden_size, hidden_size, gates=3, init=start)
        self.W_y = self.weight(hidden_size, hidden_size, init=start)
        self.V = self.weight(input_size, hidden_size, gates=4, init=start)
        self.b = self.bias(hidden_size, gates=4, init=start)
        self.dt = dt

    def step(self, x, y, z):
        x_1, x_2, x_z, x_y = split(x @ self.V + self.b, 4)
        y_1, y_2, y_z = split(y @ self.W, 3)
        dt_1, dt_2 = self.dt * sigmoid(x_1 + y_1), self.dt * sigmoid(x_2 + y_2)
        z = (1 - dt_1) * z + dt_1 * tanh(x_z + y_z)
        return (1 - dt_2) * y + dt_2 * tanh(x_y + z @ self.W_y), z
