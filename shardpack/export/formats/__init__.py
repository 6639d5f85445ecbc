"""Formats to export to, by name: where the class is that writes each. A module is imported when its name is asked for.

Those in `export/indexes/` describe the tars, and may be written beside them.
"""

from __future__ import annotations

EXPORTERS = {
    "folder": "shardpack.export.formats.folder:FolderExporter",
}
