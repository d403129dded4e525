"""``python -m tinyrnn``."""

from .cli import main

if __name__ == "__main__":  # not where bench starts a process of its own
    main()
