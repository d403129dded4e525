"""``python -m tinyrnn``."""

from .cli import main

main()
