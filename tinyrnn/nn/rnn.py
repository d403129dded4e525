"""`RNN`: a cell over time, in layers and directions."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Never

from ..autograd import Tensor, concat, expand_dims, reshape, where
from ..autograd.functional import ones
from ..autograd.linalg import PRECISIONS, ambient_precision
from ..autograd.pointwise import as_tensor
from ..autograd.tape import multiplying
from ..autograd.types import ArrayLike, DType
from ..base.elsewhere import PYTORCH
from ..base.errors import InputError, ShapeError, near, shown
from ..base.options import PART, Options, option
from ..compiler import next_states, scan
from ..compiler.graph import Graph, Item
from ..kernels.generator import Generator, using
from . import registry
from .cell import Cell
from .checks import checked_choice, checked_flag, checked_integer, checked_rate
from .counterparts import renamed
from .layers import Dropout
from .module import Module
from .regularise import Regulariser

DEEPEST = 1000  # layers: more would be made, one by one, for hours


def joined(*rows: Tensor) -> Tensor:
    """Rows side by side."""
    return concat(rows, axis=-1)


def masked(there: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """``new`` where ``there [B, 1]`` is not 0, else ``old``."""
    return where(reshape(there, (-1,) + (1,) * (new.ndim - 1)) != 0, new, old)


@dataclass(frozen=True, kw_only=True)
class RnnOptions(Options):
    """What a stack of recurrent layers is made of, under the names that commands use."""

    cell: str = option("gru", "Recurrent cell, or FILE.py:CLASS; see tinyrnn cells.", "Model", inherited=True)
    cell_opt: tuple[str, ...] = option(
        (), "Option of the cell; may be repeated.", "Model", metavar="NAME=VALUE", inherited=True
    )
    hidden: int = option(256, "Width of each recurrent layer.", "Model", low=1, inherited=True)
    layers: int = option(2, "Recurrent layers.", "Model", low=1, high=DEEPEST, inherited=True)
    dropout: float = option(0.2, "Dropped part of inputs and outputs of layers.", "Model", **PART)
    recurrent_dropout: float = option(0.0, "Dropped part of what recurrent products see.", "Model", **PART)
    weight_drop: float = option(0.0, "Dropped part of the recurrent weights.", "Model", **PART)
    zoneout: float = option(0.0, "Part of the states that keeps its old value.", "Model", **PART)
    variational: bool = option(False, "Both dropouts drop the same at every step of a window.", "Model")
    dtype: Literal["float32", "float64", "bfloat16", "auto"] = option(
        "float32",
        "Precision. bfloat16: of operands of products; sums, states and weights stay float32. "
        "auto: bfloat16 where it is faster.",
        "Model",
        inherited=True,
    )
    tf32: bool = option(False, "On a GPU: operands of float32 products in TensorFloat-32.", "Model")

    def __post_init__(self) -> None:
        if isinstance(cell := self.cell, type):  # a run is to find it again by its name
            name = cell.__name__
            mend = f"give it a name, tr.cells.register({name.lower()!r}, {name}), and that as cell"
            raise InputError(f"cell is the class {name}: {mend}")
        super().__post_init__()

    def settings(self) -> dict[str, Any]:
        """As a model takes them and a checkpoint keeps them: the options of the cell read."""
        own = {name: getattr(self, name) for name in RnnOptions.rules() if name != "cell_opt"}
        return {**own, "cell_options": registry.read_options(self.cell, self.cell_opt)}


class RNN(Module):
    """A stack of recurrent layers.

    Args:
        cell: a registered name (``"gru"``) or a `Cell` subclass.
        input_size: width of the inputs.
        hidden_size: width of each layer's states in one direction.
        num_layers: each layer reads the outputs of the one below.
        bidirectional: each layer runs forward and backward in time and joins both outputs, width ``2 *
            hidden_size`` (Schuster & Paliwal 1997).
        dropout: probability of dropping an output between layers while training (Zaremba et al. 2014).
        recurrent_dropout, weight_drop, zoneout: of each layer while training, for any cell; see
            `Regulariser`.
        variational: both dropouts drop the same elements at every step of a sequence.
        dtype: ``"float32"`` or ``"float64"``.
        seed: of the initial weights and of dropout; None takes a new one.
        generator: a `Generator` in place of ``seed``.
        compile: run the time loop compiled where that is possible; False: op by op, the reference.
        precision: of the operands of products, as in `scan`: "bfloat16", "tf32", which means nothing on a
            CPU, or "int8", without gradients. Default: that of the `autocast` around.
        cell_options: the cell's options, for example ``{"forget_bias": 0.0}``.

    ``cells`` holds one cell a layer and direction, in the order layer 0 forward, layer 0 backward, layer 1
    forward, ...
    """

    def __init__(
        self,
        cell: str | type[Cell],
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        variational: bool = False,
        dtype: DType = "float32",
        seed: int | None = None,
        generator: Generator | None = None,
        compile: bool = True,
        precision: str | None = None,
        cell_options: Mapping[str, Any] | None = None,
        **unknown: Never,
    ) -> None:
        for name in unknown:
            known = inspect.signature(RNN).parameters.keys() - {"unknown"}
            there = f"here it is {PYTORCH[name]}" if name in PYTORCH else near(name, sorted(known))
            raise InputError(f"RNN has no argument {name!r}: {there}")
        sizes = dict(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        for name, value in sizes.items():
            checked_integer(name, value, 1)
        checked_rate("dropout", dropout)
        if seed is not None and generator is not None:
            raise InputError("RNN: both a seed and a generator are given: leave one of them out")
        generator = Generator(seed) if generator is None else generator
        cell_class = registry.get_cell(cell)
        options = registry.check_options(cell_class, cell_options or {})
        self.num_layers, self.directions, self.hidden_size = (
            num_layers,
            2 if checked_flag("bidirectional", bidirectional) else 1,
            hidden_size,
        )
        self.cells: list[Cell] = []
        for layer in range(num_layers):
            size = input_size if layer == 0 else self.cells[-1].output_size * self.directions
            for _ in range(self.directions):
                self.cells.append(cell_class(size, hidden_size, dtype=dtype, generator=generator, **options))
        self.output_size = self.cells[-1].output_size * self.directions
        self.dropout = Dropout(dropout, variational=variational, generator=generator)
        rates: dict[str, Any] = dict(
            recurrent_dropout=recurrent_dropout,
            weight_drop=weight_drop,
            zoneout=zoneout,
            variational=variational,
        )
        self.regulariser = Regulariser(cell_class.states, generator=generator, **rates)
        self.compile = checked_flag("compile", compile)
        self.precision = precision and checked_choice("precision", precision, PRECISIONS)

    def from_pytorch(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Of ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``."""
        return renamed(self.cells, self.directions, state)

    def initial_state(self, batch_size: int) -> list[tuple[Tensor, ...]]:
        """The states before the first step, a tuple for each of ``cells``, by its ``initial_state``."""
        return [cell.initial_state(batch_size) for cell in self.cells]

    def flat(self, states: Iterable[Sequence[Tensor]]) -> list[Tensor]:
        """The states of all ``cells``, one after the other, as a step that is compiled takes them."""
        return [s for layer in states for s in layer]

    def layered(self, states: Iterable[Tensor]) -> list[tuple[Tensor, ...]]:
        """The inverse of ``flat``: a tuple for each of ``cells``."""
        states = iter(states)
        return [tuple(itertools.islice(states, len(cell.states))) for cell in self.cells]

    def cell_step(self, cell: Cell, x: Tensor, old: Sequence[Tensor]) -> Any:
        """The step ``(x,), *states`` of one of ``cells`` as it runs out of training, for inputs like ``x [B,
        input_size]``.
        """
        return self.regulariser(cell.step, expand_dims(x, axis=0), old)[0]

    def step(self, x: Tensor, states: Sequence[Sequence[Tensor]]) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """One step through all layers, out of training: ``x [B, input_size]`` and the states to ``(y,
        states)``.

        Raises:
            InputError: the network is bidirectional.
        """
        self._check_one_way()
        new = []
        for cell, old in zip(self.cells, self._checked_states(states, len(x)), strict=True):
            precision = self._products(x) or ambient_precision()
            with using(self.regulariser.generator), multiplying((precision, True)):
                new.append(next_states(self.cell_step(cell, x, old), (x,), old))
            x = new[-1][0]
        return x, new

    def _products(self, x: Tensor) -> str | None:
        """The precision of products with ``x`` that this network asks for."""
        return None if self.precision == "tf32" and x.device == "cpu" else self.precision

    def _check_one_way(self) -> None:
        if self.directions != 1:
            raise InputError(
                "a bidirectional network reads its inputs from both ends: it cannot go step by step"
            )

    def _checked_states(self, states: Any, batch_size: int) -> list[tuple[Tensor, ...]]:
        """``states`` if they are like ``initial_state(batch_size)``; ShapeError if not."""
        own = f"this network has {len(self.cells)}"
        if not isinstance(states, list | tuple) or not all(
            isinstance(layer, list | tuple) for layer in states
        ):
            mend = f"give a list of tuples of tensors, as final_states is: {own} layers and directions"
            raise ShapeError(f"RNN: init is {shown(states)}: {mend}")
        if len(states) != len(self.cells):
            raise ShapeError(f"RNN: init holds states of {len(states)} layers and directions, {own}")
        checked = [tuple(map(as_tensor, layer)) for layer in states]
        for i, (cell, layer) in enumerate(zip(self.cells, checked, strict=True)):
            found = [list(s.shape) for s in layer]
            wanted = cell.state_shapes(batch_size)
            if found != wanted:
                given, needed = (", ".join(map(str, shapes)) for shapes in (found, wanted))
                mend = f"they must be {needed}, of {', '.join(cell.states)}"
                raise ShapeError(f"RNN: init gives layer or direction {i} the states {given}: {mend}")
        return checked

    def forward(
        self,
        xs: ArrayLike,
        init: Sequence[Sequence[Tensor]] | None = None,
        mask: ArrayLike | None = None,
        resets: ArrayLike | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Run over time.

        Args:
            xs: ``[T, B, input_size]``.
            init: as returned in ``final_states``; default: each cell's initial state.
            mask: ``[T, B]``, 0 where a sequence has ended: its states are carried on unchanged, and NaN in
                ``xs`` has no influence there.
            resets: ``[T, B]``, 1 where a new document begins: the states return to ``init``.

        Returns:
            ``(ys, final_states)``: ys ``[T, B, directions * hidden_size]``, final_states a list like
            ``initial_state``'s: ``(h, c) = final_states[0]`` of an LSTM's first layer.

        Raises:
            ShapeError: ``xs``, ``init``, ``mask`` or ``resets`` are of another shape.
        """
        xs = as_tensor(xs)
        if xs.ndim != 3 or xs.shape[2] != self.cells[0].input_size:
            raise ShapeError(
                f"RNN: inputs are {list(xs.shape)}: they must be [T, B, {self.cells[0].input_size}]"
            )
        batch_size = xs.shape[1]
        init = self.initial_state(batch_size) if init is None else self._checked_states(init, batch_size)
        final, precision = [], self._products(as_tensor(xs))
        for layer in range(self.num_layers):
            if layer:
                xs = self.dropout(xs)
            ys = []
            for direction in range(self.directions):
                i = layer * self.directions + direction
                flags: dict[str, Any] = dict(mask=mask, resets=resets, reverse=direction == 1)
                flags |= dict(compile=None if self.compile else False, precision=precision)
                with using(self.regulariser.generator):
                    step, streams = self.regulariser(self.cells[i].step, xs, init[i])
                    y, states = scan(step, streams, init[i], **flags)
                ys.append(y)
                final.append(states)
            xs = ys[0] if self.directions == 1 else concat(ys, axis=-1)
        return xs, final

    def states_into(self, graph: Graph, suffix: str = "") -> list[tuple[Item, ...]]:
        """The states before a step as states of a `Graph`, NAME_LAYER and a suffix; see `into`."""
        return [
            tuple(graph.state(f"{name}_{i}{suffix}", s) for name, s in zip(cell.states, old, strict=True))
            for i, (cell, old) in enumerate(zip(self.cells, self.initial_state(1), strict=True))
        ]

    def into(
        self,
        graph: Graph,
        xs: Item,
        init: Sequence[Sequence[Item]] | None = None,
        mask: Item | None = None,
        *,
        keep: bool = False,
    ) -> tuple[Item, list[tuple[Item, ...]]]:
        """``forward`` out of training, into a `Graph`: over time, or one step where ``xs`` is not; ``mask [T,
        B, 1]``.

        Args:
            keep: ``init`` are states of the graph (`states_into`), and the last ones what they are next.

        Raises:
            InputError: the cell's step cannot be written out.
        """
        from .cells.standard import standard

        if init is None:
            init = [
                tuple(graph.constant(s, f"{name}_start") for s, name in zip(old, cell.states, strict=True))
                for cell, old in zip(self.cells, self.initial_state(1), strict=True)
            ]
        final = []
        for layer in range(self.num_layers):
            ys = []
            for direction in range(self.directions):
                i = layer * self.directions + direction
                cell = self.cells[i]

                def step(given: Any, old: Any, cell: Cell = cell) -> Any:
                    x, *live = given
                    new = next_states(self.cell_step(cell, x, old), (x,), old)
                    for there in live:
                        new = tuple([masked(there, n, o) for n, o in zip(new, old, strict=True)])
                    return new[:1], new

                read = [xs] if mask is None else [xs, mask]
                name = f"layer{layer}" + "_reverse" * direction
                known = None if mask is not None or any(self.regulariser.zoneout) else standard(cell)
                own, states = graph.scan(
                    step, read, init[i], reverse=direction == 1, name=name, standard=known
                )
                ys += own
                final.append(tuple(states))
            xs = ys[0] if self.directions == 1 else graph.call(joined, *ys)
        for before, after in zip(init, final, strict=True) if keep else ():
            for state, item in zip(before, after, strict=True):
                graph.keep(state, item)
        return xs, final

    def driven(
        self,
        read: Callable[..., Sequence[Tensor]],
        xs: ArrayLike,
        init: Sequence[Sequence[Tensor]],
        beside: Sequence[Tensor] = (),
    ) -> tuple[Tensor, list[Tensor], list[tuple[Tensor, ...]]]:
        """Run over time, all layers in one loop, where what the first of them reads is made at every step, of
        what the states then are: attention, feedback.

        Dropout between layers and all that `Regulariser` does are as in ``forward``, to the same draws.

        Args:
            read: ``read(x, states, *beside) -> (input, *beside)``: of ``x [B, F]`` and the states before the
                step, a tuple for each layer, what the first layer reads ``[B, input_size]``, and what else is
                to be seen of every step. It may close over tensors, as a step of `scan`.
            xs: ``[T, B, F]``.
            init: the first states, like ``initial_state``.
            beside: what ``read`` is given as ``beside`` at the first step; later, what it gave at the last.

        Returns:
            ``(ys, besides, final_states)``: ys ``[T, B, hidden_size]``, of each ``beside`` all ``[T, B,
            ...]``.

        Raises:
            InputError: the network is bidirectional.
            ShapeError: as ``forward``.
        """
        self._check_one_way()
        xs = as_tensor(xs)
        steps, batch_size = xs.shape[:2]
        init, count = self._checked_states(init, batch_size), sum(len(cell.states) for cell in self.cells)
        layers: list[tuple[Any, int, bool]] = []  # a step, its masks, and whether its input has one as well
        masks: list[Tensor] = []
        for cell, old in zip(self.cells, init, strict=True):
            like = ones((steps, batch_size, cell.input_size), dtype=cell.dtype, device=xs.device)
            dropped = bool(layers) and self.dropout.training and self.dropout.p > 0
            masks += [self.dropout(like)] if dropped else []
            step, (_, *own) = self.regulariser(cell.step, like, old)
            layers.append((step, len(own), dropped))
            masks += own

        def driven(streams: Sequence[Tensor], *given: Tensor) -> Any:
            (x, *left), old, new = streams, self.layered(given[:count]), []
            x, *made = read(x, old, *given[count:])
            for (step, number, dropped), states in zip(layers, old, strict=True):
                x = x * left.pop(0) if dropped else x
                own, left = left[:number], left[number:]
                new.append(next_states(step, (x, *own), states))
                x = new[-1][0]
            return *self.flat(new), *made

        driven.__wrapped__ = read  # type: ignore[attr-defined]  # what messages are about
        how: dict[str, Any] = dict(compile=None if self.compile else False, return_states=True)
        how["precision"] = self._products(xs)
        with using(self.regulariser.generator):
            over_time, final = scan(driven, (xs, *masks), (*self.flat(init), *beside), **how)
        top = count - len(self.cells[-1].states)
        return over_time[top], list(over_time[count:]), self.layered(final[:count])
