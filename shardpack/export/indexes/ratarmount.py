"""ratarmount's index of a tar, `<tar>.index.sqlite`, version 0.7.0: it mounts the tar without reading it.

One row a member, and one for each folder above it, which stands in no tar that a packer of ours wrote. The rows are
those that ratarmount 1.3 (core 0.11.1) makes itself, in its order.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shardpack.errors import OptionError
from shardpack.export.exporter import Exportable, ExportOptions
from shardpack.export.indexes.index_source import IndexSource
from shardpack.export.indexes.shard_members import ShardMembers
from shardpack.export.indexes.sqlite_file import create, new_database
from shardpack.export.indexes.tar_files import distinct
from shardpack.export.staging import ExportFiles
from shardpack.runtime.progress import Progress

_FILE_MODE, _FOLDER_MODE = 0o100644, 0o040555
_REGULAR, _FOLDER = b"0", 5  # ratarmount stores the typeflag of a file as bytes, and that of a folder as a number
_TABLES = """
CREATE TABLE "files" ("path" VARCHAR(65535) NOT NULL, "name" VARCHAR(65535) NOT NULL, "offsetheader" INTEGER,
    "offset" INTEGER, "size" INTEGER, "mtime" REAL, "mode" INTEGER, "type" INTEGER, "linkname" VARCHAR(65535),
    "uid" INTEGER, "gid" INTEGER, "istar" BOOL, "issparse" BOOL, "isgenerated" BOOL, "recursiondepth" INTEGER,
    PRIMARY KEY ("path", "name", "offsetheader"));
CREATE TABLE "xattrkeys" ("id" INTEGER PRIMARY KEY, "name" VARCHAR(65535) UNIQUE);
CREATE TABLE "xattrsdata" ("offsetheader" INTEGER, "keyid" INTEGER, "value" VARCHAR(65535),
    PRIMARY KEY ("offsetheader", "keyid"), FOREIGN KEY ("keyid") REFERENCES xattrkeys("id"));
CREATE VIEW "xattrs" ("offsetheader", "key", "value") AS SELECT offsetheader, xattrkeys.name, value
    FROM "xattrsdata" INNER JOIN xattrkeys ON xattrkeys.id = xattrsdata.keyid;
CREATE TABLE "metadata" ("key" VARCHAR(65535) NOT NULL, "value" VARCHAR(65535) NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE "versions" ("name" VARCHAR(65535) NOT NULL, "version" VARCHAR(65535) NOT NULL,
    "major" INTEGER, "minor" INTEGER, "patch" INTEGER, PRIMARY KEY ("name"))
"""
_ARGUMENTS = {
    "mountRecursively": False,
    "encoding": "utf-8",
    "stripRecursiveTarExtension": False,
    "transformRecursiveMountPoint": None,
    "transformPattern": None,
    "ignoreZeros": False,
    "hashes": [],
    "gzipSeekPointSpacing": 16 << 20,
}
_VERSIONS = (("ratarmount", "0.11.1", 0, 11, 1), ("index", "0.7.0", 0, 7, 0))


def index_name(shard: str) -> str:
    """Return the name of a tar's index."""
    return f"{shard}.index.sqlite"


def write_index(path: str, members: ShardMembers, status: Mapping[str, Any]) -> None:
    """Write the index of one tar to a new local file.

    Args:
        path: The new file.
        members: The members of a tar that a packer of ours wrote: mode, owner and times are those of SPEC 2.2.
        status: What ratarmount compares with the tar's file: `st_size`, and `st_mtime` if that will stay as it is.
    """
    metadata = {
        "tarstats": json.dumps(dict(status)),
        "arguments": json.dumps(_ARGUMENTS),
        "backendName": "SQLiteIndexedTar",
        "isGnuIncremental": "0",
    }
    with new_database(path) as database:
        create(database, _TABLES)
        _insert(database, members)
        database.executemany("INSERT INTO metadata VALUES (?, ?)", metadata.items())
        database.executemany("INSERT INTO versions VALUES (?, ?, ?, ?, ?)", _VERSIONS)


def _insert(database: sqlite3.Connection, members: ShardMembers) -> None:
    headers, offsets = members.header_offset.tolist(), members.data_offset.tolist()
    paths = [name.rpartition("/") for name in members.names]
    files = zip(
        ["/" + folder if folder else "" for folder, _, _ in paths],
        [name for _, _, name in paths],
        headers,
        offsets,
        members.size.tolist(),
        strict=True,
    )
    fixed = f"0, {_FILE_MODE}, x'{_REGULAR.hex()}', '', 0, 0, 0, 0, 0, 0"
    database.executemany(f"INSERT INTO files VALUES (?, ?, ?, ?, ?, {fixed})", files)  # noqa: S608 - no text of others
    folders = sorted(_folders(members, headers, offsets))
    fixed = f"0, 0, {_FOLDER_MODE}, {_FOLDER}, '', 0, 0, 0, 0, 0, 0"
    database.executemany(f"INSERT INTO files VALUES (?, ?, ?, ?, {fixed})", folders)  # noqa: S608 - the same


def _folders(members: ShardMembers, headers: list[int], offsets: list[int]) -> Iterator[tuple[str, str, int, int]]:
    """Yield (folder above, name, offsets of the first member below) of each folder that holds members."""
    seen: set[str] = {""}
    before = None
    for name, header, offset in zip(members.names, headers, offsets, strict=True):
        folder = name.rpartition("/")[0]
        if folder == before:
            continue
        before = folder
        while folder not in seen:
            seen.add(folder)
            above, _, last = folder.rpartition("/")
            yield "/" + above if above else "", last, header, offset
            folder = above


@dataclass(frozen=True, slots=True)
class RatarmountExporter:
    """One index a tar."""

    takes: ClassVar[frozenset[str]] = frozenset()
    source: IndexSource
    names: Sequence[str]

    @classmethod
    def of(cls, dataset: Exportable, options: ExportOptions, *, beside: bool) -> RatarmountExporter:
        """Return the exporter of a dataset.

        Raises:
            OptionError: As of `IndexSource`, or another tool wrote the tars.
        """
        source = IndexSource(dataset, options, to="ratarmount", beside=beside)
        if source.was_indexed:
            raise OptionError(
                "ratarmount also lists the owners and times of files, and our indexes of tars that another tool wrote "
                "do not have these; let ratarmount index them, or pack the dataset"
            )
        return cls(source, distinct(map(index_name, source.names), source.names))

    def write(self, files: ExportFiles, progress: Progress) -> None:
        """Write all files."""
        for name, members in zip(self.names, self.source.members(progress), strict=True):
            write_index(files.create(name), members, self._status(members))

    def _status(self, members: ShardMembers) -> dict[str, Any]:
        folder = self.source.folder
        if folder is None:
            return {"st_size": members.shard_bytes}
        return {"st_mtime": os.stat(os.path.join(folder, members.shard)).st_mtime, "st_size": members.shard_bytes}
