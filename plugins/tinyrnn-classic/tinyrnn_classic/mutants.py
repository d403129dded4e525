"""The three best cells of a search through ten thousand: Jozefowicz, Zaremba & Sutskever 2015."""

from tinyrnn import Cell, sigmoid, split, tanh


class MUT1(Cell):
    """Mutated gated unit 1.

    Jozefowicz, Zaremba & Sutskever 2015, section 4, MUT1.

    z = sigmoid(x W_xz + b_z)
    r = sigmoid(x W_xr + h W_hr + b_r)
    h' = tanh((r h) W_hh + tanh(x) + b_h) z + h (1 - z)

    The paper adds x itself, which takes inputs as wide as the state. Others are brought to its width first:
    tanh(x P). W_xz and W_xr lie side by side in W, b_z and b_r in b.
    """

    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.b = self.weight(input_size, hidden_size, gates=2), self.bias(hidden_size, gates=2)
        self.W_hr, self.W_hh = (self.weight(hidden_size, hidden_size, init="orthogonal") for _ in range(2))
        self.b_h = self.bias(hidden_size)
        self.P = None if input_size == hidden_size else self.weight(input_size, hidden_size)

    def step(self, x, h):
        x_z, x_r = split(x @ self.W + self.b, 2)
        if self.P is not None:
            x = x @ self.P
        z, r = sigmoid(x_z), sigmoid(x_r + h @ self.W_hr)
        return tanh((r * h) @ self.W_hh + tanh(x) + self.b_h) * z + h * (1 - z)


class MUT2(Cell):
    """Mutated gated unit 2.

    Jozefowicz, Zaremba & Sutskever 2015, section 4, MUT2.

    z = sigmoid(x W_xz + h W_hz + b_z)
    r = sigmoid(x + h W_hr + b_r)
    h' = tanh((r h) W_hh + x W_xh + b_h) z + h (1 - z)

    The paper adds x itself, which takes inputs as wide as the state. Others are brought to its width first: x
    P. W_xz and W_xh lie side by side in W, b_z and b_h in b, W_hz and W_hr in U.
    """

    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=2)
        self.W_hh = self.weight(hidden_size, hidden_size, init="orthogonal")
        self.b_r = self.bias(hidden_size)
        self.P = None if input_size == hidden_size else self.weight(input_size, hidden_size)

    def step(self, x, h):
        x_z, x_h = split(x @ self.W + self.b, 2)
        h_z, h_r = split(h @ self.U, 2)
        if self.P is not None:
            x = x @ self.P
        z, r = sigmoid(x_z + h_z), sigmoid(x + h_r + self.b_r)
        return tanh((r * h) @ self.W_hh + x_h) * z + h * (1 - z)


class MUT3(Cell):
    """Mutated gated unit 3.

    Jozefowicz, Zaremba & Sutskever 2015, section 4, MUT3.

    z = sigmoid(x W_xz + tanh(h) W_hz + b_z)
    r = sigmoid(x W_xr + h W_hr + b_r)
    h' = tanh((r h) W_hh + x W_xh + b_h) z + h (1 - z)

    W_xz, W_xr and W_xh lie side by side in W, the biases in b.
    """

    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.b = self.weight(input_size, hidden_size, gates=3), self.bias(hidden_size, gates=3)
        self.W_hz, self.W_hr, self.W_hh = (
            self.weight(hidden_size, hidden_size, init="orthogonal") for _ in range(3)
        )

    def step(self, x, h):
        x_z, x_r, x_h = split(x @ self.W + self.b, 3)
        z, r = sigmoid(x_z + tanh(h) @ self.W_hz), sigmoid(x_r + h @ self.W_hr)
        return tanh((r * h) @ self.W_hh + x_h) * z + h * (1 - z)
