"""Weights of Keras 3, in the files that its ``model.save_weights("NAME.weights.h5")`` writes.

Of ``layers/lstm/cell/vars/0 1 2`` the first is of the inputs, ``[in, gates]``, the second of the states, the
third the bias. The gates of an LSTM lie in our order, i f c o; those of a GRU are z r h, ours r z n; its bias
has two rows with ``reset_after``, of the inputs and of the states.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..base.errors import InputError, few
from ..base.options import path_of
from ..nn import RNN, Module
from ..nn.counterparts import kind_of
from ..nn.pytorch import GATES, Activation, Array, Stack, array_of
from ..tasks.lm.model import LanguageModel
from ..training.runs import write_atomically
from . import networks

_VARIABLE = re.compile(
    r"(?P<layer>(?!optimizer/).*?)(?P<cell>(?:/(?:forward|backward)_layer)?/cell)?/vars/(?P<i>\d+)"
)
_NUMBERED = re.compile(r"(?P<base>layers/.*?)(?:_(?P<number>\d+))?")


def from_keras(
    path: str | os.PathLike[str],
    /,
    *,
    symbols: Any = None,
    level: str | None = None,
    activation: Activation | None = None,
    reset_after: bool | None = None,
) -> Any:
    """The layers of a ``.weights.h5`` of Keras 3: `RNN` for ``SimpleRNN``, ``LSTM`` and ``GRU`` and what
    ``Bidirectional`` makes of them (joined by ``concat``), one for all that lie above each other; `Linear`
    for ``Dense``, `Embedding`. Several of them are a dict by their names in the file. Such a file holds no
    activations: they are taken for Keras' own, and of ``Dense`` for none.

    Args:
        symbols, level: of a language model, which it then is, as in `from_torch`.
        activation: of ``SimpleRNN``: ``"tanh"`` or ``"relu"``.
        reset_after: of a ``GRU`` without a bias, whose weights do not tell it.

    Raises:
        InputError: h5py is not installed, it is no such file, or something in it has no counterpart here.
    """
    variables = _variables(path)
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in variables:
        found = _NUMBERED.fullmatch(name)
        base, number = (found["base"], int(found["number"] or 0)) if found else (name, 0)
        recurrent = variables[name].keys() != {""}
        groups.setdefault(base if recurrent else name, []).append((number, name))
    layers: dict[str, Module] = {}
    for group in groups.values():
        names = [name for _, name in sorted(group)]
        if variables[names[0]].keys() == {""}:
            layers[names[0]] = _plain(names[0], variables[names[0]][""])
            continue
        stacks = [_stack(name, variables[name], activation, reset_after) for name in names]
        if _fit(stacks):
            cells = [cell for stack in stacks for cell in stack.cells]
            stacks = [Stack(stacks[0].cell, stacks[0].options, stacks[0].directions, cells)]
        layers |= {name: networks.recurrent(stack) for name, stack in zip(names, stacks, strict=False)}
    if symbols is not None or level is not None:
        return networks.language_model(layers, False, symbols, level)
    return next(iter(layers.values())) if len(layers) == 1 else layers


def to_keras(x: RNN | LanguageModel, path: str | os.PathLike[str], /) -> None:
    """Write the weights of an `RNN` or a language model for ``load_weights`` of a model of the same layers in
    Keras 3: ``keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4, return_sequences=True)])``.

    Raises:
        InputError: h5py is not installed, the file's name does not end in ``.weights.h5``, or Keras has no
            such cell or model.
    """
    import io

    h5py, target = _h5py(), path_of(path)
    if not target.name.endswith(".weights.h5"):
        raise InputError(
            f"{path}: Keras reads weights from a name that ends in .weights.h5: choose such a one"
        )
    model = x if isinstance(x, LanguageModel) and not x.adaptive else None
    if model is None and not isinstance(x, RNN):
        raise InputError(
            f"to_keras: a {type(x).__name__} is not known there: give an RNN or a language model"
        )
    rnn: RNN = x if isinstance(x, RNN) else x.rnn
    if any(rnn.regulariser.zoneout):
        raise InputError("to_keras: zoneout is part of the step, which Keras' cells have not: train without")
    arrays: dict[str, Array] = {}
    for i, cell in enumerate(rnn.cells):
        name, options = kind_of(cell)
        kind = {"rnn": "simple_rnn"}.get(name, name) if rnn.directions == 1 else "bidirectional"
        depth, backward = divmod(i, rnn.directions)
        place = "" if rnn.directions == 1 else ("/forward_layer", "/backward_layer")[backward]
        folder = f"layers/{kind}{f'_{depth}' * bool(depth)}{place}/cell/vars"
        arrays |= {f"{folder}/{n}": a for n, a in enumerate(of_cell(cell.state_dict(), name, options))}
    if model is not None:
        embedding = model.embedding.weight.numpy()
        arrays["layers/embedding/vars/0"] = embedding
        arrays["layers/dense/vars/0"] = embedding.T if model.tie else model.output.weight.numpy()
        arrays["layers/dense/vars/1"] = model.output.bias.numpy()
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    write_atomically(target, data.getvalue())


def _variables(path: Any) -> dict[str, dict[str, dict[int, Array]]]:
    """Layer, cell in it (``"/cell"``, ``"/forward_layer/cell"``, or ``""``), number: the arrays of a file."""
    h5py, source = _h5py(), path_of(path)
    found: dict[str, dict[str, dict[int, Array]]] = {}

    def keep(name: str, item: Any) -> None:  # links, which may lead out of the file, are not followed
        part = _VARIABLE.fullmatch(name)
        if part and isinstance(item, h5py.Dataset) and "seed_generator" not in name:
            if item.external or item.is_virtual or item.nbytes > size:
                raise InputError(f"{path}: {name} is no array that is in the file: write it anew in Keras")
            arrays = found.setdefault(part["layer"], {}).setdefault(part["cell"] or "", {})
            arrays[int(part["i"])] = array_of(name, item[()])

    try:
        size = source.stat().st_size
        with h5py.File(source, "r") as file:
            file.visititems(keep)
    except OSError as error:
        raise InputError(f"{path} cannot be read as a file of Keras 3: {error}") from error
    if not found:
        mend = "write it by model.save_weights('NAME.weights.h5') of Keras 3"
        raise InputError(f"{path} holds no weights of layers: {mend}")
    return found


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise InputError("weights of Keras need h5py: pip install 'tinyrnn[keras]'") from None
    return h5py


def _plain(name: str, arrays: Mapping[int, Array]) -> Module:
    """A layer without time."""
    shapes = [arrays[i].ndim for i in sorted(arrays)]
    if shapes == [2, 1] and arrays[0].shape[1] == arrays[1].shape[0]:
        return networks.linear(arrays[0], arrays[1])
    if shapes == [2] and ("emb" in name.lower()) != ("dense" in name.lower()):
        return networks.embedding(arrays[0]) if "emb" in name.lower() else networks.linear(arrays[0])
    sizes = few(list(arrays[i].shape) for i in sorted(arrays))
    raise InputError(
        f"{name} of {sizes} is no recurrent layer, Dense or Embedding: leave it out of the model"
    )


def _fit(stacks: list[Stack]) -> bool:
    """Whether each reads what the one before gives, so that they are one network."""
    first = stacks[0]
    return all(
        (s.cell, s.options, s.directions) == (first.cell, first.options, first.directions)
        and s.sizes == (first.sizes[1] * first.directions, first.sizes[1])
        for s in stacks[1:]
    )


def _stack(
    name: str,
    cells: Mapping[str, Mapping[int, Array]],
    activation: Activation | None,
    reset_after: bool | None,
) -> Stack:
    """One layer, of one direction or both."""
    both = ("/forward_layer/cell", "/backward_layer/cell")
    order = ("/cell",) if cells.keys() == {"/cell"} else both
    if cells.keys() != set(order):
        raise InputError(f"{name} holds {few(sorted(cells))}: not the cell of a layer, or of both directions")
    made = [
        _cell(name, [of[i] for i in sorted(of)], activation, reset_after)
        for of in map(cells.__getitem__, order)
    ]
    return Stack(*made[0][:2], len(order), [arrays for _, _, arrays in made])


def _cell(
    name: str, arrays: list[Array], activation: Activation | None, reset_after: bool | None
) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """The name of the cell of Keras' ``arrays``, its options and its parameters."""
    W, U, *rest = arrays if len(arrays) > 1 else [arrays[0], arrays[0]]
    H = U.shape[0]
    kind = GATES.get(U.shape[1] // max(H, 1), "") if U.ndim == 2 else ""
    b = rest[0] if rest else np.zeros(W.shape[-1], W.dtype)
    if not kind or W.ndim != 2 or W.shape[1] != U.shape[1] or U.shape[1] % H or b.shape[-1] != U.shape[1]:
        raise InputError(f"{name} of {few(list(a.shape) for a in arrays)} is no SimpleRNN, LSTM or GRU")
    if kind == "lstm":
        return kind, {}, {"W": W, "U": U, "b": b}
    if kind == "rnn":
        if activation not in ("tanh", "relu"):
            mend = f"{name} needs activation='tanh' or 'relu' (--activation)"
            raise InputError(f"weights of SimpleRNN do not say its activation: {mend}")
        return kind, {"activation": activation}, {"W": W, "U": U, "b": b}
    if rest:
        reset_after = b.ndim == 2
    elif reset_after is None:
        raise InputError(
            f"weights of a GRU without a bias leave this open: {name} needs reset_after=True or False"
        )
    W, U, b = (np.concatenate([a[..., H : 2 * H], a[..., :H], a[..., 2 * H :]], axis=-1) for a in (W, U, b))
    if not reset_after:
        return kind, {"reset_after": False}, {"W": W, "U": U[:, : 2 * H], "U_n": U[:, 2 * H :], "b": b}
    of_x, of_h = (b[0], b[1]) if b.ndim == 2 else (b, np.zeros_like(b))
    inner = np.arange(3 * H) >= 2 * H
    found = {"W": W, "U": U, "b": of_x + np.where(inner, 0, of_h), "b_hn": of_h[inner]}
    return kind, {"reset_after": True}, found


def of_cell(own: dict[str, Array], kind: str, options: Mapping[str, Any]) -> list[Array]:
    """The inverse: Keras' arrays of one of our cells."""
    if kind != "gru":
        return [own["W"], own["U"], own["b"]]
    b = own["b"]
    U = own["U"] if options["reset_after"] else np.concatenate([own["U"], own["U_n"]], axis=1)
    if options["reset_after"]:
        b = np.stack([b, np.concatenate([np.zeros(2 * len(own["b_hn"]), b.dtype), own["b_hn"]])])
    H = U.shape[0]
    return [
        np.concatenate([a[..., H : 2 * H], a[..., :H], a[..., 2 * H :]], axis=-1) for a in (own["W"], U, b)
    ]
