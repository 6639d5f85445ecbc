"""Payloads that a row only names: files beside the table, as Hugging Face's Image may hold a path without bytes.

A path leads below the folder that is packed, never to a URL or elsewhere on the machine.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
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
    named = files_named(columns, kinds)
    return {**columns, **{name: _filled(found, table, columns[name]) for name in named}} if named else columns


def files_named(columns: Mapping[str, Any], kinds: Sequence[ArrowColumn]) -> list[str]:
    """Return the columns of a row that only name files."""
    return [kind.name for kind in kinds if kind.holds_files and any(paths_in(columns[kind.name]))]


def paths_in(value: Any) -> Iterator[str]:
    """Yield the paths of the files that a value only names."""
    if isinstance(value, list):
        for part in value:
            yield from paths_in(part)
    elif value is not None and value["bytes"] is None and value["path"]:
        yield value["path"]


def _filled(found: FoundFiles, table: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_filled(found, table, part) for part in value]
    return {**value, "bytes": read_beside(found, table, value["path"])} if any(paths_in(value)) else value


def name_beside(table: str, path: str) -> str | None:
    """Return the name of a file whose path is relative to the folder of a table; None if it leads elsewhere."""
    name = posixpath.normpath(posixpath.join(posixpath.dirname(table), path.replace("\\", "/")))
    absolute = path.startswith(("/", "\\")) or os.path.isabs(path) or ":" in path.partition("/")[0]
    return None if absolute or name.startswith("../") or name in ("..", ".") or "\0" in path else name


def read_beside(found: FoundFiles, table: str, path: str) -> bytes:
    """Return a file whose path is relative to the folder of a table.

    Raises:
        SourceError: It leads out of the folder that is packed, is a URL, or cannot be read.
    """
    name = name_beside(table, path)
    if name is None or _leaves(found, name):
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
