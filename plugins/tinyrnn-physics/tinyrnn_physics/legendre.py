"""Legendre memory unit."""

import math

import numpy as np

from tinyrnn import Cell, InputError, tanh, tensor


def _lecun_uniform(generator, n_in, n_out):
    limit = math.sqrt(3 / n_in)
    return generator.uniform(-limit, limit, (n_in, n_out))


def _glorot_normal(generator, n_in, n_out):
    return generator.normal(0.0, math.sqrt(2 / (n_in + n_out)), (n_in, n_out))


def _exponential(M):
    """The exponential of a matrix: the Taylor series of M / 2^s, whose norm is at most 1/2, squared s
    times.
    """
    squarings = max(0, math.ceil(math.log2(np.abs(M).sum(axis=0).max())) + 1)
    small = M / 2**squarings
    term = total = np.eye(len(M))
    for k in range(1, 19):  # (1/2)^19 / 19! is below the precision of float64
        term = term @ small / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total


def delay(order, theta):
    """A ``[order, order]`` and B ``[order]`` of a delay by ``theta`` steps, which act on columns.

    Voelker, Kajić & Eliasmith 2019, equation 2, discretised with a zero-order hold over one step: the
    exponential of [[A, B], [0, 0]] / theta holds both in its first rows.
    """
    i, j = np.mgrid[:order, :order]
    both = np.zeros((order + 1, order + 1))
    both[:-1, :-1] = (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    both[:-1, -1] = ((2 * i + 1) * (-1.0) ** i)[:, 0]
    held = _exponential(both / theta)
    return held[:-1, :-1], held[:-1, -1]


class LMU(Cell):
    """Legendre memory unit.

    Voelker, Kajić & Eliasmith 2019, section 2, with a zero-order hold.

    u = x e_x + h e_h + m e_m
    m' = m A^T + u B
    h' = tanh(x W_x + h W_h + m' W_m)

    m [B, order] holds the Legendre coefficients of the last ``theta`` values of u [B, 1]. A and B follow from
    ``order`` and ``theta`` and are not learned. h [B, hidden] is the output. e_x and e_h start
    LeCun-uniform, e_m at 0, the W Glorot-normal.
    """

    states = ("h", "m")

    def build(self, input_size, hidden_size, *, order: int = 16, theta: float = 50.0):
        if order < 1 or not theta > 0:
            raise InputError(f"lmu: order is {order}, theta {theta}: they must be at least 1 and above 0")
        self.state_sizes["m"] = order
        A, B = delay(order, theta)
        self.A, self.B = tensor(A.T, self.dtype), tensor(B, self.dtype)
        self.e_x, self.e_h = (self.weight(n, 1, init=_lecun_uniform) for n in (input_size, hidden_size))
        self.e_m = self.weight(order, 1, init="zeros")
        self.W_x, self.W_h, self.W_m = (
            self.weight(n, hidden_size, init=_glorot_normal) for n in (input_size, hidden_size, order)
        )

    def step(self, x, h, m):
        u = x @ self.e_x + h @ self.e_h + m @ self.e_m
        m = m @ self.A + u * self.B
        return tanh(x @ self.W_x + h @ self.W_h + m @ self.W_m), m
