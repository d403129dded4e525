"""Pointwise ops: each is one entry of name, scalar rule, NumPy's loop where it has one, and VJPs.

The rule is an expression that is valid in Python and in C; code generators use it, and ops without a NumPy loop are compiled
from it. Derivatives that would take several passes over memory are ops of their own (``sigmoid_grad``), so that they are one
fused loop too.
"""

import numpy as np

from .. import kernels
from .tape import Op, Tensor, apply

# fmt: off
__all__ = [
    "abs", "add", "ceil", "clip", "cos", "divide", "elu", "equal", "exp", "expm1", "floor", "gelu", "greater",
    "greater_equal", "hardsigmoid", "hardtanh", "leaky_relu", "less", "less_equal", "log", "log1p", "logical_and",
    "logical_not", "logical_or", "maximum", "minimum", "multiply", "negative", "not_equal", "power", "reciprocal", "relu",
    "round", "sigmoid", "sign", "silu", "sin", "softplus", "sqrt", "square", "subtract", "tanh", "where",
]
# fmt: on

_PLAIN = (float, int, bool, Tensor)


def operand(x):
    """``x`` as an input of an op: tensors and Python numbers as they are (numbers promote weakly), the rest as arrays."""
    if type(x) in _PLAIN or isinstance(x, Tensor):
        return x
    return Tensor(x if hasattr(x, "dtype") and hasattr(x, "ndim") and not isinstance(x, np.generic) else np.asarray(x))


def as_tensor(x) -> Tensor:
    """``x`` as a Tensor: for functions that look at shapes, where a bare number will not do."""
    x = operand(x)
    return x if isinstance(x, Tensor) else Tensor(np.asarray(x))


def pointwise(name, rule, loop=None, doc=None, **vjps):
    """Enter a pointwise op into the table and return its public function.

    The names of the op's inputs are the names used in ``vjps``, in order, or those of ``loop`` being unary or binary.
    """
    inputs = _INPUTS.get(name) or (tuple(vjps) if vjps else ("x",))
    if loop is None:

        def loop(*arrays):
            return kernels.pointwise.run(name, inputs, rule, *arrays)

    op = Op(name, loop, vjps, inputs=inputs, rule=rule)
    if len(inputs) == 1:

        def function(x, /):
            return apply(op, x if type(x) is Tensor else operand(x))

    elif len(inputs) == 2:

        def function(x1, x2, /):
            return apply(op, x1 if type(x1) is Tensor else operand(x1), x2 if type(x2) is Tensor else operand(x2))

    else:

        def function(*operands):
            return apply(op, *[operand(x) for x in operands])

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc or name.replace('_', ' ').capitalize()}, pointwise with broadcasting: ``{rule}``."
    return function


# Inputs that have no derivative of their own cannot be read off the VJPs.
_INPUTS = dict.fromkeys(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), ("a", "b"))
_INPUTS |= dict.fromkeys(("logical_and", "logical_or"), ("a", "b"))
_INPUTS |= {"where": ("c", "a", "b"), "larger_share": ("g", "a", "b"), "relu_grad": ("g", "s")}
_INPUTS |= {"clip": ("x", "low", "high"), "clip_grad": ("g", "x", "low", "high")}


add = pointwise("add", "a + b", np.add, a=lambda g: g, b=lambda g: g)
subtract = pointwise("subtract", "a - b", np.subtract, a=lambda g: g, b=lambda g: -g)
multiply = pointwise("multiply", "a * b", np.multiply, a=lambda g, b: g * b, b=lambda g, a: g * a)
divide = pointwise("divide", "a / b", np.divide, a=lambda g, b: g / b, b=lambda g, y, b: -(g * y / b))
negative = pointwise("negative", "-x", np.negative, x=lambda g: -g)
square = pointwise("square", "x * x", np.square, x=lambda g, x: 2 * g * x)
reciprocal = pointwise("reciprocal", "1 / x", np.reciprocal, x=lambda g, y: -(g * y * y))
sqrt = pointwise("sqrt", "sqrt(x)", np.sqrt, x=lambda g, y: 0.5 * g / y)
exp = pointwise("exp", "exp(x)", np.exp, x=lambda g, y: g * y)
expm1 = pointwise("expm1", "expm1(x)", np.expm1, x=lambda g, y: g * (y + 1))
log = pointwise("log", "log(x)", np.log, x=lambda g, x: g / x)
log1p = pointwise("log1p", "log1p(x)", np.log1p, x=lambda g, x: g / (x + 1))
sin = pointwise("sin", "sin(x)", np.sin, x=lambda g, x: g * cos(x))
cos = pointwise("cos", "cos(x)", np.cos, x=lambda g, x: -(g * sin(x)))
tanh = pointwise("tanh", "tanh(x)", np.tanh, "Hyperbolic tangent", x=lambda g, y: tanh_grad(g, y))
sigmoid = pointwise("sigmoid", "sigmoid(x)", None, "Logistic sigmoid 1 / (1 + exp(-x))", x=lambda g, y: sigmoid_grad(g, y))
softplus = pointwise("softplus", "softplus(x)", None, "log(1 + exp(x)) without overflow", x=lambda g, x: g * sigmoid(x))
normal_cdf = pointwise(
    "normal_cdf",
    "normal_cdf(x)",
    None,
    "Normal distribution function",
    x=lambda g, x: g * exp(-0.5 * x * x) * 0.3989422804014327,
)
relu = pointwise("relu", "maximum(x, 0)", lambda x: np.maximum(x, 0), x=lambda g, y: relu_grad(g, y))
sign = pointwise("sign", "(x > 0) - (x < 0)", np.sign)
floor = pointwise("floor", "floor(x)", np.floor)
ceil = pointwise("ceil", "ceil(x)", np.ceil)
round = pointwise("round", "round(x)", np.round)
abs = pointwise("abs", "abs(x)", np.abs, x=lambda g, x: g * sign(x))
maximum = pointwise(
    "maximum", "maximum(a, b)", np.maximum, a=lambda g, a, b: larger_share(g, a, b), b=lambda g, a, b: larger_share(g, b, a)
)
minimum = pointwise(
    "minimum", "minimum(a, b)", np.minimum, a=lambda g, a, b: larger_share(g, b, a), b=lambda g, a, b: larger_share(g, a, b)
)
where = pointwise("where", "where(c, a, b)", np.where, a=lambda g, c: where(c, g, 0), b=lambda g, c: where(c, 0, g))


def _power_vjp_base(g, a, b):
    if not isinstance(b, Tensor):
        return g * b * a ** (b - 1) if b != 0 else g * 0
    return g * b * a ** where(equal(b, 0), 1, b - 1)  # the exponent 0 gives 0, also for the base 0


power = pointwise(
    "power",
    "pow(a, b)",
    np.power,
    a=_power_vjp_base,
    b=lambda g, y, a: g * y * log(where(greater(a, 0), a, 1)),  # 0 ** b is 0 for every b > 0: derivative 0
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
_clip = pointwise("clip", "minimum(maximum(x, low), high)", np.clip, x=lambda g, x, low, high: clip_grad(g, x, low, high))

equal = pointwise("equal", "a == b", np.equal)
not_equal = pointwise("not_equal", "a != b", np.not_equal)
less = pointwise("less", "a < b", np.less)
less_equal = pointwise("less_equal", "a <= b", np.less_equal)
greater = pointwise("greater", "a > b", np.greater)
greater_equal = pointwise("greater_equal", "a >= b", np.greater_equal)
logical_and = pointwise("logical_and", "a & b", np.logical_and)
logical_or = pointwise("logical_or", "a | b", np.logical_or)
logical_not = pointwise("logical_not", "x == 0", np.logical_not)


def clip(x, min=None, max=None):
    """Limit ``x`` to ``[min, max]``; None leaves a side open. The gradient passes where the value is inside, ends included."""
    return _clip(x, -float("inf") if min is None else min, float("inf") if max is None else max)


def silu(x):
    """``x * sigmoid(x)`` (Elfwing et al. 2018; "swish")."""
    return x * sigmoid(x)


def gelu(x):
    """``x * Phi(x)`` with the exact normal distribution function (Hendrycks & Gimpel 2016)."""
    return x * normal_cdf(x)


def leaky_relu(x, negative_slope=0.01):
    """``x`` where positive, else ``negative_slope * x`` (Maas et al. 2013)."""
    return where(greater(x, 0), x, negative_slope * x)


def elu(x, alpha=1.0):
    """``x`` where positive, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2016, eq. 15)."""
    return where(greater(x, 0), x, alpha * expm1(minimum(x, 0)))


def hardsigmoid(x):
    """``clip(x / 6 + 1/2, 0, 1)`` (as PyTorch)."""
    return clip(x / 6 + 0.5, 0.0, 1.0)


def hardtanh(x, min_val=-1.0, max_val=1.0):
    """``clip(x, min_val, max_val)``."""
    return clip(x, min_val, max_val)
