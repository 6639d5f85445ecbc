"""The files of a zip archive: its directory is read, and nothing else."""

from __future__ import annotations

from shardpack.sources.archives.members import Members
from shardpack.sources.archives.zip_directory import (
    FOLDER,
    LINK,
    TAIL_BYTES,
    find_end,
    parse_directory,
)
from shardpack.sources.archives.zip_store import ZipMember
from shardpack.sources.listing import Reference
from shardpack.storage.protocols import Store


def list_zip(store: Store, path: str, number: int) -> Members:
    """Return the files of a zip archive. Costs its length and one range, and a second range if it is large.

    Args:
        store: Store of the archive.
        path: Its path there.
        number: Number that references have for the ZipStore over this store.

    Raises:
        SourceError: It is not a zip archive, or damaged or split, or its members share bytes.
        StorageError: It cannot be read.
    """
    size = store.size(path)
    tail_at = max(0, size - TAIL_BYTES)
    tail = bytes(store.get_range(path, start=tail_at, length=size - tail_at))
    end = find_end(tail, size, name=path)
    missing = tail_at - end.offset
    if missing > 0:
        tail = bytes(store.get_range(path, start=end.offset, length=min(missing, end.size))) + tail
    begin = max(0, -missing)
    entries = parse_directory(tail[begin : begin + end.size], end, name=path)
    members = Members()
    columns = zip(
        entries.names,
        entries.kinds,
        entries.offset,
        entries.span,
        entries.stored,
        entries.size,
        entries.method,
        entries.crc32,
        strict=True,
    )
    for name, kind, *numbers in columns:
        if not kind:
            member = ZipMember._make((path, *numbers, name))
            members.add(name, member.size, Reference(number, member.path, 0))
        elif kind == LINK:
            members.left_out.append((name, "a link in an archive"))
        elif kind != FOLDER:
            members.refused.append((name, kind))
    return members
