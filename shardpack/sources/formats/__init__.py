"""Foreign formats whose rows become samples: one module each, imported when it is needed.

A module of a format has two functions, as `Importer` describes them, and imports its library, if it has one, in `open`.
"""

from __future__ import annotations

from shardpack.sources.formats.importer import FORMATS, FormatOptions, Importer, find_format, open_format

__all__ = ["FORMATS", "FormatOptions", "Importer", "find_format", "open_format"]
