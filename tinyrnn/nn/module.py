"""`Module`: an object whose parameters can be listed, saved and loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any, Self

import numpy as np

from ..autograd import Tensor, no_grad
from ..base.devices import to_device
from ..base.errors import InputError, shown
from ..base.files import is_safetensors, is_whole, read_file, replace_file, sealed
from ..base.options import path_of
from .pytorch import array_of, prefixes


class Module:
    """Base of layers and models.

    Every attribute that is a leaf Tensor requiring grad is a parameter (not one that was computed and kept);
    attributes that are modules, or lists and dicts of modules or tensors, are searched too, in the order of
    assignment. Names are attribute
    paths: ``layers.0.W``.
    """

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; a subclass defines it, and ``module(...)`` calls it."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __repr__(self) -> str:
        """Layers, shapes and numbers of parameters, one layer a line."""
        total = sum(p.size for p in self.parameters())
        own, layers = [], []
        for name, child in _children(self, ""):
            if isinstance(child, Module):
                layers.append(f"({name}): {child!r}".replace("\n", "\n  "))
            elif _is_parameter(child):
                own.append(f"{name} {list(child.shape)}")
        lines = [", ".join(own)] if own else []
        body = "".join(f"\n  {line}" for line in lines + layers) + "\n" if layers else "".join(lines)
        return f"{type(self).__name__}({body}): {total:,} parameters"

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Pairs (name, Tensor) of all parameters, each tensor once (also when two places share it)."""
        seen = set()
        for name, value in _walk(self, ""):
            if _is_parameter(value) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> list[Tensor]:
        """All parameters."""
        return [p for _, p in self.named_parameters()]

    def modules(self) -> Iterator[Module]:
        """This module and all modules inside it."""
        yield self
        for _, value in _walk(self, ""):
            if isinstance(value, Module):
                yield value

    def without_decay(self) -> list[Tensor]:
        """Its own parameters that `parameter_groups` keeps from weight decay: those of fewer than two axes,
        as biases, gains and rates are. A module may name more.
        """
        return [p for _, p in _children(self, "") if _is_parameter(p) and p.ndim < 2]

    def matrices(self) -> dict[str, Tensor]:
        """Its parameters that may be drawn to 0, or set to it, by name: all but biases, gains and what
        initial states are computed from.
        """
        spared = {id(p) for module in self.modules() for p in module.without_decay()}
        return {name: p for name, p in self.named_parameters() if id(p) not in spared}

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """All parameters as an optimiser takes them in groups: `matrices` with ``weight_decay``, and the rest
        without it.
        """
        drawn = {id(p) for p in self.matrices().values()}
        parts = ([p for p in self.parameters() if (id(p) in drawn) is one] for one in (True, False))
        groups = zip(parts, (weight_decay, 0.0), strict=True)
        return [{"params": params, "weight_decay": decay} for params, decay in groups if params]

    def apply_constraints(self) -> None:
        """Call `Cell.constrain` of every cell inside. A loop of one's own does so after each update."""
        with no_grad():
            for module in self.modules():
                getattr(module, "constrain", lambda: None)()

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p.grad = None

    def train(self, mode: bool = True) -> Self:
        """Switch what differs between training and use (dropout); returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """``train(False)``."""
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """In this block the module is out of training and nothing is recorded; afterwards it is as it was."""
        before = self.training
        self.eval()
        try:
            with no_grad():
                yield
        finally:
            self.train(before)

    def to(self, device: str) -> Self:
        """Move all parameters, their gradients, and other tensors of the module to ``"cpu"`` or ``"cuda"``,
        in place; returns the module. An optimiser is made after that.
        """
        for _, value in _walk(self, ""):
            if isinstance(value, Tensor) and value.is_leaf:
                value.data = to_device(value.data, device)
                if value.grad is not None:
                    value.grad = value.grad.detach().to(device)
        return self

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of all parameters as NumPy arrays, by name: in C order, which files take for granted."""
        return {name: np.array(p.numpy(), order="C") for name, p in self.named_parameters()}

    def from_pytorch(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """This layer's part of a state dict of PyTorch's, under our names and in our layout; a layer that
        differs overrides it.
        """
        return dict(state)

    def _renamed(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A state dict of PyTorch's, by `from_pytorch` of every layer."""
        found = {name: array_of(name, value) for name, value in state.items()}
        for path, module in [("", self), *((f"{path}.", value) for path, value in _walk(self, ""))]:
            if isinstance(module, Module):
                own = {n.removeprefix(path): found.pop(n) for n in list(found) if n.startswith(path)}
                found |= {path + name: array for name, array in module.from_pytorch(own).items()}
        return found

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Overwrite all parameters by arrays of the same names and shapes; or by those of the same network in
        PyTorch, which are known by the names of its recurrent layers (``weight_ih_l0``), arrays or tensors.

        Raises:
            InputError: a name is missing or unknown, a shape differs, or it is no dict of arrays of numbers.
        """
        own = dict(self.named_parameters())
        if not isinstance(state, Mapping):
            raise InputError(f"the weights are {shown(state)}: give a dict, as state_dict() returns it")
        if own.keys() != state.keys() and prefixes(state):
            state = self._renamed(state)
        if missing := sorted(own.keys() ^ state.keys()):
            raise InputError(
                f"these weights are for another model: {', '.join(missing[:5])} stand on one side only"
            )
        for name, p in own.items():
            given = state[name]
            if getattr(getattr(given, "dtype", None), "kind", "") not in ("f", "i", "u", "b"):
                raise InputError(f"weight {name} is {shown(given)}: give an array of numbers")
            if p.shape != given.shape:
                raise InputError(
                    f"weight {name} is {list(given.shape)} in the file, {list(p.shape)} in the model"
                )
        for name, p in own.items():
            p.assign_(state[name])

    def save(self, path: str | PathLike[str]) -> None:
        """Write all parameters to ``path``, a safetensors file. It is replaced whole or not at all.

        Raises:
            InputError: the file cannot be written, or something else than weights is there.
        """
        from safetensors.numpy import save

        target = path_of(path)
        if target.exists() and not is_safetensors(target):
            raise InputError(f"{path} is there and holds no weights: it is not replaced, choose another name")
        try:
            replace_file(target, sealed(save(self.state_dict())))
        except OSError as error:
            raise InputError(f"the weights cannot be written to {path}: {error.strerror or error}") from error

    def load_weights(self, path: str | PathLike[str]) -> Self:
        """Overwrite all parameters by those that `save` wrote to ``path``; returns the module.

        Raises:
            InputError: the file cannot be read, is no safetensors file, was changed since `save` wrote it, or
                holds the weights of another model, as in `load_state_dict`.
        """
        self.load_state_dict(read_weights(path))
        return self


def read_weights(path: str | PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a safetensors file, by name; InputError as `Module.load_weights`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    source = path_of(path)
    try:
        data = read_file(source)
        state = load(data)
    except (OSError, SafetensorError) as error:
        raise InputError(f"the weights in {path} cannot be read: {error}") from error
    except KeyError as error:
        raise InputError(f"the weights in {path} are of dtype {error}: NumPy has no such") from None
    if is_whole(data) is False:
        raise InputError(f"{path} was changed after it was written: use another copy of it")
    return state


def _is_parameter(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad and value.is_leaf


def _children(value: object, path: str) -> Iterator[tuple[str, Any]]:
    """(path, child) of the modules and tensors in ``value``, a module, dict, list or tuple; not of those
    inside these modules.
    """
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Module):
        children = vars(value).items()
    elif isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list | tuple):
        children = enumerate(value)
    for key, child in children:
        if isinstance(child, (Tensor, Module)):
            yield f"{path}{key}", child
        elif isinstance(child, (dict, list, tuple)) and child:  # a training step walks over all this
            yield from _children(child, f"{path}{key}.")


def _walk(module: Module, path: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of everything below ``module``, modules and tensors alike."""
    for name, child in _children(module, path):
        yield name, child
        if isinstance(child, Module):
            yield from _walk(child, f"{name}.")
