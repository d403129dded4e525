"""Variants of the LSTM."""

from typing import Literal

from tinyrnn import Cell, sigmoid, split, tanh


class PeepholeLSTM(Cell):
    """Peephole LSTM.

    Gers, Schraudolph & Schmidhuber 2002, section 3.

    i = sigmoid(x W_i + h U_i + p_i c + b_i)
    f = sigmoid(x W_f + h U_f + p_f c + b_f)
    g = tanh(x W_g + h U_g + b_g)
    c' = f c + i g
    o = sigmoid(x W_o + h U_o + p_o c' + b_o)
    h' = o c'

    The paper writes y_in, y_phi, y_out, s and y for i, f, o, c and h. It leaves the cell's output unsquashed;
    ``output="tanh"`` squashes it, h' = o tanh(c'), which is the cell ``lstm`` with ``peephole=true``. The
    gates lie side by side in W, U and b in the order i, f, g, o. The forget bias starts at 1 (Jozefowicz et
    al. 2015).
    """

    states = ("h", "c")

    def build(
        self,
        input_size,
        hidden_size,
        *,
        forget_bias: float = 1.0,
        output: Literal["identity", "tanh"] = "identity",
    ):
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=4)
        self.b.data[hidden_size : 2 * hidden_size] = forget_bias
        self.p_i, self.p_f, self.p_o = (self.bias(hidden_size) for _ in range(3))
        self.output = output

    def step(self, x, h, c):
        i, f, g, o = split(x @ self.W + h @ self.U + self.b, 4)
        c = sigmoid(f + self.p_f * c) * c + sigmoid(i + self.p_i * c) * tanh(g)
        o = sigmoid(o + self.p_o * c)
        return o * (tanh(c) if self.output == "tanh" else c), c


class CIFG(Cell):
    """Coupled-gate LSTM.

    Greff et al. 2017, the LSTM of section II with the change CIFG, f = 1 - i.

    z = tanh(x W_z + y R_z + b_z)
    i = sigmoid(x W_i + y R_i + p_i c + b_i)
    c' = z i + c (1 - i)
    o = sigmoid(x W_o + y R_o + p_o c' + b_o)
    y' = tanh(c') o

    The gates lie side by side in W, R and b in the order z, i, o. The input bias starts at ``-forget_bias``,
    so that the cell begins by keeping what it has (Jozefowicz et al. 2015). Without ``peephole`` p_i and p_o
    are left out.
    """

    states = ("y", "c")

    def build(self, input_size, hidden_size, *, forget_bias: float = 1.0, peephole: bool = True):
        self.W, self.R, self.b = self.affine(input_size, hidden_size, gates=3)
        self.b.data[hidden_size : 2 * hidden_size] = -forget_bias
        self.peephole = peephole
        if peephole:
            self.p_i, self.p_o = self.bias(hidden_size), self.bias(hidden_size)

    def step(self, x, y, c):
        z, i, o = split(x @ self.W + y @ self.R + self.b, 3)
        i = sigmoid(i + self.p_i * c if self.peephole else i)
        c = tanh(z) * i + c * (1 - i)
        o = sigmoid(o + self.p_o * c if self.peephole else o)
        return tanh(c) * o, c
