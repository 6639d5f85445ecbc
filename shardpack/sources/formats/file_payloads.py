"""Payloads that a row only names: files beside the table, as Hugging Face's Image may hold a path without bytes.

A path leads below the folder that is packed, never to a URL or elsewhere on the machine.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from shardpack.errors import ShardpackError, SourceError
from shardpack.sources.formats.arrow_columns import ArrowColumn
from shardpack.sources.formats.found_files import FoundFiles

MAX_FILE_BYTES = 1 << 30


def with_files(
    found: FoundFiles, table: str, columns: Mapping[str, Any], kinds: Sequence[ArrowColumn]
) -> Mapping[str, Any]:
    """Return the values of a row, with the files read that it only names; `table` is the name of its file.

    Raises:
        SourceError: A path leads elsewhere, or its file cannot be read.
    """
    named = [kind.name for kind in kinds if kind.holds_files and _names_files(columns[kind.name])]
    return {**columns, **{name: _filled(found, table, columns[name]) for name in named}} if named else columns


def _names_files(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_names_files, value))
    return value is not None and value["bytes"] is None and bool(value["path"])


def _filled(found: FoundFiles, table: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_filled(found, table, part) for part in value]
    return {**value, "bytes": read_beside(found, table, value["path"])} if _names_files(value) else value


def read_beside(found: FoundFiles, table: str, path: str) -> bytes:
    """Return a file whose path is relative to the folder of a table.

    Raises:
        SourceError: It leads out of the folder that is packed, is a URL, or cannot be read.
    """
    name = posixpath.normpath(posixpath.join(posixpath.dirname(table), path.replace("\\", "/")))
    absolute = path.startswith(("/", "\\")) or os.path.isabs(path) or ":" in path.partition("/")[0]
    if absolute or name.startswith("../") or name in ("..", ".") or "\0" in path or _leaves(found, name):
        raise SourceError(
            f"{path!r} is not a path below {found.location!r}; store the bytes in the table, or copy the file there"
        )
    try:
        return found.read(name, max_bytes=MAX_FILE_BYTES)
    except (ShardpackError, OSError) as error:
        raise SourceError(f"cannot read {path!r}, which the table names; put it back, or drop the row") from error


def _leaves(found: FoundFiles, name: str) -> bool:
    """Return whether a link leads out of the folder."""
    if found.store.folder is None:
        return False
    root = os.path.realpath(found.store.folder)
    target = os.path.realpath(os.path.join(root, name))
    return os.path.commonpath([root, target]) != root
