"""A task for tinyrnn: one label a token."""

from .model import Tagger
from .task import Tagging

__all__ = ["Tagger", "Tagging"]
