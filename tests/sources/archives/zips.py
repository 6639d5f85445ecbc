"""Zip archives for tests: made by Python's zipfile, or record by record where it would refuse."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from shardpack.sources.archives.zip import list_zip
from shardpack.sources.archives.zip_store import ZipStore
from shardpack.storage.memory import MemoryStore

EPOCH = (1980, 1, 1, 0, 0, 0)


def make_zip(files: Mapping[str, bytes], *, method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    """Return a zip with these files, as zipfile writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.comment = comment
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, method)
    return buffer.getvalue()


class Entry(NamedTuple):
    """One member of a zip that is written record by record; what is None follows from the rest."""

    name: bytes
    content: bytes = b"content"
    method: int = 0
    flags: int = 0
    stored: bytes | None = None
    crc32: int | None = None
    size: int | None = None
    offset: int | None = None
    made_by: int = 3 << 8
    attributes: int = 0
    local_extra: bytes = b""
    extra: bytes = b""
    disk: int = 0


def raw_zip(*entries: Entry, count: int | None = None, comment: bytes = b"", prefix: bytes = b"") -> bytes:
    """Return a zip of these entries, whatever they claim."""
    body, directory = bytearray(), bytearray()
    for entry in entries:
        crc32 = zlib.crc32(entry.content) if entry.crc32 is None else entry.crc32
        stored = _stored(entry) if entry.stored is None else entry.stored
        size = len(entry.content) if entry.size is None else entry.size
        offset = len(body) if entry.offset is None else entry.offset
        fields = (entry.flags, entry.method, 0, 33, crc32, len(stored), size, len(entry.name))
        if entry.offset is None:
            body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, *fields, len(entry.local_extra))
            body += entry.name + entry.local_extra + stored
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", entry.made_by, 20, *fields, len(entry.extra), 0, entry.disk, 0,
            entry.attributes, offset,
        )  # fmt: skip
        directory += entry.name + entry.extra
    number = len(entries) if count is None else count
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, number, number, len(directory), len(body), len(comment))
    return prefix + bytes(body + directory) + end + comment


def _stored(entry: Entry) -> bytes:
    return deflated(entry.content) if entry.method == zipfile.ZIP_DEFLATED else entry.content


def deflated(content: bytes) -> bytes:
    """Return bytes as deflate stores them in a zip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def read_all(archive: bytes) -> dict[str, bytes]:
    """Return all files of a zip, as shardpack reads them."""
    store = MemoryStore({"x.zip": archive})
    members, inside = list_zip(store, "x.zip", 0), ZipStore(store)
    assert not members.refused
    columns = zip(members.names, members.sizes, members.references, strict=True)
    return {name: inside.get_range(where.path, start=where.start, length=size) for name, size, where in columns}


def refused(archive: bytes) -> dict[str, str]:
    """Return which members of a zip are refused, and why."""
    return dict(list_zip(MemoryStore({"x.zip": archive}), "x.zip", 0).refused)
