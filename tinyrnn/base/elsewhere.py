"""What PyTorch calls by another name: said where such a name is asked for and is missing."""

PYTORCH = {  # its name: what to write here; docs/pytorch.md has the differences
    "cat": "concat",
    "unsqueeze": "expand_dims(x, axis=...)",
    "view": "reshape",
    "permute": "permute_dims",
    "chunk": "split",
    "clamp": "clip",
    "clone": "copy(), or tr.tensor(t.detach()) for a new leaf",
    "contiguous": "nothing at all",
    "expand": "broadcast_to",
    "gather": "take_along_axis",
    "index_select": "take",
    "masked_fill": "where(mask, value, x)",
    "mm": "matmul, or @",
    "bmm": "matmul, or @",
    "t": "T",
    "add_": "+=, within no_grad()",
    "copy_": "assign_",
    "zero_": "t.grad = None, or zero_grad() of a module or an optimiser",
    "requires_grad_": "t.requires_grad = True",
    "mul": "multiply, or *",
    "div": "divide, or /",
    "sub": "subtract, or -",
    "pow": "power, or **",
    "neg": "negative, or -",
    "eq": "equal, or ==",
    "arccos": "acos",
    "arcsin": "asin",
    "arctan": "atan",
    "arctan2": "atan2",
    "arccosh": "acosh",
    "arcsinh": "asinh",
    "arctanh": "atanh",
    "movedim": "moveaxis",
    "tensor_split": "array_split",
    "hardtanh": "clip(x, -1, 1)",
    "inverse": "linalg.inv",
    "numel": "size, an attribute",
    "float": "astype('float32')",
    "double": "astype('float64')",
    "long": "astype('int64')",
    "float32": "the text 'float32'",
    "float64": "the text 'float64'",
    "bfloat16": "tr.autocast('bfloat16'), or precision='bfloat16' of an RNN",
    "half": "tr.autocast('bfloat16'), or precision='bfloat16' of an RNN",
    "amp": "tr.autocast('bfloat16'), or precision='bfloat16' of an RNN",
    "int64": "the text 'int64'",
    "cpu": "to('cpu')",
    "cuda": "to('cuda')",
    "empty": "zeros(shape)",
    "from_numpy": "asarray",
    "manual_seed": "tr.Generator(seed), given where something is drawn, or seed=... of tr.RNN",
    "save": "module.save(path)",
    "Parameter": "tr.tensor(values, requires_grad=True) as an attribute of a Module",
    "Sequential": "a Module whose forward calls its layers in turn",
    "ModuleList": "a list as an attribute of a Module",
    "LSTM": "tr.RNN('lstm', input_size, hidden_size)",
    "GRU": "tr.RNN('gru', input_size, hidden_size)",
    "LSTMCell": "tr.cells.get_cell('lstm')",
    "GRUCell": "tr.cells.get_cell('gru')",
    "CrossEntropyLoss": "tr.cross_entropy",
    "MSELoss": "tr.mse_loss",
    "BCEWithLogitsLoss": "tr.binary_cross_entropy_with_logits",
    "CTCLoss": "tr.ctc_loss",
    "functional": "tinyrnn itself: tr.cross_entropy",
    "clip_grad_norm_": "clip_grad_norm",
    "batch_first": "nothing: inputs are [T, B, F], time first, by tr.permute_dims(x, (1, 0, 2))",
    "dim": "ndim, and as an argument axis",
}


def missing(owner: str, name: str) -> str:
    """The message about an attribute that ``owner`` does not have."""
    said = f"{owner} has no attribute {name!r}"
    return f"{said}: what PyTorch calls so is {PYTORCH[name]} here" if name in PYTORCH else said


class Elsewhere:
    """An attribute that is missing: who asks for it is told its name here."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: object, kind: type | None = None) -> None:
        raise AttributeError(missing("a Tensor", self.name))
