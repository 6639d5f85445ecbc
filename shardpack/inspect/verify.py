"""Prove that a dataset is what was packed: quickly, or byte by byte; on disk, in a bucket, on a server.

Each file is judged by what the manifest says of it, so a problem in one hides none in another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from shardpack.errors import ShardpackError, StorageError
from shardpack.format.key_index import hash_keys
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.header_scan import scan_headers
from shardpack.inspect.problem import Problem, problem_of
from shardpack.inspect.verify_metadata import Hashes, is_table_sound, verify_sidecars
from shardpack.read.open_shards import open_shards
from shardpack.read.shard_checks import (
    check_length,
    checked_index,
    fetch_index,
    headers_of_rows,
    some_headers,
    spread_rows,
)
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.engine import Advance
from shardpack.runtime.processes import default_jobs, start_workers
from shardpack.runtime.progress import ByteProgress, Progress, no_progress
from shardpack.runtime.threads import call_all
from shardpack.storage.adapter import adapt
from shardpack.storage.locations import LocationOptions
from shardpack.storage.open import open_store
from shardpack.storage.protocols import RangeReader, Store
from shardpack.storage.url import is_url

PROBED_SAMPLES = 64  # samples a shard whose headers the quick check reads
PROBED_REMOTE = 8  # the same where each costs a request, and one field of each
SHARDS_AT_ONCE = 8  # of a bucket, unless `jobs` says otherwise: their requests wait for the network
SHOWN = 5  # damaged payloads named a shard


@dataclass(frozen=True, slots=True)
class _Task:
    """A shard to verify, the stores of its index and its tar, and whether to read every byte."""

    sidecars: Store
    tars: Store
    info: ShardInfo
    full: bool


@dataclass(frozen=True, slots=True)
class _Verified:
    """What was found wrong with a shard and its index; if nothing, the hashes of its keys."""

    problems: Sequence[Problem]
    hashes: Hashes | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked and what was found.

    Attributes:
        num_shards, num_samples, num_bytes: What the manifest promises.
        problems: Empty if all is well.
        full: Whether every byte was read.
        seconds: Wall time.
        without_checksums: Shards that were indexed without reading their payloads: of these, headers
            and lengths are all that can be checked.
    """

    num_shards: int
    num_samples: int
    num_bytes: int
    problems: tuple[Problem, ...]
    full: bool
    seconds: float
    without_checksums: int = 0

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


def verify(
    location: str | os.PathLike[str] | RangeReader,
    *,
    full: bool = False,
    jobs: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    progress: Progress = no_progress,
) -> VerifyReport:
    """Return what is wrong with a dataset; an empty list of problems is the proof.

    Quick: lengths of all files, checksums of all indexes, and the headers of 64 samples a shard; of a
    URL, of one field of 8.
    Full: every shard is read whole, and all headers, offsets, sizes and checksums are compared.
    Memory: one shard's index a job, and 40 bytes a sample for the key index.

    Args:
        location: Folder of the dataset, its URL, or a store.
        full: Read every byte.
        jobs: Worker processes; None takes one a core for `full`, where they pay for their start, else one.
            Where some of it is not on this disk: shards under way at once, in threads; None takes 8.
        storage_options, allow_locations: As `shardpack.open` takes them.
        progress: Called as progress("verify", bytes done, bytes in all).

    Raises:
        DatasetNotFoundError, CorruptManifestError: There is no manifest to verify against.
    """
    began = time.perf_counter()
    jobs = as_jobs(jobs)
    if isinstance(location, (str, os.PathLike)):
        location = open_store(location, storage_options if is_url(location) else None)
    options = LocationOptions(storage_options, allow_locations=allow_locations)
    shards = open_shards(adapt(location), options=options)
    stores, whole, table = shards.stores, shards.manifest, shards.table
    count = ByteProgress("verify", whole.num_bytes, progress)
    sound = is_table_sound(table)
    tasks = [_Task(stores.sidecars, stores.of(info), info, full) for info in table] if sound else []
    if all(store.folder is not None for store in (stores.sidecars, *stores.shards)):
        found = _in_processes(tasks, jobs or default_jobs(whole.num_bytes if full else 0), count)
    else:
        found = _in_threads(tasks, jobs or SHARDS_AT_ONCE, count)
    problems = [problem for one in found for problem in one.problems]
    hashes = [one.hashes for one in found if one.hashes is not None]
    keys = np.concatenate([np.empty(0, np.uint64), *hashes]) if sound and len(hashes) == len(found) else None
    problems.extend(verify_sidecars(stores.sidecars, whole, table, keys))
    return VerifyReport(
        num_shards=whole.num_shards,
        num_samples=whole.num_samples,
        num_bytes=whole.num_bytes,
        problems=tuple(problems),
        full=full,
        seconds=time.perf_counter() - began,
        without_checksums=sum(task.info.crc32c is None for task in tasks),
    )


def _in_processes(tasks: list[_Task], jobs: int, count: ByteProgress) -> list[_Verified]:
    """Return what was found of each shard, all of them on this disk."""
    left = [task.info.num_bytes for task in tasks]
    found: dict[int, _Verified] = {}

    def advance(number: int, num_bytes: int) -> None:
        left[number] -= num_bytes
        count.advance(num_bytes)

    with start_workers(max(1, min(jobs, len(tasks)))) as engine:
        for number, verified in engine.map(_verify_shard, tasks, advance=advance):
            found[number] = verified
            count.advance(left[number])  # also where not all of it was read
    return [found[number] for number in range(len(tasks))]


def _in_threads(tasks: list[_Task], jobs: int, count: ByteProgress) -> list[_Verified]:
    """Return what was found of each shard; after an error the others end at the next range they have read."""
    stop = threading.Event()

    def verify_one(task: _Task) -> _Verified:
        left = task.info.num_bytes

        def advance(num_bytes: int) -> None:
            nonlocal left
            if stop.is_set():
                raise StorageError("verifying was given up; run it again")
            left -= num_bytes
            count.advance(num_bytes)

        verified = _verify_shard(task, advance)
        count.advance(left)
        return verified

    return call_all(verify_one, tasks, limit=jobs, purpose="verify", stop=stop)


def _verify_shard(task: _Task, advance: Advance) -> _Verified:
    """Return what is wrong with one shard and its index."""
    info, problems = task.info, list[Problem]()
    index: ShardIndex | None = None
    try:
        index = checked_index(fetch_index(task.sidecars, info), info)
    except ShardpackError as error:
        problems.append(problem_of(error, info.index_path))
    try:
        check_length(info, task.tars.size(info.name))
        if task.full:
            problems.extend(_compare(task.tars, info, index, advance))
        elif index is not None:
            _probe(task.tars, info, index)
    except ShardpackError as error:
        problems.append(problem_of(error, info.name))
    return _Verified(problems, None if index is None or problems else _hashes(index))


def _hashes(index: ShardIndex) -> Hashes:
    """Return the hashes of a shard's keys, in their order."""
    heap = index.key_heap.tobytes()
    return hash_keys((heap[begin:end] for begin, end in pairwise(index.key_offset.tolist())), index.num_samples)


def _probe(store: Store, info: ShardInfo, index: ShardIndex) -> None:
    """Compare the headers of some samples with the index; all are read at once."""
    if store.remote:
        wanted = some_headers(index, PROBED_REMOTE)
    else:
        wanted = headers_of_rows(index, spread_rows(index, PROBED_SAMPLES))
    wanted.check(info.name, index, store.get_ranges(info.name, starts=wanted.starts, lengths=wanted.lengths))


def _compare(store: Store, info: ShardInfo, index: ShardIndex | None, advance: Advance) -> Iterator[Problem]:
    """Compare every byte of a shard with its index; without one, with the checksum in the manifest."""
    ignore = () if index is None else index.ignored
    if store.folder is not None:
        found = scan_whole(TarFile(store.folder, info.name, ignore), advance=advance).index
    else:
        found = scan_headers(store, info.name, checksums=True, ignore=ignore, advance=advance).index
    if index is not None and not _same_ranges(found, index):
        yield Problem(
            "stale",
            info.name,
            "keys, fields or offsets differ from the index; "
            'restore the files that belong together, or rebuild with "shardpack index --force"',
        )
        return
    damaged = [] if index is None else list(_damaged_fields(info.name, found, index))
    yield from damaged[:SHOWN]
    if len(damaged) > SHOWN:
        yield Problem("damaged", info.name, f"{len(damaged) - SHOWN} more fields are damaged; restore the shard")
    if not damaged and info.crc32c not in (None, found.shard_crc32c):
        what = "the shard is" if index is None else "bytes outside the payloads are"
        yield Problem(
            "damaged",
            info.name,
            f"{what} damaged: expected CRC32C {info.crc32c:08x} of the whole file, got {found.shard_crc32c:08x}; "
            "restore the shard",
        )


def _damaged_fields(shard: str, found: ShardIndex, index: ShardIndex) -> Iterator[Problem]:
    if index.crc32c is None or found.crc32c is None:
        return
    for member in np.flatnonzero(found.crc32c != index.crc32c).tolist():
        expected, got = int(index.crc32c[member]), int(found.crc32c[member])
        message = f"field {found.field_of(member)!r} is damaged: expected CRC32C {expected:08x}, got {got:08x}"
        offset = int(found.data_offset[member])
        yield Problem("damaged", shard, f"{message}; restore the shard", found.key(found.row_of(member)), offset)


def _same_ranges(a: ShardIndex, b: ShardIndex) -> bool:
    columns = ("data_offset", "size", "header_bytes", "member_start", "field", "key_offset", "key_heap")
    return a.fields == b.fields and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in columns)
