"""DALI's text index, version 1.2: what `fn.readers.webdataset(index_paths=...)` reads.

    v1.2 <samples>
    <extension> <offset> <size> <name> <extension> ...      one line a sample, members in tar order

The reader splits lines at white space, so no name may have any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from shardpack.errors import InvalidKeyError
from shardpack.export.exporter import Exportable, ExportOptions
from shardpack.export.indexes.index_source import IndexSource
from shardpack.export.indexes.shard_members import ShardMembers
from shardpack.export.indexes.tar_files import distinct, write_each
from shardpack.export.staging import ExportFiles
from shardpack.runtime.progress import Progress

VERSION = "v1.2"
_BLANK = re.compile(r"[ \t\n\v\f\r]")  # what C++ takes for white space


def index_name(shard: str) -> str:
    """Return the name that DALI's own tool gives the index of a tar: cut at the first dot of its last component."""
    folder, slash, name = shard.rpartition("/")
    return f"{folder}{slash}{name[:1]}{name[1:].partition('.')[0]}.idx"


def encode(members: ShardMembers) -> bytes:
    """Return the index of one tar.

    Raises:
        InvalidKeyError: A name has white space or no extension, or is that of a hidden file, which DALI leaves out.
    """
    fields = members.fields()
    _check(members, fields)
    columns = zip(fields, members.data_offset.tolist(), members.size.tolist(), members.names, strict=True)
    parts = [f"{field} {offset} {size} {name}" for field, offset, size, name in columns]
    first = members.first.tolist()
    lines = [" ".join(parts[begin:end]) for begin, end in pairwise(first)]
    return "\n".join([f"{VERSION} {members.num_samples}", *lines, ""]).encode("utf-8", "surrogateescape")


def _check(members: ShardMembers, fields: list[str]) -> None:
    if not _BLANK.search("".join(members.names)) and "" not in set(fields):
        bad = next((name for name in members.keys if name.endswith("/")), None)
    else:
        pairs = zip(members.names, fields, strict=True)
        bad = next(name for name, field in pairs if not field or _BLANK.search(name))
    if bad is not None:
        raise InvalidKeyError(
            "DALI cannot index this name: expected one with an extension, not hidden, and without white space; "
            'rename it: "shardpack pack DS OUT --rename-keys"',
            shard=members.shard,
            key=bad,
        )


@dataclass(frozen=True, slots=True)
class DaliExporter:
    """One index a tar, named as DALI's own tool names it."""

    takes: ClassVar[frozenset[str]] = frozenset()
    source: IndexSource
    names: Sequence[str]

    @classmethod
    def of(cls, dataset: Exportable, options: ExportOptions, *, beside: bool) -> DaliExporter:
        """Return the exporter of a dataset; errors as of `IndexSource`."""
        source = IndexSource(dataset, options, to="dali", beside=beside)
        return cls(source, distinct(map(index_name, source.names), source.names))

    def write(self, files: ExportFiles, progress: Progress) -> None:
        """Write all files; errors as of `encode`."""
        for _ in write_each(files, self.names, self.source.members(progress), lambda _, members: encode(members)):
            pass
