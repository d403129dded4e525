"""Weights in fewer bytes: of sparse matrices the numbers that are not 0, of 8 bits the integers.

Of a matrix ``name`` a file holds under that name what is written of it; ``name.kept``, where it is not 0, a
bit an element (uint8, as `numpy.packbits` has them), if that is shorter; ``name.scale``, float32, what its
integers (int8) are multiples of (`kernels.references.quantised`). A bit an element is shorter than numbers of
columns up to 19 of 20 that are 0 (at 16 bits a number), and bounds what a short file can ask of memory.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..base.options import Rule
from ..kernels.references import quantised

Arrays = dict[str, np.ndarray]
_SHAPE = Rule(int, many=True, low=0)


def in_bytes(x: np.ndarray, axis: int, clip: Any = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """``x`` as integers (int8) and their scales along ``axis``, which reach to ``clip`` of the largest number
    there; what is beyond is cut off.
    """
    x = np.ascontiguousarray(x, np.float32)
    most = np.abs(x).max(axis=axis, keepdims=True, initial=0) * np.asarray(clip, np.float32)
    return quantised(np.clip(x, -most, most), axis, 127)


def packed(arrays: Arrays, matrices: Iterable[str], scales: Mapping[str, np.ndarray] | None = None) -> Any:
    """What a file holds of ``arrays``, and what its metadata must say of it.

    Args:
        matrices: the names of those that may be sparse.
        scales: of those that are integers.
    """
    stored, shapes, scales = dict[str, np.ndarray](), dict[str, list[int]](), scales or {}
    for name, x in arrays.items():
        stored[name] = x
        if name in scales:
            stored[f"{name}.scale"] = scales[name]
        bits, there = np.packbits(x != 0), x[x != 0]
        if name in matrices and bits.nbytes + there.nbytes < x.nbytes:
            stored |= {name: there, f"{name}.kept": bits}
        if name in scales or f"{name}.kept" in stored:
            shapes[name] = list(x.shape)
    return stored, {"packed": shapes} if shapes else {}


def unpacked(stored: Arrays, shapes: Any) -> Arrays:
    """The arrays of which `packed` wrote ``stored``.

    Raises:
        ValueError: it did not write that.
    """
    if not isinstance(shapes, dict):
        raise ValueError("what is packed in it is no list of shapes")
    found, parts = dict(stored), (".kept", ".scale")
    for name, given in shapes.items():
        shape = _SHAPE.checked(given, f"the shape of {name}")
        kept, scale = (found.pop(name + part, None) for part in parts)
        if name not in found or (kept is None and scale is None):
            raise ValueError(f"the weight {name!r} is not there as it says")
        x = found[name]
        if kept is not None:
            size = math.prod(shape)
            if kept.dtype != np.uint8 or kept.shape != (-(-size // 8),):
                raise ValueError(f"where the weight {name!r} is not 0 is said of another size")
            where = np.unpackbits(kept, count=size).astype(bool)
            if x.shape != (int(where.sum()),):
                raise ValueError(f"the weight {name!r} has another number of elements than it says")
            whole = np.zeros(size, x.dtype)
            whole[where] = x
            x = whole.reshape(shape)
        if x.shape != shape:
            raise ValueError(f"the weight {name!r} is {list(x.shape)}, not {list(shape)} as it says")
        if scale is not None:
            fits = scale.ndim == x.ndim and all(s in (1, n) for s, n in zip(scale.shape, shape, strict=True))
            if x.dtype != np.int8 or scale.dtype != np.float32 or not fits:
                raise ValueError(f"the weight {name!r} is no integers of 8 bits with their scales")
            x = x * scale
        found[name] = x
    return found
