"""From the user's files to windows of token ids. What a task of one's own reads files with is here."""

from ...base.compressed import inner_name
from .sources import digest, lines_of, read_lines, text_of
from .vocabulary import names

__all__ = ["digest", "inner_name", "lines_of", "names", "read_lines", "text_of"]
