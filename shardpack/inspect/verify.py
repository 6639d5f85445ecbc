"""Check that a dataset is what was packed, quickly or byte by byte; on disk, in a bucket or on a server.

Each file is compared with what the manifest says about it, so a problem in one file does not hide another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.errors import ShardpackError, StorageError
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.index.frame_scan import is_compressed, scan_compressed
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.header_scan import scan_headers
from shardpack.inspect.problem import Problem, problem_of
from shardpack.inspect.verify_metadata import Hashes, is_table_sound, verify_metadata
from shardpack.read.open_dataset import open_shards
from shardpack.read.plain_stores import plain_view
from shardpack.read.shard_checks import (
    check_length,
    checked_index,
    fetch_index,
    headers_of_rows,
    some_headers,
    spread_rows,
)
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.processes import default_jobs, start_workers
from shardpack.runtime.progress import Advance, ByteProgress, Progress, no_progress
from shardpack.runtime.threads import call_all
from shardpack.storage.adapter import adapt
from shardpack.storage.locations import LocationOptions
from shardpack.storage.open import open_store
from shardpack.storage.protocols import RangeReader, Store
from shardpack.storage.url import is_url

PROBED_SAMPLES = 64  # samples per local shard whose headers the quick check reads
PROBED_REMOTE = 8  # samples per remote shard, one field each: every header costs a request
SHARDS_AT_ONCE = 8  # default number of remote shards; their requests wait for the network
SHOWN = 5  # damaged payloads named per shard


@dataclass(frozen=True, slots=True)
class _Task:
    """A shard to verify, the stores of its index and tar, and whether to read every byte."""

    sidecars: Store
    tars: Store
    info: ShardInfo
    full: bool


@dataclass(frozen=True, slots=True)
class _Verified:
    """The problems of a shard and its index, or the hashes of its keys if there are no problems."""

    problems: Sequence[Problem]
    hashes: Hashes | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked, and the problems that were found.

    Attributes:
        num_shards, num_samples, num_bytes: Totals according to the manifest.
        problems: The problems; empty if the dataset is undamaged.
        full: Whether every byte was read.
        seconds: Wall time.
        without_checksums: How many shards were indexed without reading their payloads. Only their
            headers and lengths can be checked.
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
    """Return a report of what is wrong with a dataset; it has no problems if the dataset is undamaged.

    The quick check compares the lengths of all files, the checksums of all indexes, and the headers of
    64 samples per shard; of a remote shard, the headers of one field of 8 samples. The full check reads
    every shard and compares all headers, offsets, sizes and checksums.
    Memory: one shard's index per job, and 40 bytes per sample for the key index.

    Args:
        location: Folder of the dataset, its URL, or a store.
        full: Read every byte.
        jobs: Number of worker processes. Default: one; with `full` one per core, but not more than are
            worth starting. If any part is remote, how many shards to verify at once, in threads. Default: 8.
        storage_options, allow_locations: As `shardpack.open` takes them.
        progress: Called as progress("verify", bytes done, total bytes).

    Raises:
        DatasetNotFoundError: The location has no manifest.
        CorruptManifestError: The manifest is damaged.
        UnsupportedVersionError: A newer version of shardpack is needed to read the manifest.
    """
    began = time.perf_counter()
    jobs = as_jobs(jobs)
    if isinstance(location, (str, os.PathLike)):
        location = open_store(location, storage_options if is_url(location) else None)
    options = LocationOptions(storage_options, allow_locations=allow_locations)
    cache = open_shards(adapt(location), options=options)
    stores, manifest, shard_list = cache.stores, cache.manifest, cache.shard_list
    bytes_done = ByteProgress("verify", manifest.num_bytes, progress)
    sound = is_table_sound(shard_list)
    tasks = [_Task(stores.sidecars, stores.of(info), info, full) for info in shard_list] if sound else []
    if all(store.folder is not None for store in (stores.sidecars, *stores.tars)):
        verified = _in_processes(tasks, jobs or default_jobs(manifest.num_bytes if full else 0), bytes_done)
    else:
        verified = _in_threads(tasks, jobs or SHARDS_AT_ONCE, bytes_done)
    problems = [problem for shard in verified for problem in shard.problems]
    hashes = [shard.hashes for shard in verified if shard.hashes is not None]
    keys = np.concatenate([np.empty(0, np.uint64), *hashes]) if sound and len(hashes) == len(verified) else None
    problems.extend(verify_metadata(stores.sidecars, manifest, shard_list, keys))
    return VerifyReport(
        num_shards=manifest.num_shards,
        num_samples=manifest.num_samples,
        num_bytes=manifest.num_bytes,
        problems=tuple(problems),
        full=full,
        seconds=time.perf_counter() - began,
        without_checksums=sum(task.info.crc32c is None for task in tasks),
    )


def _in_processes(tasks: list[_Task], jobs: int, bytes_done: ByteProgress) -> list[_Verified]:
    """Verify local shards; return the results in the order of the tasks."""
    unread = [task.info.num_bytes for task in tasks]
    results: dict[int, _Verified] = {}

    def advance(number: int, num_bytes: int) -> None:
        unread[number] -= num_bytes
        bytes_done.advance(num_bytes)

    with start_workers(max(1, min(jobs, len(tasks)))) as engine:
        for number, verified in engine.map(_verify_shard, tasks, advance=advance):
            results[number] = verified
            bytes_done.advance(unread[number])  # count the bytes that the check did not need, too
    return [results[number] for number in range(len(tasks))]


def _in_threads(tasks: list[_Task], jobs: int, bytes_done: ByteProgress) -> list[_Verified]:
    """Verify shards of which some are remote; after an error the others stop at the end of the range they read."""
    stop = threading.Event()

    def verify_one(task: _Task) -> _Verified:
        unread = task.info.num_bytes

        def advance(num_bytes: int) -> None:
            nonlocal unread
            if stop.is_set():
                raise StorageError("verifying was given up; run it again")
            unread -= num_bytes
            bytes_done.advance(num_bytes)

        verified = _verify_shard(task, advance)
        bytes_done.advance(unread)
        return verified

    return call_all(verify_one, tasks, limit=jobs, purpose="verify", stop=stop)


def _verify_shard(task: _Task, advance: Advance) -> _Verified:
    """Return the problems of one shard and its index."""
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
            _probe(plain_view(task.tars, info.name, index), info, index)
    except ShardpackError as error:
        problems.append(problem_of(error, info.name))
    return _Verified(problems, None if index is None or problems else index.key_hashes())


def _probe(store: Store, info: ShardInfo, index: ShardIndex) -> None:
    """Compare the headers of some samples with the index; they are requested together."""
    if store.remote:
        headers = some_headers(index, PROBED_REMOTE)
    else:
        headers = headers_of_rows(index, spread_rows(index, PROBED_SAMPLES))
    headers.check(info.name, index, store.get_ranges(info.name, starts=headers.starts, lengths=headers.lengths))


def _compare(store: Store, info: ShardInfo, index: ShardIndex | None, advance: Advance) -> Iterator[Problem]:
    """Compare every byte of a shard with its index, or without one with the checksum in the manifest."""
    ignore = () if index is None else index.ignored
    frames = None if index is None else index.frames
    if frames is not None or (index is None and is_compressed(info.name)):
        actual = scan_compressed(store, info.name, ignore=ignore, frames=frames, advance=advance).index
    elif store.folder is not None:
        actual = scan_whole(TarFile(store.folder, info.name, ignore), advance=advance).index
    else:
        actual = scan_headers(store, info.name, checksums=True, ignore=ignore, advance=advance).index
    if index is not None and not _same_ranges(actual, index):
        yield Problem(
            "stale",
            info.name,
            "keys, fields or offsets differ from the index; "
            'restore the files that belong together, or rebuild with "shardpack index --force"',
        )
        return
    damaged = [] if index is None else list(_damaged_fields(info.name, actual, index))
    yield from damaged[:SHOWN]
    if len(damaged) > SHOWN:
        yield Problem("damaged", info.name, f"{len(damaged) - SHOWN} more fields are damaged; restore the shard")
    if not damaged and info.crc32c not in (None, actual.shard_crc32c):
        what = "the shard is" if index is None else "bytes outside the payloads are"
        yield Problem(
            "damaged",
            info.name,
            f"{what} damaged: expected CRC32C {info.crc32c:08x} of the whole file, got {actual.shard_crc32c:08x}; "
            "restore the shard",
        )


def _damaged_fields(shard: str, actual: ShardIndex, index: ShardIndex) -> Iterator[Problem]:
    """Yield a problem for each payload whose checksum differs."""
    if index.crc32c is None or actual.crc32c is None:
        return
    for member in np.flatnonzero(actual.crc32c != index.crc32c).tolist():
        expected, got = int(index.crc32c[member]), int(actual.crc32c[member])
        message = f"field {actual.field_of(member)!r} is damaged: expected CRC32C {expected:08x}, got {got:08x}"
        offset = int(actual.data_offset[member])
        yield Problem("damaged", shard, f"{message}; restore the shard", actual.key(actual.row_of(member)), offset)


def _same_ranges(a: ShardIndex, b: ShardIndex) -> bool:
    """Return whether two indexes describe the same keys, fields and byte ranges."""
    columns = ("data_offset", "size", "header_bytes", "member_start", "field", "key_offset", "key_heap")
    return a.fields == b.fields and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in columns)
