"""SRU and QRNN: a gated average of what products or filters make of the inputs."""

import math

from tinyrnn import Cell, InputError, concat, sigmoid, split, tanh


def _uniform(variance):
    """An initialiser: uniform numbers of mean 0 whose variance is ``variance / n_in``."""

    def init(generator, n_in, n_out):
        limit = math.sqrt(3 * variance / n_in)
        return generator.uniform(-limit, limit, (n_in, n_out))

    return init


class SRU(Cell):
    """Simple recurrent unit.

    Lei et al. 2018, equations 1 to 4, with the scaling correction alpha of their initialisation.

    f = sigmoid(x W_f + v_f c + b_f)
    c' = f c + (1 - f) (x W)
    r = sigmoid(x W_r + v_r c + b_r)
    h' = r c' + (1 - r) alpha x

    alpha = sqrt(1 + 2 exp(highway_bias)), and b_r starts at ``highway_bias``. W, W_f and W_r lie side by side
    in W. Where the widths of x and h differ, x W_p stands in the place of x in the last line, and W_p is the
    last part of W.
    """

    states = ("h", "c")

    def build(self, input_size, hidden_size, *, highway_bias: float = 0.0):
        widths_differ = input_size != hidden_size
        self.parts = 4 if widths_differ else 3
        self.W = self.weight(input_size, hidden_size, gates=self.parts, init=_uniform(1.0))
        self.W.data[:, hidden_size : 3 * hidden_size] *= math.sqrt(
            0.5
        )  # half of a gate's variance is that of v c
        self.v_f, self.v_r = (self.bias(hidden_size, init=_uniform(0.5)) for _ in range(2))
        self.b_f, self.b_r = self.bias(hidden_size), self.bias(hidden_size, init=highway_bias)
        self.alpha = math.sqrt(1 + 2 * math.exp(highway_bias))

    def step(self, x, h, c):
        u, f, r, *projected = split(x @ self.W, self.parts)
        f = sigmoid(f + self.v_f * c + self.b_f)
        r = sigmoid(r + self.v_r * c + self.b_r)
        c = f * c + (1 - f) * u
        return r * c + (1 - r) * (self.alpha * (projected[0] if projected else x)), c


class QRNN(Cell):
    """Quasi-recurrent network with fo-pooling.

    Bradbury et al. 2017, equations 1, 2 and 4; for a filter of width 2, with x- the input before x:

    z = tanh(x- W1_z + x W0_z + b_z)
    f = sigmoid(x- W1_f + x W0_f + b_f)
    o = sigmoid(x- W1_o + x W0_o + b_o)
    c' = f c + (1 - f) z
    h' = o c'

    The filters see the last ``window`` inputs, zeros before the first. W0, W1, ... lie side by side in W, and
    z, f, o in each. The state p holds what the inputs so far add to the z, f, o of the next window - 1 steps:
    x W1 for a window of 2.
    """

    states = ("h", "c", "p")

    def build(self, input_size, hidden_size, *, window: int = 2):
        if window < 2:
            raise InputError(f"qrnn: window is {window}: it must be at least 2, the input and the one before")
        self.state_sizes["p"] = (window - 1) * 3 * hidden_size
        self.W = self.weight(input_size, hidden_size, gates=3 * window)
        self.b = self.bias(hidden_size, gates=3)
        self.window = window

    def step(self, x, h, c, p):
        n = 3 * self.hidden_size
        now, later = split(x @ self.W, [n])
        z, f, o = split(now + p[:, :n] + self.b, 3)
        p = concat([later[:, :-n] + p[:, n:], later[:, -n:]], axis=-1) if self.window > 2 else later
        f = sigmoid(f)
        c = f * c + (1 - f) * tanh(z)
        return sigmoid(o) * c, c, p
