"""LMDB: every payload under the name that it has in a tar.

    OUT/[<split>/]data.mdb        <key>.<field> -> payload

    txn.get(b"cat/0001.jpg")

The entries of a sample lie side by side, since nothing else begins with its key and a dot. Nothing else is stored:
no pickled list of keys, no length. LMDB orders entries by name, so that the order of samples is lost.

One transaction holds one part. The number of the last transaction tells how many parts are in the file, so that a run
that was killed goes on behind the last whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shardpack.errors import ExportError, MissingDependencyError, OptionError, StorageError
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.staging import ExportFiles
from shardpack.read.sample import Sample

_MAX_KEY_BYTES = 511  # of LMDB as it is usually built
_PAGE, _ROOM = 4096, 1 << 30

Entries = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class LmdbExporter:
    """Writes LMDB environments. `map_bytes` is the most that one may grow to; `version` that of the library."""

    takes: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[NamedBy | None] = "key"
    sequential: ClassVar[bool] = True
    typed: ClassVar[bool] = False
    names_classes: ClassVar[bool] = False
    limits: ClassVar[Limits] = Limits(max_bytes=64 << 20, max_samples=10_000)

    fields: tuple[str, ...]
    map_bytes: int
    version: str

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> LmdbExporter:
        """Decide how large the file may become; see `Exporter.prepare`."""
        if options.drop or options.max_file_bytes is not None or options.max_file_samples is not None:
            raise OptionError("drop, max_file_bytes and max_file_samples do not apply to lmdb; leave them out")
        entries = sum(contents.samples_per_field.values())
        map_bytes = _ROOM + 2 * int(contents.num_bytes.sum()) + 4 * _PAGE * entries
        version = ".".join(map(str, _lmdb().version()))
        return cls(contents.fields, map_bytes + -map_bytes % _PAGE, version)

    @property
    def sentence(self) -> str:
        return f"entries are {', '.join(f'<key>.{field}' for field in self.fields)}"

    def row_maker(self) -> Callable[[Sample], Entries]:
        """Return the function that names the payloads of a sample."""
        return _entries

    def write(self, part: Part, rows: Iterator[Entries], files: ExportFiles) -> Note:
        """Add the samples of a part in one transaction, unless a run that was killed has done so."""
        lmdb = _lmdb()
        top = () if part.split is None else (part.split,)
        path = files.create(*top, "data.mdb")
        try:
            environment = lmdb.open(path, subdir=False, map_size=self.map_bytes, lock=False, readahead=False)
            try:
                is_there = environment.info()["last_txnid"] > part.index
                with environment.begin(write=not is_there) as transaction:
                    for entries in rows:
                        for name, payload in entries if not is_there else ():
                            transaction.put(name, payload, overwrite=True)
            finally:
                environment.close()
        except lmdb.Error as error:
            raise StorageError(f"cannot write {path!r}: {error}; free some space, then run the same command") from error
        return {}

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write nothing else."""


def _entries(sample: Sample) -> Entries:
    entries = [
        (f"{sample.key}.{field}".encode("utf-8", "surrogateescape"), payload) for field, payload in sample.items()
    ]
    for name, _ in entries:
        if len(name) > _MAX_KEY_BYTES:
            raise ExportError(
                f"the name of a payload has {len(name)} bytes, expected at most {_MAX_KEY_BYTES}; "
                "leave the sample out, or pack it under a shorter key"
            )
    return entries


def _lmdb() -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise MissingDependencyError('to="lmdb" needs lmdb; run pip install "shardpack[lmdb]"') from error
    return lmdb
