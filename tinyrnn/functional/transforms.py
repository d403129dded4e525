"""Derivatives of functions, as functions; and functions with a derivative of their own.

"A structure" is a Tensor or array, a list, tuple or dict of structures, or a Module; the gradient of a Module is a dict by
parameter name.
"""

import functools
import operator
import threading

import numpy as np

from ..autograd import Tensor, reshape, stack, sum
from ..autograd.pointwise import as_tensor
from ..autograd.tape import Op, backpropagate, is_recording, mark, record, recording, walk
from ..errors import GradientError, ShapeError
from ..kernels.generator import drawn_again, draws
from .creation import ones_like, zeros, zeros_like
from .trees import tree_leaves, tree_map

__all__ = ["checkpoint", "custom_vjp", "grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


class _Surrounding(threading.local):
    nodes = frozenset()  # what the surrounding calls of this thread differentiate by


_surrounding = _Surrounding()
_INPUT = object()  # in Node.params of a leaf: made here, nobody else can ask for its gradient


class _Recorded:
    """``f`` run once on fresh inputs at ``argnums``, an int or several, ready to be walked back.

    ``nested`` says that the outputs depend on something else that may be differentiated: then the walk back is recorded,
    so that derivatives of any order are right; else it is not, and first-order use pays nothing.
    """

    def __init__(self, f, args, argnums, kwargs):
        if not is_recording():
            raise GradientError("a derivative was asked for inside no_grad(): leave the no_grad block first")
        self.single = not isinstance(argnums, tuple | list)
        args, positions = list(args), (argnums,) if self.single else argnums
        if positions and not -len(args) <= min(positions) <= max(positions) < len(args):
            raise GradientError(f"argnums {list(positions)}: the function was called with {len(args)} positional arguments")
        for i in positions:
            args[i] = tree_map(_fresh, args[i], modules=None)
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
        self.nested = any(n in outer or (n.op is None and n.params is not _INPUT and n not in self.targets) for n in tape)

    def pull(self, cotangents, keep=False) -> list:
        """The gradients of ``leaves`` for one gradient (or None) an output; ``keep`` the tape for another pull."""
        roots = [(y.node, g) for y, g in zip(self.outputs, cotangents, strict=True) if y.node is not None and g is not None]
        nested = self.nested or any(g.requires_grad for _, g in roots)
        found = backpropagate(roots, create_graph=nested, retain_graph=keep, targets=self.targets)
        return [_found_or_zero(found, x) for x in self.leaves]

    def shaped(self, values):
        """``values``, one a leaf, in the structure of the inputs; of the only one for an int ``argnums``."""
        values = iter(values)
        trees = tuple(tree_map(lambda _: next(values), tree) for tree in self.inputs)
        return trees[0] if self.single else trees


def _fresh(x):
    """``x`` as an input of its own: a gradient with respect to it does not flow on, one taken later does."""
    x = as_tensor(x)
    if x.node is not None:
        return reshape(x, x.shape)
    leaf = Tensor(x.data)
    leaf.requires_grad = True
    leaf.node.params = _INPUT
    return leaf


def _found_or_zero(found, x):
    """The gradient of ``x`` among those of ``backpropagate``, zeros if nothing reached it."""
    return found[x.node] if x.node in found else zeros_like(x)


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
            y = f(*args, **kwargs)
            if has_aux:
                if not isinstance(y, tuple) or len(y) != 2:
                    raise GradientError("has_aux=True needs a function that returns a pair: the value, and anything")
                aux.append(y[1])
            return y[0] if has_aux else y

        run = _Recorded(value, args, argnums, kwargs)
        y = run.value
        if not isinstance(y, Tensor) or y.data.size != 1:
            raise GradientError("grad needs a function that returns a Tensor of one element: add .sum() or .mean()")
        gradients = run.shaped(run.pull([ones_like(y)]))
        y = y if run.nested else y.detach()
        return (y, *aux) if has_aux else y, gradients

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


def vjp(f, *primals):
    """``(f(*primals), pullback)``: ``pullback(g)`` is the tuple of ``g``'s products with the Jacobians, one a primal.

    ``g`` has the structure of ``f``'s value. The pullback may be called many times.
    """
    run = _Recorded(f, primals, tuple(range(len(primals))), {})

    def pullback(g):
        return run.shaped(run.pull(_like("vjp", g, run.value), keep=True))

    return run.value, pullback


def jvp(f, primals, tangents):
    """``(f(*primals), tangents_out)``: the derivative of ``f`` in the direction ``tangents``, in the structure of its value.

    ``primals`` and ``tangents`` are tuples of structures, or one structure for a function of one argument. The product with
    the Jacobian is the derivative of a VJP by its cotangent, in which it is linear: two walks back make one forward.
    """
    primals, tangents = (x if isinstance(x, tuple) else (x,) for x in (primals, tangents))
    run = _Recorded(f, primals, tuple(range(len(primals))), {})
    directions = _like("jvp", tangents, run.inputs)
    u = [zeros_like(y, requires_grad=True) for y in run.outputs]
    nested = run.nested or any(t.requires_grad for t in directions)
    back = [(g.node, t) for g, t in zip(run.pull(u), directions, strict=True) if g.node is not None]
    found = backpropagate(back, create_graph=nested, targets={x.node for x in u})
    out = iter([_found_or_zero(found, x) for x in u])
    return tree_map(lambda y: y if nested else as_tensor(y).detach(), run.value), tree_map(lambda _: next(out), run.value)


def _like(name, tree, like) -> list:
    """The leaves of ``tree`` as tensors, in the order of those of ``like``, whose structure and shapes it must have."""
    like = dict(like.named_parameters()) if hasattr(like, "named_parameters") else like
    if like is None:
        return []
    if isinstance(like, dict):
        if not isinstance(tree, dict) or tree.keys() != like.keys():
            raise ShapeError(f"{name}: a dict with the keys {sorted(map(str, like))} is needed")
        return [leaf for k in like for leaf in _like(name, tree[k], like[k])]
    if isinstance(like, list | tuple):
        if not isinstance(tree, list | tuple) or len(tree) != len(like):
            raise ShapeError(f"{name}: a list or tuple of {len(like)} is needed")
        return [leaf for a, b in zip(tree, like, strict=True) for leaf in _like(name, a, b)]
    leaf, like = as_tensor(tree), as_tensor(like)
    if leaf.shape != like.shape:
        raise ShapeError(f"{name}: shape {list(leaf.shape)} was given, {list(like.shape)} is needed")
    return [leaf]


def jacobian(f, argnums=0):
    """A function that returns all derivatives of ``f``'s value ``[*out]`` by an argument ``[*in]``: ``[*out, *in]``.

    For structures: in the structure of the value, each leaf in the structure of the argument; for a tuple ``argnums`` a tuple.
    """

    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        run = _Recorded(f, args, argnums, kwargs)
        position = iter(range(len(run.outputs)))

        def derivatives(_):
            k = next(position)
            y, rows = run.outputs[k], []
            for one in np.eye(y.data.size, dtype=y.dtype):
                cotangents = [None] * len(run.outputs)
                cotangents[k] = as_tensor(one.reshape(y.shape)).to(y.device)
                rows.append(run.pull(cotangents, keep=True))
            return run.shaped(
                reshape(stack([row[i] for row in rows]), y.shape + x.shape)
                if rows
                else Tensor(np.zeros(y.shape + x.shape, y.dtype))
                for i, x in enumerate(run.leaves)
            )

        return tree_map(derivatives, run.value)

    return wrapped


def hessian(f, argnums=0):
    """A function that returns the second derivatives of a function of one value: the Jacobian of its gradient."""
    return jacobian(grad(f, argnums), argnums)


def hvp(f, primals, tangents):
    """The Hessian of ``f`` at ``primals`` times ``tangents``, without forming it: in the structure of ``primals``.

    ``primals`` and ``tangents`` are tuples of structures, or one structure for a function of one argument.
    """
    single = not isinstance(primals, tuple)
    primals, tangents = ((primals,), (tangents,)) if single else (primals, tangents)
    argnums = tuple(range(len(primals)))

    def slope(*xs):
        gradients = grad(f, argnums)(*xs)
        directions = _like("hvp", tangents[0] if single else tangents, gradients[0] if single else gradients)
        slopes = [sum(g * t) for g, t in zip(tree_leaves(gradients), directions, strict=True)]
        return functools.reduce(operator.add, slopes, zeros(()))

    found = grad(slope, argnums)(*primals)
    return found[0] if single else found


class custom_vjp:
    """Decorator for a function whose derivative is given by hand, as in JAX::

        @tr.custom_vjp
        def log1pexp(x):
            return tr.log(1 + tr.exp(x))


        log1pexp.defvjp(lambda x: (tr.softplus(x), x), lambda x, g: (g * tr.sigmoid(x),))

    ``forward(*args)`` returns the value (a Tensor, or a tuple of them: then ``g`` is a list) and what ``backward`` needs;
    ``backward(needed, g)`` returns one gradient for each argument, None for what has none. Both are written in tensor ops, so
    higher orders work.
    """

    def __init__(self, f):
        functools.update_wrapper(self, f)
        self._f, self._op = f, None

    def defvjp(self, forward, backward):
        """Give the derivative."""

        def vjp(g, inputs, needed, positions, count):
            found = backward(needed, g)
            found = found if isinstance(found, tuple | list) else (found,)
            if len(found) != count:
                raise GradientError(f"{self.__name__}: backward returned {len(found)} gradients for {count} arguments")
            found = [None if found[i] is None else as_tensor(found[i]) for i in positions]
            for i, gradient, x in zip(positions, found, inputs, strict=True):
                if gradient is not None and gradient.shape != x.shape:
                    raise GradientError(
                        f"{self.__name__}: backward returned {list(gradient.shape)} for argument {i}, which is {list(x.shape)}"
                    )
            return found

        self._op = Op(self.__name__, forward, vjp, inputs=(), listed=False)

    def __call__(self, *args):
        positions = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        if not (is_recording() and any(args[i].requires_grad for i in positions)):
            return self._f(*args)
        if self._op is None:
            raise GradientError(f"{self.__name__} has no derivative yet: call {self.__name__}.defvjp(forward, backward)")
        # Inside, the arguments are inputs of their own, so that `needed` depends on them and not on what made them.
        y, needed = self._op.forward(*[_fresh(x) if isinstance(x, Tensor) and x.requires_grad else x for x in args])
        params = {"needed": needed, "positions": positions, "count": len(args)}
        return _recorded(self._op, tuple(args[i] for i in positions), params, y)


def _recorded(op, inputs, params, value):
    """``value``, one tensor or several, as made by ``op`` from ``inputs``; memory that it shares stays known as shared."""
    values = [as_tensor(y) for y in ((value,) if isinstance(value, Tensor) else value)]
    arrays = tuple(y.data for y in values)
    outs = record(op, inputs, params, arrays[0] if isinstance(value, Tensor) else arrays)
    for out, y in zip((outs,) if isinstance(outs, Tensor) else outs, values, strict=True):
        out.version = y.shared_version()
    return outs


def checkpoint(f):
    """``f``, forgetting its intermediate values and computing them again in backward: less memory for more time.

    ``f`` returns a Tensor or a tuple of them; arguments that are no Tensors are constants. It may close over tensors that
    require gradients (which must not change before backward), and draw from `Generator`s: it draws the same again (Chen et
    al. 2016, "Training deep nets with sublinear memory cost").
    """

    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        if not is_recording():
            return f(*args, **kwargs)
        start, inputs = mark(), [x for x in args if isinstance(x, Tensor)]
        attached = [x if x.node is None else _fresh(x) for x in inputs]

        def again(*tensors):
            tensors = iter(tensors)
            return f(*[next(tensors) if isinstance(x, Tensor) else x for x in args], **kwargs)

        with draws() as drawn:
            value = again(*attached)
        outs = (value,) if isinstance(value, Tensor) else value
        if not isinstance(outs, tuple | list) or not all(isinstance(y, Tensor) for y in outs):
            raise GradientError("checkpoint: the function must return a Tensor or a tuple of Tensors")
        tape = walk([y.node for y in outs], start) - {x.node for x in attached}
        # What f closed over: older nodes that its own tape ends in. They are inputs of the op like the arguments.
        closed = {p for node in tape for p in node.parents if p is not None and p.number < start}
        params = {"f": again, "drawn": drawn, "count": len(inputs)}
        inputs += [Tensor(outs[0].data, node) for node in closed]
        return _recorded(_checkpoint, tuple(inputs), params, value)

    return wrapped


def _run_again(g, inputs, f, drawn, count):
    create_graph = is_recording()
    with recording(), drawn_again(drawn):
        again = [x if x.node is None else _fresh(x) for x in inputs[:count]]
        value = f(*again)
    outs, gs = ((value,), [g]) if isinstance(value, Tensor) else (tuple(value), g)
    nodes = [x.node for x in again] + [x.node for x in inputs[count:]]
    roots = [(y.node, gi) for y, gi in zip(outs, gs, strict=True) if y.node is not None]
    found = backpropagate(roots, create_graph=create_graph, targets={n for n in nodes if n is not None})
    return [found.get(node) for node in nodes]


_checkpoint = Op("checkpoint", None, _run_again, inputs=(), listed=False)
