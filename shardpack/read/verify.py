"""Prove that a dataset on disk is what was packed: quickly, or byte by byte.

Each file is judged by what the manifest says of it, so a problem in one hides none in another.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from shardpack.errors import (
    CorruptIndexError,
    CorruptShardError,
    FormatError,
    OptionError,
    ShardNotFoundError,
    ShardpackError,
    StaleIndexError,
    StorageError,
)
from shardpack.format import manifest
from shardpack.format.checksum import crc32c
from shardpack.format.index import ShardIndex
from shardpack.format.key_index import FILE_NAME as KEY_INDEX_NAME
from shardpack.format.key_index import KeyIndex, encode_key_index, hash_keys
from shardpack.format.manifest import Manifest, ShardInfo
from shardpack.progress import Progress, no_progress
from shardpack.read.dataset import open_dataset
from shardpack.read.indexer import ByteCount, index_tar
from shardpack.read.shard import check_headers, check_length, load_index
from shardpack.storage.local import LocalStore
from shardpack.workers import start_workers

PROBED_SAMPLES = 64  # samples a shard whose headers the quick check reads
BYTES_PER_WORKER = 64 << 20  # fewer are read before a worker process has started
SHOWN = 5  # damaged payloads named a shard
WORK_FOLDER = ".shardpack"  # where packing keeps what is unfinished
_LOOKS_OURS = re.compile(r".*\.(?:tar|index)(?:\.\d+\.tmp)?|(?:keys\.index|shardpack\.json)\.\d+\.tmp")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: "damaged", "stale" (two files do not belong together), "missing", "unreadable" or "orphan".
        shard: The file it is about.
        message: What is wrong, and what to do.
        key, offset: Of the sample and of the byte, where they are known.
    """

    kind: str
    shard: str
    message: str
    key: str | None = None
    offset: int | None = None

    def __str__(self) -> str:
        named = (("key", self.key), ("offset", self.offset))
        where = "".join(f", {name} {value!r}" for name, value in named if value is not None)
        return f"{self.kind}: {self.shard}{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked and what was found.

    Attributes:
        num_shards, num_samples, num_bytes: What the manifest promises.
        problems: Empty if all is well.
        full: Whether every byte was read.
        seconds: Wall time.
    """

    num_shards: int
    num_samples: int
    num_bytes: int
    problems: tuple[Problem, ...]
    full: bool
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


def verify(
    location: str | os.PathLike[str],
    *,
    full: bool = False,
    jobs: int | None = None,
    progress: Progress = no_progress,
) -> VerifyReport:
    """Return what is wrong with a dataset in a folder; an empty list of problems is the proof.

    Quick: lengths of all files, checksums of all indexes, and the headers of 64 samples a shard.
    Full: every shard is read whole, and all headers, offsets, sizes and checksums are compared.
    Memory: one shard's index a job, and 40 bytes a sample for the key index.

    Args:
        location: Folder of the dataset.
        full: Read every byte.
        jobs: Worker processes; None takes one a core for `full`, where they pay for their start, else one.
        progress: Called as progress("verify", bytes done, bytes in all).

    Raises:
        DatasetNotFoundError, CorruptManifestError: There is no manifest to verify against.
    """
    began = time.perf_counter()
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs is {jobs}, expected at least 1")
    store = LocalStore(location)
    whole = open_dataset(store).manifest
    count = ByteCount("verify", whole.num_bytes, progress)
    tasks = [(store.location, info, full) for info in whole.shards]
    found: dict[int, list[Problem]] = {}
    wanted = jobs or min(os.cpu_count() or 1, 1 + (whole.num_bytes // BYTES_PER_WORKER if full else 0))
    with start_workers(min(wanted, len(tasks) or 1)) as pool:
        if pool is None:
            for number, task in enumerate(tasks):
                before = count.done
                found[number] = _verify_shard(task, passed=count.add)
                count.move_to(before + whole.records[number]["num_bytes"])  # also where not all of it was read
        else:
            for number, shard_problems in pool.map(_verify_shard, tasks):
                found[number] = shard_problems
                count.add(whole.records[number]["num_bytes"])
    problems = [problem for number in sorted(found) for problem in found[number]]
    problems.extend(_verify_keys(store, whole, complete=not problems))
    problems.extend(_orphans(store.location, whole))
    return VerifyReport(
        len(whole.records), whole.num_samples, whole.num_bytes, tuple(problems), full, time.perf_counter() - began
    )


def _verify_shard(
    task: tuple[str, ShardInfo, bool], *, passed: Callable[[int], None] = lambda _: None
) -> list[Problem]:
    """Return the problems of one shard and its index."""
    folder, info, full = task
    store = LocalStore(folder)
    problems: list[Problem] = []
    index: ShardIndex | None = None
    try:
        index = load_index(store, info)
    except ShardpackError as error:
        problems.append(_problem(error, info.index_name))
    try:
        check_length(info, store.size(info.name))
        if full:
            problems.extend(_compare(folder, info, index, passed))
        elif index is not None and not problems:
            _probe(store, info, index)
    except ShardpackError as error:
        problems.append(_problem(error, info.name))
    return problems


def _problem(error: ShardpackError, name: str) -> Problem:
    kinds = {
        ShardNotFoundError: "missing",
        StorageError: "unreadable",
        CorruptShardError: "damaged",
        CorruptIndexError: "damaged",
        StaleIndexError: "stale",
    }
    return Problem(kinds.get(type(error), "damaged"), error.shard or name, error.args[0], error.key, error.offset)


def _probe(store: LocalStore, info: ShardInfo, index: ShardIndex) -> None:
    for row in np.unique(np.linspace(0, index.num_samples - 1, PROBED_SAMPLES, dtype=np.int64)).tolist():
        check_headers(store, info.name, index, row)


def _compare(
    folder: str, info: ShardInfo, index: ShardIndex | None, passed: Callable[[int], None]
) -> Iterator[Problem]:
    """Compare every byte of a shard with its index; without one, with the checksum in the manifest."""
    found = index_tar((folder, info.name), passed=passed).index
    if index is not None and not _same_places(found, index):
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
    if not damaged and found.shard_crc32c != info.crc32c:
        what = "the shard is" if index is None else "bytes outside the payloads are"
        yield Problem(
            "damaged",
            info.name,
            f"{what} damaged: expected CRC32C {info.crc32c:08x} of the whole file, got {found.shard_crc32c:08x}; "
            "restore the shard",
        )


def _damaged_fields(shard: str, found: ShardIndex, index: ShardIndex) -> Iterator[Problem]:
    for row, column in np.argwhere(found.crc32c != index.crc32c).tolist():
        expected, got = int(index.crc32c[row, column]), int(found.crc32c[row, column])
        message = f"field {found.fields[column]!r} is damaged: expected CRC32C {expected:08x}, got {got:08x}"
        offset = int(found.data_offset[row, column])
        yield Problem("damaged", shard, f"{message}; restore the shard", found.key(row), offset)


def _same_places(a: ShardIndex, b: ShardIndex) -> bool:
    columns = ("present", "data_offset", "size", "header_bytes", "key_offset", "key_heap")
    return a.fields == b.fields and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in columns)


def _verify_keys(store: LocalStore, whole: Manifest, *, complete: bool) -> Iterator[Problem]:
    """Check the key index; against the keys themselves if all shard indexes are `complete`."""
    try:
        buffer = memoryview(store.buffer(KEY_INDEX_NAME))
        expected, found = int(whole.keys["crc32c"], 16), crc32c(buffer)
        if len(buffer) != whole.keys["num_bytes"] or found != expected:
            raise CorruptIndexError(
                f"key index is damaged or not of this dataset: expected {whole.keys['num_bytes']} bytes with CRC32C "
                f'{expected:08x}, got {len(buffer)} with {found:08x}; rebuild it with "shardpack index --force"'
            )
        KeyIndex(buffer, num_samples=whole.num_samples).check()
        if complete and not _holds_keys(buffer, store, whole.num_samples):
            raise StaleIndexError('key index is not that of the keys; rebuild it with "shardpack index --force"')
    except ShardNotFoundError:
        yield Problem("missing", KEY_INDEX_NAME, 'key index is missing; rebuild it with "shardpack index --force"')
    except (FormatError, StorageError) as error:
        yield _problem(error, KEY_INDEX_NAME)


def _holds_keys(buffer: memoryview, store: LocalStore, num_samples: int) -> bool:
    keys = (key.encode("utf-8", "surrogateescape") for key in open_dataset(store).keys())  # noqa: SIM118 - no dict
    at = 0
    for part in encode_key_index(hash_keys(keys, num_samples)):
        if buffer[at : at + len(part)] != part:
            return False
        at += len(part)
    return at == len(buffer)


def _orphans(folder: str, whole: Manifest) -> Iterator[Problem]:
    """Yield files that look like parts of a dataset, in the folders of its shards, but are none of this one's."""
    known = {KEY_INDEX_NAME, manifest.FILE_NAME}
    for record in whole.records:
        known.update((record["name"], manifest.index_name(record["name"])))
    for below in sorted({"", *(name.rpartition("/")[0] for name in known)}):
        for entry in (
            sorted(os.listdir(os.path.join(folder, below))) if os.path.isdir(os.path.join(folder, below)) else ()
        ):
            name = f"{below}/{entry}" if below else entry
            if name not in known and _LOOKS_OURS.fullmatch(entry):
                yield Problem("orphan", name, "the manifest does not know this file; remove it, or pack or index again")
    if os.path.isdir(os.path.join(folder, WORK_FOLDER)):
        yield Problem("orphan", WORK_FOLDER, "a pack run was cut off; run it again, or remove this folder")
