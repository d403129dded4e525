"""Derivatives of functions, as functions; and functions with a derivative of their own.

"A structure" is a Tensor or array, a list, tuple or dict of structures, or a Module; the gradient of a Module
is a dict by parameter name.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...base.devices import array_module, beside, same_device
from ...base.errors import ChangedInPlaceError, GradientError, ShapeError
from ...kernels.generator import drawn_again, draws
from .. import Tensor, reshape, stack, sum
from ..pointwise import as_tensor
from ..tape import (
    Node,
    Op,
    Products,
    backpropagate,
    check_unchanged,
    differentiated,
    is_recording,
    is_tracing,
    mark,
    multiplying,
    owned,
    record,
    recording,
    state,
    walk,
)
from ..types import Tree
from .creation import ones_like, zeros, zeros_like
from .trees import tree_leaves, tree_map

__all__ = ["checkpoint", "custom_vjp", "grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


_Function = Callable[..., Any]
_Argnums = int | tuple[int, ...] | list[int]


class _Recorded:
    """``f`` run once on fresh inputs at ``argnums``, an int or several, ready to be walked back.

    ``nested`` says that the outputs depend on something else that may be differentiated: then the walk back
    is recorded, so that derivatives of any order are right; else it is not, and first-order use pays nothing.
    The tape itself tells: it ends in a leaf that is no input of this call, the user's or one of a call still
    open (`openings`). So a call in another thread knows what surrounds it as well. Only the parameters of a
    Module are leaves of both, and need `differentiated`.
    """

    def __init__(
        self, f: _Function, args: Sequence[Tree], argnums: _Argnums, kwargs: Mapping[str, Any]
    ) -> None:
        if not is_recording():
            raise GradientError("a derivative was asked for inside no_grad(): leave the no_grad block first")
        self.single = not isinstance(argnums, tuple | list)
        args, positions = list(args), argnums if isinstance(argnums, tuple | list) else (argnums,)
        if positions and not -len(args) <= min(positions) <= max(positions) < len(args):
            called = f"the function was called with {len(args)} positional arguments"
            raise GradientError(f"argnums {list(positions)}: {called}")
        self.openings: list[Any] = []
        for i in positions:
            args[i] = tree_map(lambda x: _fresh(x, self.openings), args[i], modules=None)
        self.inputs = tuple(args[i] for i in positions)
        self.leaves = [x for tree in self.inputs for x in tree_leaves(tree)]
        self.targets: set[Any] = {x.node for x in self.leaves}
        outer = differentiated.get()
        with self.open():
            self.value = f(*args, **kwargs)
        self.outputs = [as_tensor(y) for y in tree_leaves(self.value)]
        tape = walk([y.node for y in self.outputs])
        ends = (n for n in tape if n.op is None and n not in self.targets and n.params != [])
        self.nested = not outer.isdisjoint(tape) or any(ends)

    @contextmanager
    def open(self) -> Iterator[None]:
        """In this block a derivative by ``targets`` is being taken, also of what `checkpoint` computes
        again.
        """
        token = differentiated.set(differentiated.get() | self.targets)
        self.openings.append(token)
        try:
            yield
        finally:
            self.openings.remove(token)
            differentiated.reset(token)

    def pull(self, cotangents: Iterable[Tensor | None], keep: bool = False) -> list[Tensor]:
        """The gradients of ``leaves`` for one gradient (or None) an output; ``keep`` the tape for another
        pull.
        """
        pairs = zip(self.outputs, cotangents, strict=True)
        roots = [(y.node, g) for y, g in pairs if y.node is not None and g is not None]
        nested = self.nested or any(g.requires_grad for _, g in roots)
        with self.open():
            found = backpropagate(roots, create_graph=nested, retain_graph=keep, targets=self.targets)
        return [_found_or_zero(found, x) for x in self.leaves]

    def constants(self) -> Tree:
        """The value without its past, unless something else is differentiated through it."""
        return self.value if self.nested else tree_map(lambda y: as_tensor(y).detach(), self.value)

    def shaped(self, values: Iterable[Any]) -> Tree:
        """``values``, one a leaf, in the structure of the inputs; of the only one for an int ``argnums``."""
        rest = iter(values)
        trees = tuple(tree_map(lambda _: next(rest), tree) for tree in self.inputs)
        return trees[0] if self.single else trees


def _fresh(x: Any, openings: list[Any] | None = None) -> Tensor:
    """``x`` as an input of its own: a gradient with respect to it does not flow on, one taken later does."""
    x = owned(as_tensor(x))
    if x.node is not None:
        return reshape(x, x.shape)
    leaf: Any = Tensor(x.data, None, x.shared_version())
    leaf.requires_grad = True
    leaf.node.params = openings
    return leaf


def _found_or_zero(found: Mapping[Any, Tensor], x: Tensor) -> Tensor:
    """The gradient of ``x`` among those of ``backpropagate``, zeros if nothing reached it."""
    return found[x.node] if x.node in found else zeros_like(x)


def value_and_grad(
    f: _Function, argnums: _Argnums = 0, *, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns ``f``'s value and its gradient with respect to the arguments at ``argnums``.

    Args:
        f: returns a Tensor of one element.
        argnums: an int (the gradient is one structure like that argument) or a tuple of ints (a tuple of
            them).
        has_aux: ``f`` returns ``(value, anything)``; the first result is then that pair.

    The gradient is itself differentiable whenever ``f``'s value depends on anything else that requires a
    gradient.
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        aux = []

        def value(*args: Any, **kwargs: Any) -> Tensor:
            y = f(*args, **kwargs)
            if has_aux:
                if not isinstance(y, tuple) or len(y) != 2:
                    raise GradientError(
                        "has_aux=True needs a function that returns a pair: (value, anything)"
                    )
                y, more = y
                aux.append(more)
            y = as_tensor(y) if isinstance(y, int | float | np.generic | np.ndarray) else y  # a constant
            if not isinstance(y, Tensor) or y.data.size != 1:
                mend = "add .sum() or .mean()"
                raise GradientError(f"grad needs a function that returns a Tensor of one element: {mend}")
            return y

        run = _Recorded(value, args, argnums, kwargs)
        gradients = run.shaped(run.pull([ones_like(run.value)]))
        y = run.constants()
        return (y, *aux) if has_aux else y, gradients

    return wrapped


def grad(f: _Function, argnums: _Argnums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of ``f`` as a function: `value_and_grad` without the value. ``grad(grad(f))`` is the
    second derivative.

    With ``has_aux`` (``f`` returns ``(value, anything)``) it returns ``(gradient, anything)``.
    """
    with_value = value_and_grad(f, argnums, has_aux=has_aux)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        y, gradients = with_value(*args, **kwargs)
        return (gradients, y[1]) if has_aux else gradients

    return wrapped


def vjp(f: _Function, *primals: Tree) -> tuple[Tree, Callable[[Tree], Any]]:
    """``(f(*primals), pullback)``: ``pullback(g)`` is the tuple of ``g``'s products with the Jacobians, one a
    primal.

    ``g`` has the structure of ``f``'s value. The pullback may be called many times.
    """
    run = _Recorded(f, primals, tuple(range(len(primals))), {})

    def pullback(g: Tree) -> Any:
        return run.shaped(run.pull(_like("vjp", g, run.value), keep=True))

    return run.constants(), pullback


def jvp(f: _Function, primals: Tree, tangents: Tree) -> tuple[Tree, Tree]:
    """``(f(*primals), tangents_out)``: the derivative of ``f`` in the direction ``tangents``, in the
    structure of its value.

    ``primals`` and ``tangents`` are tuples of structures, or one structure for a function of one argument.
    The product with
    the Jacobian is the derivative of a VJP by its cotangent, in which it is linear: two walks back make one
        forward.
    """
    primals, tangents = (x if isinstance(x, tuple) else (x,) for x in (primals, tangents))
    run = _Recorded(f, primals, tuple(range(len(primals))), {})
    directions = _like("jvp", tangents, run.inputs)
    dtypes = [y.dtype if y.node else None for y in run.outputs]
    u = [
        zeros(y.shape, dtype=dtype, device=y.device, requires_grad=True)
        for y, dtype in zip(run.outputs, dtypes, strict=True)
    ]
    nested = run.nested or any(t.requires_grad for t in directions)
    back = [(g.node, t) for g, t in zip(run.pull(u), directions, strict=True) if g.node is not None]
    with run.open():
        found = backpropagate(back, create_graph=nested, targets={x.node for x in u if x.node})
    out = iter([_found_or_zero(found, x) for x in u])
    return run.constants(), tree_map(lambda _: next(out), run.value)


def _like(name: str, tree: Tree, like: Tree, partial: bool = False) -> list[Any]:
    """The leaves of ``tree`` as tensors, in the order of those of ``like``, whose structure and shapes it
    must have.

    ``partial``: None may stand for any part of it.
    """
    if partial and tree is None:
        return [None] * len(tree_leaves(like))
    like = dict(like.named_parameters()) if hasattr(like, "named_parameters") else like
    if like is None:
        return []
    if isinstance(like, dict):
        if not isinstance(tree, dict) or tree.keys() != like.keys():
            raise ShapeError(f"{name}: a dict with the keys {sorted(map(str, like))} is needed")
        return [leaf for k in like for leaf in _like(name, tree[k], like[k], partial)]
    if isinstance(like, list | tuple):
        if not isinstance(tree, list | tuple) or len(tree) != len(like):
            raise ShapeError(f"{name}: a list or tuple of {len(like)} is needed")
        return [leaf for a, b in zip(tree, like, strict=True) for leaf in _like(name, a, b, partial)]
    leaf, like = owned(as_tensor(tree)), as_tensor(like)
    if leaf.shape != like.shape:
        raise ShapeError(f"{name}: shape {list(leaf.shape)} was given, {list(like.shape)} is needed")
    same_device(name or "a gradient", leaf.data, like.data)
    return [leaf]


def jacobian(f: _Function, argnums: _Argnums = 0) -> Callable[..., Any]:
    """A function that returns all derivatives of ``f``'s value ``[*out]`` by an argument ``[*in]``: ``[*out,
    *in]``.

    For structures: in the structure of the value, each leaf in the structure of the argument; for a tuple
        ``argnums`` a tuple.
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        run = _Recorded(f, args, argnums, kwargs)
        position = iter(range(len(run.outputs)))

        def derivatives(_: Any) -> Any:
            k = next(position)
            y, rows = run.outputs[k], []
            for one in np.eye(y.data.size, dtype=y.dtype):
                cotangents: list[Tensor | None] = [None] * len(run.outputs)
                cotangents[k] = as_tensor(one.reshape(y.shape)).to(y.device)
                rows.append(run.pull(cotangents, keep=True))
            shapes = [y.shape + x.shape for x in run.leaves]
            if not rows:
                return run.shaped(Tensor(beside(np.zeros(s, y.dtype), y.data)) for s in shapes)
            columns = zip(zip(*rows, strict=True), shapes, strict=True)
            return run.shaped(reshape(stack(column), shape) for column, shape in columns)

        return tree_map(derivatives, run.value)

    return wrapped


def hessian(f: _Function, argnums: _Argnums = 0) -> Callable[..., Any]:
    """A function that returns the second derivatives of a function of one value: the Jacobian of its
    gradient.
    """
    return jacobian(grad(f, argnums), argnums)


def hvp(f: _Function, primals: Tree, tangents: Tree) -> Tree:
    """The Hessian of ``f`` at ``primals`` times ``tangents``, without forming it: in the structure of
    ``primals``.

    ``primals`` and ``tangents`` are tuples of structures, or one structure for a function of one argument.
    """
    single = not isinstance(primals, tuple)
    primals, tangents = ((primals,), (tangents,)) if single else (primals, tangents)
    argnums = tuple(range(len(primals)))

    def slope(*xs: Any) -> Tensor:
        gradients = grad(f, argnums)(*xs)
        directions = _like("hvp", tangents[0] if single else tangents, gradients[0] if single else gradients)
        slopes = [sum(g * t) for g, t in zip(tree_leaves(gradients), directions, strict=True)]
        return functools.reduce(operator.add, slopes or [zeros(())])

    found = grad(slope, argnums)(*primals)
    return found[0] if single else found


class custom_vjp:
    """Decorator for a function whose derivative is given by hand, as in JAX::

        @tr.custom_vjp
        def log1pexp(x):
            return tr.log(1 + tr.exp(x))


        log1pexp.defvjp(lambda x: (tr.softplus(x), x), lambda x, g: (g * tr.sigmoid(x),))

    ``forward(*args)`` returns the value (a Tensor, or a tuple of them: then ``g`` is a list) and what
    ``backward`` needs; ``backward(needed, g)`` returns one gradient for each argument, in the argument's
    structure, None for what has none. Both are written in tensor ops, so higher orders work.

    Raises:
        GradientError: the function closes over a tensor that requires a gradient, which ``backward`` could
            not give: pass it as an argument, or detach() it.
    """

    __name__: str

    def __init__(self, f: _Function) -> None:
        functools.update_wrapper(self, f)
        self._f, self._op = f, None  # type: tuple[_Function, Op | None]
        self._gradients: Callable[..., list[Any]]

    def defvjp(self, forward: _Function, backward: _Function) -> None:
        """Give the derivative."""

        def vjp(g: Any, needed: Any, args: Any, number: int) -> list[Any]:
            check_unchanged(self.__name__, [x.version for x in _tensors(needed)], number)
            found = backward(needed, g)
            found = found if isinstance(found, tuple | list) else (found,)
            if len(found) != len(args):
                counts = f"{len(found)} gradients for {len(args)} arguments"
                raise GradientError(f"{self.__name__}: backward returned {counts}")
            return [
                gi
                for i, (gs, arg) in enumerate(zip(found, args, strict=True))
                for gi in self._given(i, gs, arg)
            ]

        self._op, self._gradients = Op(self.__name__, forward, vjp, inputs=(), listed=False), vjp

    def _traced(self, args: Any, inputs: list[Tensor]) -> Any:
        """`__call__` in a recording that is to be compiled: what ``forward`` does is on the tape too, of
        arguments without a past.
        """
        assert self._op is not None
        start = mark()
        attached = tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, args, modules=None)
        y, needed = self._op.forward(*attached)
        ys = [as_tensor(y)] if isinstance(y, Tensor) else [as_tensor(v) for v in y]
        if _closed_over(start, ys, _tensors(attached)):
            raise GradientError(_CLOSED_OVER.format(self.__name__))
        hidden = _Hidden(needed, args, start, len(ys))
        value = ys[0] if isinstance(y, Tensor) else tuple(ys)
        return _recorded(_traced_op, (*inputs, *ys), {"custom": self, "hidden": hidden}, value)

    def _given(self, i: int, gradient: Tree, arg: Tree) -> list[Any]:
        """What backward gave for each tensor in argument ``i``."""
        if gradient is None or not _tensors(arg):
            return [None] * len(_tensors(arg))
        try:
            given = _like("", gradient, arg, partial=True)
        except ShapeError as error:
            misfit = f"backward returned a gradient that does not fit argument {i}{error}"
            raise GradientError(f"{self.__name__}: {misfit}") from error
        leaves: list[Any] = []
        tree_map(leaves.append, arg, modules=None)
        return [g for g, x in zip(given, leaves, strict=True) if isinstance(x, Tensor)]

    def __call__(self, *args: Tree) -> Any:
        inputs = _tensors(args)
        if not (is_recording() and any(x.requires_grad for x in inputs)):
            return self._f(*args)
        if self._op is None:
            mend = f"call {self.__name__}.defvjp(forward, backward)"
            raise GradientError(f"{self.__name__} has no derivative yet: {mend}")
        if is_tracing():
            return self._traced(args, inputs)
        # Inside, the arguments are inputs of their own, so that `needed` depends on them and not on what made
        # them.
        start = mark()
        attached = tree_map(
            lambda x: _fresh(x) if isinstance(x, Tensor) and x.requires_grad else x, args, modules=None
        )
        y, needed = self._op.forward(*attached)
        if _closed_over(start, [as_tensor(v) for v in tree_leaves(y)], _tensors(attached)):
            raise GradientError(_CLOSED_OVER.format(self.__name__))
        needed = tree_map(lambda x: x if isinstance(x, Tensor) else owned(x), needed, modules=None)
        return _recorded(self._op, tuple(inputs), {"needed": needed, "args": args, "number": mark()}, y)


_CLOSED_OVER = (
    "{} closes over a tensor that requires a gradient, which its backward does not give: pass it as an "
    "argument, or detach() it"
)


class _Hidden:
    """What a node needs for its derivative and is no part of what was recorded."""

    def __init__(self, needed: Any, args: Any, number: int, outputs: int) -> None:
        self.needed, self.args, self.number, self.outputs = needed, args, number, outputs


def _traced_vjp(g: Any, custom: custom_vjp, hidden: _Hidden) -> list[Any]:
    found = custom._gradients(g, hidden.needed, hidden.args, hidden.number)
    return [*found, *[None] * hidden.outputs]


_traced_op = Op("custom_vjp", None, _traced_vjp, inputs=(), listed=False)


def _tensors(tree: Tree) -> list[Tensor]:
    """The tensors in a structure; Modules are not looked into."""
    leaves: list[Any] = []
    tree_map(leaves.append, tree, modules=None)
    return [x for x in leaves if isinstance(x, Tensor)]


def _closed_over(start: int, outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> set[Node]:
    """Nodes older than number ``start`` that the tape of ``outputs`` ends in: what a function took from
    around it.
    """
    ours = {x.node for x in inputs}
    tape = walk([y.node for y in outputs], start) - ours
    ends = [y.node for y in outputs] + [p for node in tape for p in node.parents]
    return {p for p in ends if p is not None and p.number < start and p not in ours}


def _recorded(op: Op, inputs: tuple[Tensor, ...], params: dict[str, Any], value: Any) -> Any:
    """``value``, one tensor or several, as made by ``op`` from ``inputs``; memory that it shares stays known
    as shared.
    """
    values = [as_tensor(y) for y in ((value,) if isinstance(value, Tensor) else value)]
    arrays = tuple(y.data for y in values)
    outs = record(op, inputs, params, arrays[0] if isinstance(value, Tensor) else arrays)
    for out, y in zip((outs,) if isinstance(outs, Tensor) else outs, values, strict=True):
        out.version = y.shared_version()
    return outs


def checkpoint(f: _Function) -> _Function:
    """``f``, forgetting its intermediate values and computing them again in backward: less memory for more
    time.

    ``f`` returns a Tensor or a tuple of them; arguments that are no Tensors are constants. It may close over
    tensors that require gradients, and draw from `Generator`s: it draws the same again (Chen et al. 2016,
    "Training deep nets with sublinear memory cost"). The values of both runs are compared, so that they must
    stay alive until backward.

    Raises:
        ChangedInPlaceError: in backward, if something that ``f`` uses has changed in between.
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not is_recording():
            return f(*args, **kwargs)
        start, inputs = mark(), [x for x in args if isinstance(x, Tensor)]
        attached = [x if x.node is None else _fresh(x) for x in inputs]

        def again(*tensors: Tensor) -> Any:
            rest = iter(tensors)
            return f(*[next(rest) if isinstance(x, Tensor) else x for x in args], **kwargs)

        with draws() as drawn:
            value = again(*attached)
        outs = (value,) if isinstance(value, Tensor) else value
        if not isinstance(outs, tuple | list) or not all(isinstance(y, Tensor) for y in outs):
            raise GradientError("checkpoint: the function must return a Tensor or a tuple of Tensors")
        # What f closed over is an input of the op like the arguments. A leaf's node knows when the leaf was
        # changed.
        closed = _closed_over(start, outs, attached)
        params: dict[str, Any] = {"f": again, "drawn": drawn, "count": len(inputs), "number": mark()}
        params["products"] = state.products
        params["before"] = [Tensor(y.data, None, y.shared_version()) for y in outs]
        inputs += [Tensor(outs[0].data, node, node.output and node.output[1]) for node in closed]
        return _recorded(_checkpoint, tuple(inputs), params, value)

    return wrapped


def _same(before: Tensor, after: Tensor) -> bool:
    """Equal up to rounding: a product may be summed in another order where its memory lies otherwise."""
    a, b = before.data, after.data
    if a.shape != b.shape or a.dtype.kind != "f":
        return a.shape == b.shape and bool((a == b).all())
    xp, r = array_module(a), float(np.sqrt(np.finfo(a.dtype).eps))
    largest = float(abs(xp.where(xp.isfinite(a), a, 0)).max()) if a.size else 0.0
    return bool(xp.allclose(a, b, rtol=r, atol=r * largest, equal_nan=True))


def _run_again(
    g: Any,
    inputs: Sequence[Tensor],
    f: _Function,
    drawn: Any,
    count: int,
    before: Sequence[Tensor],
    number: int,
    products: Products,
) -> list[Any]:
    create_graph = is_recording()
    with recording(), drawn_again(drawn), multiplying(products):
        again = [x if x.node is None else _fresh(x) for x in inputs[:count]]
        value = f(*again)
    for old, new in zip(before, (value,) if isinstance(value, Tensor) else value, strict=True):
        own_change = old.version is not None and old.version[0] > number  # of the value: no matter
        if not own_change and not _same(old, new):
            raise ChangedInPlaceError(
                "checkpoint: the second run of the function gave other values: leave what it uses unchanged "
                "until backward(), and draw random numbers from a Generator"
            )
    outs, gs = ((value,), [g]) if isinstance(value, Tensor) else (tuple(value), g)
    nodes: list[Any] = [x.node for x in (*again, *inputs[count:])]
    roots = [(y.node, gi) for y, gi in zip(outs, gs, strict=True) if y.node is not None]
    found = backpropagate(roots, create_graph=create_graph, targets={n for n in nodes if n is not None})
    return [found.get(node) for node in nodes]


_checkpoint = Op("checkpoint", None, _run_again, inputs=(), listed=False)
