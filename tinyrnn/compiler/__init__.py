"""From the tape of one step to a fused loop over time."""

from .ir import CompileWarning
from .record import next_states
from .scan import scan

__all__ = ["CompileWarning", "next_states", "scan"]
