"""The step of any cell in PyTorch and in JAX: the tape of one step, written op by op.

`Translation(cell, batch)` runs the cell's step once and keeps what it did; its ``source`` is a function of
either library, ``step(p, x, *states)``, in which every op of the tape is one call, in the order in which the
cell made them. What tinyrnn composes of ops (``silu``, ``layer_norm``) stands as those ops.
"""

import math

import numpy as np

from tinyrnn.autograd.tape import ITEM, TABLE, Node, Tensor, tracing, walk
from tinyrnn.base.errors import InputError, TraceError
from tinyrnn.kernels.generator import Generator, draws, using

# An op in Python: {0}, {1} are its operands, {all} all of them, other names its parameters.
BOTH = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "power": "{0} ** {1}",
    "matmul": "{0} @ {1}",
    "equal": "{0} == {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "item": "{0}[{i}]",
    "getitem": "{0}[{key}]",
    "reshape": "{0}.reshape({newshape})",
    "broadcast_to": "xp.broadcast_to({0}, {to})",
    "flip": "xp.flip({0}, {axis})",
    "roll": "xp.roll({0}, {shift}, {axis})",
    "cumsum": "xp.cumsum({0}, {axis})",
    "stack": "xp.stack(({all},), {axis})",
    "einsum": "xp.einsum({equation}, {all})",
}
PYTORCH = BOTH | {
    "relu": "xp.relu({0})",
    "sigmoid": "xp.sigmoid({0})",
    "softplus": "xp.nn.functional.softplus({0})",
    "softmax": "xp.softmax({0}, -1)",
    "maximum of a number": "xp.clamp({0}, min={1})",
    "minimum of a number": "xp.clamp({0}, max={1})",
    "clip": "xp.clamp({0}, {1}, {2})",
    "sum": "xp.sum({0}, {axis}, {keepdims})",
    "mean": "xp.mean({0}, {axis}, {keepdims})",
    "max": "xp.amax({0}, {axis}, {keepdims})",
    "min": "xp.amin({0}, {axis}, {keepdims})",
    "concat": "xp.cat(({all},), {axis})",
    "split": "xp.tensor_split({0}, {points}, {axis})",
    "unstack": "xp.unbind({0}, {axis})",
    "permute_dims": "{0}.permute({axes})",
    "astype": "{0}.to({dtype})",
    "detach": "{0}.detach()",
}
JAX = BOTH | {
    "relu": "jax.nn.relu({0})",
    "sigmoid": "jax.nn.sigmoid({0})",
    "softplus": "jax.nn.softplus({0})",
    "softmax": "jax.nn.softmax({0})",
    "clip": "xp.clip({0}, {1}, {2})",
    "sum": "xp.sum({0}, {axis}, keepdims={keepdims})",
    "mean": "xp.mean({0}, {axis}, keepdims={keepdims})",
    "max": "xp.max({0}, {axis}, keepdims={keepdims})",
    "min": "xp.min({0}, {axis}, keepdims={keepdims})",
    "concat": "xp.concatenate(({all},), {axis})",
    "split": "xp.split({0}, {points}, {axis})",
    "unstack": "xp.unstack({0}, axis={axis})",
    "permute_dims": "xp.transpose({0}, {axes})",
    "astype": "{0}.astype({dtype})",
    "detach": "jax.lax.stop_gradient({0})",
}
DIALECTS = {"torch": PYTORCH, "jax": JAX}


class Translation:
    """One step of a `Cell`, on a batch of the size that it is to be used for.

    Attributes:
        parameters: arrays of the cell's parameters, in the order of ``named_parameters``.
        first: arrays of its initial states.
        constants: arrays that the step uses besides.

    Raises:
        InputError: the step draws random numbers, or looks at values.
    """

    def __init__(self, cell, batch):
        leaves = [leaf(np.ones((batch, cell.input_size))), *map(leaf, cell.initial_state(batch))]
        self.first = [t.data for t in leaves[1:]]
        parameters = [p for _, p in cell.named_parameters()]
        self.parameters = [p.numpy() for p in parameters]
        try:
            with tracing(), using(Generator(0)), draws() as drawn:
                news = cell.step(*leaves)
        except TraceError as error:
            raise InputError(f"the step has no translation: {error}") from error
        if drawn:
            raise InputError("the step has no translation: it draws random numbers")
        self.news = news if isinstance(news, tuple | list) else (news,)
        self.names = {t.node: name for t, name in zip(leaves, arguments(len(leaves)), strict=True)}
        self.names |= {p.node: f"p[{i}]" for i, p in enumerate(parameters)}
        ops = [n for n in walk([t.node for t in self.news]) if n.op is not None]
        self.nodes = sorted(ops, key=lambda n: n.number)
        self.names |= {n: f"v{i}" for i, n in enumerate(self.nodes)}
        self.constants, self._known = [], {}
        for node in self.nodes:
            for x in () if node.op is ITEM else node.saved:
                self.operand(x)

    def operand(self, x):
        """``x``, a tensor or a number, in Python; a tensor that is made by no op of the step is a
        constant.
        """
        if not isinstance(x, Tensor):
            return f"({x!r})" if math.isfinite(x) else f'float("{x}")'
        if x.node in self.names:
            return self.names[x.node]
        if id(x) not in self._known:
            self._known[id(x)] = f"c[{len(self.constants)}]"
            self.constants.append(x.numpy())
        return self._known[id(x)]

    def source(self, dialect):
        """Python source of ``step(p, c, x, *states)`` of parameters, constants, input and states.

        Raises:
            InputError: an op has no word in ``dialect``, a key of `DIALECTS`.
        """
        given = ", ".join(arguments(1 + len(self.first)))
        lines = [f"    {self.names[n]} = {self.call(n, DIALECTS[dialect])}" for n in self.nodes]
        news = ", ".join(self.operand(t) for t in self.news)
        return "\n".join([f"def step(p, c, {given}):", *lines, f"    return ({news},)"]) + "\n"

    def call(self, node, words):
        """The op of ``node`` in ``words``, a value of `DIALECTS`."""
        if node.op is ITEM:
            return words["item"].format(self.names[node.parents[0]], **node.params)
        name, operands = node.op.name, [self.operand(x) for x in node.saved]
        params = {key: spelled(value) for key, value in node.params.items()}
        if name == "einsum":
            params["equation"] = repr(f"{','.join(node.params['terms'])}->{node.params['output']}")
        pointwise = name in TABLE and TABLE[name].rule
        of_number = f"{name} of a number"
        if of_number in words and not all(isinstance(x, Tensor) for x in node.saved):
            name = of_number
            operands = [self.operand(x) for x in sorted(node.saved, key=lambda x: not isinstance(x, Tensor))]
        form = words.get(name) or (f"xp.{name}({{all}})" if pointwise else None)
        if form is None:
            raise InputError(f"the step has no translation: the op {name} has no word in {__name__}.py")
        return form.format(*operands, all=", ".join(operands), **params)


def leaf(a):
    """``a`` as a tensor of the tape, that nothing made."""
    a = a.detach().numpy() if isinstance(a, Tensor) else a.astype(np.float32)
    return Tensor(a, Node(None, (), None, a))


def arguments(count):
    """Names of the input and of ``count - 1`` states."""
    return ["x", *[f"s{i}" for i in range(count - 1)]]


def spelled(value):
    """A parameter of an op in Python."""
    return f"xp.{value.name}" if isinstance(value, np.dtype) else repr(value)


def read(source, dialect):
    """The function that ``source`` defines."""
    names = {}
    if dialect == "jax":
        import jax
        import jax.numpy as xp

        names["jax"] = jax
    else:
        import torch as xp
    exec(compile(source, f"<step in {dialect}>", "exec"), names | {"xp": xp}, names)
    return names["step"]
