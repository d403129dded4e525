"""Gated recurrent unit."""

from ...autograd import Tensor, sigmoid, split, tanh
from .. import Cell, init


class GRU(Cell):
    """Gated recurrent unit.

    Cho et al. 2014, equations 5 to 8.

    r = sigmoid(x W_r + h U_r + b_r)
    z = sigmoid(x W_z + h U_z + b_z)
    n = tanh(x W_n + (r h) U_n + b_n)
    h' = z h + (1 - z) n

    r and z lie side by side in U. With ``reset_after`` the reset gate acts on the product, n = tanh(x W_n +
    b_n + r (h U_n + b_hn)), as in cuDNN and PyTorch. With ``chrono=T`` the bias of z is that of a memory of
    up to T steps (Tallec & Ollivier 2018).
    """

    states = ("h",)

    def build(
        self, input_size: int, hidden_size: int, *, reset_after: bool = False, chrono: float = 0.0
    ) -> None:
        self.name_gates("r", "z", "n")
        self.W = self.weight(input_size, hidden_size, gates=3)
        self.b = self.bias(hidden_size, gates=3)
        self.reset_after = reset_after
        if reset_after:
            self.U = self.weight(hidden_size, hidden_size, gates=3, init="orthogonal")
            self.b_hn = self.bias(hidden_size)
        else:
            self.U = self.weight(hidden_size, hidden_size, gates=2, init="orthogonal")
            self.U_n = self.weight(hidden_size, hidden_size, init="orthogonal")
        if chrono:
            b_z = self.bias(hidden_size, init=init.chrono(chrono))
            self.b.data[hidden_size : 2 * hidden_size] = b_z.data

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        x_r, x_z, x_n = split(x @ self.W + self.b, 3)
        if self.reset_after:
            h_r, h_z, h_n = split(h @ self.U, 3)
            r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
            n = tanh(x_n + r * (h_n + self.b_hn))
        else:
            h_r, h_z = split(h @ self.U, 2)
            r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
            n = tanh(x_n + (r * h) @ self.U_n)
        return z * h + (1 - z) * n
