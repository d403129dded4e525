"""From an error of NumPy or CuPy to one of ours: which op it was, of which shapes, and what to do."""

from collections.abc import Sequence
from typing import Any

from . import errors

# Of NumPy and CuPy: see `explained`. `clip` of arrays of both calls itself.
EXPLAINED = (ValueError, TypeError, IndexError, OverflowError, RecursionError)


def explained(op: Any, inputs: Sequence[Any], error: Exception) -> errors.TinyrnnError:
    """What to raise for an error of NumPy or CuPy in the forward of ``op``: named, with the shapes and the
    mend.
    """
    shapes = " and ".join(str(list(getattr(x, "shape", ()))) for x in inputs[:4])
    said = str(error)
    if len({x.device for x in inputs if hasattr(x, "device")}) > 1:
        return errors.DeviceError(f"{op.name}: operands on cpu and cuda: move them to one with .to(device)")
    if "could not be broadcast" in said or "remapped" in said:
        return errors.ShapeError(
            f"{op.name}: shapes {shapes} do not broadcast: sizes must be equal or 1, counted from the right"
        )
    if isinstance(error, IndexError):
        return errors.OutOfRangeError(f"{op.name}: {said} (shapes {shapes})")
    if isinstance(error, TypeError) and ("ufunc" in said or "boolean" in said or "dtype" in said):
        dtypes = " and ".join(str(getattr(x, "dtype", type(x).__name__)) for x in inputs[:4])
        return errors.DtypeError(f"{op.name} does not take {dtypes}: convert with .astype(dtype)")
    about_shapes = any(word in said for word in ("shape", "dimension", "size", "axis", "axes", "operand"))
    return (errors.ShapeError if about_shapes else errors.InputError)(f"{op.name}: {said} (shapes {shapes})")
