"""What a call costs: ops on a few numbers, recorded and not, beside NumPy's and PyTorch's calls of the same.

python benchmarks/overhead.py           # prints the table, writes benchmarks/results/overhead.json
"""

import os

# Before NumPy is imported: small products run on one thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from timing import minima, parser, save, table

import tinyrnn as tr

try:
    import torch
except ImportError:  # then its column is empty
    torch = None

SIZE = 8

# From (module, x [8], m [8, 8]) to a function that makes the call.
CALLS = {
    "x + x": lambda of, x, m: lambda: x + x,
    "x * 2.0": lambda of, x, m: lambda: x * 2.0,
    "exp(x)": lambda of, x, m: lambda f=of.exp: f(x),
    "where(x > 0, x, x)": lambda of, x, m: (
        lambda f=of.where: f(c, x, x) if (c := x > 0) is not None else None
    ),
    "m @ m": lambda of, x, m: lambda: m @ m,
    "m @ x": lambda of, x, m: lambda: m @ x,
    "m.reshape(4, 16)": lambda of, x, m: lambda: m.reshape(4, 16),
    "m.reshape(-1)": lambda of, x, m: lambda: m.reshape(-1),
    "m.ravel()": lambda of, x, m: lambda: m.ravel(),
    "m.T": lambda of, x, m: lambda: m.T,
    "m.swapaxes(0, 1)": lambda of, x, m: lambda: m.swapaxes(0, 1),
    "transpose": lambda of, x, m: lambda: m.permute(1, 0) if of is torch else m.transpose(1, 0),
    "m[2]": lambda of, x, m: lambda: m[2],
    "m[2:5]": lambda of, x, m: lambda: m[2:5],
    "m[:, 3]": lambda of, x, m: lambda: m[:, 3],
    "m[..., None]": lambda of, x, m: lambda: m[..., None],
    "m[ids]": lambda of, x, m: lambda ids=IDS[of is torch]: m[ids],
    "expand_dims": lambda of, x, m: lambda f=of.unsqueeze if of is torch else of.expand_dims: f(m, 0),
    "squeeze": lambda of, x, m: lambda y=m[None]: y.squeeze(0),
    "broadcast_to": lambda of, x, m: lambda f=of.broadcast_to: f(x, (4, SIZE)),
    "concat": lambda of, x, m: lambda f=of.concat: f((m, m)),
    "stack": lambda of, x, m: lambda f=of.stack: f((m, m)),
    "split": lambda of, x, m: lambda f=of.split, n=4 if of is torch else 2: f(m, n, 0),
    "m.sum(-1)": lambda of, x, m: lambda: m.sum(-1),
    "m.sum()": lambda of, x, m: lambda: m.sum(),
    "m.mean(-1)": lambda of, x, m: lambda: m.mean(-1),
    "m.max(-1)": lambda of, x, m: lambda f=m.amax if of is torch else m.max: f(-1),
    "m.var(-1)": lambda of, x, m: lambda: m.var(-1),
    "astype": lambda of, x, m: lambda f=m.type if of is torch else m.astype: f(SINGLE[of is torch]),
}
IDS = np.array([1, 3, 3]), torch and torch.tensor([1, 3, 3])  # NumPy's, PyTorch's
SINGLE = np.dtype(np.float32), torch and torch.float32


def rows():
    values = np.linspace(0.1, 0.9, SIZE * SIZE).reshape(SIZE, SIZE)
    for name, call in CALLS.items():
        functions = [call(np, values[0].copy(), values.copy())]
        for recorded in (False, True):
            leaves = [tr.tensor(v, requires_grad=recorded) for v in (values[0], values)]
            functions.append(call(tr, *leaves))
        for recorded in (False, True) if torch else ():
            leaves = [torch.tensor(v, requires_grad=recorded) for v in (values[0], values)]
            functions.append(call(torch, *leaves))
        numpys, plain, recorded, *theirs = (1e6 * t for t in minima(functions))
        row = {
            "call": name,
            "NumPy us": f"{numpys:.2f}",
            "tinyrnn us": f"{plain:.2f}",
            "recorded us": f"{recorded:.2f}",
            "ratio": f"{plain / numpys:.1f}",
            "recorded ratio": f"{recorded / numpys:.1f}",
        }
        for label, time in zip(("PyTorch us", "PyTorch recorded us"), theirs or (None, None), strict=True):
            row[label] = "-" if time is None else f"{time:.2f}"
        yield row


def main():
    parser(__doc__).parse_args()
    measured = list(rows())
    print(table(list(measured[0]), measured))
    save("overhead", "python benchmarks/overhead.py", measured)


if __name__ == "__main__":
    main()
