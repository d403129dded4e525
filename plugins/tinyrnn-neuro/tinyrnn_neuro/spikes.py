"""LIF and ALIF: neurons that integrate, fire and are reset, with a gradient in place of that of a spike."""

import math

from tinyrnn import Cell, InputError, abs, astype, clip


def _normal(generator, n_in, n_out):
    return generator.normal(0.0, 1 / math.sqrt(n_in), (n_in, n_out))


def _decay(name, tau):
    """The part that is left of a variable of time constant ``tau`` after a step."""
    if not tau > 0:
        raise InputError(f"{name} is {tau}: it is a time in steps, above 0")
    return math.exp(-1 / tau)


def spike(v, damping):
    """1 where v > 0, else 0, with the gradient ``damping`` max(0, 1 - |v|) (Bellec et al. 2018).

    Straight-through: to the hard step is added what is 0 and has that gradient, a function of it less the
    same function without a gradient.
    """
    near = clip(v, -1.0, 1.0)
    soft = damping * (near - near * abs(near) / 2)
    return astype(v > 0, v.dtype) + (soft - soft.detach())


class LIF(Cell):
    """Leaky integrate-and-fire neurons with a surrogate gradient.

    Bellec, Salaj, Subramoney, Legenstein & Maass 2018, section 2, without refractory periods and delays.

    alpha = exp(-1 / tau)
    V' = alpha V + (1 - alpha) (x W + z U) - threshold z
    z' = 1 where V' > threshold, else 0

    z are the spikes [B, hidden], the output, and V the membrane potentials. In place of the derivative of z'
    by v = (V' - threshold) / threshold, which is 0, stands ``damping`` max(0, 1 - |v|), in a straight-through
    form. ``tau`` is in steps. W starts normal with variance 1 / input, U with 1 / hidden.
    """

    states = ("z", "V")
    surrogate_gradient = True

    def build(
        self, input_size, hidden_size, *, tau: float = 20.0, threshold: float = 0.1, damping: float = 0.3
    ):
        self.W = self.weight(input_size, hidden_size, init=_normal)
        self.U = self.weight(hidden_size, hidden_size, init=_normal)
        self.alpha, self.threshold, self.damping = _decay("lif: tau", tau), threshold, damping

    def step(self, x, z, V):
        V = self.alpha * V + (1 - self.alpha) * (x @ self.W + z @ self.U) - self.threshold * z
        return spike((V - self.threshold) / self.threshold, self.damping), V


class ALIF(Cell):
    """Leaky integrate-and-fire neurons whose threshold adapts, with a surrogate gradient.

    Bellec, Salaj, Subramoney, Legenstein & Maass 2018, section 2, without refractory periods and delays.

    alpha, rho = exp(-1 / tau), exp(-1 / tau_a)
    V' = alpha V + (1 - alpha) (x W + z U) - (threshold + beta b) z
    b' = rho b + (1 - rho) z
    B = threshold + beta b'
    z' = 1 where V' > B, else 0

    z are the spikes [B, hidden], the output, V the membrane potentials and b the adaptation. In place of the
    derivative of z' by v = (V' - B) / B, which is 0, stands ``damping`` max(0, 1 - |v|), in a
    straight-through form. ``tau`` and ``tau_a`` are in steps. W starts normal with variance 1 / input, U with
    1 / hidden.
    """

    states = ("z", "V", "b")
    surrogate_gradient = True

    def build(
        self,
        input_size,
        hidden_size,
        *,
        tau: float = 20.0,
        tau_a: float = 200.0,
        threshold: float = 0.1,
        beta: float = 1.8,
        damping: float = 0.3,
    ):
        self.W = self.weight(input_size, hidden_size, init=_normal)
        self.U = self.weight(hidden_size, hidden_size, init=_normal)
        self.alpha, self.rho = _decay("alif: tau", tau), _decay("alif: tau_a", tau_a)
        self.threshold, self.beta, self.damping = threshold, beta, damping

    def step(self, x, z, V, b):
        current = x @ self.W + z @ self.U
        V = self.alpha * V + (1 - self.alpha) * current - (self.threshold + self.beta * b) * z
        b = self.rho * b + (1 - self.rho) * z
        B = self.threshold + self.beta * b
        return spike((V - B) / B, self.damping), V, b
