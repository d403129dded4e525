"""Networks of firing rates in continuous time, by the Euler scheme."""

import math
from typing import Literal

import numpy as np

from tinyrnn import Cell, Generator, InputError, abs, clip, randn_like, relu, softplus, tanh, tensor

_RATES = {"relu": relu, "tanh": tanh, "softplus": softplus}


def _normal(std):
    """An initialiser: normal of standard deviation ``std``."""
    return lambda generator, *shape: generator.normal(0.0, std, shape)


def _part(name, dt, tau):
    """``dt / tau``, the part of its distance that a state goes in one step."""
    if not 0 < dt <= tau:
        raise InputError(f"{name}: dt is {dt}, tau {tau}: dt must be above 0 and at most tau")
    return dt / tau


def _size(name, alpha, noise):
    """The standard deviation of what an Euler step adds to a state."""
    if noise < 0:
        raise InputError(f"{name}: noise is {noise}: it is a standard deviation, at least 0")
    return math.sqrt(2 * alpha) * noise


def _noisy(state, size):
    """``state`` with normal numbers added, others for each unit, sequence and step."""
    return state + size * randn_like(state) if size else state


class CTRNN(Cell):
    """Leaky network of rates in continuous time.

    Song, Yang & Wang 2016, equations 1 and 2, by the Euler scheme.

    alpha = dt / tau
    x' = (1 - alpha) x + alpha (r W_rec + u W_in + b) + sqrt(2 alpha) noise N(0, 1)
    r' = [x']_+

    r are the firing rates [B, hidden], the output, x the currents and u the inputs. ``rate`` takes another
    function in the place of [.]_+. dt and tau are in the same unit, milliseconds say. ``noise`` is the
    standard deviation of the currents' own noise between steps that are far apart, the paper's sigma_rec; as
    there the network is noisy whenever it runs, in training and afterwards. W_rec starts normal with
    variance ``gain``^2 / hidden.
    """

    states = ("r", "x")

    def build(
        self,
        input_size,
        hidden_size,
        *,
        dt: float = 50.0,
        tau: float = 100.0,
        rate: Literal["relu", "tanh", "softplus"] = "relu",
        gain: float = 1.0,
        noise: float = 0.0,
    ):
        self.alpha = _part("ctrnn", dt, tau)
        self.noise = _size("ctrnn", self.alpha, noise)
        self.W_in, self.b = self.weight(input_size, hidden_size), self.bias(hidden_size)
        self.W_rec = self.weight(hidden_size, hidden_size, init=_normal(gain / math.sqrt(hidden_size)))
        self.rate = _RATES[rate]

    def step(self, u, r, x):
        x = (1 - self.alpha) * x + self.alpha * (r @ self.W_rec + u @ self.W_in + self.b)
        x = _noisy(x, self.noise)
        return self.rate(x), x


class DaleRNN(Cell):
    """Leaky network of rates whose units are excitatory or inhibitory, by Dale's law.

    Song, Yang & Wang 2016: the network of ``ctrnn``, with the recurrent matrix of their section on excitatory
    and inhibitory populations.

    alpha = dt / tau
    x' = (1 - alpha) x + alpha ((r D) |W_rec| + u W_in + b) + sqrt(2 alpha) noise N(0, 1)
    r' = [x']_+

    D is 1 for the first units, a part ``excitatory`` of them, and -1 for the others, and is not learned. r
    are the firing rates [B, hidden], the output, x the currents and u the inputs; ``noise`` as in ``ctrnn``.
    W_rec starts with the paper's gamma distribution of shape 2, inhibitory rows larger such that both kinds
    are in balance, and scaled to the spectral radius ``radius``.
    """

    states = ("r", "x")

    def build(
        self,
        input_size,
        hidden_size,
        *,
        dt: float = 50.0,
        tau: float = 100.0,
        excitatory: float = 0.8,
        radius: float = 1.5,
        noise: float = 0.0,
    ):
        if not 0 <= excitatory <= 1:
            raise InputError(f"dale: excitatory is {excitatory}: it is a part of the units, from 0 to 1")
        self.alpha = _part("dale", dt, tau)
        self.noise = _size("dale", self.alpha, noise)
        count = round(excitatory * hidden_size)
        D = np.where(np.arange(hidden_size) < count, 1.0, -1.0)
        self.D = tensor(D, self.dtype)

        def balanced(generator, *shape):
            W = -np.log1p(-generator.uniform(0.0, 1.0, (2, *shape))).sum(axis=0)  # gamma of shape 2
            if 0 < count < hidden_size:
                W[count:] *= count / (hidden_size - count)
            return W * radius / np.abs(np.linalg.eigvals(D[:, None] * W)).max()

        self.W_in, self.b = self.weight(input_size, hidden_size), self.bias(hidden_size)
        self.W_rec = self.weight(hidden_size, hidden_size, init=balanced)

    def step(self, u, r, x):
        x = (1 - self.alpha) * x + self.alpha * ((r * self.D) @ abs(self.W_rec) + u @ self.W_in + self.b)
        x = _noisy(x, self.noise)
        return relu(x), x


class LowRankRNN(Cell):
    """Leaky network of rates with a connectivity of low rank, or that and a fixed random one.

    Mastrogiuseppe & Ostojic 2018, equations 1 to 3, with a sum over m and n for a rank above 1.

    alpha = dt / tau
    phi = tanh(x)
    x' = (1 - alpha) x + alpha (phi n m^T / hidden + g phi chi + u W_in)
    r' = tanh(x')

    r [B, hidden] is the output, x the currents and u the inputs. m and n [hidden, rank] start normal with
    variance 1. chi is normal with variance 1 / hidden, is not learned, and the same for every network of a
    width: without it, ``g=0``, all that happens within the network is of dimension ``rank``.
    """

    states = ("r", "x")

    def build(
        self, input_size, hidden_size, *, rank: int = 2, g: float = 0.0, dt: float = 50.0, tau: float = 100.0
    ):
        if rank < 1:
            raise InputError(f"low-rank: rank is {rank}: it must be at least 1")
        self.alpha = _part("low-rank", dt, tau)
        self.m, self.n = (self.weight(hidden_size, rank, init=_normal(1.0)) for _ in range(2))
        self.W_in = self.weight(input_size, hidden_size)
        chi = Generator(0).normal(0.0, 1 / math.sqrt(hidden_size), (hidden_size, hidden_size))
        self.chi, self.g = (tensor(chi, self.dtype) if g else None), g

    def step(self, u, r, x):
        recurrent = (r @ self.n) @ self.m.T / self.hidden_size
        if self.chi is not None:
            recurrent = recurrent + self.g * (r @ self.chi)
        x = (1 - self.alpha) * x + self.alpha * (recurrent + u @ self.W_in)
        return tanh(x), x


class PlasticRNN(Cell):
    """Leaky network of rates with short-term plasticity of its synapses.

    Masse, Yang, Song, Wang & Freedman 2019, methods; the plasticity is that of Mongillo et al. 2008.

    x' = x + dt ((1 - x) / tau_x - u x r)
    u' = u + dt ((U - u) / tau_u + U (1 - u) r)
    alpha = dt / tau
    r' = [(1 - alpha) r + alpha ((u' x' r) W_rec + i W_in + b) + sqrt(2 alpha) noise N(0, 1)]_+

    Times are in milliseconds, but rates r a second: in the first two lines r counts a thousandth. x [B,
    hidden] is the transmitter that is left, u the part of it that is used, both held to [0, 1] and 1 and U at
    the start; i are the inputs. Even units are facilitating, tau_x 200, tau_u 1500, U 0.15; odd ones
    depressing, tau_x 1500, tau_u 200, U 0.45. ``noise`` is the paper's sigma_rec, as in ``ctrnn``. W_rec
    starts normal with variance 1 / hidden.
    """

    states = ("r", "x", "u")

    def build(self, input_size, hidden_size, *, dt: float = 10.0, tau: float = 100.0, noise: float = 0.0):
        self.alpha, self.dt = _part("stp", dt, tau), dt
        self.noise = _size("stp", self.alpha, noise)
        facilitating = np.arange(hidden_size) % 2 == 0
        self.rate_x, self.rate_u, self.U = (
            tensor(np.where(facilitating, *both), self.dtype)
            for both in ((dt / 200, dt / 1500), (dt / 1500, dt / 200), (0.15, 0.45))
        )
        self.W_in, self.b = self.weight(input_size, hidden_size), self.bias(hidden_size)
        self.W_rec = self.weight(hidden_size, hidden_size, init=_normal(1 / math.sqrt(hidden_size)))

    def initial_state(self, batch_size):
        r, _, u = super().initial_state(batch_size)
        return r, 1 + u, self.U + u

    def step(self, i, r, x, u):
        spikes = self.dt / 1000 * r
        x, u = (
            clip(x + self.rate_x * (1 - x) - u * x * spikes, 0.0, 1.0),
            clip(u + self.rate_u * (self.U - u) + self.U * (1 - u) * spikes, 0.0, 1.0),
        )
        current = (u * x * r) @ self.W_rec + i @ self.W_in + self.b
        return relu(_noisy((1 - self.alpha) * r + self.alpha * current, self.noise)), x, u
