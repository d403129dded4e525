"""What the arguments of public functions may be, for annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import DTypeLike

    from .tensor import Tensor

# What becomes a tensor: lists hold numbers, to any depth. Arrays of CuPy, which has no types, pass as well.
ArrayLike: TypeAlias = "Tensor | np.ndarray[Any, Any] | np.generic | float | list[Any] | tuple[Any, ...]"
Axis: TypeAlias = "int | Sequence[int] | None"
DType: TypeAlias = "DTypeLike | None"
Shape: TypeAlias = "int | Sequence[int]"
Tree: TypeAlias = "Any"  # a structure of tensors: see functional/trees.py

Unary: TypeAlias = "Callable[[ArrayLike], Tensor]"
Binary: TypeAlias = "Callable[[ArrayLike, ArrayLike], Tensor]"
Ternary: TypeAlias = "Callable[[ArrayLike, ArrayLike, ArrayLike], Tensor]"
