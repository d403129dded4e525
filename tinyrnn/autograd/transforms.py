"""The gradient of a function, as a function.

"A structure" is a Tensor or array, a list, tuple or dict of structures, or an object with ``named_parameters()`` (a Module),
whose gradient is a dict by parameter name.
"""

import functools
import threading

from ..errors import GradientError
from ..kernels.arrays import array_module
from .pointwise import as_tensor
from .shaping import reshape
from .tape import Tensor, backpropagate, is_recording, walk

__all__ = ["grad", "value_and_grad"]


def tree_leaves(tree) -> list:
    """Tensors and arrays of a structure, in order."""
    leaves = []
    tree_map(leaves.append, tree)
    return leaves


def tree_map(f, tree, modules=dict):
    """``f`` of every leaf, in the structure of ``tree``; ``modules`` None leaves modules as they are."""
    if hasattr(tree, "named_parameters"):
        return tree_map(f, modules(tree.named_parameters())) if modules else tree
    if isinstance(tree, dict):
        return {k: tree_map(f, v, modules) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        values = [tree_map(f, v, modules) for v in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return f(tree)


class _Surrounding(threading.local):
    nodes = frozenset()  # what the surrounding calls of this thread differentiate by


_surrounding = _Surrounding()


class Recorded:
    """``f`` run once on fresh inputs at ``positions``, ready to be walked back.

    ``nested`` says that the outputs depend on something else that is being differentiated: then the walk back is recorded,
    so that derivatives of any order are right; else it is not, and first-order use pays nothing.
    """

    def __init__(self, f, args, positions, kwargs):
        if not is_recording():
            raise GradientError("a derivative was asked for inside no_grad(): leave the no_grad block first")
        args = list(args)
        for i in positions:
            args[i] = tree_map(fresh, args[i], modules=None)
        self.inputs = tuple(args[i] for i in positions)
        self.leaves = [x for tree in self.inputs for x in tree_leaves(tree)]
        self.targets = {x.node for x in self.leaves}
        outer, _surrounding.nodes = _surrounding.nodes, _surrounding.nodes | self.targets
        try:
            self.value = f(*args, **kwargs)
        finally:
            _surrounding.nodes = outer
        self.outputs = [as_tensor(y) for y in tree_leaves(self.value)]
        tape = walk([y.node for y in self.outputs])
        self.nested = any(n in outer or (n.op is None and n not in self.targets) for n in tape)

    def pull(self, cotangents, keep=False) -> list:
        """The gradients of ``leaves`` for one gradient (or None) an output; ``keep`` the tape for another pull."""
        roots = [(y.node, g) for y, g in zip(self.outputs, cotangents, strict=True) if y.node is not None and g is not None]
        found = backpropagate(roots, create_graph=self.nested, retain_graph=keep, targets=self.targets)
        return [found_or_zero(found, x) for x in self.leaves]

    def shaped(self, values) -> tuple:
        """``values``, one a leaf, in the structure of the inputs."""
        values = iter(values)
        return tuple(tree_map(lambda _: next(values), tree) for tree in self.inputs)


def fresh(x):
    """``x`` as an input of its own: a gradient with respect to it does not flow on, one taken later does."""
    x = as_tensor(x)
    if x.node is not None:
        return reshape(x, x.shape)
    leaf = Tensor(x.data)
    leaf.requires_grad = True
    return leaf


def found_or_zero(found, x):
    """The gradient of ``x`` among those of ``backpropagate``, zeros if nothing reached it."""
    return found[x.node] if x.node in found else Tensor(array_module(x.data).zeros_like(x.data))


def positions_of(argnums) -> tuple:
    """``argnums`` as a tuple."""
    return argnums if isinstance(argnums, tuple) else (argnums,)


def value_and_grad(f, argnums=0, *, has_aux=False):
    """A function that returns ``f``'s value and its gradient with respect to the arguments at ``argnums``.

    Args:
        f: returns a Tensor of one element.
        argnums: an int (the gradient is one structure like that argument) or a tuple of ints (a tuple of them).
        has_aux: ``f`` returns ``(value, anything)``; the first result is then that pair.

    The gradient is itself differentiable whenever ``f``'s value depends on anything else that requires a gradient.
    """

    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        aux = []

        def value(*args, **kwargs):
            y, *more = f(*args, **kwargs) if has_aux else (f(*args, **kwargs),)
            aux.extend(more)
            return y

        run = Recorded(value, args, positions_of(argnums), kwargs)
        y = run.value
        if not isinstance(y, Tensor) or y.data.size != 1:
            raise GradientError("grad needs a function that returns a Tensor of one element: add .sum() or .mean()")
        gradients = run.shaped(run.pull([Tensor(array_module(y.data).ones_like(y.data))]))
        y = y if run.nested else y.detach()
        return (y, *aux) if has_aux else y, gradients if isinstance(argnums, tuple) else gradients[0]

    return wrapped


def grad(f, argnums=0, *, has_aux=False):
    """The gradient of ``f`` as a function: `value_and_grad` without the value. ``grad(grad(f))`` is the second derivative.

    With ``has_aux`` (``f`` returns ``(value, anything)``) it returns ``(gradient, anything)``.
    """
    with_value = value_and_grad(f, argnums, has_aux=has_aux)

    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        y, gradients = with_value(*args, **kwargs)
        return (gradients, y[1]) if has_aux else gradients

    return wrapped
