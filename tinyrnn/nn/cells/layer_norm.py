"""Layer-normalised cells."""

from ...autograd import Tensor, sigmoid, split, tanh
from .. import Cell
from ..functional import layer_norm


class LayerNormLSTM(Cell):
    """Layer-normalised LSTM.

    Ba, Kiros & Hinton 2016, equations 20 to 22.

    (f, i, o, g) = LN(h W_h; α_1) + LN(x W_x; α_2) + b
    c' = sigmoid(f) c + sigmoid(i) tanh(g)
    h' = sigmoid(o) tanh(LN(c'; α_3, β_3))

    LN(z; α, β) = α (z - mean(z)) / sqrt(var(z) + 1e-5) + β

    LN acts over all four gates at once. The paper's β_1 and β_2 would only be added to b, and are left to it.
    Gains start at 1 and biases at 0, as in the authors' code, but for f: at ``forget_bias``.
    """

    states = ("h", "c")

    def build(self, input_size: int, hidden_size: int, *, forget_bias: float = 1.0) -> None:
        self.W_x, self.W_h, self.b = self.affine(input_size, hidden_size, gates=4)
        self.b.data[:hidden_size] = forget_bias
        self.alpha_1, self.alpha_2 = (self.bias(hidden_size, gates=4, init=1.0) for _ in range(2))
        self.alpha_3, self.beta_3 = self.bias(hidden_size, init=1.0), self.bias(hidden_size)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        H = self.hidden_size
        a = (
            layer_norm(h @ self.W_h, 4 * H, self.alpha_1)
            + layer_norm(x @ self.W_x, 4 * H, self.alpha_2)
            + self.b
        )
        f, i, o, g = split(a, 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(layer_norm(c, H, self.alpha_3, self.beta_3)), c


class LayerNormGRU(Cell):
    """Layer-normalised GRU.

    Ba, Kiros & Hinton 2016, equations 26 to 28.

    (z, r) = LN(h W_h; α_1) + LN(x W_x; α_2) + b
    n = tanh(LN(x W; α_3, β_3) + sigmoid(r) LN(h U; α_4, β_4))
    h' = (1 - sigmoid(z)) h + sigmoid(z) n

    LN is that of ln-lstm, over z and r at once and over n alone; b stands for the paper's β_1 + β_2.
    W lies beside W_x, and U beside W_h.
    """

    states = ("h",)

    def build(self, input_size: int, hidden_size: int) -> None:
        self.W_x = self.weight(input_size, hidden_size, gates=3)
        self.W_h = self.weight(hidden_size, hidden_size, gates=3, init="orthogonal")
        self.b = self.bias(hidden_size, gates=2)
        self.alpha_1, self.alpha_2 = (self.bias(hidden_size, gates=2, init=1.0) for _ in range(2))
        self.alpha_3, self.alpha_4 = (self.bias(hidden_size, init=1.0) for _ in range(2))
        self.beta_3, self.beta_4 = (self.bias(hidden_size) for _ in range(2))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        H = self.hidden_size
        x_zr, x_n = split(x @ self.W_x, [2 * H])
        h_zr, h_n = split(h @ self.W_h, [2 * H])
        z, r = split(
            sigmoid(layer_norm(h_zr, 2 * H, self.alpha_1) + layer_norm(x_zr, 2 * H, self.alpha_2) + self.b), 2
        )
        n = tanh(
            layer_norm(x_n, H, self.alpha_3, self.beta_3) + r * layer_norm(h_n, H, self.alpha_4, self.beta_4)
        )
        return (1 - z) * h + z * n
