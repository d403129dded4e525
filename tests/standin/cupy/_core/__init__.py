"""What CuPy has no public name for."""

from . import _routines_linalg  # noqa: F401
