"""Write docs/operations.md, the table of all array functions, from the code. With --check: exit 1 if it is
not current.
"""

import ast
import inspect
import operator
import sys
from pathlib import Path

from tinyrnn import Tensor, autograd
from tinyrnn.autograd import functional, shaping
from tinyrnn.autograd.pointwise import FLAT
from tinyrnn.autograd.tape import TABLE

PAGE = Path(__file__).with_name("operations.md")
ORDER = (
    "pointwise reductions ordered shaping linalg arrays products activations losses layers creation transforms"
).split()
MOVED = {
    "ctc": "losses",
    "ctc_decoding": "losses",
    "softmaxes": "reductions",
    "tensor": "creation",
    "tape": "transforms",
    "check": "transforms",
}  # modules without a table
PUBLIC = {
    name: getattr(autograd, name, None) or getattr(functional, name)
    for name in autograd.__all__ + functional.__all__
}
PUBLIC |= {f"linalg.{name}": getattr(functional.linalg, name) for name in functional.linalg.__all__}
PUBLIC |= {"getitem": shaping.getitem, "to": shaping.to}  # an operator and a method only
POINTWISE = ("unary", "binary", "ternary")
MAKERS = {
    "Op": 2,
    "_entered": 1,
    "reduction": 1,
    "_cumulative": 1,
}  # of ops: which argument has their gradients
HEAD = """\
# Operations

Written by `python docs/make_operations.py` from the code; do not edit. `import tinyrnn as tr` gives all of these functions:
`tr.exp(x)`. Inputs are tensors, arrays or numbers. How they are used: [autograd.md](autograd.md).

- **Gradient**: what an input receives if the output `y` receives `g`. "zero": a step function; "none": nothing is recorded;
  "by composition": the function is made of others, and so is its gradient. Gradients are made of these functions as well,
  which gives derivatives of any order. Names that start with `_` are helpers in the module of that name.
- **Dtypes**: float16\\* is stored as float16, and a compiled loop computes in float32 and rounds once. float16 without a star
  is computed as NumPy computes it, operation by operation. Integers and bools have no gradient.
- **Devices**: cpu (NumPy) and cuda (CuPy).
- **Method**: whether `x.exp()` can be written for `tr.exp(x)`, or an operator.
"""
COLUMNS = ["Function", "What it does", "Gradient", "Dtypes", "Devices", "Method"]


class Readable(ast.NodeTransformer):
    """A VJP with ops by their names."""

    def __init__(self, ops):
        self.ops = ops

    def visit_Call(self, node):
        self.generic_visit(node)
        name = ast.unparse(node.func)
        if name == "apply":
            return ast.Call(ast.Name(self.ops[ast.unparse(node.args[0])]), node.args[1:], node.keywords)
        return node


def gradients(module) -> dict:
    """The gradients of the ops that ``module`` makes, by op name: its VJPs as they stand in the source."""
    tree = ast.parse(inspect.getsource(module))
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    pairs = [
        (target, value)
        for n in tree.body
        if isinstance(n, ast.Assign)
        for target, value in (
            zip(n.targets[0].elts, n.value.elts, strict=True)
            if isinstance(n.targets[0], ast.Tuple) and isinstance(n.value, ast.Tuple)
            else [(n.targets[0], n.value)]
        )
    ]
    pairs += [(n.target, n.value) for n in tree.body if isinstance(n, ast.AnnAssign)]
    calls = {ast.unparse(v): call for v, call in pairs if isinstance(call, ast.Call)}
    calls = {v: call for v, call in calls.items() if ast.unparse(call.func) in (*MAKERS, *POINTWISE)}
    names = {v: ast.unparse(call.args[0]).strip("'").removeprefix("np.") for v, call in calls.items()}

    def vjps(call):
        if ast.unparse(call.func) in POINTWISE:
            return {k.arg: k.value for k in call.keywords}
        given = call.args[MAKERS[ast.unparse(call.func)]]
        return (
            dict(zip([k.value for k in given.keys], given.values, strict=True))
            if isinstance(given, ast.Dict)
            else {"x": given}
        )

    def text(vjp):
        if not isinstance(vjp, ast.Lambda) and ast.unparse(vjp) not in functions:
            rule = eval(ast.unparse(vjp), vars(module))
            return "zero" if rule == FLAT else f"`{rule}`"
        if isinstance(vjp, ast.Name):
            vjp = functions[vjp.id]
            if said := ast.get_docstring(vjp):
                return "zero" if said.endswith("zero.") else said.partition("\n")[0].rstrip(".")
        body = (
            vjp.body if isinstance(vjp, ast.Lambda) else vjp.body[-1].value
        )  # its last return: the general case
        return f"`{ast.unparse(Readable(names).visit(body))}`"

    def whole(call, op):
        parts = [
            (f"{'each' if k == '*' else k}: " * (len(op.inputs) != 1), text(v)) for k, v in vjps(call).items()
        ]
        return "; ".join(a + b for a, b in parts)

    listed = {v: TABLE[name] for v, name in names.items() if name in TABLE}
    return {op.name: whole(calls[v], op) if op.vjps else "none" for v, op in listed.items()}


def dtypes(name, group) -> str:
    op = TABLE.get(name)
    if group in ("shaping", "creation") or (group in ("pointwise", "reductions") and op and not op.vjps):
        return "all"
    if group == "pointwise" and op.forward.__name__ == "loop":  # compiled: NumPy has no loop for it
        return "float16*, float32, float64; integers become floats"
    as_floats = group == "reductions" and op.forward.__module__ == "tinyrnn.kernels"  # softmax and its kin
    integers = "integers become floats" if as_floats else "integers as NumPy"
    return "float16, float32, float64" + ("" if group in ("losses", "layers") else f"; {integers}")


def row(name, function, group, found) -> list:
    signature = inspect.signature(function)
    # What is there to be refused is no parameter.
    parameters = [p for p in signature.parameters.values() if p.annotation != "Never"]
    signature = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    what = (
        inspect.getdoc(function)
        .partition("\n")[0]
        .replace("::", ".")
        .replace(", pointwise with broadcasting", "")
    )
    gradient = (
        found.get(name.removeprefix("linalg.")) or found.get(name.removesuffix("_loss")) or "by composition"
    )
    gradient = "none" if (group == "creation" and name != "asarray") or name.endswith("_decode") else gradient
    special = {k: getattr(f, "__wrapped__", f) for k, f in vars(Tensor).items() if k[:2] == "__"}
    operators = [f"`{getattr(operator, k).__doc__[8:-1]}`" for k, f in special.items() if f is function]
    method = ", ".join(["yes"] * hasattr(Tensor, name) + operators) or "no"
    devices = "cpu, cuda (computed on the cpu)" if name.startswith("ctc") else "cpu, cuda"
    cells = f"`{name}{signature}`", what, gradient, dtypes(name, group), devices, method
    return [c.replace("``", "`").replace("|", "\\|").replace("16*", "16\\*") for c in cells]


def page() -> str:
    text = HEAD
    groups = {name: f.__module__.rpartition(".")[2] for name, f in sorted(PUBLIC.items()) if f is not Tensor}
    for group in ORDER:
        names = [name for name, g in groups.items() if MOVED.get(g, g) == group]
        modules = {sys.modules[PUBLIC[name].__module__] for name in names} if group != "transforms" else ()
        found = {op: gradient for module in modules for op, gradient in gradients(module).items()}
        rows = [COLUMNS, ["---"] * len(COLUMNS), *[row(name, PUBLIC[name], group, found) for name in names]]
        width = 2 if group == "transforms" else len(COLUMNS)
        text += f"\n## {group.capitalize()}\n\n" + "".join(
            "| " + " | ".join(cells[:width]) + " |\n" for cells in rows
        )
    return text


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
