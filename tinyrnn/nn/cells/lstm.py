"""Long short-term memory."""

from ...autograd import Tensor, sigmoid, split, tanh
from ...base.errors import InputError
from .. import Cell, init


class LSTM(Cell):
    """Long short-term memory.

    Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000.

    i = sigmoid(x W_i + h U_i + b_i)
    f = sigmoid(x W_f + h U_f + b_f)
    g = tanh(x W_g + h U_g + b_g)
    o = sigmoid(x W_o + h U_o + b_o)
    c' = f c + i g
    h' = o tanh(c')

    The gates lie side by side in W, U and b in the order i, f, g, o (PyTorch's). The forget bias starts at 1
    (Jozefowicz et al. 2015); with ``chrono=T`` the biases of f and i are those of a memory of up to T steps
    (Tallec & Ollivier 2018, eq. 16). With ``peephole`` the gates also see the cell: i and f gain ``p c``, o
    gains ``p c'`` (Gers et al. 2002).
    """

    states = ("h", "c")

    def build(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = 1.0,
        peephole: bool = False,
        chrono: float = 0.0,
    ) -> None:
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=4)
        self.name_gates("i", "f", "g", "o")
        if chrono and forget_bias != 1:
            raise InputError("lstm: chrono decides the forget gate's bias too: leave out forget_bias")
        self.b.data[hidden_size : 2 * hidden_size] = forget_bias
        if chrono:
            b_f = self.bias(hidden_size, init=init.chrono(chrono)).data
            self.b.data[:hidden_size], self.b.data[hidden_size : 2 * hidden_size] = -b_f, b_f
        self.peephole = peephole
        if peephole:
            self.p_i, self.p_f, self.p_o = (self.bias(hidden_size) for _ in range(3))

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = split(x @ self.W + h @ self.U + self.b, 4)
        if self.peephole:
            i, f = i + self.p_i * c, f + self.p_f * c
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        if self.peephole:
            o = o + self.p_o * c
        return sigmoid(o) * tanh(c), c
