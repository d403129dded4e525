"""minGRU and minLSTM: gates of the input alone."""

from tinyrnn import Cell, sigmoid, softplus, split, where


def _g(x):
    """The candidate of the log-space forms of Feng et al. 2024: positive, continuous, and x + 1/2 from 0
    on.
    """
    return where(x >= 0, x + 0.5, sigmoid(x))


class MinGRU(Cell):
    """Minimal gated recurrent unit.

    Feng et al. 2024, "Were RNNs All We Needed?", section 3.1.

    z = sigmoid(x W_z + b_z)
    h~ = x W_h + b_h
    h' = (1 - z) h + z h~

    z and h~ lie side by side in W and b. With ``positive`` the candidate is g(x W_h + b_h), where g(a) is a +
    1/2 from 0 on and sigmoid(a) below, as in the paper's log-space form.
    """

    states = ("h",)

    def build(self, input_size, hidden_size, *, positive: bool = False):
        self.W = self.weight(input_size, hidden_size, gates=2)
        self.b = self.bias(hidden_size, gates=2)
        self.positive = positive

    def step(self, x, h):
        z, n = split(x @ self.W + self.b, 2)
        z, n = sigmoid(z), _g(n) if self.positive else n
        return (1 - z) * h + z * n


class MinLSTM(Cell):
    """Minimal long short-term memory.

    Feng et al. 2024, "Were RNNs All We Needed?", section 3.2.

    f = sigmoid(x W_f + b_f)
    i = sigmoid(x W_i + b_i)
    h~ = x W_h + b_h
    h' = f / (f + i) h + i / (f + i) h~

    f, i and h~ lie side by side in W and b. The quotients are taken in logarithms, as in the paper's
    appendix, so that two closed gates are no 0 / 0. Without ``normalize``, h' = f h + i h~. With ``positive``
    the candidate is g(x W_h + b_h), where g(a) is a + 1/2 from 0 on and sigmoid(a) below, as in the paper's
    log-space form. The forget bias starts at 1.
    """

    states = ("h",)

    def build(
        self,
        input_size,
        hidden_size,
        *,
        normalize: bool = True,
        positive: bool = False,
        forget_bias: float = 1.0,
    ):
        self.W = self.weight(input_size, hidden_size, gates=3)
        self.b = self.bias(hidden_size, gates=3)
        self.b.data[:hidden_size] = forget_bias
        self.normalize, self.positive = normalize, positive

    def step(self, x, h):
        f, i, n = split(x @ self.W + self.b, 3)
        n = _g(n) if self.positive else n
        if not self.normalize:
            return sigmoid(f) * h + sigmoid(i) * n
        f = sigmoid(softplus(-i) - softplus(-f))  # of the logarithms of both gates
        return f * h + (1 - f) * n
