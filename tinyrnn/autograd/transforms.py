"""Derivatives of functions, as functions."""

import functools

import numpy as np

from ..errors import GradientError
from .shaping import reshape
from .tape import Tensor, backpropagate, is_recording, walk


def value_and_grad(f, argnums=0):
    """A function that returns ``f``'s value and its gradient with respect to the arguments at ``argnums``.

    Args:
        f: returns a Tensor of one element.
        argnums: an int (the gradient is one structure like that argument) or a tuple of ints (a tuple of them). An argument
            is a Tensor, an array, or a list, tuple or dict of them.

    The gradient is itself differentiable whenever ``f``'s value depends on anything else that requires a gradient.
    """

    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        if not is_recording():
            raise GradientError("grad was called inside no_grad(): leave the no_grad block first")
        positions = argnums if isinstance(argnums, tuple) else (argnums,)
        fresh = [tree_map(_fresh, args[i]) for i in positions]
        args = list(args)
        for i, x in zip(positions, fresh, strict=True):
            args[i] = x
        y = f(*args, **kwargs)
        found = iter(_gradients(y, [leaf for x in fresh for leaf in tree_leaves(x)]))
        gradients = tuple(tree_map(lambda _: next(found), x) for x in fresh)
        return y, gradients if isinstance(argnums, tuple) else gradients[0]

    return wrapped


def grad(f, argnums=0):
    """The gradient of ``f`` as a function: ``value_and_grad`` without the value. ``grad(grad(f))`` is the second derivative."""
    with_value = value_and_grad(f, argnums)

    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        return with_value(*args, **kwargs)[1]

    return wrapped


def _fresh(x):
    """``x`` as an input of its own: a gradient with respect to it does not flow on, one taken later does."""
    x = x if isinstance(x, Tensor) else Tensor(np.asarray(x))
    if x.node is not None:
        return reshape(x, x.shape)
    leaf = Tensor(x.data)
    leaf.requires_grad = True
    return leaf


def _gradients(y, inputs):
    if not isinstance(y, Tensor) or y.data.size != 1:
        raise GradientError("grad needs a function that returns a Tensor of one element: add .sum() or .mean()")
    zeros = [Tensor(np.zeros_like(x.data)) for x in inputs]
    if y.node is None:
        return zeros
    targets = {x.node for x in inputs}
    # Nested derivatives are possible only if something besides our own leaves is still being differentiated.
    others = any(n.op is None and n not in targets for n in walk([y.node]))
    found = backpropagate([(y.node, Tensor(np.ones_like(y.data)))], create_graph=others, targets=targets)
    return [found.get(x.node, zero) for x, zero in zip(inputs, zeros, strict=True)]


def tree_leaves(tree) -> list:
    """Tensors and arrays of nested lists, tuples and dicts, in order."""
    leaves = []
    tree_map(leaves.append, tree)
    return leaves


def tree_map(f, tree):
    """``f`` of every leaf, in the structure of ``tree``."""
    if isinstance(tree, dict):
        return {k: tree_map(f, v) for k, v in tree.items()}
    if isinstance(tree, list | tuple) and not hasattr(tree, "_fields"):
        return type(tree)(tree_map(f, v) for v in tree)
    if hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(f, v) for v in tree))
    return f(tree)
