"""Checks of a cell for the tests of a plugin package: ``cell_suite`` and what it is made of."""

from .tools.check import cell_suite

__all__ = ["cell_suite"]
