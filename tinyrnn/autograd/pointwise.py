"""Pointwise ops: each is one entry of name, scalar rule, NumPy's loop where it has one, and VJPs.

The rule is an expression that is valid in Python and in C; code generators use it, and ops without a NumPy loop are compiled
from it. Derivatives that would take several passes over memory are ops of their own (``sigmoid_grad``), so that they are one
fused loop too.
"""

import numpy as np

from .. import kernels
from ..errors import DtypeError
from .tape import NONE, Node, Op, Tensor, apply, explained, record, state

# fmt: off
__all__ = [
    "abs", "add", "ceil", "clip", "cos", "divide", "equal", "erf", "exp", "expm1", "floor", "greater",
    "greater_equal", "isfinite", "isinf", "isnan", "less", "less_equal", "log",
    "log1p", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply",
    "negative", "not_equal", "power", "reciprocal", "relu", "round", "sigmoid", "sign", "sin", "softplus", "sqrt",
    "square", "subtract", "tanh", "where",
]
# fmt: on


def operand(x):
    """``x`` as an input of an op: tensors and Python numbers as they are (numbers promote weakly), the rest as arrays.

    Raises:
        DtypeError: an array that is not of floats (up to 64 bits), integers or bools.
    """
    if isinstance(x, Tensor | float | int) and not isinstance(x, np.generic):
        return x
    if not (hasattr(x, "dtype") and hasattr(x, "ndim")) or isinstance(x, np.generic):
        x = np.asarray(x)
    if x.dtype.kind not in "fiub" or x.dtype.itemsize > 8:
        raise DtypeError(f"a tensor cannot hold dtype {x.dtype}: use float16 to float64, integers or bools")
    return Tensor(x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("=")))


def as_tensor(x) -> Tensor:
    """``x`` as a Tensor: for functions that look at shapes, where a bare number will not do."""
    if type(x) is Tensor:
        return x
    x = operand(x)
    return x if isinstance(x, Tensor) else Tensor(np.asarray(x))


def _plain(x):
    """``x`` as an operand, what the loop gets for it, and its node: none."""
    if type(x) is float or type(x) is int:
        return x, x, None
    x = operand(x)
    return x, x.data if type(x) is Tensor else x, None


def pointwise(name, rule, loop=None, doc=None, **vjps):
    """Enter a pointwise op into the table and return its public function.

    The names of the op's inputs are the names used in ``vjps``, in order, or those of ``_INPUTS``, or ``x``.
    """
    inputs = _INPUTS.get(name) or tuple(vjps) or ("x",)
    if loop is None:

        def loop(*arrays):
            return kernels.pointwise.run(name, inputs, rule, *arrays)

    op = Op(name, loop, vjps, inputs=inputs, rule=rule)

    keeps, keeps_output, differentiable = op.keeps, op.keeps_output, bool(vjps)

    # `apply` written out for one and two inputs: small arrays pay for every Python instruction.
    def unary(x, /):
        x = x if type(x) is Tensor else as_tensor(x)
        try:
            out = loop(x.data)
        except Exception as error:
            raise explained(op, (x,), error) from error
        if type(out) is not np.ndarray:
            return record(op, (x,), NONE, out)
        if x.node is None or not differentiable or not state.recording:
            return Tensor(out)
        y = Tensor(out, Node(op, (x.node,), NONE, out, (x,) if keeps[0] else None))
        if keeps_output:
            y.node.output = out, y.shared_version()
        return y

    def binary(x1, x2, /):
        if type(x1) is Tensor:
            a, n1 = x1.data, x1.node
        else:
            x1, a, n1 = _plain(x1)
        if type(x2) is Tensor:
            b, n2 = x2.data, x2.node
        else:
            x2, b, n2 = _plain(x2)
        try:
            out = loop(a, b)
        except Exception as error:
            raise explained(op, (x1, x2), error) from error
        if type(out) is not np.ndarray:
            return record(op, (x1, x2), NONE, out)
        if (n1 is None and n2 is None) or not differentiable or not state.recording:
            return Tensor(out)
        y = Tensor(out, Node(op, (n1, n2), NONE, out, (x1 if keeps[0] else None, x2 if keeps[1] else None)))
        if keeps_output:
            y.node.output = out, y.shared_version()
        return y

    def ternary(x1, x2, x3, /):
        return apply(op, operand(x1), operand(x2), operand(x3))

    def more(*operands):
        return apply(op, *map(operand, operands))

    function = {1: unary, 2: binary, 3: ternary}.get(len(inputs), more)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc or name.replace('_', ' ').capitalize()}, pointwise with broadcasting: ``{rule}``."
    return function


# Inputs that have no derivative of their own cannot be read off the VJPs.
_INPUTS = dict.fromkeys(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), ("a", "b"))
_INPUTS |= dict.fromkeys(("logical_and", "logical_or", "logical_xor"), ("a", "b"))
_INPUTS |= {"where": ("c", "a", "b"), "larger_share": ("g", "a", "b"), "relu_grad": ("g", "s")}
_INPUTS["clip_grad"] = ("g", "x", "low", "high")


def _flat(g):
    """The gradient of a step function: zero."""
    return where(False, g, 0)


add = pointwise("add", "a + b", np.add, a=lambda g: g, b=lambda g: g)
subtract = pointwise("subtract", "a - b", np.subtract, a=lambda g: g, b=lambda g: -g)
multiply = pointwise("multiply", "a * b", np.multiply, a=lambda g, b: g * b, b=lambda g, a: g * a)
divide = pointwise("divide", "a / b", np.divide, a=lambda g, b: g / b, b=lambda g, y, b: -(g * y / b))
negative = pointwise("negative", "-x", np.negative, x=lambda g: -g)
square = pointwise("square", "x * x", np.square, x=lambda g, x: 2 * g * x)
reciprocal = pointwise("reciprocal", "1 / x", np.reciprocal, x=lambda g, y: -(g * y * y))
sqrt = pointwise("sqrt", "sqrt(x)", np.sqrt, "Square root", x=lambda g, y: 0.5 * g / y)
exp = pointwise("exp", "exp(x)", np.exp, "Exponential function", x=lambda g, y: g * y)
expm1 = pointwise("expm1", "expm1(x)", np.expm1, "exp(x) - 1, exact near 0", x=lambda g, y: g * (y + 1))
log = pointwise("log", "log(x)", np.log, "Natural logarithm", x=lambda g, x: g / x)
log1p = pointwise("log1p", "log1p(x)", np.log1p, "log(1 + x), exact near 0", x=lambda g, x: g / (x + 1))
sin = pointwise("sin", "sin(x)", np.sin, "Sine", x=lambda g, x: g * cos(x))
cos = pointwise("cos", "cos(x)", np.cos, "Cosine", x=lambda g, x: -(g * sin(x)))
tanh = pointwise("tanh", "tanh(x)", np.tanh, "Hyperbolic tangent", x=lambda g, y: tanh_grad(g, y))
sigmoid = pointwise("sigmoid", "sigmoid(x)", None, "Logistic sigmoid 1 / (1 + exp(-x))", x=lambda g, y: sigmoid_grad(g, y))
softplus = pointwise("softplus", "softplus(x)", None, "log(1 + exp(x)) without overflow", x=lambda g, x: g * sigmoid(x))
erf = pointwise("erf", "erf(x)", None, "Error function", x=lambda g, x: g * exp(-square(x)) * 1.1283791670955126)
relu = pointwise("relu", "maximum(x, 0)", lambda x: np.maximum(x, 0), "Rectifier", x=lambda g, y: relu_grad(g, y))
sign = pointwise("sign", "where(x > 0, 1, where(x < 0, -1, x))", np.sign, "Sign, of zero 0", x=_flat)
floor = pointwise("floor", "floor(x)", np.floor, "Next integer below", x=_flat)
ceil = pointwise("ceil", "ceil(x)", np.ceil, "Next integer above", x=_flat)
round = pointwise("round", "round(x)", np.round, "Nearest integer, of two the even one", x=_flat)
abs = pointwise("abs", "abs(x)", np.abs, "Absolute value", x=lambda g, x: g * sign(x))
maximum = pointwise(
    "maximum", "maximum(a, b)", np.maximum, a=lambda g, a, b: larger_share(g, a, b), b=lambda g, a, b: larger_share(g, b, a)
)
minimum = pointwise(
    "minimum", "minimum(a, b)", np.minimum, a=lambda g, a, b: larger_share(g, b, a), b=lambda g, a, b: larger_share(g, a, b)
)
logaddexp = pointwise(
    "logaddexp",
    "logaddexp(a, b)",
    np.logaddexp,
    "log(exp(a) + exp(b)) without overflow",
    a=lambda g, a, b: g * sigmoid(a - b),
    b=lambda g, a, b: g * sigmoid(b - a),
)
where = pointwise(
    "where", "where(c, a, b)", np.where, "a where c, else b", a=lambda g, c: where(c, g, 0), b=lambda g, c: where(c, 0, g)
)


def _power_vjp_base(g, a, b):
    if not isinstance(b, Tensor):
        return g * b * a ** (b - 1) if b != 0 else _flat(g)
    return g * b * a ** where(equal(b, 0), 1, b - 1)  # the exponent 0 gives 0, also for the base 0


power = pointwise(
    "power",
    "pow(a, b)",
    np.power,
    "a to the power of b",
    a=_power_vjp_base,
    b=lambda g, y, a: g * y * log(where(equal(a, 0), 1, a)),  # 0 ** b is 0 for every b > 0: derivative 0
)

# Fused derivatives: linear in g; s is the saved output.
tanh_grad = pointwise(
    "tanh_grad", "g * (1 - s * s)", None, "VJP of tanh", g=lambda ct, s: tanh_grad(ct, s), s=lambda ct, g, s: -2 * ct * g * s
)
sigmoid_grad = pointwise(
    "sigmoid_grad",
    "g * s * (1 - s)",
    None,
    "VJP of sigmoid",
    g=lambda ct, s: sigmoid_grad(ct, s),
    s=lambda ct, g, s: ct * g * (1 - 2 * s),
)
relu_grad = pointwise("relu_grad", "where(s > 0, g, 0)", None, "VJP of relu", g=lambda ct, s: relu_grad(ct, s))
larger_share = pointwise(
    "larger_share",
    "where(a > b, g, where(a == b, 0.5 * g, 0))",
    None,
    "What maximum(a, b) passes on to a: all, half at a tie, nothing",
    g=lambda ct, a, b: larger_share(ct, a, b),
)
clip_grad = pointwise(
    "clip_grad",
    "where((x >= low) & (x <= high), g, 0)",
    None,
    "VJP of clip",
    g=lambda ct, x, low, high: clip_grad(ct, x, low, high),
)
_clip = pointwise(
    "clip",
    "minimum(maximum(x, low), high)",
    np.clip,
    x=lambda g, x, low, high: clip_grad(g, x, low, high),
    low=lambda g, x, low, high: where(logical_and(less(x, low), less_equal(low, high)), g, 0),
    high=lambda g, x, low, high: where(greater(maximum(x, low), high), g, 0),
)

equal = pointwise("equal", "a == b", np.equal)
not_equal = pointwise("not_equal", "a != b", np.not_equal)
less = pointwise("less", "a < b", np.less)
less_equal = pointwise("less_equal", "a <= b", np.less_equal)
greater = pointwise("greater", "a > b", np.greater)
greater_equal = pointwise("greater_equal", "a >= b", np.greater_equal)
logical_and = pointwise("logical_and", "(a != 0) & (b != 0)", np.logical_and)
logical_or = pointwise("logical_or", "(a != 0) | (b != 0)", np.logical_or)
logical_xor = pointwise("logical_xor", "(a != 0) ^ (b != 0)", np.logical_xor)
logical_not = pointwise("logical_not", "x == 0", np.logical_not)
isnan = pointwise("isnan", "x != x", np.isnan, "True where NaN")
isinf = pointwise("isinf", "(x == x) & (x - x != 0)", np.isinf, "True where infinite")
isfinite = pointwise("isfinite", "x - x == 0", np.isfinite, "True where neither NaN nor infinite")


def clip(x, min=None, max=None):
    """Limit ``x`` to ``[min, max]``; None leaves a side open. The gradient passes where the value is inside, ends included."""
    x = as_tensor(x)
    limits = np.iinfo(x.dtype) if x.dtype.kind in "iu" else None  # an infinite limit would make floats of integers
    low, high = (limits.min, limits.max) if limits else (-float("inf"), float("inf"))
    return _clip(x, low if min is None else min, high if max is None else max)
