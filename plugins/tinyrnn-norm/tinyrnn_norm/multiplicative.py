"""LSTMs in which the input and the state multiply one another before the gates."""

from tinyrnn import Cell, InputError, sigmoid, split, tanh


class MultiplicativeLSTM(Cell):
    """Multiplicative LSTM.

    Krause et al. 2016, equations 18 to 22.

    m = (x W_mx) (h W_mh)
    u = x W_ux + m W_um + b_u
    i = sigmoid(x W_ix + m W_im + b_i)
    o = sigmoid(x W_ox + m W_om + b_o)
    f = sigmoid(x W_fx + m W_fm + b_f)
    c' = f c + i tanh(u)
    h' = o tanh(c')

    u is the paper's ĥ. The products of x lie side by side in W_x in the order m, u, i, o, f; W_m and b hold
    the last four. The forget bias starts at 1, as in the authors' code.
    """

    states = ("h", "c")

    def build(self, input_size, hidden_size, *, forget_bias: float = 1.0):
        self.W_x = self.weight(input_size, hidden_size, gates=5)
        self.W_mh = self.weight(hidden_size, hidden_size, init="orthogonal")
        self.W_m = self.weight(hidden_size, hidden_size, gates=4, init="orthogonal")
        self.b = self.bias(hidden_size, gates=4)
        self.b.data[3 * hidden_size :] = forget_bias

    def step(self, x, h, c):
        x_m, x_gates = split(x @ self.W_x, [self.hidden_size])
        m = x_m * (h @ self.W_mh)
        u, i, o, f = split(x_gates + m @ self.W_m + self.b, 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(u)
        return sigmoid(o) * tanh(c), c


class MogrifierLSTM(Cell):
    """Mogrifier LSTM.

    Melis, Kočiský & Blunsom 2020, equations 1 and 2.

    x_{-1} = x, h_0 = h, and for r = ``rounds``:
    x_i = 2 sigmoid(h_{i-1} Q_i) x_{i-2}    for odd i from 1 to r
    h_i = 2 sigmoid(x_{i-1} R_i) h_{i-2}    for even i from 1 to r

    The last x and h of these go into an LSTM, of which ``rounds=0`` leaves nothing else:

    f, i, o = sigmoid(x W_f + h U_f + b_f), sigmoid(x W_i + h U_i + b_i), sigmoid(x W_o + h U_o + b_o)
    j = tanh(x W_j + h U_j + b_j)
    c' = f c + i j
    h' = o tanh(c')

    The gates lie side by side in W, U and b in the order f, i, j, o. The forget bias starts at 1 (Jozefowicz
    et al. 2015).
    """

    states = ("h", "c")

    def build(self, input_size, hidden_size, *, rounds: int = 5, forget_bias: float = 1.0):
        if rounds < 0:
            raise InputError(f"rounds is {rounds}: it must be at least 0")
        self.rounds = rounds
        self.Q = [self.weight(hidden_size, input_size) for _ in range(1, rounds + 1, 2)]
        self.R = [self.weight(input_size, hidden_size) for _ in range(2, rounds + 1, 2)]
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=4)
        self.b.data[:hidden_size] = forget_bias

    def step(self, x, h, c):
        for k in range(self.rounds):
            if k % 2 == 0:
                x = 2 * sigmoid(h @ self.Q[k // 2]) * x
            else:
                h = 2 * sigmoid(x @ self.R[k // 2]) * h
        f, i, j, o = split(x @ self.W + h @ self.U + self.b, 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(j)
        return sigmoid(o) * tanh(c), c
