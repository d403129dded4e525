"""mLSTM: Beck, Pöppel, Spanring, Auer et al. 2024, "xLSTM: extended long short-term memory"."""

from tinyrnn import Cell, InputError, einsum, exp, maximum, reshape, sigmoid, softplus, split


class MLSTM(Cell):
    """An LSTM whose memory is a matrix of keys and values, with exponential gates (equations 19 to 27).

    ::

        C' = f C + i v k^T        n' = f n + i k        k = W_k x / sqrt(d)
        h' = o * (C' q) / max(|n'^T q|, 1)

    with i = exp(w_i x), f = sigmoid(w_f x) (or exp), o = sigmoid(W_o x), in every head. The states are kept
    divided by exp(m), m' = max(log f + m, log i), so that nothing overflows (equations 15 to 17).

    Args:
        heads: that the hidden units are dealt to.
        forget_bias: first bias of w_f x.

    States: h [hidden], C [heads, d, d], n [heads, d], m [heads], with d = hidden / heads.
    """

    states = ("h", "C", "n", "m")

    def build(self, input_size, hidden_size, *, heads: int = 1, forget_bias: float = 3.0):
        if heads < 1 or hidden_size % heads:
            raise InputError(
                f"matrix-lstm: hidden {hidden_size} is no multiple of heads={heads}: change one of them"
            )
        d = hidden_size // heads
        self.heads, self.d = heads, d
        self.state_sizes = {"h": hidden_size, "C": (heads, d, d), "n": (heads, d), "m": heads}
        self.W, self.b = self.weight(input_size, hidden_size, gates=4), self.bias(hidden_size, gates=4)
        self.w_i, self.b_i = self.weight(input_size, heads), self.bias(heads)
        self.w_f, self.b_f = self.weight(input_size, heads), self.bias(heads, init=forget_bias)

    def step(self, x, h, C, n, m):
        q, k, v, o = split(x @ self.W + self.b, 4)
        q, k, v = (reshape(z, (-1, self.heads, self.d)) for z in (q, k / self.d**0.5, v))
        i, f = x @ self.w_i + self.b_i, -softplus(-(x @ self.w_f + self.b_f))  # their logarithms
        m, before = maximum(f + m, i), m
        i, f = exp(i - m)[:, :, None], exp(f + before - m)[:, :, None]
        C = f[..., None] * C + (i * v)[..., None] * k[:, :, None, :]
        n = f * n + i * k
        read = einsum("bhij,bhj->bhi", C, q)
        scale = maximum(abs((n * q).sum(axis=-1)), exp(-m))
        return sigmoid(o) * reshape(read / scale[:, :, None], (-1, self.hidden_size)), C, n, m
