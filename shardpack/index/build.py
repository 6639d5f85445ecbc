"""From tars to their indexes, many at once, by `commit/transaction.py`: each is finished once, whatever is killed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from shardpack.commit.journal import Entry
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.errors import DuplicateKeyError, StaleIndexError
from shardpack.format.assemble import Parts, encode_dataset, encode_shard, recorded_options
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain, fingerprint_text
from shardpack.format.key_index import hash_keys, repeated_hashes
from shardpack.format.manifest import OWN_FOLDER, Manifest, Parent
from shardpack.format.shard_index import ShardIndex, parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.index.find import TarSet
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.grouping import DEFAULT_IGNORE, IndexedTar
from shardpack.index.header_scan import ScanLimits, scan_headers
from shardpack.index.index_target import Existing, writing_indexes
from shardpack.index.report import RepeatedKey
from shardpack.index.tar_digests import TarDigests
from shardpack.runtime.processes import default_jobs, start_workers
from shardpack.runtime.progress import ByteProgress, Progress, no_progress
from shardpack.runtime.threads import call_all
from shardpack.storage.protocols import Store

OnDuplicate = Literal["raise", "keep"]
SHOWN = 3
REMOTE_JOBS = 16  # tars indexed at the same time
REQUESTS_AT_ONCE, MAX_SCANNERS = 256, 64  # over all of them; within one


class Build:
    """What the indexes have said so far. Memory: one index a job, and 8 bytes a key."""

    def __init__(
        self,
        found: TarSet,
        target: Target,
        transaction: Transaction,
        *,
        ignore: Sequence[str] = DEFAULT_IGNORE,
        digests: TarDigests | None = None,
        before: Existing | None = None,
    ) -> None:
        """Index tars in a transaction; `before` is the generation that the next one follows."""
        self._before, self._digests = before, digests or TarDigests(found, ignore)
        self._found, self._target, self._transaction, self._ignore = found, target, transaction, ignore
        self._shards: dict[str, ShardInfo] = {}
        self._hashes: dict[str, npt.NDArray[np.uint64]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.repeated: list[RepeatedKey] = []
        self.without_key = self.resumed = self.bytes_fetched = 0
        self.ignored: Counter[str] = Counter()

    def add_all(
        self, *, jobs: int | None = None, checksums: bool | None = None, progress: Progress = no_progress
    ) -> None:
        """Index every tar that an earlier run has not, and write its index."""
        if self._found.on_disk and checksums is not False:
            self._add_whole(jobs, progress)
        else:
            self._add_headers(jobs, checksums, progress)

    def _add_whole(self, jobs: int | None, progress: Progress) -> None:
        """Index local tars that are read from end to end: in processes, as checksums take the processor."""
        found = self._found
        sizes = {name: found.store.size(name) for name in found.names}
        count = ByteProgress("index", sum(sizes.values()), progress)
        left = []
        for name in found.names:
            if self._take_finished(name, checksums=True):
                count.advance(sizes[name])
            else:
                left.append(name)
        total = sum(sizes[name] for name in left)
        tasks = [TarFile(found.folder, name, self._ignore) for name in left]
        with start_workers(max(1, min(jobs or default_jobs(total), len(tasks)))) as engine:
            for _, indexed in engine.map(scan_whole, tasks, advance=lambda _, num_bytes: count.advance(num_bytes)):
                self._add(indexed)
        self.bytes_fetched += total

    def _add_headers(self, jobs: int | None, checksums: bool | None, progress: Progress) -> None:
        """Index tars by as little as is needed of them: in threads, which wait for the store."""
        found = self._found
        before = found.store.stats.snapshot().bytes_fetched
        jobs = min(jobs or REMOTE_JOBS, len(found.names))
        asked = ByteProgress("sizes", len(found.names), progress)
        total = sum(call_all(partial(_size, found.store, asked.advance), found.names, limit=jobs, purpose="index"))
        limits = ScanLimits(scanners=min(REQUESTS_AT_ONCE // jobs or 1, MAX_SCANNERS))
        one = partial(self._add_by_headers, checksums, limits, ByteProgress("index", total, progress))
        call_all(one, found.names, limit=jobs, purpose="index", stop=self._stop)
        self.bytes_fetched += found.store.stats.snapshot().bytes_fetched - before

    def _add_by_headers(self, checksums: bool | None, limits: ScanLimits, count: ByteProgress, name: str) -> None:
        def advance(num_bytes: int) -> None:
            if self._stop.is_set():
                raise _StoppedError
            count.advance(num_bytes)

        if self._take_finished(name, checksums=checksums):
            advance(self._found.store.size(name))
        else:
            scan = partial(scan_headers, checksums=checksums, ignore=self._ignore, limits=limits, advance=advance)
            self._add(scan(self._found.store, name))

    def _take_finished(self, name: str, *, checksums: bool | None) -> bool:
        """Return whether a run that was cut off has indexed this very tar; if so, take its index."""
        digest = self._digests.first(name)
        entry = None if digest is None else self._finished(name, digest)
        if entry is None or (checksums and entry.info.crc32c is None) or entry.info != self._numbered(entry.info):
            return False
        data = self._target.read(entry.info.index_path)
        if data is None or crc32c(data) != entry.info.index_crc32c:
            return False
        index = parse_index(data, name=entry.info.index_path)
        self._take(
            IndexedTar(name, index, int(entry.more.get("without_key", 0)), dict(entry.more.get("ignored", {}))),
            entry.info,
        )
        with self._lock:
            self.resumed += 1
        return True

    def _finished(self, name: str, digest: str) -> Entry | None:
        """Return the entry of a tar, also where it has gone after the manifest was published."""
        before = self._before
        if before is not None and before.is_same_run and before.shards is not None:
            return Entry(before.shards[name], digest)
        return self._transaction.finished(name, digest)

    def _numbered(self, info: ShardInfo) -> ShardInfo:
        """Return a shard with the number of its location.

        An index that is another than before gets a new number, so that it lies beside that of the generation before.
        """
        if self._before is None or self._before.shards is None or info.name not in self._before.shards:
            return replace(info, location=0)
        before = self._before.shards[info.name]
        is_same = (info.index_bytes, info.index_crc32c) == (before.index_bytes, before.index_crc32c)
        return replace(info, location=before.location if is_same else len(self._before.manifest.locations))

    def _add(self, indexed: IndexedTar) -> None:
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
        self._take(indexed, info)

    def _take(self, indexed: IndexedTar, info: ShardInfo) -> None:
        keys = indexed.index.keys()
        hashes = hash_keys((key.encode("utf-8", "surrogateescape") for key in keys), len(keys))
        with self._lock:
            self._shards[indexed.name], self._hashes[indexed.name] = info, hashes
            self.without_key += indexed.without_key
            self.ignored.update(indexed.ignored)

    def check_unique(self, on_duplicate: OnDuplicate) -> None:
        """Fill `repeated`, and raise if there are any and they are not wanted."""
        first: dict[str, tuple[str, int]] = {}
        for name, rows in self._rows_with_repeated_hashes():
            path = self._shards[name].index_path
            index = parse_index(self._target.read(path) or b"", name=path)
            for row in rows:
                key, here = index.key(row), (name, _sample_offset(index, row))
                if first.setdefault(key, here) != here:  # keys of one hash may still differ
                    self.repeated.append(RepeatedKey(key, *here, *first[key]))
        if self.repeated and on_duplicate == "raise":
            shown = "; ".join(map(str, self.repeated[:SHOWN]))
            more = f"; and {len(self.repeated) - SHOWN} more" if len(self.repeated) > SHOWN else ""
            raise DuplicateKeyError(
                f"{len(self.repeated)} key(s) come back: {shown}{more}; repack with the files of a sample together, "
                'or pass on_duplicate="keep" (--on-duplicate keep) to index them as they are'
            )

    def _rows_with_repeated_hashes(self) -> Iterator[tuple[str, list[int]]]:
        """Yield (tar, rows), in the order of the dataset."""
        repeated = np.sort(repeated_hashes(self._all_hashes()))
        start = 0
        for name in self._found.names:
            stop = start + len(self._hashes[name])
            rows = repeated[np.searchsorted(repeated, start) : np.searchsorted(repeated, stop)] - start
            if len(rows):
                yield name, rows.tolist()
            start = stop

    def _all_hashes(self) -> npt.NDArray[np.uint64]:
        return np.concatenate([self._hashes[name] for name in self._found.names])

    @property
    def shards(self) -> list[ShardInfo]:
        """All shards, in the order of the dataset."""
        return [self._shards[name] for name in self._found.names]

    def encode(self, shards_at: str | None = None) -> tuple[Manifest, list[tuple[str, Parts]]]:
        """Return the manifest, and the files of the whole dataset in the order of publication.

        What was indexed as before is the same generation, byte for byte.

        Args:
            shards_at: Where the tars are, if not beside the manifest.
        """
        shards = self.shards
        number = max((info.location for info in shards), default=0) + 1
        encode = partial(encode_dataset, shards, self._all_hashes(), unique_keys=not self.repeated)
        where = OWN_FOLDER if shards_at is None else shards_at
        if self._before is None:
            return encode(packed_with=recorded_options(indexed=True), locations=(where,) * number)
        before = self._before.manifest
        kept = partial(
            encode,
            classes=before.classes,
            packed_with=before.packed_with,
            locations=(where,) * max(number, len(before.locations)),
        )
        if fingerprint_text(chain(shards)) == before.fingerprint:
            manifest, files = kept(generation=before.generation, parent=before.parent)
            if b"".join(files[-1][1]) == self._before.text:
                return manifest, files
        parent = Parent(before.generation, len(self._before.text), crc32c(self._before.text))
        return kept(generation=before.generation + 1, parent=parent)


class _StoppedError(Exception):
    """Another tar has failed, and this one is not needed any more."""


def _size(store: Store, advance: Callable[[int], None], name: str) -> int:
    size = store.size(name)
    advance(1)
    return size


def _sample_offset(index: ShardIndex, row: int) -> int:
    """Return where the first header of a sample begins."""
    members = index.members(row)
    return min(int(index.data_offset[member]) - int(index.header_bytes[member]) for member in members)
