"""Built-in cells. They are registered as entry points, like any plugin's."""
