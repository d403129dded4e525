"""PyTorch's names and layout of the weights of recurrent layers, and ours. Nothing here needs PyTorch.

``weight_ih_l1_reverse`` is of layer 1 backward; its rows are the gates, ours are columns. Of the two biases
of each gate we have the sum, but for the one inside the reset gate's product, ``b_hn``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from ..base.errors import InputError, few, shown

Array = np.ndarray[Any, Any]
Activation = Literal["tanh", "relu"]
_NAME = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?P<part>(?:weight|bias)_(?:ih|hh|hr))_l(?P<layer>\d+)(?P<back>_reverse)?"
)
GATES = {1: "rnn", 3: "gru", 4: "lstm"}
BIASES = {"bias_ih", "bias_hh"}
PARTS = {"weight_ih", "weight_hh", *BIASES}


@dataclass(frozen=True)
class Stack:
    """The weights of recurrent layers, and what `RNN` needs to be made for them.

    Attributes:
        cell, options: the name of the cell, and its options.
        directions: 1, or 2.
        cells: of each layer and direction, in the order of ``RNN.cells``, the parameters by our names.
    """

    cell: str
    options: dict[str, Any]
    directions: int
    cells: list[dict[str, Array]]

    @property
    def sizes(self) -> tuple[int, int]:
        """Of the inputs, and of a state."""
        return self.cells[0]["W"].shape[0], self.cells[0]["U"].shape[0]


def prefixes(names: Iterable[str]) -> list[str]:
    """How the names of the weights of recurrent layers begin, one for each stack of them: ``""``, or
    ``"rnn."``.
    """
    return list(dict.fromkeys(found["prefix"] for found in map(_NAME.fullmatch, names) if found))


def array_of(name: str, value: Any) -> Array:
    """A weight of a state dict, an array or a tensor of PyTorch's, as an array; halves as float32, which
    holds them exactly.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() and value.element_size() < 4 else value).numpy()
    if getattr(getattr(value, "dtype", None), "kind", "") != "f":
        raise InputError(f"weight {name} is {shown(value)}: give an array or a tensor of floats")
    return cast(Array, value.astype(np.float32) if value.dtype.itemsize < 4 else value)


def cell_of_torch(cell: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters of one of our cells from PyTorch's of one layer and direction, ``weight_ih`` and so on;
    biases that are not there are 0.
    """
    gates = arrays["weight_ih"].shape[0]
    b_ih, b_hh = (
        arrays.get(f"bias_{part}", np.zeros(gates, arrays["weight_ih"].dtype)) for part in ("ih", "hh")
    )
    found = {"W": arrays["weight_ih"].T, "U": arrays["weight_hh"].T}
    if cell != "gru":
        return {**found, "b": b_ih + b_hh}
    inner = np.arange(gates) >= gates // 3 * 2  # of n, whose bias of h stays apart
    return {**found, "b": b_ih + np.where(inner, 0, b_hh), "b_hn": b_hh[inner]}


def suffix(index: int, directions: int) -> str:
    """With which the names of ``RNN.cells[index]`` end in PyTorch."""
    layer, backward = divmod(index, directions)
    return f"_l{layer}" + "_reverse" * backward


def stack_of(state: Mapping[str, Any], activation: Activation | None = None) -> Stack:
    """What the weights of one stack of recurrent layers say, by PyTorch's names.

    Args:
        activation: of ``nn.RNN``, which its weights do not tell.

    Raises:
        InputError: they are not those of one stack, or leave something open.
    """
    cells: dict[tuple[int, bool], dict[str, Array]] = {}
    for name, value in state.items():
        found = _NAME.fullmatch(name)
        if found is None or found["prefix"]:
            raise InputError(f"{name} is no weight of a recurrent layer of PyTorch's: leave it out")
        if found["part"] == "weight_hr":
            raise InputError(
                f"{name} projects the output (proj_size), which no cell here does: train without"
            )
        cells.setdefault((int(found["layer"]), bool(found["back"])), {})[found["part"]] = array_of(
            name, value
        )
    directions = 2 if any(back for _, back in cells) else 1
    deep = max((layer for layer, _ in cells), default=0) + 1
    places = ((i // directions, i % directions == 1) for i in range(deep * directions))
    order = list(itertools.takewhile(cells.__contains__, places))
    parts = [cells[place].keys() ^ PARTS for place in order]
    if open_ := [i for i, lacking in enumerate(parts) if lacking not in (set(), BIASES)]:
        lacking = min(parts[open_[0]] - BIASES or parts[open_[0]]) + suffix(open_[0], directions)
        raise InputError(f"the weights of the recurrent layers are incomplete: {lacking} is missing")
    if len(order) < deep * directions:
        lacking = f"weight_ih{suffix(len(order), directions)}"
        raise InputError(f"the weights of the recurrent layers are incomplete: {lacking} is missing")
    rows, hidden = (*cells[order[0]]["weight_hh"].shape, 0, 0)[:2]
    name = GATES.get(rows // max(hidden, 1), "")
    for i, place in enumerate(order):
        _check_shapes(
            cells[place], name, suffix(i, directions), hidden, hidden * directions if i >= directions else 0
        )
    if name == "rnn" and activation not in ("tanh", "relu"):
        raise InputError(
            "weights of nn.RNN do not say its nonlinearity: give activation='tanh' or 'relu' (--activation)"
        )
    of_cell: dict[str, dict[str, Any]] = {"gru": {"reset_after": True}, "rnn": {"activation": activation}}
    options = of_cell.get(name, {})
    return Stack(name, options, directions, [cell_of_torch(name, cells[place]) for place in order])


def _check_shapes(arrays: Mapping[str, Array], cell: str, end: str, hidden: int, inputs: int) -> None:
    """InputError unless PyTorch's ``arrays`` of one layer and direction are those of such a layer; ``inputs``
    0: any.
    """
    gates = {n: g for g, n in GATES.items()}.get(cell, 0) * hidden
    first = arrays["weight_ih"].shape
    wide = inputs or (first[1] if len(first) == 2 else 0)
    needed = {
        "weight_ih": (gates, wide),
        "weight_hh": (gates, hidden),
        "bias_ih": (gates,),
        "bias_hh": (gates,),
    }
    if wrong := [part for part, array in arrays.items() if array.shape != needed[part] or not gates]:
        sizes = few(f"{part}{end} {list(arrays[part].shape)}" for part in wrong)
        raise InputError(f"these are no weights of nn.RNN, nn.LSTM or nn.GRU: {sizes} cannot be")
