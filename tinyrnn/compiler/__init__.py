"""Floor 2: a step function, run over time."""

from .scan import scan

__all__ = ["scan"]
