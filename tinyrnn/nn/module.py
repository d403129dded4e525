"""`Module`: an object whose parameters can be listed, saved and loaded."""

from contextlib import contextmanager

import numpy as np

from ..autograd import Tensor, no_grad
from ..base.devices import to_device
from ..base.errors import InputError


class Module:
    """Base of layers and models.

    Every attribute that is a leaf Tensor requiring grad is a parameter (not one that was computed and kept);
    attributes that are modules, or lists and dicts of modules or tensors, are searched too, in the order of
    assignment. Names are attribute
    paths: ``layers.0.W``.
    """

    training = True

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def named_parameters(self):
        """Pairs (name, Tensor) of all parameters, each tensor once (also when two places share it)."""
        seen = set()
        for name, value in _walk(self, ""):
            if isinstance(value, Tensor) and value.requires_grad and value.is_leaf and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> list:
        """All parameters."""
        return [p for _, p in self.named_parameters()]

    def modules(self):
        """This module and all modules inside it."""
        yield self
        for _, value in _walk(self, ""):
            if isinstance(value, Module):
                yield value

    def zero_grad(self):
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p.grad = None

    def train(self, mode=True):
        """Switch what differs between training and use (dropout); returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """``train(False)``."""
        return self.train(False)

    @contextmanager
    def evaluating(self):
        """In this block the module is out of training and nothing is recorded; afterwards it is as it was."""
        before = self.training
        self.eval()
        try:
            with no_grad():
                yield
        finally:
            self.train(before)

    def to(self, device):
        """Move all parameters to ``"cpu"`` or ``"cuda"``, in place; returns the module."""
        for p in self.parameters():
            p.data = to_device(p.data, device)
        return self

    def state_dict(self) -> dict:
        """Copies of all parameters as NumPy arrays, by name."""
        return {name: np.array(p.numpy()) for name, p in self.named_parameters()}

    def load_state_dict(self, state):
        """Overwrite all parameters by arrays of the same names and shapes.

        Raises:
            InputError: a name is missing or unknown, or a shape differs.
        """
        own = dict(self.named_parameters())
        if missing := sorted(own.keys() ^ state.keys()):
            raise InputError(
                f"these weights are for another model: {', '.join(missing[:5])} stand on one side only"
            )
        for name, p in own.items():
            if p.shape != state[name].shape:
                raise InputError(
                    f"weight {name} is {list(state[name].shape)} in the file, {list(p.shape)} in the model"
                )
        for name, p in own.items():
            p.assign_(state[name])


def _walk(value, path):
    """(path, value) of everything below ``value``, modules and tensors alike."""
    if isinstance(value, Module):
        children = vars(value).items()
    elif isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list | tuple):
        children = enumerate(value)
    else:
        return
    for key, child in children:
        name = f"{path}{key}"
        if isinstance(child, Tensor | Module):
            yield name, child
        if not isinstance(child, Tensor):
            yield from _walk(child, f"{name}.")
