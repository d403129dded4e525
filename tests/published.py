"""Published cells that are in no package of `plugins/`, as a user would write them from the paper."""

import numpy as np

import tinyrnn as tr
from tinyrnn import abs, concat, cos, exp, maximum, relu, sigmoid, sin, softmax, split, sqrt, tanh

# ------------------------------------------------------------------ gates


class BRC(tr.Cell):
    """Bistable recurrent cell, Vecoven et al. 2021."""

    def build(self, input_size, hidden_size):
        self.U = self.weight(input_size, hidden_size, gates=3)
        self.w_a, self.w_c = self.bias(hidden_size, init=1.0), self.bias(hidden_size, init=1.0)

    def step(self, x, h):
        x_h, x_a, x_c = split(x @ self.U, 3)
        a, c = 1 + tanh(x_a + self.w_a * h), sigmoid(x_c + self.w_c * h)
        return c * h + (1 - c) * tanh(x_h + a * h)


class NBRC(tr.Cell):
    """Recurrently neuromodulated bistable cell, Vecoven et al. 2021."""

    def build(self, input_size, hidden_size):
        self.U, self.W = (
            self.weight(input_size, hidden_size, gates=3),
            self.weight(hidden_size, hidden_size, gates=2),
        )

    def step(self, x, h):
        (x_h, x_a, x_c), (h_a, h_c) = split(x @ self.U, 3), split(h @ self.W, 2)
        a, c = 1 + tanh(x_a + h_a), sigmoid(x_c + h_c)
        return c * h + (1 - c) * tanh(x_h + a * h)


class RAN(tr.Cell):
    """Recurrent additive network, Lee et al. 2017, with g = tanh."""

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.W_cx = self.weight(input_size, hidden_size)
        self.W_h, self.W_x = (
            self.weight(hidden_size, 2 * hidden_size),
            self.weight(input_size, 2 * hidden_size),
        )
        self.b = self.bias(2 * hidden_size)

    def step(self, x, h, c):
        i, f = split(sigmoid(h @ self.W_h + x @ self.W_x + self.b), 2)
        c = i * (x @ self.W_cx) + f * c
        return tanh(c), c


class CFN(tr.Cell):
    """Chaos-free network, Laurent & von Brecht 2017."""

    def build(self, input_size, hidden_size):
        self.W = self.weight(input_size, hidden_size)
        self.U, self.V = self.weight(hidden_size, 2 * hidden_size), self.weight(input_size, 2 * hidden_size)
        self.b = self.bias(2 * hidden_size)

    def step(self, x, h):
        theta, eta = split(sigmoid(h @ self.U + x @ self.V + self.b), 2)
        return theta * tanh(h) + eta * tanh(x @ self.W)


class STAR(tr.Cell):
    """Stackable recurrent cell, Turkoglu et al. 2021."""

    def build(self, input_size, hidden_size):
        self.W_x, self.b_k = self.weight(input_size, hidden_size, gates=2), self.bias(hidden_size)
        self.W_h, self.b_z = self.weight(hidden_size, hidden_size), self.bias(hidden_size)

    def step(self, x, h):
        z, k = split(x @ self.W_x, 2)
        z, k = tanh(z + self.b_z), sigmoid(k + h @ self.W_h + self.b_k)
        return tanh((1 - k) * h + k * z)


class FastGRNN(tr.Cell):
    """FastGRNN, Kusupati et al. 2018: one pair of matrices, zeta and nu scalars."""

    def build(self, input_size, hidden_size):
        self.W, self.U = self.weight(input_size, hidden_size), self.weight(hidden_size, hidden_size)
        self.b_z, self.b_h = self.bias(hidden_size), self.bias(hidden_size)
        self.zeta, self.nu = self.bias(1, init=1.0), self.bias(1, init=-4.0)

    def step(self, x, h):
        a = x @ self.W + h @ self.U
        z = sigmoid(a + self.b_z)
        return (sigmoid(self.zeta) * (1 - z) + sigmoid(self.nu)) * tanh(a + self.b_h) + z * h


class FastRNN(tr.Cell):
    """FastRNN, Kusupati et al. 2018: a residual connection of two learned scalars."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.alpha, self.beta = self.bias(1, init=-3.0), self.bias(1, init=3.0)

    def step(self, x, h):
        return sigmoid(self.alpha) * tanh(x @ self.W + h @ self.U + self.b) + sigmoid(self.beta) * h


class LiGRU(tr.Cell):
    """Light GRU, Ravanelli et al. 2018, without its batch normalisation."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=2)

    def step(self, x, h):
        z, c = split(x @ self.W + h @ self.U + self.b, 2)
        z = sigmoid(z)
        return z * h + (1 - z) * relu(c)


class ATR(tr.Cell):
    """Addition-subtraction twin-gated network, Zhang et al. 2018."""

    def build(self, input_size, hidden_size):
        self.W, self.U = self.weight(input_size, hidden_size), self.weight(hidden_size, hidden_size)

    def step(self, x, h):
        p, q = x @ self.W, h @ self.U
        return sigmoid(p + q) * p + sigmoid(p - q) * h


class CuDNNGRU(tr.Cell):
    """GRU as in cuDNN: two biases, the reset gate acts upon the product."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=3)
        self.b_h = self.bias(3 * hidden_size)

    def step(self, x, h):
        (x_r, x_z, x_n), (h_r, h_z, h_n) = split(x @ self.W + self.b, 3), split(h @ self.U + self.b_h, 3)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        return (1 - z) * tanh(x_n + r * h_n) + z * h


class MinimalRNN(tr.Cell):
    """MinimalRNN, Chen 2017."""

    def build(self, input_size, hidden_size):
        self.W_x, self.b_x = self.weight(input_size, hidden_size), self.bias(hidden_size)
        self.U, self.b = self.weight(hidden_size, hidden_size, gates=2), self.bias(hidden_size)

    def step(self, x, h):
        z = tanh(x @ self.W_x + self.b_x)
        u = sigmoid(concat([h, z], axis=-1) @ concat(split(self.U, 2, axis=1), axis=0) + self.b)
        return u * h + (1 - u) * z


class NAS(tr.Cell):
    """NASCell, Zoph & Le 2017, as in TensorFlow's contrib."""

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U = (
            self.weight(input_size, hidden_size, gates=8),
            self.weight(hidden_size, hidden_size, gates=8),
        )

    def step(self, x, h, c):
        m, i = split(h @ self.U, 8), split(x @ self.W, 8)
        l0, l1, l2 = sigmoid(i[0] + m[0]), relu(i[1] + m[1]), sigmoid(i[2] + m[2])
        l3, l4, l5 = relu(i[3] * m[3]), tanh(i[4] + m[4]), sigmoid(i[5] + m[5])
        l6, l7 = tanh(i[6] + m[6]), sigmoid(i[7] + m[7])
        a, b, d, e = tanh(l0 * l1), tanh(l2 + l3), tanh(l4 * l5), sigmoid(l6 + l7)
        a = tanh(a + c)
        c = a * b
        return tanh(c * tanh(d + e)), c


class OnLSTM(tr.Cell):
    """Ordered-neurons LSTM, Shen et al. 2019: cumulative softmaxes as master gates."""

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=6)

    def step(self, x, h, c):
        f, i, o, g, mf, mi = split(x @ self.W + h @ self.U + self.b, 6)
        f, i = sigmoid(f), sigmoid(i)
        mf, mi = tr.cumsum(softmax(mf), axis=-1), 1 - tr.cumsum(softmax(mi), axis=-1)
        both = mf * mi
        c = (f * both + (mf - both)) * c + (i * both + (mi - both)) * tanh(g)
        return sigmoid(o) * tanh(c), c


# ------------------------------------------------------------------ time


class PhasedLSTM(tr.Cell):
    """Phased LSTM, Neil et al. 2016; the last feature of x is the time."""

    states = ("h", "c")

    def build(self, input_size, hidden_size, *, leak: float = 0.001):
        self.W, self.U, self.b = self.affine(input_size - 1, hidden_size, gates=4)
        self.tau = self.bias(hidden_size, init=2.0)
        self.s, self.r_on = self.bias(hidden_size, init=0.3), self.bias(hidden_size, init=0.4)
        self.leak = leak

    def step(self, x, h, c):
        x, t = x[:, :-1], x[:, -1:]
        tau, r = abs(self.tau) + 0.5, sigmoid(self.r_on)
        turns = (t - self.s) / tau
        phi = turns - tr.floor(turns)
        k = tr.where(phi < r / 2, 2 * phi / r, tr.where(phi < r, 2 - 2 * phi / r, self.leak * phi))
        i, f, g, o = split(x @ self.W + h @ self.U + self.b, 4)
        new = sigmoid(f) * c + sigmoid(i) * tanh(g)
        out = sigmoid(o) * tanh(new)
        return k * out + (1 - k) * h, k * new + (1 - k) * c


class Clockwork(tr.Cell):
    """Clockwork RNN, Koutnik et al. 2014: three modules of periods 1, 2, 4. The last
    feature of x is the number of the step.
    """

    def build(self, input_size, hidden_size):
        n = hidden_size // 3
        module = np.arange(hidden_size) // n
        self.period = tr.tensor(2.0**module, self.dtype)
        self.mask = tr.tensor(
            module[:, None] >= module[None, :], self.dtype
        )  # slower ones speak to faster ones
        self.W, self.U, self.b = self.affine(input_size - 1, hidden_size)

    def step(self, x, h):
        x, t = x[:, :-1], x[:, -1:]
        rounds = t / self.period
        return tr.where(rounds == tr.floor(rounds), tanh(h @ (self.U * self.mask) + x @ self.W + self.b), h)


class GRUD(tr.Cell):
    """GRU-D, Che et al. 2018: x holds values, masks and times since the last value; the
    last value of each is a state.
    """

    states = ("h", "last")

    def build(self, input_size, hidden_size):
        D = input_size // 3
        self.state_sizes["last"] = D
        self.w_x, self.b_x = self.bias(D, init=0.3), self.bias(D)
        self.W_h, self.b_h = self.weight(D, hidden_size), self.bias(hidden_size)
        self.W, self.U, self.b = self.affine(D, hidden_size, gates=3)
        self.V = self.weight(D, hidden_size, gates=3)
        self.mean = self.bias(D, init=0.1)

    def step(self, x, h, last):
        x, m, delta = split(x, 3)
        m = tr.astype(m > 0, x.dtype)
        gamma_x = exp(-maximum(0.0, delta * self.w_x + self.b_x))
        gamma_h = exp(-relu(delta @ self.W_h + self.b_h))
        last = m * x + (1 - m) * last
        x = m * x + (1 - m) * (gamma_x * last + (1 - gamma_x) * self.mean)
        h = gamma_h * h
        W_z, W_r, W_n = split(self.U, 3, axis=1)
        z, r, n = split(x @ self.W + m @ self.V + self.b, 3)
        z, r = sigmoid(z + h @ W_z), sigmoid(r + h @ W_r)
        return (1 - z) * h + z * tanh(n + (r * h) @ W_n), last


class TimeLSTM(tr.Cell):
    """T-LSTM, Baytas et al. 2017: the short-term part of the memory is discounted by the elapsed time, the
    last feature of x.
    """

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size - 1, hidden_size, gates=4)
        self.W_d, self.b_d = self.weight(hidden_size, hidden_size), self.bias(hidden_size)

    def step(self, x, h, c):
        x, elapsed = x[:, :-1], abs(x[:, -1])
        short = tanh(c @ self.W_d + self.b_d)
        c = c - short + short * (1 / tr.log(np.e + elapsed))[:, None]
        i, f, g, o = split(x @ self.W + h @ self.U + self.b, 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


class GRUDecay(tr.Cell):
    """Exponential decay between inputs, as in the comparisons of Rubanova et al. 2019, before a GRU; the last
    feature of x is the elapsed time.
    """

    def build(self, input_size, hidden_size):
        self.decay = self.bias(hidden_size, init=0.2)
        self.W, self.U, self.b = self.affine(input_size - 1, hidden_size, gates=3)

    def step(self, x, h):
        x, elapsed = x[..., :-1], x[..., -1:] ** 2
        h = h * exp(-tr.softplus(self.decay) * elapsed)
        (x_r, x_z, x_n), (h_r, h_z, h_n) = split(x @ self.W + self.b, 3), split(h @ self.U, 3)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        return z * h + (1 - z) * tanh(x_n + r * h_n)


class LTC(tr.Cell):
    """Liquid time-constant network, Hasani et al. 2021: three fused steps."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.A, self.tau = self.bias(hidden_size, init=0.5), self.bias(hidden_size, init=1.0)

    def step(self, x, h):
        for _ in range(3):
            f = sigmoid(x @ self.W + h @ self.U + self.b)
            h = (h + f * self.A / 3) / (1 + (1 / abs(self.tau) + f) / 3)
        return h


class CfC(tr.Cell):
    """Closed-form continuous-time cell, Hasani et al. 2022; the last feature of x is the time."""

    def build(self, input_size, hidden_size):
        n = input_size - 1 + hidden_size
        self.W_1, self.b_1 = self.weight(n, 8), self.bias(8)
        self.W_2, self.b_2 = self.weight(8, hidden_size, gates=4), self.bias(4 * hidden_size)

    def step(self, x, h):
        x, t = x[:, :-1], x[:, -1:]
        backbone = 1.7159 * tanh(0.666 * (concat([x, h], axis=1) @ self.W_1 + self.b_1))
        g, k, a, b = split(backbone @ self.W_2 + self.b_2, 4)
        gate = sigmoid(a * t + b)
        return tanh(g) * (1 - gate) + gate * tanh(k)


# ------------------------------------------------------------------ linear, complex, orthogonal


class LRU(tr.Cell):
    """Linear recurrent unit, Orvieto et al. 2023: complex numbers as pairs of reals."""

    states = ("y", "re", "im")

    def build(self, input_size, hidden_size):
        self.nu, self.theta = self.bias(hidden_size, init=-1.0), self.bias(hidden_size, init=0.2)
        self.B_re, self.B_im = (self.weight(input_size, hidden_size) for _ in range(2))
        self.C_re, self.C_im = (self.weight(hidden_size, hidden_size) for _ in range(2))
        self.D = self.weight(input_size, hidden_size)

    def step(self, x, y, re, im):
        size, phase = exp(-exp(self.nu)), exp(self.theta)
        gamma = sqrt(1 - size * size)
        a, b = size * cos(phase), size * sin(phase)
        re, im = a * re - b * im + gamma * (x @ self.B_re), a * im + b * re + gamma * (x @ self.B_im)
        return re @ self.C_re - im @ self.C_im + x @ self.D, re, im


class ExpRNN(tr.Cell):
    """expRNN, Lezcano-Casado & Martinez-Rubio 2019: a given orthogonal matrix, and modrelu."""

    def build(self, input_size, hidden_size):
        A = np.random.default_rng(0).standard_normal((hidden_size, hidden_size))
        self.Q = tr.tensor(np.linalg.qr(A - A.T)[0], self.dtype)
        self.T, self.b = self.weight(input_size, hidden_size), self.bias(hidden_size)

    def step(self, x, h):
        z = x @ self.T + h @ self.Q
        return tr.sign(z) * relu(abs(z) + self.b)


class URNN(tr.Cell):
    """Unitary evolution, Arjovsky et al. 2016, in pairs of reals: two diagonals of phases and a
    reflection, without the Fourier transforms.
    """

    states = ("re", "im")

    def build(self, input_size, hidden_size):
        self.d_1, self.d_2 = self.bias(hidden_size, init=0.3), self.bias(hidden_size, init=-0.7)
        self.v_re, self.v_im = self.bias(hidden_size, init=0.5), self.bias(hidden_size, init=0.1)
        self.V_re, self.V_im = (self.weight(input_size, hidden_size) for _ in range(2))
        self.b = self.bias(hidden_size, init=-0.1)

    def _turned(self, re, im, angle):
        return re * cos(angle) - im * sin(angle), re * sin(angle) + im * cos(angle)

    def step(self, x, re, im):
        re, im = self._turned(re, im, self.d_1)
        p = (re * self.v_re + im * self.v_im).sum(axis=-1, keepdims=True)
        q = (im * self.v_re - re * self.v_im).sum(axis=-1, keepdims=True)
        norm = (self.v_re**2 + self.v_im**2).sum()
        re, im = (
            re - 2 * (p * self.v_re - q * self.v_im) / norm,
            im - 2 * (p * self.v_im + q * self.v_re) / norm,
        )
        re, im = self._turned(re, im, self.d_2)
        re, im = re + x @ self.V_re, im + x @ self.V_im
        size = sqrt(re**2 + im**2)
        scale = relu(size + self.b) / (size + 1e-5)
        return scale * re, scale * im


class Retention(tr.Cell):
    """Retention of one head, Sun et al. 2023, its matrix state laid out as rows of keys by
    `einsum`.
    """

    states = ("o", "S")

    def build(self, input_size, hidden_size):
        self.K = 3
        self.state_sizes["S"] = self.K * hidden_size
        self.W_q, self.W_k = (self.weight(input_size, self.K) for _ in range(2))
        self.W_v = self.weight(input_size, hidden_size)

    def step(self, x, o, S):
        q, k, v = x @ self.W_q, x @ self.W_k, x @ self.W_v
        S = tr.reshape(S, (-1, self.K, self.hidden_size))
        S = 0.9 * S + tr.einsum("bk,bv->bkv", k, v)
        return tr.einsum("bk,bkv->bv", q, S), tr.reshape(S, (-1, self.K * self.hidden_size))


# ------------------------------------------------------------------ several parts


class HyperLSTM(tr.Cell):
    """HyperLSTM, Ha et al. 2017, small: a second LSTM scales the rows of the gates."""

    states = ("h", "c", "h2", "c2")

    def build(self, input_size, hidden_size):
        n, z = 4, 2
        self.state_sizes |= {"h2": n, "c2": n}
        self.W, self.U, self.b = self.affine(input_size, hidden_size, gates=4)
        self.W2, self.U2, self.b2 = self.affine(input_size + hidden_size, n, gates=4)
        self.Z, self.Z_b = self.weight(n, 2 * z), self.bias(2 * z, init=1.0)
        self.D_x, self.D_h = (self.weight(z, 4 * hidden_size) for _ in range(2))

    def _lstm(self, a, c):
        i, f, g, o = split(a, 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

    def step(self, x, h, c, h2, c2):
        h2, c2 = self._lstm(concat([x, h], axis=-1) @ self.W2 + h2 @ self.U2 + self.b2, c2)
        z_x, z_h = split(h2 @ self.Z + self.Z_b, 2)
        a = (z_x @ self.D_x) * (x @ self.W) + (z_h @ self.D_h) * (h @ self.U) + self.b
        return *self._lstm(a, c), h2, c2


class HeadNorm(tr.Cell):
    """Normalisation by heads, as in Beck et al. 2024, through a reshape to [batch, heads, width]."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def step(self, x, h):
        a = tr.reshape(x @ self.W + h @ self.U, (-1, 2, self.hidden_size // 2))
        a = (a - tr.mean(a, axis=-1, keepdims=True)) / sqrt(tr.var(a, axis=-1, keepdims=True) + 1e-5)
        return tanh(tr.reshape(a, (-1, self.hidden_size)) + self.b)


class MIRNN(tr.Cell):
    """Multiplicative integration, Wu et al. 2016."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.alpha, self.beta_1, self.beta_2 = (self.bias(hidden_size, init=v) for v in (1.0, 0.5, 0.5))

    def step(self, x, h):
        p, q = x @ self.W, h @ self.U
        return tanh(self.alpha * p * q + self.beta_1 * q + self.beta_2 * p + self.b)


class HORNN(tr.Cell):
    """Higher-order RNN, Soltani & Jiang 2016, of order 2: the state before the last is a state."""

    states = ("h", "older")

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.U_2 = self.weight(hidden_size, hidden_size)

    def step(self, x, h, older):
        return tanh(x @ self.W + h @ self.U + older @ self.U_2 + self.b), h


class EUNN(tr.Cell):
    """Tunable unitary network, Jing et al. 2017, one layer of rotations of neighbouring pairs, by strided
    slices of the state.
    """

    def build(self, input_size, hidden_size):
        self.angle = self.bias(hidden_size // 2, init=0.7)
        self.W, self.b = self.weight(input_size, hidden_size), self.bias(hidden_size)

    def step(self, x, h):
        even, odd = h[:, ::2], h[:, 1::2]
        c, s = cos(self.angle), sin(self.angle)
        h = tr.stack([c * even - s * odd, s * even + c * odd], axis=-1).reshape(-1, self.hidden_size)
        return tanh(h + x @ self.W + self.b)


class ShufflingRNN(tr.Cell):
    """Shuffling RNN, Rotman & Wolf 2021: the state is permuted, here rolled by one unit, and a gated function
    of x is added.
    """

    def build(self, input_size, hidden_size):
        self.W, self.b = self.weight(input_size, hidden_size, gates=2), self.bias(2 * hidden_size)

    def step(self, x, h):
        value, gate = split(x @ self.W + self.b, 2)
        return relu(tr.roll(h, 1, axis=-1) + value * sigmoid(gate))


class StackRNN(tr.Cell):
    """RNN with a stack of numbers, Joulin & Mikolov 2015: pushed and popped by a softmax."""

    states = ("h", "stack")

    def build(self, input_size, hidden_size):
        self.state_sizes["stack"] = 4
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.P, self.A, self.D = (
            self.weight(2, hidden_size),
            self.weight(hidden_size, 2),
            self.weight(hidden_size, 1),
        )

    def step(self, x, h, stack):
        h = sigmoid(x @ self.W + h @ self.U + stack[:, :2] @ self.P + self.b)
        a = softmax(h @ self.A)
        pushed = concat([sigmoid(h @ self.D), stack[:, :-1]], axis=1)
        popped = concat([stack[:, 1:], 0.0 * stack[:, :1]], axis=1)
        return h, a[:, :1] * pushed + a[:, 1:] * popped


class HiPPO(tr.Cell):
    """HiPPO-LegS memory of a gated recurrence, Gu et al. 2020: its step falls with the number of the step,
    the last feature of x.
    """

    states = ("h", "c")

    def build(self, input_size, hidden_size):
        n = np.arange(4)
        A = np.where(n[:, None] > n, np.sqrt((2 * n[:, None] + 1) * (2 * n + 1)), np.diag(n + 1.0))
        self.A, self.B = tr.tensor(A.T, self.dtype), tr.tensor(np.sqrt(2 * n + 1.0), self.dtype)
        self.state_sizes["c"] = 4
        self.W, self.U, self.b = self.affine(input_size - 1, hidden_size, gates=2)
        self.C, self.F = self.weight(4, 2 * hidden_size), self.weight(hidden_size, 1)

    def step(self, x, h, c):
        x, t = x[:, :-1], 1 + abs(x[:, -1:])
        g, n = split(x @ self.W + h @ self.U + c @ self.C + self.b, 2)
        g = sigmoid(g)
        h = (1 - g) * h + g * tanh(n)
        return h, c + (h @ self.F * self.B - c @ self.A) / t


class StatisticalRU(tr.Cell):
    """Statistical recurrent unit, Oliva et al. 2017: moving averages of several scales."""

    states = ("o", "mu")

    def build(self, input_size, hidden_size):
        self.state_sizes["mu"] = 3 * 4
        self.W_r, self.b_r = self.weight(12, 3), self.bias(3)
        self.W_x, self.W_p, self.b_p = self.weight(input_size, 4), self.weight(3, 4), self.bias(4)
        self.W_o, self.b_o = self.weight(12, hidden_size), self.bias(hidden_size)
        self.alpha = tr.tensor(np.repeat([0.0, 0.5, 0.9], 4), self.dtype)

    def step(self, x, o, mu):
        r = relu(mu @ self.W_r + self.b_r)
        phi = relu(r @ self.W_p + x @ self.W_x + self.b_p)
        mu = self.alpha * mu + (1 - self.alpha) * tr.tile(phi, (1, 3))
        return relu(mu @ self.W_o + self.b_o), mu


class S6(tr.Cell):
    """Selective state space, Gu & Dao 2023, with a diagonal A: a state [batch, channels, 2]."""

    states = ("y", "s")

    def build(self, input_size, hidden_size):
        self.N = 2
        self.state_sizes["s"] = self.N * hidden_size
        self.A = self.weight(hidden_size, self.N)
        self.W_u, self.W_d, self.b_d = (
            self.weight(input_size, hidden_size),
            self.weight(input_size, hidden_size),
            self.bias(hidden_size),
        )
        self.W_B, self.W_C = self.weight(input_size, self.N), self.weight(input_size, self.N)

    def step(self, x, y, s):
        u, delta = x @ self.W_u, tr.softplus(x @ self.W_d + self.b_d)
        B, C = x @ self.W_B, x @ self.W_C
        s = tr.reshape(s, (-1, self.hidden_size, self.N))
        s = exp(-delta[:, :, None] * exp(self.A)) * s + (delta * u)[:, :, None] * B[:, None, :]
        return tr.sum(s * C[:, None, :], axis=-1), tr.reshape(s, (-1, self.hidden_size * self.N))


class ACT(tr.Cell):
    """Adaptive computation, Graves 2016: three steps inside a step, each with the share of its halting
    probability, until nothing is left.
    """

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.w_h, self.b_h = self.weight(hidden_size, 1), self.bias(1)

    def step(self, x, h):
        left, total = 1.0, 0.0
        for k in range(3):
            h = tanh(x @ self.W + h @ self.U + self.b)
            p = sigmoid(h @ self.w_h + self.b_h) if k < 2 else 1.0
            share = tr.minimum(p, left) if k < 2 else left
            total, left = total + share * h, left - share
        return total


class TernaryRNN(tr.Cell):
    """Ternary weights, Ott et al. 2016, by the straight-through estimator of Bengio et al. 2013."""

    surrogate_gradient = True

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def _ternary(self, W):
        return W + (tr.round(tr.clip(2 * W, -1.0, 1.0)) - W).detach()

    def step(self, x, h):
        return tanh(x @ self._ternary(self.W) + h @ self._ternary(self.U) + self.b)


class WeightNorm(tr.Cell):
    """Weight normalisation, Salimans & Kingma 2016: columns of the matrices have a learned length."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.g = self.bias(hidden_size, init=1.0)

    def step(self, x, h):
        U = self.U * (self.g / sqrt((self.U**2).sum(axis=0)))
        return tanh(x @ self.W + h @ U + self.b)


class BlockDiagonal(tr.Cell):
    """Recurrent matrices by heads, as in Beck et al. 2024: a small one for each part of the state."""

    def build(self, input_size, hidden_size):
        self.W, self.b = self.weight(input_size, hidden_size), self.bias(hidden_size)
        self.U = [self.weight(hidden_size // 3, hidden_size // 3) for _ in range(3)]

    def step(self, x, h):
        heads = [part @ U for part, U in zip(split(h, 3), self.U, strict=True)]
        return tanh(x @ self.W + concat(heads, axis=-1) + self.b)


class IRNNEquilibrium(tr.Cell):
    """Incremental RNN, Kag et al. 2020: two Euler steps towards an equilibrium of the change of the state."""

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)
        self.eta = [self.bias(1, init=v) for v in (0.5, 0.3)]

    def step(self, x, h):
        g = 0.0 * h
        for eta in self.eta:
            g = g + eta * (tanh((g + h) @ self.U + x @ self.W + self.b) - 0.5 * (g + h))
        return g


class DeltaRNN(tr.Cell):
    """Delta-RNN, Ororbia et al. 2017: inner and outer functions of the old state and the input."""

    def build(self, input_size, hidden_size):
        self.W, self.V = self.weight(input_size, hidden_size), self.weight(hidden_size, hidden_size)
        self.alpha, self.beta_1, self.beta_2 = (self.bias(hidden_size, init=v) for v in (1.0, 0.5, 0.5))
        self.b, self.b_r = self.bias(hidden_size), self.bias(hidden_size)

    def step(self, x, h):
        e, d = x @ self.W, h @ self.V
        z = tanh(self.alpha * d * e + self.beta_1 * d + self.beta_2 * e + self.b)
        r = sigmoid(e + self.b_r)
        return tanh((1 - r) * z + r * h)


class KRU(tr.Cell):
    """Kronecker recurrent unit, Jose et al. 2018: the recurrent matrix is the Kronecker product of two small
    ones, applied to the state as a small matrix.
    """

    def build(self, input_size, hidden_size):
        self.W, self.b = self.weight(input_size, hidden_size), self.bias(hidden_size)
        self.A, self.B = self.weight(2, 2), self.weight(hidden_size // 2, hidden_size // 2)

    def step(self, x, h):
        H = tr.reshape(h, (-1, 2, self.hidden_size // 2))
        H = tr.matrix_transpose(tr.matrix_transpose(H @ self.B) @ self.A)
        return tanh(tr.reshape(H, (-1, self.hidden_size)) + x @ self.W + self.b)


@tr.custom_vjp
def superspike(v):
    """1 where v > 0, with a gradient that falls with the distance."""
    return tr.astype(v > 0, v.dtype)


superspike.defvjp(lambda v: (tr.astype(v > 0, v.dtype), v), lambda v, g: (g / (1 + 10 * abs(v)) ** 2,))


class SuperSpike(tr.Cell):
    """SuperSpike, Zenke & Ganguli 2018: integrate-and-fire with synaptic currents; its surrogate by
    `custom_vjp`.
    """

    states = ("z", "V", "I")
    surrogate_gradient = True

    def build(self, input_size, hidden_size):
        self.W, self.U = self.weight(input_size, hidden_size), self.weight(hidden_size, hidden_size)

    def step(self, x, z, V, I):
        I = 0.8 * I + x @ self.W + z @ self.U
        V = (0.9 * V + I) * (1 - z)
        return superspike(V - 1), V, I
