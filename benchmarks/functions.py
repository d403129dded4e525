"""Functions of one number as compiled loops compute them, beside NumPy and PyTorch: nanoseconds an element.

python benchmarks/functions.py            # prints the table, writes benchmarks/results/functions.json
"""

import functools
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from timing import parser, save, table

from tinyrnn.kernels import pointwise

SIZE = 4096  # in the first cache, where the arithmetic counts
GELU = "0.5 * x * (1 + erf(x * 0.7071067811865476))"
RULES = {n: f"{n}(x)" for n in "exp tanh sigmoid softplus log log1p expm1 log2 log10 erf sin cos tan".split()}
RULES |= {"pow": "pow(x, y)", "gelu": GELU, "atan2": "atan2(x, y)"}
NUMPY = {"sigmoid": None, "softplus": None, "erf": None, "gelu": None, "pow": "power", "atan2": "arctan2"}
PYTORCH = {"softplus": "nn.functional.softplus", "gelu": "nn.functional.gelu"}


def fastest(call, rounds=200, calls=10):
    """Least nanoseconds an element of processor time, which other programs disturb least."""
    call()
    best = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        for _ in range(calls):
            call()
        best = min(best, time.thread_time() - start)
    return best / calls / SIZE * 1e9


def peers(name, arrays, out):
    """The calls of NumPy and of PyTorch, None where there is none."""
    known = NUMPY.get(name, name)
    yield known and functools.partial(getattr(np, known), *arrays, out=out)
    try:
        import torch
    except ImportError:
        yield None
        return
    torch.set_num_threads(1)
    function = functools.reduce(getattr, PYTORCH.get(name, name).split("."), torch)
    keywords = {} if name in PYTORCH else {"out": torch.from_numpy(out)}
    yield functools.partial(function, *map(torch.from_numpy, arrays), **keywords)


def main():
    parser(__doc__).parse_args()
    rows, made = [], np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        numbers = [(0.1 + 3 * made.random(SIZE)).astype(dtype) for _ in range(2)]
        out = np.empty(SIZE, dtype)
        for name, rule in RULES.items():
            arrays = numbers if "y)" in rule else numbers[:1]
            arguments = ("x", "y")[: len(arrays)]
            kernel = pointwise._kernel(name, arguments, (False,) * len(arrays), rule, dtype)
            calls = [functools.partial(kernel, *arrays, out), *peers(name, arrays, out)]
            times = [f"{fastest(call):.2f}" if call else "" for call in calls]
            rows.append(
                dict(
                    zip(
                        ("function", "dtype", "tinyrnn", "NumPy", "PyTorch"),
                        (name, dtype, *times),
                        strict=False,
                    )
                )
            )
    print(table(list(rows[0]), rows))
    save("functions", "python benchmarks/functions.py", rows)


if __name__ == "__main__":
    main()
