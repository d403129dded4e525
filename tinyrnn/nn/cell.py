"""`Cell`: one step of a recurrent network. A new cell is a subclass with `build` and `step`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import numpy as np

from ..autograd import Tensor, no_grad, tensor
from ..autograd.pointwise import checked_dtype
from ..autograd.tape import recording, walk
from ..autograd.types import DType
from ..base import devices as arrays
from ..base.errors import InputError, shown
from ..kernels.generator import Generator
from . import init as inits
from .checks import checked_generator, checked_sizes
from .module import Module

_building: ContextVar[Cell | None] = ContextVar("_building", default=None)  # the cell whose build is running


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

    Keyword-only arguments of ``build`` with annotations and defaults are the cell's options. A cell may
    override ``initial_state`` and ``constrain``, and hold other cells, whose ``step`` its own then calls.

    Args:
        input_size: width of ``x``.
        hidden_size: width of every state, unless ``build`` sets ``self.state_sizes`` to a dict name -> width;
            a tuple ``(H, N)`` in place of a width is a state ``[B, H, N]``, of any but the first.
        dtype: of the parameters; default: float32, in the ``build`` of another cell that one's.
        generator: `Generator` that the initial values are drawn from; in the ``build`` of another cell that
            one's.
        options: the cell's options.
    """

    states: tuple[str, ...] = ("h",)
    dtype: np.dtype[Any]
    _generator: Generator  # while ``build`` runs

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType | None = None,
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        checked_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        outer = _building.get()
        if dtype is None:
            dtype = outer.dtype if outer else "float32"
        if generator is None and outer:
            generator = outer._generator
        self.input_size, self.hidden_size = input_size, hidden_size
        self.dtype = checked_dtype(dtype)
        self.state_sizes: dict[str, int | tuple[int, ...]] = dict.fromkeys(self.states, hidden_size)
        self.gate_names: tuple[str, ...] = ()
        self._generator = checked_generator(generator)
        self._made: list[tuple[Tensor, int]] = []  # by `weight` and `bias`, with how many gates
        before = _building.set(self)
        try:
            self.build(input_size, hidden_size, **options)
        except SystemExit as error:  # which would end the program without a word
            raise InputError(f"{type(self).__name__}: build exits ({error}): raise another error") from error
        finally:
            _building.reset(before)
        gates = {id(p): count for p, count in self._made if count > 1}
        del self._generator, self._made
        self._gates = {n: gates[id(p)] for n, p in self.named_parameters() if id(p) in gates}
        self._check_built()
        with no_grad():
            self.constrain()

    def _check_built(self) -> None:
        """InputError if ``build`` left something that cannot be."""
        name, sizes = type(self).__name__, self.state_sizes
        if not isinstance(sizes, dict) or set(sizes) != set(self.states):
            mend = f"it must be a dict with a width for each of {', '.join(self.states)}"
            raise InputError(f"{name}: build set state_sizes to {shown(sizes)}: {mend}")
        for n, size in sizes.items():
            for part in size if isinstance(size, tuple) and size else (size,):
                checked_sizes(f"{name}: state_sizes", **{n: part})
        if isinstance(first := sizes[self.states[0]], tuple):
            mend = "it must be of rows, [B, size]: name another state first"
            said = f"the first state, {self.states[0]}, has the size {first}, but is the output"
            raise InputError(f"{name}: {said}: {mend}")
        named, most = len(self.gate_names), max(self._gates.values(), default=1)
        if named and named != most:
            mend = f"give one for each of gates={most}" if most > 1 else f"make it with gates={named}"
            raise InputError(
                f"{name}: name_gates names {named} gates, the widest parameter has {most}: {mend}"
            )
        self._check_initial_state()
        for n, value in vars(self).items():
            used = n not in ("weight", "bias", "affine") and callable(getattr(Cell, n, None))  # after build
            if used and not callable(value):
                raise InputError(f"{name}: build sets self.{n}, which hides the method {n}: use another name")

    def _check_initial_state(self) -> None:
        """InputError if ``initial_state`` does not give the states of a batch."""
        B = 2
        found: Any = self.initial_state(B)
        tensors = found if isinstance(found, tuple) and all(isinstance(s, Tensor) for s in found) else ()
        given = ", ".join(f"{s.dtype} {list(s.shape)}" for s in tensors)
        needed = ", ".join(f"{self.dtype} {shape}" for shape in self.state_shapes(B))
        if given != needed:
            name, states = type(self).__name__, ", ".join(self.states)
            mend = f"it must be a tuple of tensors {needed}, of {states}, as by broadcast_to(self.h0, ...)"
            raise InputError(f"{name}: initial_state({B}) returned {given or shown(found)}: {mend}")

    @property
    def output_size(self) -> int:
        """Width of the output, the first state."""
        size = self.state_sizes[self.states[0]]
        assert isinstance(size, int)
        return size

    def state_shapes(self, batch_size: int) -> list[list[int]]:
        """``[B, size]`` or ``[B, H, N]`` of each of ``states``."""
        sizes = [self.state_sizes[s] for s in self.states]
        return [[batch_size, *(size if isinstance(size, tuple) else (size,))] for size in sizes]

    def build(self, input_size: int, hidden_size: int) -> None:
        """Make the parameters; keyword-only arguments of a subclass are its options."""
        raise NotImplementedError(f"{type(self).__name__} must define build(self, input_size, hidden_size)")

    def step(self, x: Any, *states: Any) -> Any:
        """One step: ``x [B, input_size]`` and the states ``[B, size]`` (or ``[B, H, N]``) to the next states
        (one Tensor or a tuple).
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(self, x, ...states)")

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """The states before the first step, a tuple in the order of ``states``: zeros ``[B, size]`` of the
        parameters' dtype and device.

        A cell may override it, and compute them from its parameters, which then learn: ``return
        (broadcast_to(self.h0, (batch_size, size)),)``.
        """
        device = next((p.device for p in self.parameters()), "cpu")
        shapes = self.state_shapes(batch_size)
        return tuple(Tensor(arrays.to_device(np.zeros(shape, self.dtype), device)) for shape in shapes)

    def without_decay(self) -> list[Tensor]:
        """As of any module, and what the initial states are computed from, whatever its shape."""
        with recording():
            reached = walk(s.node for s in self.initial_state(1))
        return [*super().without_decay(), *[p for p in self.parameters() if p.node in reached]]

    def constrain(self) -> None:
        """Bring the parameters back to where they must be, in place, by ``assign_``: a cell may override it.

        It is called after ``build`` and, by `Module.apply_constraints`, after every update of an optimiser,
        and records nothing. It must depend on the parameters alone, else a resumed run is not the one that
        was interrupted.
        """

    def name_gates(self, *names: str) -> None:
        """In ``build``: the names of the gates that lie side by side in parameters made with ``gates=``, from
        the first column on. A parameter that has fewer gates has the first of them.

        Raises:
            InputError: two names are equal, or one is no identifier.
        """
        if len(set(names)) < len(names) or not all(isinstance(n, str) and n.isidentifier() for n in names):
            mend = "give different names, as in name_gates('r', 'z')"
            raise InputError(f"{type(self).__name__}: name_gates{shown(names)}: {mend}")
        self.gate_names = names

    def gate_columns(self) -> dict[str, dict[str, slice]]:
        """For each parameter in which gates lie side by side the columns of every gate, if they are named."""
        found: dict[str, dict[str, slice]] = {}
        for name, p in self.named_parameters():
            if self.gate_names and (count := self._gates.get(name)):
                n = p.shape[-1] // count
                found[name] = {g: slice(i * n, (i + 1) * n) for i, g in enumerate(self.gate_names[:count])}
        return found

    def gate_views(self, gate: str) -> dict[str, Any]:
        """The columns of one gate in every parameter that has it, by name: views, as arrays.

        Raises:
            InputError: no gate is named so.
        """
        if gate not in self.gate_names:
            known = ", ".join(self.gate_names) or "none: call name_gates in build"
            raise InputError(f"{type(self).__name__} has no gate {gate!r}: it has {known}")
        own, columns = dict(self.named_parameters()), self.gate_columns()
        return {name: own[name].data[..., c[gate]] for name, c in columns.items() if gate in c}

    def weight(
        self, n_in: int, n_out: int, *, gates: int = 1, init: str | inits.Initialiser = "glorot_uniform"
    ) -> Tensor:
        """A parameter ``[n_in, gates * n_out]``; ``init`` names a function of ``nn/init.py``, or is one."""
        return self._parameter(inits.fill(init, self._generator, n_in, n_out, gates), gates)

    def bias(self, n: int, *, gates: int = 1, init: str | float | inits.Initialiser = "zeros") -> Tensor:
        """A parameter ``[gates * n]``; ``init`` may also be a number."""
        if isinstance(init, int | float):
            return self._parameter(np.full(gates * n, float(init)), gates)
        return self._parameter(inits.fill(init, self._generator, 1, n, gates)[0], gates)

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

    def _parameter(self, values: Any, gates: int) -> Tensor:
        made = tensor(values, self.dtype, requires_grad=True)
        self._made.append((made, gates))
        return made
