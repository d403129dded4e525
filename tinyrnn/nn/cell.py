"""`Cell`: one step of a recurrent network. A new cell is a subclass with `build` and `step`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor, tensor
from ..autograd.pointwise import checked_dtype
from ..autograd.types import DType
from ..base import devices as arrays
from ..base.errors import InputError, shown
from ..kernels.generator import Generator
from . import init as inits
from .checks import checked_generator, checked_sizes
from .module import Module


class Cell(Module):
    """Base of recurrent cells.

    A subclass names its states (the first is the output), makes its parameters in ``build`` with ``weight``,
    ``bias`` and ``affine``, and writes one step as plain equations::

        class Elman(Cell):
            states = ("h",)

            def build(self, input_size, hidden_size):
                self.W, self.U, self.b = self.affine(input_size, hidden_size)

            def step(self, x, h):                 # x [B, input_size], h [B, hidden_size]
                return tanh(x @ self.W + h @ self.U + self.b)

    Keyword-only arguments of ``build`` with annotations and defaults are the cell's options.

    A cell whose gradients are meant not to be those of its values (spikes, rounding) says
    ``surrogate_gradient = True``: they are not compared with finite differences.

    Args:
        input_size: width of ``x``.
        hidden_size: width of every state, unless ``build`` sets ``self.state_sizes`` to a dict name -> width.
        dtype: of the parameters.
        generator: `Generator` that the initial values are drawn from.
        options: the cell's options.
    """

    states: tuple[str, ...] = ("h",)
    surrogate_gradient = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = "float32",
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        checked_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.dtype = checked_dtype(dtype)
        self.state_sizes = dict.fromkeys(self.states, hidden_size)
        self._generator = checked_generator(generator)
        try:
            self.build(input_size, hidden_size, **options)
        except SystemExit as error:  # which would end the program without a word
            raise InputError(f"{type(self).__name__}: build exits ({error}): raise another error") from error
        del self._generator
        self._check_built()

    def _check_built(self) -> None:
        """InputError if ``build`` left something that cannot be."""
        name, sizes = type(self).__name__, self.state_sizes
        if not isinstance(sizes, dict) or set(sizes) != set(self.states):
            mend = f"it must be a dict with a width for each of {', '.join(self.states)}"
            raise InputError(f"{name}: build set state_sizes to {shown(sizes)}: {mend}")
        checked_sizes(f"{name}: state_sizes", **sizes)
        for n, value in vars(self).items():
            used = n not in ("weight", "bias", "affine") and callable(getattr(Cell, n, None))  # after build
            if used and not callable(value):
                raise InputError(f"{name}: build sets self.{n}, which hides the method {n}: use another name")

    @property
    def output_size(self) -> int:
        """Width of the output, the first state."""
        return self.state_sizes[self.states[0]]

    def build(self, input_size: int, hidden_size: int) -> None:
        """Make the parameters; keyword-only arguments of a subclass are its options."""
        raise NotImplementedError(f"{type(self).__name__} must define build(self, input_size, hidden_size)")

    def step(self, x: Any, *states: Any) -> Any:
        """One step: ``x [B, input_size]`` and the states ``[B, size]`` to the next states (one Tensor or a
        tuple).
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(self, x, ...states)")

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """The states before the first step: zeros ``[B, size]`` of the parameters' dtype and device."""
        device = next((p.device for p in self.parameters()), "cpu")
        return tuple(
            Tensor(arrays.to_device(np.zeros((batch_size, self.state_sizes[s]), self.dtype), device))
            for s in self.states
        )

    def weight(
        self, n_in: int, n_out: int, *, gates: int = 1, init: str | inits.Initialiser = "glorot_uniform"
    ) -> Tensor:
        """A parameter ``[n_in, gates * n_out]``; ``init`` names a function of ``nn/init.py``, or is one."""
        return self._parameter(inits.fill(init, self._generator, n_in, n_out, gates))

    def bias(self, n: int, *, gates: int = 1, init: str | float | inits.Initialiser = "zeros") -> Tensor:
        """A parameter ``[gates * n]``; ``init`` may also be a number."""
        if isinstance(init, int | float):
            return self._parameter(np.full(gates * n, float(init)))
        return self._parameter(inits.fill(init, self._generator, 1, n, gates)[0])

    def affine(
        self,
        n_in: int,
        n_hidden: int,
        *,
        gates: int = 1,
        init: str | inits.Initialiser = "glorot_uniform",
        recurrent_init: str | inits.Initialiser = "orthogonal",
        bias_init: str | float | inits.Initialiser = "zeros",
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``W [n_in, gates * n_hidden]``, ``U [n_hidden, gates * n_hidden]``, ``b [gates * n_hidden]``: x @ W
        + h @ U + b.
        """
        return (
            self.weight(n_in, n_hidden, gates=gates, init=init),
            self.weight(n_hidden, n_hidden, gates=gates, init=recurrent_init),
            self.bias(n_hidden, gates=gates, init=bias_init),
        )

    def _parameter(self, values: Any) -> Tensor:
        return tensor(values, self.dtype, requires_grad=True)
