"""The files of a zip archive: its directory is read, and nothing else."""

from __future__ import annotations

import numpy as np

from shardpack.sources.archives.members import Members
from shardpack.sources.archives.zip_directory import FOLDER, LINK, TAIL_BYTES, Entries, find_end, parse_directory
from shardpack.sources.archives.zip_store import ZipMember
from shardpack.sources.columns import MadeColumn, Texts
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
    kinds = entries.kinds
    readable = np.array([number for number, kind in enumerate(kinds) if not kind], np.int64)
    names = entries.names
    members = Members(names, entries.size, ZipReferences(number, path, entries)).take(readable)
    for name, kind in zip(names, kinds, strict=True):
        if kind == LINK:
            members.left_out.append((name, "a link in an archive"))
        elif kind and kind != FOLDER:
            members.refused.append((name, kind))
    return members


class ZipReferences(MadeColumn[Reference]):
    """References to the members of an archive in a ZipStore, made when they are needed."""

    def __init__(self, store: int, archive: str, entries: Entries) -> None:
        self._store, self._archive, self._entries = store, archive, entries
        self._names = Texts(map(str.encode, entries.names))  # names of the tree may be shorter
        entries.names = []

    def __len__(self) -> int:
        return len(self._names)

    def _value(self, row: int) -> Reference:
        all_ = self._entries
        member = ZipMember(
            self._archive,
            all_.offset[row],
            all_.span[row],
            all_.stored[row],
            all_.size[row],
            all_.method[row],
            all_.crc32[row],
            self._names[row].decode(),
        )
        return Reference(self._store, member.path, 0)
