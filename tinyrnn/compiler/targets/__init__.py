"""Targets: one file for each thing that a program can be turned into.

`tensor` runs a program op by op with tensors and is the reference; `numba` emits loops over time for the CPU;
`onnx` and `torch` write one step for other libraries.

To add one: a subclass of `Target` in a file of its own, with a ``name`` and the table ``kinds``, one line for
each `Kind` that it has a form of. A target that computes a program from its inputs up calls ``walk``; one
that emits loops, for another processor or in another language, gets a `Schedule`, as `numba` does, and
calls ``value`` where a value is needed; scalar rules are valid in Python and in C. One that writes
operations by name subclasses `Written`, whose table ``ops`` holds those that it has names for; all other
pointwise ops come from their scalar rules. What it lacks goes into the table of
``tests/compiler/test_targets.py``, which takes every target through every `Kind`, and through every
registered cell against `tensor`.
"""

import ast
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ...autograd.tape import TABLE
from ..ir import CompilerFault, Kind, Value, order


class Target:
    """What a program is turned into: for each kind of value, how it is made of its inputs.

    Attributes:
        name: for messages.
        kinds: Kind -> function of (the target, the Value, what stands for its inputs...).
    """

    name: ClassVar[str]
    kinds: ClassVar[Mapping[Kind, Callable]]

    def value(self, v: Value, *inputs):
        """What stands for ``v``.

        Raises:
            CompilerFault: the target has no form of its kind.
        """
        make = self.kinds.get(v.kind)
        if make is None:
            raise CompilerFault(
                f"the target {self.name} has no form of {v.kind.name} ({v!r}): add it to its table"
            )
        return make(self, v, *inputs)

    def walk(self, roots, made: dict[Value, Any]) -> list:
        """What stands for ``roots``; ``made``, Value -> what stands for it, is filled with all that they are
        made of.
        """
        for v in order(roots, made.__contains__):
            if v not in made:
                made[v] = self.value(v, *[made[x] for x in v.inputs])
        return [made[r] for r in roots]


_OPERATORS = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.USub: "negative",
    ast.Eq: "equal", ast.NotEq: "not_equal", ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater",
    ast.GtE: "greater_equal", ast.BitAnd: "logical_and", ast.BitOr: "logical_or", ast.BitXor: "logical_xor",
}  # fmt: skip
_SIMPLER = {  # functions of scalar rules in simpler ones, for targets that do not have them
    "expm1": "exp(x) - 1", "log1p": "log(x + 1)", "logaddexp": "maximum(a, b) + softplus(-abs(a - b))",
    "not_equal": "1 - (a == b)", "log2": "log(x) / 0.6931471805599453", "log10": "log(x) / 2.302585092994046",
    "hypot": "sqrt(a * a + b * b)",
    "atan2": "where(a < 0, -1, 1) * abs(where(b < 0, 3.141592653589793, 0) - atan(where((a == 0) & (b == 0), "
    "0, abs(a) / abs(b))))",
}  # fmt: skip
_CALLED = {"pow": "power", "mod": "remainder"}  # functions of scalar rules that are ops under another name


class Written(Target):
    """A target that writes operations by name, for values in one dtype; truth values are carried as 0 and 1.

    Attributes:
        ops: name of a pointwise op -> how it is written, in the target's own terms.
        constants: name -> array, of what was written.
    """

    kinds: ClassVar[dict[Kind, Any]] = {  # those that all of them make in the same way
        Kind.NUMBER: lambda self, v: self.number(v.attr),
        Kind.INDEX: lambda self, v: self.constant(f"index_{v.attr.name}", v.attr.columns[None]),
        Kind.POINTWISE: lambda self, v, *xs: self.op(v.attr, *xs),
        Kind.MATMUL: lambda self, v, x, matrix: self.product(x, matrix, v.attr),
        Kind.COPY: lambda self, v, x: self.copy(x, v.width, v.rows),
        **dict.fromkeys((Kind.CAST, Kind.LAID), lambda self, v, x: x),
    }
    ops: ClassVar[Mapping[str, Any]]

    def __init__(self, dtype):
        self.dtype, self.constants, self.count = dtype, {}, 0

    def constant(self, name: str, array) -> str:
        """What stands for an array that is stored under a name."""
        self.constants[name] = np.ascontiguousarray(array, self.dtype)
        return name

    def scaled(self, name: str, integers, scales, axis: int) -> str:
        """What stands for ``integers * scales``, stored as they are; scales differ along an axis."""
        raise NotImplementedError

    def new_name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def number(self, x: float) -> str:
        """What stands for a number."""
        raise NotImplementedError

    def write(self, form, *operands) -> str:
        """The name of the result of an operation that ``ops`` has as ``form``."""
        raise NotImplementedError

    def product(self, x: str, matrix: str, turned: bool) -> str:
        """A row times a matrix, which is ``turned``: transposed."""
        raise NotImplementedError

    def copy(self, x: str, width: int, rows: bool) -> str:
        """A value at a width, and for every sequence if ``rows``."""
        raise NotImplementedError

    def spread(self, v, xs) -> list:
        """The inputs of ``v``, which lie side by side, with as many rows as ``v``."""
        return [
            x if u.rows or not v.rows else self.copy(x, u.width, True)
            for u, x in zip(v.inputs, xs, strict=True)
        ]

    def op(self, name, *operands):
        """A pointwise op: as ``ops`` says, or by its scalar rule."""
        if name in self.ops:
            return self.write(self.ops[name], *operands)
        rule = _SIMPLER.get(name) or TABLE[name].rule
        tree, named = ast.parse(rule, mode="eval").body, dict(zip(TABLE[name].inputs, operands, strict=True))
        # Where the rule is that function itself, nothing else makes it.
        if isinstance(tree, ast.Call) and _CALLED.get(tree.func.id, tree.func.id) == name:
            raise CompilerFault(f"the target {self.name} has no form of {name}: add it to its table")
        return self._by_rule(tree, named)

    def _by_rule(self, tree, named):
        if isinstance(tree, ast.Name):
            return named[tree.id]
        if isinstance(tree, ast.Constant):
            return self.number(float(tree.value))
        if isinstance(tree, ast.Call):
            name, operands = tree.func.id, tree.args
        elif isinstance(tree, ast.Compare):
            name, operands = _OPERATORS[type(tree.ops[0])], [tree.left, *tree.comparators]
        else:
            name = _OPERATORS[type(tree.op)]
            operands = [tree.operand] if isinstance(tree, ast.UnaryOp) else [tree.left, tree.right]
        return self.op(_CALLED.get(name, name), *[self._by_rule(x, named) for x in operands])
