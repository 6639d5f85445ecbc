"""Prove that a dataset on disk is what was packed: quickly, or byte by byte."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shardpack.errors import CorruptIndexError, FormatError, ShardNotFoundError, ShardpackError
from shardpack.format import manifest
from shardpack.format.index import ShardIndex
from shardpack.format.key_index import FILE_NAME as KEY_INDEX_NAME
from shardpack.format.key_index import KeyIndex, encode_key_index, hash_keys
from shardpack.format.manifest import Manifest, ShardInfo, parse_manifest
from shardpack.progress import Progress, no_progress
from shardpack.read.dataset import open_dataset
from shardpack.read.indexer import index_tar
from shardpack.read.shard import check_headers, check_length, load_index
from shardpack.storage.local import LocalStore
from shardpack.workers import start_workers

PROBED_SAMPLES = 64  # samples a shard whose headers the quick check reads
SHOWN = 5  # damaged payloads named a shard
_SHARD_FILE = re.compile(r"shard-\d{6,}\.(tar|index)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `kind` is "damaged", "stale", "missing" or "orphan"."""

    kind: str
    shard: str
    message: str


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

    Args:
        location: Folder of the dataset.
        full: Read every byte.
        jobs: Worker processes; None takes one a core.
        progress: Called as progress("verify", bytes done, bytes in all).

    Raises:
        DatasetNotFoundError, CorruptManifestError: There is no manifest to verify against.
    """
    began = time.perf_counter()
    store = LocalStore(location)
    whole = open_dataset(store).manifest
    problems = list(_orphans(store.location, whole))
    total, done = max(1, whole.num_bytes), 0
    tasks = [(store.location, number, full) for number in range(len(whole.records))]
    found: dict[int, list[Problem]] = {}
    count = min(jobs or os.cpu_count() or 1, len(tasks) or 1) if full else 1
    with start_workers(count) as pool:
        results = enumerate(map(_verify_shard, tasks)) if pool is None else pool.map(_verify_shard, tasks)
        for number, shard_problems in results:
            found[number] = shard_problems
            done += whole.records[number]["num_bytes"]
            progress("verify", done, total)
    for number in sorted(found):
        problems.extend(found[number])
    problems.extend(_verify_keys(store, whole, complete=not problems))
    return VerifyReport(
        len(whole.records), whole.num_samples, whole.num_bytes, tuple(problems), full, time.perf_counter() - began
    )


def _orphans(folder: str, whole: Manifest) -> Iterator[Problem]:
    known = {name for record in whole.records for name in (record["name"], manifest.index_name(record["name"]))}
    for name in sorted(os.listdir(folder)):
        if _SHARD_FILE.fullmatch(name) and name not in known:
            yield Problem("orphan", name, "the manifest does not know this file; remove it, or pack again")
    if os.path.isdir(os.path.join(folder, ".shardpack")):
        yield Problem("orphan", ".shardpack", "a pack run was cut off at its very end; run it again, or remove this folder")


def _verify_shard(task: tuple[str, int, bool]) -> list[Problem]:
    folder, number, full = task
    store = LocalStore(folder)
    info = parse_manifest(bytes(store.buffer(manifest.FILE_NAME))).shard(number)
    try:
        index = load_index(store, info)
        check_length(info, store.size(info.name))
        return _compare(folder, info, index) if full else _probe(store, info, index)
    except ShardNotFoundError as error:
        return [Problem("missing", info.name, str(error))]
    except ShardpackError as error:
        return [Problem("damaged" if type(error).__name__.startswith("Corrupt") else "stale", info.name, str(error))]


def _probe(store: LocalStore, info: ShardInfo, index: ShardIndex) -> list[Problem]:
    for row in np.unique(np.linspace(0, index.num_samples - 1, PROBED_SAMPLES, dtype=np.int64)).tolist():
        check_headers(store, info.name, index, row)
    return []


def _compare(folder: str, info: ShardInfo, index: ShardIndex) -> list[Problem]:
    found = index_tar((folder, info.name)).index
    if found.keys() != index.keys() or found.fields != index.fields:
        return [Problem("stale", info.name, 'keys or fields differ from the index; rebuild it with "shardpack index"')]
    for column in ("present", "data_offset", "size", "header_bytes"):
        if not np.array_equal(getattr(found, column), getattr(index, column)):
            return [Problem("stale", info.name, f'{column} differs from the index; rebuild it with "shardpack index"')]
    damaged = np.argwhere(found.crc32c != index.crc32c).tolist()
    problems = [
        Problem(
            "damaged",
            info.name,
            f"sample {index.key(row)!r}: field {index.fields[column]!r} is damaged "
            f"(offset {int(index.data_offset[row, column])}: expected CRC32C {int(index.crc32c[row, column]):08x}, "
            f"got {int(found.crc32c[row, column]):08x}); restore the shard",
        )
        for row, column in damaged[:SHOWN]
    ]
    if len(damaged) > SHOWN:
        problems.append(Problem("damaged", info.name, f"and {len(damaged) - SHOWN} more damaged fields"))
    if not damaged and found.shard_crc32c != info.crc32c:
        problems.append(Problem("damaged", info.name, "bytes outside the payloads differ; restore the shard"))
    return problems


def _verify_keys(store: LocalStore, whole: Manifest, *, complete: bool) -> Iterator[Problem]:
    """Check the key index; against the keys themselves if all shard indexes are `complete`."""
    try:
        buffer = store.buffer(KEY_INDEX_NAME)
        KeyIndex(buffer, num_samples=whole.num_samples).check()
        if complete:
            keys = [key.encode("utf-8", "surrogateescape") for key in open_dataset(store).keys()]
            if b"".join(encode_key_index(hash_keys(keys, len(keys)))) != bytes(buffer):
                raise CorruptIndexError('key index is not that of the keys; rebuild it with "shardpack index"')
    except ShardNotFoundError as error:
        yield Problem("missing", KEY_INDEX_NAME, str(error))
    except FormatError as error:
        yield Problem("damaged", KEY_INDEX_NAME, str(error))
