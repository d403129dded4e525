"""Built-in cells, registered as entry points like any plugin's; and the door for cells of this process."""

from ..registry import get_cell, register, registered

__all__ = ["get_cell", "register", "registered"]
