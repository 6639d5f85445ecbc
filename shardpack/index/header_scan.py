"""Index a tar that others wrote: members grouped as webdataset groups them, payloads checksummed.

`Grouping` makes an index of members, wherever they come from. `index_tar` reads a file from end to
end; `hopping.py` reads as little as it can.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from shardpack.errors import CorruptShardError, ShardNotFoundError, StorageError
from shardpack.format.checksum import crc32c
from shardpack.format.index_builder import build_index
from shardpack.format.naming import split_name
from shardpack.format.shard_index import ShardIndex
from shardpack.format.tar_parser import Member, TarParser

CHUNK_BYTES = 1 << 20
MAX_MEMBERS = 1 << 26  # 32 GiB of headers: a server that invents members for ever would fill the memory
# webdataset writes these into each sample itself: it would fail, or lose the sample.
_NOTES = frozenset(("__bad__", "__key__", "__local_path__", "__url__"))


@dataclass(frozen=True, slots=True, eq=False)
class IndexedTar:
    """What one pass over a tar gives. `ignored` counts files whose name makes them nobody's."""

    name: str
    index: ShardIndex
    ignored: int


def index_tar(task: tuple[str, str], *, passed: Callable[[int], None] = lambda _: None) -> IndexedTar:
    """Return the index of one tar, given (folder, name in it). Reads the file once, from end to end.

    Calls `passed(bytes)` after each piece of the file.

    Raises:
        CorruptShardError: Not a plain tar, damaged, truncated, or a sample has a field twice.
        ShardNotFoundError, StorageError: It cannot be read.
    """
    folder, name = task
    parser, grouping = TarParser(name), Grouping(name)
    num_bytes = checksum = 0
    try:
        for data in _chunks(os.path.join(folder, name)):
            num_bytes += len(data)
            checksum = crc32c(data, checksum)
            for event in parser.feed(data):
                grouping.add(event)
            passed(len(data))
    except FileNotFoundError as error:
        raise ShardNotFoundError("the tar is missing; restore it", shard=name) from error
    except OSError as error:
        raise StorageError(f"cannot read the tar: {error.strerror}; mend it, then try again", shard=name) from error
    return grouping.finish(parser.close(), num_bytes=num_bytes, shard_crc32c=checksum)


def _chunks(path: str) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with open(path, "rb", buffering=0) as file:
        while length := file.readinto(buffer):
            yield buffer[:length]


class Grouping:
    """Members to samples: a new one begins whenever the key changes."""

    def __init__(self, name: str):
        self._name = name
        self._keys: list[str] = []
        self._key: str | None = None
        self._here: dict[str, int] = {}  # fields of the sample being grouped, with their offsets
        self._fields: dict[str, int] = {}
        self._row, self._code = array("q"), array("q")
        self._data_offset, self._size = array("q"), array("q")
        self._header_bytes, self._crc32c = array("q"), array("q")
        self._ignored = 0
        self._checksum = -1  # of the payload being read; -1 for a member that is nobody's

    def add(self, event: Member | memoryview) -> None:
        """Take the next event of a parser: a member, or a piece of its payload."""
        if isinstance(event, Member):
            self._end_payload()
            self._begin(event)
        elif self._checksum >= 0:
            self._checksum = crc32c(event, self._checksum)

    def _end_payload(self) -> None:
        if self._checksum >= 0:
            self._crc32c.append(self._checksum)
            self._checksum = -1

    def _begin(self, member: Member) -> None:
        cut = split_name(member.name)
        if cut is None:
            self._ignored += 1
            return
        key, field = cut
        if key != self._key:
            self._key = key
            self._keys.append(key)
            self._here = {}
        if field in _NOTES:
            raise CorruptShardError(
                f"field {field!r} is where webdataset keeps notes of its own; rename the file",
                shard=self._name,
                key=key,
                offset=member.member_offset,
            )
        if field in self._here:
            raise CorruptShardError(
                f"sample has field {field!r} twice, first at {self._here[field]}; rename one of the files",
                shard=self._name,
                key=key,
                offset=member.member_offset,
            )
        if len(self._row) >= MAX_MEMBERS:
            raise CorruptShardError(
                f"tar has more than {MAX_MEMBERS:,} members; make several of it",
                shard=self._name,
                offset=member.member_offset,
            )
        self._here[field] = member.member_offset
        self._row.append(len(self._keys) - 1)
        self._code.append(self._fields.setdefault(field, len(self._fields)))
        self._data_offset.append(member.data_offset)
        self._size.append(member.size)
        self._header_bytes.append(member.header_bytes)
        self._checksum = 0

    def finish(self, end_of_data: int, *, num_bytes: int, shard_crc32c: int | None) -> IndexedTar:
        """Return the index. Without a checksum of the tar it has none of payloads either: not all was read."""
        self._end_payload()
        if not self._keys:
            raise CorruptShardError(
                f"tar has no samples ({self._ignored} files without a key and a field); leave this tar out",
                shard=self._name,
            )
        index = build_index(
            keys=self._keys,
            fields=list(self._fields),
            row=np.array(self._row),
            code=np.array(self._code),
            data_offset=self._data_offset,
            size=self._size,
            crc32c=None if shard_crc32c is None else self._crc32c,
            header_bytes=self._header_bytes,
            shard_bytes=num_bytes,
            shard_crc32c=shard_crc32c,
            end_of_data=end_of_data,
            shard=self._name,
        )
        return IndexedTar(self._name, index, self._ignored)
