"""Built-in cells, registered as entry points like any plugin's; and the door for cells of this process."""

from ..plugins import register

__all__ = ["register"]
