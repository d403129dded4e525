"""Pointwise ops: each is one entry of name, scalar rule, NumPy's loop where it has one, and a rule for each
derivative.

A rule is an expression that is valid in Python, for numbers and for tensors, and in C. Ops without a NumPy
loop, and derivatives that would take NumPy several passes over memory, are compiled from their rules; code
generators use them too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from .. import kernels
from ..base.devices import device_of, is_cupy
from ..base.errors import DeviceError, DtypeError, GradientError, InputError, ShapeError
from ..base.explain import EXPLAINED, explained
from ..kernels import quicker
from . import tape
from .tape import BORROWED, NONE, Op, apply, as_array, is_recorded, is_tracing, looked_at, record_few, state
from .types import ArrayLike, Binary, DType, Ternary, Unary

__all__ = [
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "clip", "cos", "cosh",
    "divide", "equal", "erf", "exp", "exp2", "expm1", "floor", "greater", "greater_equal", "hypot",
    "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "log2", "log10", "logaddexp",
    "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative",
    "not_equal", "power", "reciprocal", "relu", "remainder", "round", "sigmoid", "sign", "sin", "sinh",
    "softplus", "sqrt", "square", "subtract", "tan", "tanh", "where",
]  # fmt: skip


def operand(x: Any) -> Any:
    """``x`` as an input of an op: tensors and Python numbers as they are (numbers promote weakly), the rest
    as arrays.

    Raises:
        DtypeError: an array that is not of floats (up to 64 bits), integers or bools.
    """
    if isinstance(x, tape.Tensor | float | int) and not isinstance(x, np.generic):
        return x
    if is_recorded(x):
        raise GradientError("a list of tensors would lose its gradients: join them with stack() or concat()")
    own = isinstance(x, list | tuple | np.generic)  # of which NumPy makes an array that nobody else holds
    try:
        x = x if is_cupy(x) else np.asarray(x)
    except ValueError as error:
        raise ShapeError(f"lists of different lengths make no tensor ({error}): pad them first") from error
    except TypeError as error:  # CuPy refuses to become an array of NumPy by itself
        raise DeviceError("a list of arrays on a GPU makes no tensor: join them with stack()") from error
    dtype = checked_dtype(x.dtype)
    return tape.Tensor(x if x.dtype.isnative else x.astype(dtype), None, None if own else BORROWED)


def checked_dtype(dtype: DType) -> np.dtype[Any]:
    """``dtype`` in the byte order of this machine, if a tensor can hold it."""
    try:
        dtype = np.dtype(dtype)
    except TypeError as error:
        names = "'float32', 'float64', 'float16', 'int64' or 'bool'"
        if dtype == "bfloat16":
            names = "'float32', and for products tr.autocast('bfloat16') or precision='bfloat16' of an RNN"
        raise DtypeError(f"{dtype!r} is no dtype: use {names}") from error
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise DtypeError(f"a tensor cannot hold dtype {dtype}: use float16 to float64, integers or bools")
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def as_tensor(x: ArrayLike) -> tape.Tensor:
    """``x`` as a Tensor: for functions that look at shapes, where a bare number will not do."""
    if type(x) is tape.Tensor:
        return x
    x = operand(x)
    return x if isinstance(x, tape.Tensor) else tape.Tensor(np.asarray(x))


def constant(values: Any, like: tape.Tensor) -> tape.Tensor:
    """``values`` that belong to no device, a mask or numbers made on the CPU, beside ``like``."""
    values = as_tensor(values)
    return values if device_of(values.data) == device_of(like.data) else values.to(device_of(like.data))


def _number_beside(x: Any, others: tuple[Any, ...]) -> Any:
    """``x`` as an operand; a scalar of NumPy, which belongs to no device, beside those of ``others`` that are
    on a GPU.
    """
    if type(x) is tape.Tensor:
        return x
    number, x = isinstance(x, np.generic), operand(x)
    like = next((o for o in others if type(o) is tape.Tensor and is_cupy(o.data)), None) if number else None
    return x if like is None else constant(x, like)


def _plain(x: Any, other: Any) -> tuple[Any, Any, None]:
    """``x`` as an operand, what the loop gets for it, and its node: none."""
    if type(x) is float or type(x) is int:
        return x, x, None
    x = _number_beside(x, (other,))
    return x, x.data if type(x) is tape.Tensor else x, None


FLAT = "where(g == g, 0, g)"  # the gradient of a step function: 0, also for an infinite g

# Functions whose compiled scalar form is as fast as NumPy's loop: LLVM vectorises them, others call libm for
# each element.
_VECTORISED = frozenset(
    "abs cos erf exp expm1 log log1p maximum minimum sigmoid sign sin softplus sqrt tanh where".split()
)
_FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
# (op, rule of a derivative that is compiled): its arguments.
FUSED: dict[tuple[str, str], tuple[str, ...]] = {}


def rule_vjp(name: str, rule: str, inputs: tuple[str, ...]) -> Callable[..., tape.Tensor]:
    """The VJP that ``rule`` states in ``g``, the inputs and the output ``y``.

    A rule is an expression of tensors and of scalars alike. Where nothing is recorded it runs as one compiled
    loop; where the derivative is to be differentiated, or where one pass of NumPy does the same, it is
    evaluated with the ops of this file.
    """
    words = set(re.findall(r"[a-z]\w*", rule))
    used = [n for n in (*inputs, "y") if n in words]
    code = compile(rule, f"<gradient of {name}>", "eval")
    operations = len(re.findall(r"[-+*/<>=&]+|\w+\(", rule))
    fuses = operations > 1 and words - {"g", *used} <= _VECTORISED
    if fuses:
        FUSED[name, rule] = ("g", *used)

    def vjp(g: tape.Tensor, *values: Any) -> Any:
        if fuses and not state.recording:
            arrays = [v.data if type(v) is tape.Tensor else v for v in (g, *values)]
            if all(getattr(a, "shape", ()) in ((), g.data.shape) for a in arrays):
                return tape.Tensor(kernels.pointwise.run(f"{name}_grad", ("g", *used), rule, *arrays))
        return eval(code, globals(), dict(zip(used, values, strict=True), g=g))

    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in ("g", *used)]
    vjp.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return vjp


def _entered(name: str, rule: str, loop: Any, vjps: dict[str, Any]) -> tuple[Op, Callable[..., Any]]:
    """A pointwise op, entered into the table, and its loop.

    ``loop`` None: it is compiled from the rule. The VJPs are rules too (`rule_vjp`), or functions. The op's
    inputs are the names in ``rule``, in order, that are not called.
    """
    inputs = tuple(dict.fromkeys(re.findall(r"\b[a-z]\w*\b(?!\()", rule)))
    vjps = {n: rule_vjp(name, v, inputs) if isinstance(v, str) else v for n, v in vjps.items()}
    loop = loop or (lambda *arrays: kernels.pointwise.run(name, inputs, rule, *arrays))
    return Op(name, loop, vjps, inputs=inputs, rule=rule), loop


def _public(function: Any, op: Op, doc: str | None) -> Any:
    """``function`` as the public function of ``op``: named and documented."""
    function.__name__ = function.__qualname__ = op.name
    says = doc or op.name.replace("_", " ").capitalize()
    function.__doc__ = f"{says}, pointwise with broadcasting: ``{op.rule}``."
    return function


# Each of these enters an op of so many inputs into the table and returns its public function.


def unary(name: str, rule: str, loop: Any = None, doc: str | None = None, **vjps: Any) -> Unary:
    """A function of one tensor."""
    op, loop = _entered(name, rule, loop, vjps)

    def function(x: ArrayLike, /) -> tape.Tensor:
        x = x if type(x) is tape.Tensor else as_tensor(x)
        try:
            out = loop(x.data)
        except EXPLAINED as error:
            raise explained(op, (x,), error) from error
        return record_few(op, NONE, out, x, x.node)

    return _public(function, op, doc)


def binary(name: str, rule: str, loop: Any = None, doc: str | None = None, **vjps: Any) -> Binary:
    """A function of two tensors."""
    op, loop = _entered(name, rule, loop, vjps)

    def function(x1: ArrayLike, x2: ArrayLike, /) -> tape.Tensor:
        if type(x1) is tape.Tensor:
            a, n1 = x1.data, x1.node
        else:
            x1, a, n1 = _plain(x1, x2)
        if type(x2) is tape.Tensor:
            b, n2 = x2.data, x2.node
        else:
            x2, b, n2 = _plain(x2, x1)
        try:
            out = loop(a, b)
        except EXPLAINED as error:
            raise explained(op, (x1, x2), error) from error
        return record_few(op, NONE, out, x1, n1, x2, n2)

    return _public(function, op, doc)


def ternary(name: str, rule: str, loop: Any = None, doc: str | None = None, **vjps: Any) -> Ternary:
    """A function of three tensors."""
    op, _ = _entered(name, rule, loop, vjps)

    def function(x1: ArrayLike, x2: ArrayLike, x3: ArrayLike, /) -> tape.Tensor:
        return apply(op, *[_number_beside(x, (x1, x2, x3)) for x in (x1, x2, x3)])

    return _public(function, op, doc)


add = binary("add", "a + b", np.add, a="g", b="g")
subtract = binary("subtract", "a - b", np.subtract, a="g", b="-g")
multiply = binary("multiply", "a * b", np.multiply, a="g * b", b="g * a")
divide = binary("divide", "a / b", np.divide, a="g / b", b="-g * y / b")
negative = unary("negative", "-x", np.negative, x="-g")
square = unary("square", "x * x", np.square, x="2 * g * x")
reciprocal = unary("reciprocal", "1 / x", np.reciprocal, x="-g * y * y")
sqrt = unary("sqrt", "sqrt(x)", np.sqrt, "Square root", x="0.5 * g / y")
exp = unary("exp", "exp(x)", np.exp, "Exponential function", x="g * y")
expm1 = unary("expm1", "expm1(x)", np.expm1, "exp(x) - 1, exact near 0", x="g * (y + 1)")
log = unary("log", "log(x)", np.log, "Natural logarithm", x="g / x")
log1p = unary("log1p", "log1p(x)", np.log1p, "log(1 + x), exact near 0", x="g / (x + 1)")
exp2 = unary("exp2", "pow(2, x)", np.exp2, "2 to the power of x", x="0.6931471805599453 * g * y")
log2 = unary("log2", "log2(x)", np.log2, "Logarithm to base 2", x="g / (0.6931471805599453 * x)")
log10 = unary("log10", "log10(x)", np.log10, "Logarithm to base 10", x="g / (2.302585092994046 * x)")
sin = unary("sin", "sin(x)", np.sin, "Sine", x="g * cos(x)")
cos = unary("cos", "cos(x)", np.cos, "Cosine", x="-g * sin(x)")
tan = unary("tan", "tan(x)", np.tan, "Tangent", x="g * (1 + y * y)")
asin = unary("asin", "asin(x)", np.arcsin, "Inverse sine", x="g / sqrt((1 - x) * (1 + x))")
acos = unary("acos", "acos(x)", np.arccos, "Inverse cosine", x="-g / sqrt((1 - x) * (1 + x))")
atan = unary("atan", "atan(x)", np.arctan, "Inverse tangent", x="g / (1 + x * x)")
sinh = unary("sinh", "sinh(x)", np.sinh, "Hyperbolic sine", x="g * cosh(x)")
cosh = unary("cosh", "cosh(x)", np.cosh, "Hyperbolic cosine", x="g * sinh(x)")
tanh = unary("tanh", "tanh(x)", np.tanh, "Hyperbolic tangent", x="g * (1 - y * y)")
asinh = unary("asinh", "asinh(x)", np.arcsinh, "Inverse hyperbolic sine", x="g / hypot(x, 1)")
acosh = unary("acosh", "acosh(x)", np.arccosh, "Inverse hyperbolic cosine", x="g / sqrt((x - 1) * (x + 1))")
atanh = unary("atanh", "atanh(x)", np.arctanh, "Inverse hyperbolic tangent", x="g / ((1 - x) * (1 + x))")
sigmoid = unary("sigmoid", "sigmoid(x)", None, "Logistic sigmoid 1 / (1 + exp(-x))", x="g * y * (1 - y)")
softplus = unary("softplus", "softplus(x)", None, "log(1 + exp(x)) without overflow", x="g * sigmoid(x)")
erf = unary("erf", "erf(x)", None, "Error function", x="g * exp(-x * x) * 1.1283791670955126")
relu = unary("relu", "maximum(x, 0)", lambda x: np.maximum(x, 0), "Rectifier", x="where(y <= 0, 0, g)")
sign = unary("sign", "sign(x)", np.sign, "Sign, of zero 0", x=FLAT)
floor = unary("floor", "floor(x)", np.floor, "Next integer below", x=FLAT)
ceil = unary("ceil", "ceil(x)", np.ceil, "Next integer above", x=FLAT)
round = unary("round", "round(x)", np.round, "Nearest integer, of two the even one", x=FLAT)
abs = unary("abs", "abs(x)", np.abs, "Absolute value", x="g * sign(x)")
_LARGER, _SMALLER = "where(a < b, 0, where(a == b, 0.5 * g, g))", "where(a > b, 0, where(a == b, 0.5 * g, g))"
maximum = binary("maximum", "maximum(a, b)", np.maximum, "Larger, a tie shared", a=_LARGER, b=_SMALLER)
minimum = binary("minimum", "minimum(a, b)", np.minimum, "Smaller, a tie shared", a=_SMALLER, b=_LARGER)
_REST = "a - floor(a / b) * b, of the sign of b"
remainder = binary("remainder", "mod(a, b)", np.remainder, _REST, a="g", b="-g * round((a - y) / b)")
# Of a length and an angle the gradient at the origin is 0; divided by 1 there, for second derivatives.
_LENGTH = "where(y == 0, 0, g * {}) / where(y == 0, 1, y)"
_ANGLE = "where((a == 0) & (b == 0), 0, g * {}) / where((a == 0) & (b == 0), 1, a * a + b * b)"
_OF_A, _OF_B = _LENGTH.format("a"), _LENGTH.format("b")
hypot = binary("hypot", "hypot(a, b)", np.hypot, "sqrt(a * a + b * b)", a=_OF_A, b=_OF_B)
_TURN_A, _TURN_B = _ANGLE.format("b"), _ANGLE.format("-a")
atan2 = binary("atan2", "atan2(a, b)", np.arctan2, "Angle of the point (b, a)", a=_TURN_A, b=_TURN_B)
_LOGADDEXP = "log(exp(a) + exp(b)) without overflow"


# 0 where both are -inf, whose difference is NaN; safe inside as well, for second derivatives.
_EMPTY = "(y < 0) & (y == 2 * y)"
_SHARE = f"where({_EMPTY}, 0, g * sigmoid(where({_EMPTY}, 0, {{}}) - where({_EMPTY}, 0, {{}})))"
logaddexp = binary(
    "logaddexp",
    "logaddexp(a, b)",
    quicker.logaddexp,
    _LOGADDEXP,
    a=_SHARE.format("a", "b"),
    b=_SHARE.format("b", "a"),
)
_chosen = ternary("where", "where(c, a, b)", quicker.where, a="where(c, g, 0)", b="where(c, 0, g)")


def _power(a: Any, b: Any) -> Any:
    """NumPy's loop; the square and the cube of floats as products, in a fraction of its time."""
    if (type(b) is int or type(b) is float) and (b == 2 or b == 3) and getattr(a, "dtype", None) in _FLOATS:
        return a * a if b == 2 else a * a * a
    return np.power(a, b)


def _power_a(g: tape.Tensor, a: tape.Tensor, b: Any) -> tape.Tensor:
    if not isinstance(b, tape.Tensor):
        if b == 0:
            return where(equal(g, g), 0, g)
        return g * b * (a if b == 2 else a ** (b - 1))
    return g * b * where((b == 0) & (a == 0), 1, a) ** (b - 1)  # 0 ** 0: the slope is 0, not 0 * infinity


# 0 ** b is constant for b >= 0 (0, or 1 at 0): its derivative is 0, not 0 * log(0).
_POWER_B = "g * y * log(where((a == 0) & (b >= 0), 1, a))"
power = binary("power", "pow(a, b)", _power, "a to the power of b", a=_power_a, b=_POWER_B)
_clip = ternary(
    "clip",
    "minimum(maximum(x, low), high)",
    np.clip,
    x="where((x >= low) & (x <= high), g, 0)",
    low="where((x < low) & (low <= high), g, 0)",
    high="where(maximum(x, low) > high, g, 0)",
)

equal = binary("equal", "a == b", np.equal)
not_equal = binary("not_equal", "a != b", np.not_equal)
less = binary("less", "a < b", np.less)
less_equal = binary("less_equal", "a <= b", np.less_equal)
greater = binary("greater", "a > b", np.greater)
greater_equal = binary("greater_equal", "a >= b", np.greater_equal)
logical_and = binary("logical_and", "(a != 0) & (b != 0)", np.logical_and)
logical_or = binary("logical_or", "(a != 0) | (b != 0)", np.logical_or)
logical_xor = binary("logical_xor", "(a != 0) ^ (b != 0)", np.logical_xor)
logical_not = unary("logical_not", "x == 0", np.logical_not)
isnan = unary("isnan", "x != x", np.isnan, "True where NaN")
isinf = unary("isinf", "(x == x) & (x - x != 0)", np.isinf, "True where infinite")
isfinite = unary("isfinite", "x - x == 0", np.isfinite, "True where neither NaN nor infinite")


@overload
def where(condition: ArrayLike, /) -> tuple[tape.Tensor, ...]: ...
@overload
def where(condition: ArrayLike, /, x: ArrayLike, y: ArrayLike) -> tape.Tensor: ...
def where(condition: ArrayLike, /, x: Any = None, y: Any = None) -> Any:
    """``x`` where ``condition``, else ``y``, with broadcasting; of ``condition`` alone the indices at which
    it is not zero, a tensor an axis.
    """
    if x is not None and y is not None:
        return _chosen(condition, x, y)
    if x is not None or y is not None:
        raise InputError("where: one of two values was given: write where(condition, x, y)")
    c = as_tensor(condition)
    if not c.ndim:
        raise ShapeError("where: a 0-d condition has no indices: give x and y, or an array")
    return tuple(map(tape.Tensor, looked_at(c).nonzero()))


def clip(x: ArrayLike, min: ArrayLike | None = None, max: ArrayLike | None = None) -> tape.Tensor:
    """Limit ``x`` to ``[min, max]``; None leaves a side open. The gradient passes where the value is inside,
    ends included.
    """
    x = as_tensor(x)
    if min is None and max is None:
        return x
    given = [v if v is None else operand(v) for v in (min, max)]
    if x.dtype.kind != "f" and not is_tracing() and not any(map(is_recorded, given)):
        limits = [v.data if type(v) is tape.Tensor else v for v in given]
        return tape.Tensor(as_array(np.clip(x.data, *limits)))
    low, high = -np.inf, np.inf
    if x.dtype.kind in "iu":  # of which an infinite limit would make floats
        low, high = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
    return _clip(x, low if min is None else min, high if max is None else max)
