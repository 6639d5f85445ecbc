"""From tars to their indexes: many at once, in processes or in threads.

on the disk    processes read whole tars (checksums take the processor)
remote         threads scan from header to header (each waits for the network)
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from shardpack.errors import DuplicateKeyError
from shardpack.format import manifest
from shardpack.format.assemble import Parts, encode_dataset, encode_shard, recorded_options
from shardpack.format.key_index import hash_keys, repeated_hashes
from shardpack.format.manifest import Manifest, ShardInfo
from shardpack.format.shard_index import ShardIndex, parse_index
from shardpack.index.find import TarSet
from shardpack.index.grouping import DEFAULT_IGNORE, IndexedTar
from shardpack.index.header_scan import TarFile, index_tar
from shardpack.index.range_scan import ScanLimits, index_object
from shardpack.index.report import RepeatedKey
from shardpack.runtime.processes import default_jobs, start_workers
from shardpack.runtime.progress import ByteProgress, Progress, no_progress

OnDuplicate = Literal["raise", "keep"]
SHOWN = 3
REMOTE_JOBS = 16  # tars indexed at the same time
REQUESTS_AT_ONCE, MAX_SCANNERS = 256, 64  # over all of them; within one


class IndexPlace(Protocol):
    """What takes finished indexes; `Place` for files and objects."""

    def finished(self, name: str, *, checksums: bool | None) -> tuple[IndexedTar, ShardInfo] | None:
        """Return a tar's index if it is there already."""
        ...

    def refuse_foreign(self, name: str) -> None:
        """Raise if a file of this name must not be replaced."""
        ...

    def write(self, name: str, parts: Parts) -> None:
        """Take a finished index."""
        ...

    def note(self, indexed: IndexedTar, info: ShardInfo) -> None:
        """Note that a tar's index was taken."""
        ...

    def read(self, name: str) -> Any:
        """Give an index back."""
        ...


class MemoryPlace:
    """Indexes kept in a dict. See `IndexPlace`."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def finished(self, name: str, *, checksums: bool | None) -> None:
        """There never is one."""

    def refuse_foreign(self, name: str) -> None:
        """Nothing else is here."""

    def write(self, name: str, parts: Parts) -> None:
        self.objects[name] = b"".join(parts)

    def note(self, indexed: IndexedTar, info: ShardInfo) -> None:
        """A run that is cut off leaves nothing."""

    def read(self, name: str) -> bytes:
        return self.objects[name]


class Build:
    """What the indexes have told so far. Memory: one index a job, and 8 bytes a key."""

    def __init__(
        self, found: TarSet, place: IndexPlace, *, force: bool = True, ignore: Sequence[str] = DEFAULT_IGNORE
    ) -> None:
        self._found, self._place, self._force, self._ignore = found, place, force, ignore
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
        """Index every tar, and write its index."""
        if self._found.on_disk and checksums is not False:
            self._add_local(jobs, progress)
        else:
            self._add_remote(jobs, checksums, progress)

    def _add_local(self, jobs: int | None, progress: Progress) -> None:
        found = self._found
        sizes = [found.store.size(name) for name in found.names]
        total = sum(sizes)
        count = ByteProgress("index", total, progress)
        tasks = [TarFile(found.folder, name, self._ignore) for name in found.names]
        with start_workers(min(jobs or default_jobs(total), len(tasks))) as engine:
            if engine.jobs == 1:
                for task in tasks:
                    self._add(index_tar(task, advance=count.advance))
            else:
                for number, indexed in engine.map(index_tar, tasks):
                    self._add(indexed)
                    count.advance(sizes[number])
        self.bytes_fetched += total

    def _add_remote(self, jobs: int | None, checksums: bool | None, progress: Progress) -> None:
        found = self._found
        before = found.store.stats.snapshot().bytes_fetched
        jobs = min(jobs or REMOTE_JOBS, len(found.names))
        with ThreadPoolExecutor(jobs, thread_name_prefix="shardpack-index") as threads:
            total = sum(threads.map(found.store.size, found.names))
            limits = ScanLimits(scanners=min(REQUESTS_AT_ONCE // jobs or 1, MAX_SCANNERS))
            one = partial(self._add_one_remote, checksums, limits, ByteProgress("index", total, progress))
            futures = [threads.submit(one, name) for name in found.names]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stop.set()
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        self.bytes_fetched += found.store.stats.snapshot().bytes_fetched - before

    def _add_one_remote(self, checksums: bool | None, limits: ScanLimits, count: ByteProgress, name: str) -> None:
        def advance(num_bytes: int) -> None:
            if self._stop.is_set():
                raise _StoppedError
            count.advance(num_bytes)

        done = self._place.finished(name, checksums=checksums)
        if done is not None:
            self._take(*done)
            with self._lock:
                self.resumed += 1
            advance(self._found.store.size(name))
            return
        if not self._force:
            self._place.refuse_foreign(manifest.index_name(name))
        self._add(
            index_object(
                self._found.store, name, checksums=checksums, ignore=self._ignore, limits=limits, advance=advance
            )
        )

    def _add(self, indexed: IndexedTar) -> None:
        info, parts = encode_shard(indexed.name, indexed.index)
        self._place.write(info.index_name, parts)
        self._place.note(indexed, info)
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
            index_name = manifest.index_name(name)
            index = parse_index(self._place.read(index_name), name=index_name)
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

    def encode(
        self, before: Manifest | None = None, shards_at: str | None = None
    ) -> tuple[Manifest, list[tuple[str, Parts]]]:
        """Return the manifest, and the files of the whole dataset in the order of publication.

        Args:
            before: The manifest that this one replaces, if it is of these tars.
            shards_at: Where the tars are, if not beside the manifest.
        """
        return encode_dataset(
            [self._shards[name] for name in self._found.names],
            self._all_hashes(),
            unique_keys=not self.repeated,
            classes=None if before is None else before.classes,
            packed_with=recorded_options(indexed=True) if before is None else before.packed_with,
            shards_at=shards_at,
        )


class _StoppedError(Exception):
    """Another tar has failed, and this one is not needed any more."""


def _sample_offset(index: ShardIndex, row: int) -> int:
    """Return where the first header of a sample begins."""
    members = index.members(row)
    return min(int(index.data_offset[member]) - int(index.header_bytes[member]) for member in members)
