"""Activation functions composed of ops."""

from __future__ import annotations

from ..base.errors import InputError
from . import tape
from .pointwise import as_tensor, clip, erf, expm1, sigmoid, tanh, where
from .types import ArrayLike

__all__ = ["elu", "gelu", "hardsigmoid", "leaky_relu", "silu"]


def silu(x: ArrayLike) -> tape.Tensor:
    """``x * sigmoid(x)`` (Elfwing et al. 2018; "swish")."""
    x = as_tensor(x)
    return x * sigmoid(x)


def gelu(x: ArrayLike, approximate: str = "none") -> tape.Tensor:
    """``x * Phi(x)``, Phi the normal distribution function, or near it by ``approximate="tanh"`` (Hendrycks &
    Gimpel 2016).
    """
    x = as_tensor(x)
    if approximate not in ("none", "tanh"):
        raise InputError(f"gelu: approximate is {approximate!r}: use 'none' or 'tanh'")
    if approximate == "tanh":
        return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(x * 0.7071067811865476))


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> tape.Tensor:
    """``x`` where positive, else ``negative_slope * x`` (Maas et al. 2013)."""
    x = as_tensor(x)
    return where(x > 0, x, negative_slope * x)


def elu(x: ArrayLike, alpha: float = 1.0) -> tape.Tensor:
    """``x`` where positive, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2016, eq. 15)."""
    x = as_tensor(x)
    return where(x > 0, x, alpha * expm1(where(x > 0, 0, x)))


def hardsigmoid(x: ArrayLike) -> tape.Tensor:
    """``clip(x / 6 + 1/2, 0, 1)`` (as PyTorch)."""
    return clip(as_tensor(x) / 6 + 0.5, 0.0, 1.0)
