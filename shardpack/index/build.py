"""Index many tars at once within a transaction: after a kill, finished indexes are reused.

Local tars are read in worker processes, remote ones in threads. What one tar's scan does is in `full_scan.py`
and `header_scan.py`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from shardpack.commit.journal import Entry
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.errors import DuplicateKeyError, FormatError, StaleIndexError
from shardpack.format.assemble import encode_dataset, encode_shard, recorded_options
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain, fingerprint_text
from shardpack.format.key_index import repeated_hashes
from shardpack.format.layout import file_path
from shardpack.format.manifest import OWN_FOLDER, Manifest, Parent, TableFile
from shardpack.format.named_files import Parts, encode_splits_file
from shardpack.format.shard_index import ShardIndex, parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.format.splits import Splits, parse_splits, splits_of_shards
from shardpack.index.find import TarDigests, TarSet
from shardpack.index.frame_scan import is_compressed, scan_compressed
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.grouping import IndexedTar
from shardpack.index.header_scan import ScanLimits, scan_headers
from shardpack.index.index_target import Generation, writing_indexes
from shardpack.runtime.processes import default_jobs, start_workers
from shardpack.runtime.progress import Advance, ByteProgress, Progress, no_progress
from shardpack.runtime.threads import call_all
from shardpack.storage.local import LocalStore
from shardpack.storage.protocols import Store

OnDuplicate = Literal["raise", "keep"]
SHOWN = 3  # repeated keys that an error names
REMOTE_JOBS = 16  # remote tars indexed at the same time
REQUESTS_AT_ONCE, MAX_SCANNERS = 256, 64  # over all remote tars; within one


@dataclass(frozen=True, slots=True)
class RepeatedKey:
    """A key that names two samples, with the shard and offset at which each of them starts."""

    key: str
    shard: str
    offset: int
    first_shard: str
    first_offset: int

    def __str__(self) -> str:
        return f"{self.key!r} in {self.shard!r} at {self.offset}, after {self.first_shard!r} at {self.first_offset}"


class TarIndexer:
    """Index all tars and collect what the manifest needs: shard infos, key hashes, repeated keys.

    Memory: one index per job, and 8 bytes per key.
    """

    def __init__(
        self,
        tars: TarSet,
        target: Target,
        transaction: Transaction,
        *,
        ignore: Sequence[str],
        digests: TarDigests | None = None,
        previous: Generation | None = None,
    ) -> None:
        """Index tars within a transaction.

        Args:
            tars: The tars.
            target: Where their indexes go.
            transaction: Writes the indexes and remembers which are finished.
            ignore: Patterns of members to leave out.
            digests: The tars as they were when this run began. Default: as they are when each is scanned.
            previous: The generation that this one follows, if any.
        """
        self._tars, self._target, self._transaction, self._ignore = tars, target, transaction, ignore
        self._previous, self._digests = previous, digests or TarDigests(tars, ignore)
        self._shards: dict[str, ShardInfo] = {}
        self._hashes: dict[str, npt.NDArray[np.uint64]] = {}
        self._lock = threading.Lock()  # guards both of the above and the counts below
        self._stop = threading.Event()
        self.repeated: list[RepeatedKey] = []
        self.without_key = self.resumed = self.bytes_fetched = 0
        self.ignored: Counter[str] = Counter()

    def index_all(
        self, *, jobs: int | None = None, checksums: bool | None = None, progress: Progress = no_progress
    ) -> None:
        """Write the index of every tar, except where an interrupted run has written it already."""
        if self._tars.on_disk and checksums is not False:
            self._index_in_processes(jobs, progress)
        else:
            self._index_in_threads(jobs, checksums, progress)

    def _index_in_processes(self, jobs: int | None, progress: Progress) -> None:
        """Index local tars, each read from end to end; computing checksums keeps the processor busy."""
        tars = self._tars
        sizes = {name: tars.store.size(name) for name in tars.names}
        bytes_done = ByteProgress("index", sum(sizes.values()), progress)
        unfinished = []
        for name in tars.names:
            if self._reuse_finished(name, checksums=True):
                bytes_done.advance(sizes[name])
            else:
                unfinished.append(name)
        total = sum(sizes[name] for name in unfinished)
        tasks = [TarFile(tars.folder, name, self._ignore) for name in unfinished]
        with start_workers(max(1, min(jobs or default_jobs(total), len(tasks)))) as engine:
            for _, indexed in engine.map(
                _scan_local, tasks, advance=lambda _, num_bytes: bytes_done.advance(num_bytes)
            ):
                self._write_index(indexed)
        self.bytes_fetched += total

    def _index_in_threads(self, jobs: int | None, checksums: bool | None, progress: Progress) -> None:
        """Index tars from as few bytes as their scans need; the threads mostly wait for the store."""
        store, names = self._tars.store, self._tars.names
        bytes_before = store.stats.snapshot().bytes_fetched
        jobs = min(jobs or REMOTE_JOBS, len(names))
        sizes_known = ByteProgress("sizes", len(names), progress)
        total = sum(call_all(partial(_size, store, sizes_known.advance), names, limit=jobs, purpose="index"))
        limits = ScanLimits(scanners=min(REQUESTS_AT_ONCE // jobs or 1, MAX_SCANNERS))
        index_tar = partial(self._index_remote, checksums, limits, ByteProgress("index", total, progress))
        call_all(index_tar, names, limit=jobs, purpose="index", stop=self._stop)
        self.bytes_fetched += store.stats.snapshot().bytes_fetched - bytes_before

    def _index_remote(self, checksums: bool | None, limits: ScanLimits, bytes_done: ByteProgress, name: str) -> None:
        def advance(num_bytes: int) -> None:
            if self._stop.is_set():
                raise _StoppedError
            bytes_done.advance(num_bytes)

        store = self._tars.store
        if self._reuse_finished(name, checksums=checksums):
            advance(store.size(name))
            return
        if is_compressed(name):
            indexed = scan_compressed(store, name, ignore=self._ignore, advance=advance)
        else:
            indexed = scan_headers(
                store, name, checksums=checksums, ignore=self._ignore, limits=limits, advance=advance
            )
        self._write_index(indexed)

    def _reuse_finished(self, name: str, *, checksums: bool | None) -> bool:
        """Record the index that an interrupted run has written for this very tar; return whether it has."""
        digest = self._digests.first(name)
        entry = None if digest is None else self._finished_entry(name, digest)
        if entry is None or (checksums and entry.info.crc32c is None) or entry.info != self._numbered(entry.info):
            return False
        data = self._target.read(entry.info.index_path)
        if data is None or crc32c(data) != entry.info.index_crc32c:
            return False
        index = parse_index(data, name=entry.info.index_path)
        more = entry.more
        indexed = IndexedTar(name, index, int(more.get("without_key", 0)), dict(more.get("ignored", {})))
        self._record(indexed, entry.info)
        with self._lock:
            self.resumed += 1
        return True

    def _finished_entry(self, name: str, digest: str) -> Entry | None:
        """Return the journal entry of a finished tar, or an equal one if the manifest was already published."""
        previous = self._previous
        if previous is not None and previous.is_same_run and previous.shards is not None:
            return Entry(previous.shards[name], digest)
        return self._transaction.finished(name, digest)

    def _numbered(self, info: ShardInfo) -> ShardInfo:
        """Return a shard with the number of its location.

        A changed index gets a new number, so that both generations can be read. If the previous shard table is lost,
        so does every index that is not stored already.
        """
        if self._previous is None:
            return replace(info, location=0)
        num_locations = len(self._previous.manifest.locations)
        if self._previous.shards is None:  # the shard table is lost, and each index that is here may be in use
            there = [replace(info, location=location) for location in reversed(range(num_locations))]
            return next(filter(self._is_there, there), replace(info, location=num_locations))
        previous = self._previous.shards.get(info.name)
        if previous is None:
            return replace(info, location=0)
        is_same = (info.index_bytes, info.index_crc32c) == (previous.index_bytes, previous.index_crc32c)
        return replace(info, location=previous.location if is_same else num_locations)

    def _is_there(self, info: ShardInfo) -> bool:
        """Return whether the target holds exactly this index of a shard."""
        return (
            self._target.size(info.index_path) == info.index_bytes
            and crc32c(self._target.read(info.index_path) or b"") == info.index_crc32c
        )

    def _write_index(self, indexed: IndexedTar) -> None:
        info, parts = encode_shard(indexed.name, indexed.index)
        info = self._numbered(info)
        digest = self._digests.first(indexed.name)
        if self._digests.now(indexed.name) != digest:
            raise StaleIndexError(
                "the tar changed while it was indexed; run the same command again", shard=indexed.name
            )
        more = {"without_key": indexed.without_key, "ignored": dict(indexed.ignored)}
        with writing_indexes(self._target):
            if digest is None:
                self._transaction.put(info.index_path, parts)
            else:
                self._transaction.put_index(Entry(info, digest, more), parts)
        self._record(indexed, info)

    def _record(self, indexed: IndexedTar, info: ShardInfo) -> None:
        hashes = indexed.index.key_hashes()
        with self._lock:
            self._shards[indexed.name], self._hashes[indexed.name] = info, hashes
            self.without_key += indexed.without_key
            self.ignored.update(indexed.ignored)

    def check_unique(self, on_duplicate: OnDuplicate) -> None:
        """Fill `repeated` with the keys that name two samples.

        Raises:
            DuplicateKeyError: Keys repeat, and `on_duplicate` is "raise".
        """
        first: dict[str, tuple[str, int]] = {}
        for name, rows in self._rows_with_repeated_hashes():
            path = self._shards[name].index_path
            index = parse_index(self._target.read(path) or b"", name=path)
            for row in rows:
                key, sample = index.key(row), (name, _sample_offset(index, row))
                if first.setdefault(key, sample) != sample:  # keys with equal hashes may still differ
                    self.repeated.append(RepeatedKey(key, *sample, *first[key]))
        if self.repeated and on_duplicate == "raise":
            shown = "; ".join(map(str, self.repeated[:SHOWN]))
            more = f"; and {len(self.repeated) - SHOWN} more" if len(self.repeated) > SHOWN else ""
            raise DuplicateKeyError(
                f"{len(self.repeated)} key(s) repeat: {shown}{more}; repack with the files of a sample together, "
                'or pass on_duplicate="keep" (--on-duplicate keep) to index them as they are'
            )

    def _rows_with_repeated_hashes(self) -> Iterator[tuple[str, list[int]]]:
        """Yield (tar, rows whose key hash repeats), in the order of the dataset."""
        repeated = np.sort(repeated_hashes(self._all_hashes()))
        start = 0
        for name in self._tars.names:
            stop = start + len(self._hashes[name])
            rows = repeated[np.searchsorted(repeated, start) : np.searchsorted(repeated, stop)] - start
            if len(rows):
                yield name, rows.tolist()
            start = stop

    def _all_hashes(self) -> npt.NDArray[np.uint64]:
        return np.concatenate([self._hashes[name] for name in self._tars.names])

    @property
    def shards(self) -> list[ShardInfo]:
        """All shards, in the order of the dataset."""
        return [self._shards[name] for name in self._tars.names]

    def encode(
        self,
        location: str | None = None,
        *,
        split_of: Mapping[str, str] = MappingProxyType({}),
        classes: tuple[str, ...] | None = None,
        repaired: bool | None = None,
    ) -> tuple[Manifest, list[tuple[str, Parts]]]:
        """Return the manifest, and the files of the whole dataset in the order of publication.

        If nothing differs from the previous generation, that is the same generation, byte for byte.

        Args:
            location: Where the tars are, if not beside the manifest.
            split_of: Tar -> the split of its samples; if empty, the splits of the previous generation stay.
            classes: Class names, if the previous generation has none.
            repaired: Recorded in a first manifest, if it is not None.
        """
        shards = self.shards
        num_locations = max((info.location for info in shards), default=0) + 1
        encode = partial(encode_dataset, shards, self._all_hashes(), unique_keys=not self.repeated)
        own = OWN_FOLDER if location is None else location
        if self._previous is None:
            return encode(
                classes=classes,
                packed_with=recorded_options(indexed=True, repaired=repaired),
                locations=(own,) * num_locations,
                splits=_stated(shards, split_of),
            )
        previous = self._previous.manifest
        splits = _stated(shards, split_of) or self._splits(shards, previous)
        classes = classes if previous.classes is None else previous.classes
        is_named_alike = classes == previous.classes  # rows of label tables have names of classes
        encode_next = partial(
            encode,
            classes=classes,
            splits=splits,
            label_table=self._label_table(shards, splits, self._previous) if is_named_alike else (),
            packed_with=previous.packed_with,
            locations=(own,) * max(num_locations, len(previous.locations)),
        )
        if fingerprint_text(chain(shards)) == previous.fingerprint:
            manifest, files = encode_next(generation=previous.generation, parent=previous.parent)
            if b"".join(files[-1][1]) == self._previous.text:
                return manifest, files
        parent = Parent(previous.generation, len(self._previous.text), crc32c(self._previous.text))
        return encode_next(generation=previous.generation + 1, parent=parent)

    def _splits(self, shards: Sequence[ShardInfo], previous: Manifest) -> Splits | None:
        """Return the splits of the previous generation if its samples are where they were, else what names tell."""
        if previous.splits is None:
            return None
        path = file_path(previous.splits)
        with suppress(FormatError):
            if fingerprint_text(chain(shards)) == previous.fingerprint:
                data = self._target.read(path) or b""
                return parse_splits(data, previous.splits, num_samples=previous.num_samples, path=path)
        return splits_of_shards(shards)

    def _label_table(
        self, shards: Sequence[ShardInfo], splits: Splits | None, previous: Generation
    ) -> tuple[TableFile, ...]:
        """Return the label table of the previous generation if it is there, and has the rows of these shards.

        Without checksums nothing tells whether a label has changed.
        """
        manifest = previous.manifest
        if previous.shards is None or list(previous.shards.values()) != list(shards):
            return ()
        if any(info.crc32c is None for info in shards):
            return ()
        file = None if splits is None else encode_splits_file(splits, generation=manifest.generation)[0]
        if (file and file.crc32c) != (manifest.splits and manifest.splits.crc32c):
            return ()
        are_there = all(self._target.size(file_path(one)) == one.num_bytes for one in manifest.table)
        return manifest.table if are_there else ()


def _stated(shards: Sequence[ShardInfo], split_of: Mapping[str, str]) -> Splits | None:
    return Splits.of_runs((split_of.get(info.name), info.num_samples) for info in shards)


class _StoppedError(Exception):
    """Indexing another tar has failed, so this one is given up."""


def _scan_local(tar: TarFile, advance: Advance) -> IndexedTar:
    """Return the index of a local tar; runs in a worker process."""
    if is_compressed(tar.name):
        return scan_compressed(LocalStore(tar.folder), tar.name, ignore=tar.ignore, advance=advance)
    return scan_whole(tar, advance)


def _size(store: Store, advance: Callable[[int], None], name: str) -> int:
    size = store.size(name)
    advance(1)
    return size


def _sample_offset(index: ShardIndex, row: int) -> int:
    """Return the offset of a sample's first header."""
    members = index.members(row)
    return min(int(index.data_offset[member]) - int(index.header_bytes[member]) for member in members)
