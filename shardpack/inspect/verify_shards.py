"""Check the shards of a dataset and their indexes: quickly by some headers, or byte by byte."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptShardError, ShardpackError, StorageError
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.index.frame_scan import is_compressed, scan_compressed
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.header_scan import scan_headers
from shardpack.inspect.problem import Problem, problem_of
from shardpack.read.plain_stores import plain_view
from shardpack.read.shard_checks import (
    check_length,
    checked_index,
    fetch_index,
    headers_of_rows,
    some_headers,
    spread_rows,
)
from shardpack.runtime.processes import start_workers
from shardpack.runtime.progress import Advance, ByteProgress
from shardpack.runtime.threads import call_all
from shardpack.storage.protocols import Store

PROBED_SAMPLES = 64  # samples per local shard whose headers the quick check reads
PROBED_REMOTE = 8  # samples per remote shard, one field each: every header costs a request
SHOWN = 5  # damaged payloads named per shard

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to verify, the stores of its index and tar, and whether to read every byte.

    Of a tar without visible samples only the index is verified: so `repair` leaves a tar that it has replaced.
    """

    sidecars: Store
    tars: Store
    info: ShardInfo
    full: bool
    is_visible: bool = True


@dataclass(frozen=True, slots=True)
class VerifiedShard:
    """The problems of a shard and its index, or the hashes of its keys if there are no problems."""

    problems: Sequence[Problem]
    hashes: Hashes | None = None


def verify_in_processes(tasks: list[ShardTask], jobs: int, bytes_done: ByteProgress) -> list[VerifiedShard]:
    """Verify local shards; return the results in the order of the tasks."""
    unread = [task.info.num_bytes for task in tasks]
    results: dict[int, VerifiedShard] = {}

    def advance(number: int, num_bytes: int) -> None:
        unread[number] -= num_bytes
        bytes_done.advance(num_bytes)

    with start_workers(max(1, min(jobs, len(tasks)))) as engine:
        for number, verified in engine.map(_verify_shard, tasks, advance=advance):
            results[number] = verified
            bytes_done.advance(unread[number])  # count the bytes that the check did not need, too
    return [results[number] for number in range(len(tasks))]


def verify_in_threads(tasks: list[ShardTask], jobs: int, bytes_done: ByteProgress) -> list[VerifiedShard]:
    """Verify shards of which some are remote; after an error the others stop at the end of the range they read."""
    stop = threading.Event()

    def verify_one(task: ShardTask) -> VerifiedShard:
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


def _verify_shard(task: ShardTask, advance: Advance) -> VerifiedShard:
    """Return the problems of one shard and its index."""
    info, problems = task.info, list[Problem]()
    index: ShardIndex | None = None
    try:
        index = checked_index(fetch_index(task.sidecars, info), info)
    except ShardpackError as error:
        problems.append(problem_of(error, info.index_path))
    if not task.is_visible:
        return VerifiedShard(problems, None if index is None else index.key_hashes())
    try:
        check_length(info, task.tars.size(info.name))
        if task.full:
            problems.extend(_compare(task.tars, info, index, advance))
        elif index is not None:
            _probe(plain_view(task.tars, info.name, index), info, index)
    except ShardpackError as error:
        problems.append(problem_of(error, info.name))
    return VerifiedShard(problems, None if index is None or problems else index.key_hashes())


def _probe(store: Store, info: ShardInfo, index: ShardIndex) -> None:
    """Compare the headers of some samples with the index; they are requested together."""
    if store.remote:
        headers = some_headers(index, PROBED_REMOTE)
    else:
        headers = headers_of_rows(index, spread_rows(index, PROBED_SAMPLES))
    headers.check(info.name, index, store.get_ranges(info.name, starts=headers.starts, lengths=headers.lengths))


def _compare(store: Store, info: ShardInfo, index: ShardIndex | None, advance: Advance) -> Iterator[Problem]:
    """Compare every byte of a shard with its index, or without one with the checksum in the manifest."""
    try:
        actual = _scan(store, info, index, advance)
    except CorruptShardError as error:
        if index is None:
            raise
        what = str(error.args[0]).partition(";")[0]
        way_out = 'restore the shard, or take out what its index finds with "shardpack extract"'
        yield Problem("damaged", info.name, f"{what}; {way_out}", error.key, error.offset)
        return
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


def _scan(store: Store, info: ShardInfo, index: ShardIndex | None, advance: Advance) -> ShardIndex:
    """Return what is in a tar, read from end to end; of the index only what tells how to read is used."""
    ignore = () if index is None else index.ignored
    frames = None if index is None else index.frames
    if frames is not None or (index is None and is_compressed(info.name)):
        return scan_compressed(store, info.name, ignore=ignore, frames=frames, advance=advance).index
    if store.folder is not None:
        return scan_whole(TarFile(store.folder, info.name, ignore), advance=advance).index
    return scan_headers(store, info.name, checksums=True, ignore=ignore, advance=advance).index


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
