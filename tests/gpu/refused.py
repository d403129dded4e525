"""What CuPy refuses: calls with an array ``x [3]``, and what it says. It imports nothing but NumPy, so that a
process with the real package can read it.
"""

import numpy as np


def kernel(cupy, statement):
    return cupy.ElementwiseKernel("T a, T b", "T c", statement, "tinyrnn_test")


MIXED = "Unsupported type <class 'numpy.ndarray'>"
REFUSED = {  # a call, and how it is refused
    "array of NumPy in a ufunc": (lambda cp, x: cp.add(x, np.ones(3)), MIXED),
    "array of NumPy in an operator": (lambda cp, x: x * np.ones(3), MIXED),
    "array of NumPy before an operator": (lambda cp, x: np.ones(3) * x, MIXED),
    "array of NumPy in place": (lambda cp, x: x.__iadd__(np.ones(3)), MIXED),
    "array of NumPy in NumPy's ufunc": (lambda cp, x: np.maximum(x, np.ones(3)), MIXED),
    "array of NumPy in NumPy's function": (lambda cp, x: np.where(np.ones(3, bool), x, x), MIXED),
    "array of NumPy in concatenate": (
        lambda cp, x: np.concatenate([x, np.ones(3)]),
        "Only cupy arrays|Unsupported",
    ),
    "array of NumPy clipped": (lambda cp, x: np.clip(np.ones(3), x, 2.0), "recursion"),
    "array of NumPy as a value": (lambda cp, x: x.__setitem__(slice(None), np.ones(3)), "for fill"),
    "array of NumPy in a kernel": (lambda cp, x: kernel(cp, "c = a")(x, np.ones(3)), MIXED),
    "list in a ufunc": (lambda cp, x: cp.add(x, [1.0, 2.0, 3.0]), "Unsupported type <class 'list'>"),
    "becoming an array of NumPy": (lambda cp, x: np.asarray(x), "Implicit conversion"),
    "list of device scalars": (lambda cp, x: np.array([x[0], x[1]]), "Implicit conversion"),
    "where with a number as condition": (lambda cp, x: cp.where(True, x, x), "no attribute 'astype'"),
    "mask of a ufunc": (lambda cp, x: cp.add(x, x, where=x > 0), "Wrong arguments"),
    "order of a ufunc": (lambda cp, x: cp.add(x, x, order="F"), "Wrong arguments"),
    "casting in astype": (lambda cp, x: x.astype("float32", casting="unsafe"), "casting"),
    "initial value of max": (lambda cp, x: x.max(initial=0.0), "unexpected keyword argument"),
    "largest of nothing": (lambda cp, x: x[:0].max(), "zero-size array to reduction"),
    "keepdims of count_nonzero": (lambda cp, x: cp.count_nonzero(x, keepdims=True), "unexpected keyword"),
    "objects": (lambda cp, x: cp.asarray(np.array([None, 1], object)), "Unsupported dtype object"),
    "flags": (lambda cp, x: setattr(x.flags, "writeable", False), "writ"),
    "two masks": (lambda cp, x: x.reshape(3, 1)[x > 0, cp.ones(1, bool)], "one boolean array"),
    "function that is not there": (lambda cp, x: np.heaviside(x, x.astype(complex)), "heaviside"),
    "device that is not CUDA": (lambda cp, x: cp.from_dlpack(np.ones(3)), "CPU arrays cannot"),
    "different types in a kernel": (
        lambda cp, x: kernel(cp, "c = a + b")(x, x.astype("float32")),
        "Type is mismatched",
    ),
    "kernel of wrong C": (lambda cp, x: kernel(cp, "c = unknown")(x, x), "unknown"),
}

# Refused by the stand-in alone: CuPy takes these, and they do nothing there, or differ between its versions.
STRICTER = {"flags", "mask of a ufunc", "two masks"}
