"""The JSON that hfutils and webshart read beside each tar, `<tar without .tar>.json`: where each file of it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import ClassVar

from shardpack.errors import DuplicateKeyError
from shardpack.export.exporter import Exportable, ExportOptions
from shardpack.export.indexes.index_source import IndexSource
from shardpack.export.indexes.shard_members import ShardMembers
from shardpack.export.indexes.tar_files import distinct, write_each
from shardpack.export.indexes.tar_hashes import TarHashes
from shardpack.export.staging import ExportFiles
from shardpack.runtime.progress import Progress


def index_name(shard: str) -> str:
    """Return the name of a tar's list of files."""
    return shard.removesuffix(".tar") + ".json"


def hfutils_json(members: ShardMembers, hashes: TarHashes | None = None) -> bytes:
    """Return what `hfutils` writes for one tar; without `hashes`, those are left out, which it accepts."""
    head = {"filesize": members.shard_bytes}
    whole = {} if hashes is None else {"hash": hashes.git_sha1, "hash_lfs": hashes.sha256}
    columns: list[Sequence[object]] = [_quoted(members.names), members.data_offset.tolist(), members.size.tolist()]
    entry = '{}: {{"offset": {}, "size": {}'
    return _document({**head, **whole}, _entries(entry, columns, hashes), {})


def webshart_json(members: ShardMembers, hashes: TarHashes | None = None) -> bytes:
    """Return what `webshart` writes for one tar, but for the content of JSON files, which it then reads when asked."""
    names = _quoted(members.names)
    offsets, sizes = members.data_offset.tolist(), members.size.tolist()
    number_of = {name: number for number, name in enumerate(members.names) if name.endswith(".json")}
    labels = []
    for name in members.names:
        number = number_of.get(name.rpartition(".")[0] + ".json")
        if number is None or name.endswith(".json"):
            labels.append("")
        else:
            labels.append(
                f', "json_path": {names[number]}, "json_offset": {offsets[number]}, "json_length": {sizes[number]}'
            )
    columns: list[Sequence[object]] = [names, names, offsets, sizes, labels]
    entry = '{}: {{"path": {}, "offset": {}, "length": {}{}'
    head = {"path": members.shard, "filesize": members.shard_bytes}
    return _document(head, _entries(entry, columns, hashes), {"includes_image_geometry": False})


def _quoted(names: Sequence[str]) -> list[str]:
    return list(map(json.JSONEncoder().encode, names))


def _entries(entry: str, columns: list[Sequence[object]], hashes: TarHashes | None) -> str:
    """Return the entries of `files`, without their braces; each is `entry` filled in, and the hash if there is one."""
    if hashes is not None:
        entry += ', "sha256": "{}"'
        columns = [*columns, hashes.members]
    return ", ".join(starmap((entry + "}}").format, zip(*columns, strict=True)))


def _document(head: dict[str, object], files: str, tail: dict[str, object]) -> bytes:
    """Return a JSON object whose entry `files` is given as text."""
    before, after = json.dumps(head)[:-1], json.dumps(tail)[1:]
    return f'{before}, "files": {{{files}}}{", " if tail else ""}{after}'.encode()


_Encode = Callable[[ShardMembers, TarHashes | None], bytes]


@dataclass(frozen=True, slots=True)
class _Lists:
    source: IndexSource
    names: Sequence[str]
    hashes: bool

    @staticmethod
    def of(dataset: Exportable, options: ExportOptions, *, beside: bool, to: str) -> _Lists:
        source = IndexSource(dataset, options, to=to, beside=beside)
        if not source.manifest.unique_keys:
            raise DuplicateKeyError(
                f"keys of this dataset name two samples, and {to} knows each name once; give each sample a key of its "
                'own: "shardpack pack DS OUT"'
            )
        return _Lists(source, distinct(map(index_name, source.names), source.names), options.hashes)

    def write(self, files: ExportFiles, encode: _Encode, progress: Progress) -> None:
        hashes = self.source.hasher(progress)

        def encoded(number: int, members: ShardMembers) -> bytes:
            return encode(members, hashes(number, members) if self.hashes else None)

        for _ in write_each(files, self.names, self.source.members(progress), encoded):
            pass


@dataclass(frozen=True, slots=True)
class HfutilsExporter:
    """The list that `hfutils index` makes of each tar."""

    takes: ClassVar[frozenset[str]] = frozenset(("hashes",))
    lists: _Lists

    @classmethod
    def of(cls, dataset: Exportable, options: ExportOptions, *, beside: bool) -> HfutilsExporter:
        """Return the exporter of a dataset; errors as of `IndexSource`, or DuplicateKeyError."""
        return cls(_Lists.of(dataset, options, beside=beside, to="hfutils"))

    @property
    def names(self) -> Sequence[str]:
        """Names of all files."""
        return self.lists.names

    def write(self, files: ExportFiles, progress: Progress) -> None:
        """Write all files."""
        self.lists.write(files, hfutils_json, progress)


@dataclass(frozen=True, slots=True)
class WebshartExporter:
    """The list that `webshart extract-metadata` makes of each tar."""

    takes: ClassVar[frozenset[str]] = frozenset(("hashes",))
    lists: _Lists

    @classmethod
    def of(cls, dataset: Exportable, options: ExportOptions, *, beside: bool) -> WebshartExporter:
        """Return the exporter of a dataset; errors as of `IndexSource`, or DuplicateKeyError."""
        return cls(_Lists.of(dataset, options, beside=beside, to="webshart"))

    @property
    def names(self) -> Sequence[str]:
        """Names of all files."""
        return self.lists.names

    def write(self, files: ExportFiles, progress: Progress) -> None:
        """Write all files."""
        self.lists.write(files, webshart_json, progress)
