"""Of which line of a step an error speaks: looked for when something failed, never before.

It is that of the innermost frame outside of tinyrnn; of a cell of tinyrnn's own, outside of the rooms that
run it.
"""

import contextlib
import dis
import linecache
import os
import sys
import traceback

from ..autograd.tape import ITEM, Tensor, backpropagate, noting

_LIBRARIES = ("numpy.", *[f"tinyrnn.{room}." for room in ("base", "kernels", "autograd", "compiler")])
_RUNS_STEPS = "tinyrnn.compiler.record"  # what lies outside of its frames is not the step's


def shown(file, number) -> str:
    """A line in words."""
    text, where = linecache.getline(file, number).strip(), f"{os.path.basename(file)}:{number}"
    return f"`{text}`, {where}" if text else where


def line_of(frames) -> str | None:
    """The line of the step among ``frames``, pairs (frame, line number), the innermost first."""
    own = None
    for frame, number in frames:
        module, line = str(frame.f_globals.get("__name__")), (frame.f_code.co_filename, number)
        if module == _RUNS_STEPS:
            break
        if not module.startswith(("numpy.", "tinyrnn.")):
            return shown(*line)
        own = own or (None if module.startswith(_LIBRARIES) else line)
    return own and shown(*own)


def located(error, code):
    """``error`` with the line of the step that raised it, or with that in which its ``code`` returns."""
    if not hasattr(error, "located"):
        line = line_of(reversed(list(traceback.walk_tb(error.__traceback__))))
        said = f" (in {line})" if line else in_code(code, "RETURN_VALUE", "RETURN_CONST")
        error.located, error.args = True, (f"{error}{said}",)
    return error


def in_code(code, *names) -> str:
    """`` (in LINE)``: the line of a function that has an instruction or an operand of these names; its first
    where that is none, or several.
    """
    if code is None:
        return ""
    made = [i for i in dis.get_instructions(code) if i.opname in names or i.argval in names]
    first, *others = {i.positions.lineno for i in made if i.positions} or [code.co_firstlineno]
    return f" (in {shown(code.co_filename, code.co_firstlineno if others else first)})"


def walked(origins):
    """Context in which ``origins`` is filled: node that a walk back makes -> the node whose gradient it
    belongs to.
    """

    def walking(frame):
        return frame if frame.f_code is backpropagate.__code__ else walking(frame.f_back)

    return noting(lambda node: origins.update({node: walking(sys._getframe(1)).f_locals["node"]}))


def completed(error, recording):
    """``error``, a `TraceError` of a recorded step, with the op that it is about, what that is given, and its
    line: the step is run once more.
    """
    node, error.node = error.node, None
    node = node.parents[0] if node is not None and node.op is ITEM else node
    forward = recording.origins.get(node, node)
    if forward is None or forward.op is None:
        return error
    prefix, line, lines = "the gradient of " if forward is not node else "", None, {}
    note = noting(lambda n: lines.update({n: line_of(traceback.walk_stack(sys._getframe(1)))}))
    with contextlib.suppress(Exception), note:  # where it does another thing now, there is no line
        again = recording.again()
        if again.ops == recording.ops and forward in recording.nodes:
            forward = again.nodes[recording.nodes.index(forward)]
            line = lines.get(forward)
    given = " and ".join([_operand(x, recording.dtype) for x in forward.saved[:4]])
    error.args = (f"{error} ({prefix}{forward.op.name} of {given}{f' in {line}' if line else ''})",)
    return error


def _operand(x, dtype):
    if not isinstance(x, Tensor):
        return str(x)
    return ("" if x.dtype == dtype else f"{x.dtype} ") + (str(list(x.shape)) if x.ndim else "number")
