"""Give tars that others wrote an index: beside them, or in memory for one dataset object."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shardpack.errors import (
    DuplicateKeyError,
    FormatError,
    OptionError,
    OutputExistsError,
    StorageError,
)
from shardpack.format import key_index, manifest
from shardpack.format.index import ShardIndex, parse_index
from shardpack.format.key_index import hash_keys, repeated_hashes
from shardpack.format.manifest import Manifest, ShardInfo
from shardpack.pack.assembler import encode_finished
from shardpack.pack.publish import Output, encode_dataset, shard_info, write_dataset
from shardpack.pack.run import recorded_options
from shardpack.progress import Progress, no_progress
from shardpack.read.dataset import Dataset, open_dataset
from shardpack.read.indexer import ByteCount, IndexedTar, index_tar
from shardpack.read.tar_files import TarSet, find_tars
from shardpack.storage.files import storage_errors, write_file
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.workers import start_workers

OnDuplicate = Literal["raise", "keep"]
Parts = list[bytes | memoryview]  # a file, piece by piece
SHOWN = 3
BYTES_PER_WORKER = 64 << 20  # fewer are read before a worker process has started


@dataclass(frozen=True, slots=True)
class RepeatedKey:
    """A key that names two samples: where each begins."""

    key: str
    shard: str
    offset: int
    first_shard: str
    first_offset: int

    def __str__(self) -> str:
        return f"{self.key!r} in {self.shard!r} at {self.offset}, after {self.first_shard!r} at {self.first_offset}"


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was indexed.

    Attributes:
        out: Folder of the manifest.
        num_samples, num_shards, num_bytes: Totals.
        samples_per_field: How many samples have each field.
        repeated: Keys that name two samples, in the order found.
        ignored: Files in the tars that belong to no sample.
        changed: Tars that are not as the manifest before described them; only with `force`.
        seconds: Wall time.
    """

    out: str
    num_samples: int
    num_shards: int
    num_bytes: int
    samples_per_field: dict[str, int] = field(default_factory=dict)
    repeated: Sequence[RepeatedKey] = ()
    ignored: int = 0
    changed: Sequence[str] = ()
    seconds: float = 0.0


def index(
    tars: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    jobs: int | None = None,
    on_duplicate: OnDuplicate = "raise",
    force: bool = False,
    progress: Progress = no_progress,
) -> IndexReport:
    """Write the indexes, key index and manifest for tars that others wrote; the tars stay as they are.

    Members are grouped as webdataset groups them. Reads each tar once, from end to end. With
    `force` it also mends a dataset whose indexes or manifest are damaged or lost: what the manifest
    before said of classes and packing is kept, if it is of the same tars.

    Args:
        tars: A folder, a pattern, a tar, or a list of these. The manifest is written to the
            folder that holds them all.
        jobs: Worker processes; None takes one a core, but no more than pay for their start.
        on_duplicate: "raise" refuses tars in which a key names two samples; "keep" indexes them
            as webdataset would read them: by position, and by key only where it is unique.
        force: Replace indexes and a manifest that are already there.
        progress: Called as progress("index", bytes done, bytes in all).

    Raises:
        DuplicateKeyError: Keys repeat; the first few are named with shard and offsets.
        CorruptShardError: A tar is damaged, compressed or holds no samples.
        OutputExistsError: There is a manifest already, and `force` is off.
    """
    began = time.perf_counter()
    if on_duplicate not in ("raise", "keep"):
        raise OptionError(f"on_duplicate is {on_duplicate!r}; choose 'raise' or 'keep'")
    paths = [tars] if isinstance(tars, (str, os.PathLike)) else list(tars)
    found = find_tars([os.fspath(path) for path in paths])
    _refuse_parts(found)
    if not force:
        _refuse_to_overwrite(found)
    if not os.access(found.folder, os.W_OK):
        raise StorageError(f'cannot write to {found.folder!r}; change its permissions, or open with index="memory"')
    before = _manifest_before(found)
    written: list[str] = []

    def write(name: str, parts: Parts) -> None:
        if not os.path.exists(found.path(name)):
            written.append(found.path(name))
        write_file(found.path(name), parts)

    built = _Built(found, write, LocalStore(found.folder).buffer)
    try:
        with storage_errors(f"write indexes to {found.folder!r}"):
            built.add_all(jobs=jobs, progress=progress)
            built.check_unique(on_duplicate)
            whole, keys = built.encode(before)
            write_dataset(found.folder, whole, keys)
    except BaseException:
        for path in written:
            with suppress(OSError):
                os.unlink(path)
        raise
    return IndexReport(
        out=found.folder,
        num_samples=whole.num_samples,
        num_shards=len(whole.records),
        num_bytes=whole.num_bytes,
        samples_per_field=whole.samples_per_field,
        repeated=tuple(built.repeated),
        ignored=built.ignored,
        changed=_changed(before, whole),
        seconds=time.perf_counter() - began,
    )


def _refuse_parts(found: TarSet) -> None:
    """Raise if these tars are not all there is: of an unfinished pack, or of the dataset in their folder."""
    if Output(found.folder).has_work_folder():
        raise OutputExistsError(
            f"the dataset in {found.folder!r} is unfinished; "
            "run the same pack command again: it continues where it stopped"
        )
    try:
        known = {record["name"] for record in open_dataset(LocalStore(found.folder)).manifest.records}
    except (FormatError, OSError):
        return
    if left := sorted(known.difference(found.names)):
        raise OutputExistsError(
            f"the dataset in {found.folder!r} has {len(left)} more tar(s), such as {left[0]!r}; "
            f'index them all: "shardpack index --force {found.folder}"'
        )


def _refuse_to_overwrite(found: TarSet) -> None:
    if os.path.exists(found.path(manifest.FILE_NAME)):
        raise OutputExistsError(
            f"{found.folder!r} already holds {manifest.FILE_NAME}; pass --force to index its tars again"
        )
    for name in (key_index.FILE_NAME, *map(manifest.index_name, found.names)):
        with suppress(FileNotFoundError), open(found.path(name), "rb") as file:
            # What a run that was cut off left behind is ours to replace.
            if b'"format":"shardpack-' not in file.read(4096):
                raise OutputExistsError(f"{found.path(name)!r} is no index of ours; move it away, or pass --force")


def _manifest_before(found: TarSet) -> Manifest | None:
    """Return the manifest that is about to be replaced, if it is sound and of these tars."""
    try:
        before = open_dataset(LocalStore(found.folder)).manifest
    except (FormatError, OSError):
        return None
    return before if {record["name"] for record in before.records} <= set(found.names) else None


def _changed(before: Manifest | None, after: Manifest) -> list[str]:
    known = {record["name"]: record["crc32c"] for record in before.records} if before else {}
    return [r["name"] for r in after.records if known.get(r["name"], r["crc32c"]) != r["crc32c"]]


def index_in_memory(found: TarSet, *, verify: bool | None = None) -> Dataset:
    """Return a dataset over plain tars whose index lives in memory; nothing is written."""
    objects: dict[str, bytes] = {}

    def keep(name: str, parts: Parts) -> None:
        objects[name] = b"".join(parts)

    built = _Built(found, keep, objects.__getitem__)
    built.add_all()
    built.check_unique("keep")
    whole, keys = built.encode(None)
    keep(key_index.FILE_NAME, keys)
    objects[manifest.FILE_NAME] = manifest.encode_manifest(whole)
    return open_dataset(MemoryStore(objects, base=LocalStore(found.folder)), verify=verify)


class _Built:
    """What the indexes have told so far. Memory: one index a job, and 8 bytes a key.

    `write(name, parts)` takes a finished index; `read(name)` gives it back, for keys that repeat.
    """

    def __init__(self, found: TarSet, write: Callable[[str, Parts], None], read: Callable[[str], Any]) -> None:
        self._found, self._write, self._read = found, write, read
        self._shards: dict[str, ShardInfo] = {}
        self._hashes: dict[str, npt.NDArray[np.uint64]] = {}
        self.repeated: list[RepeatedKey] = []
        self.ignored = 0

    def add_all(self, *, jobs: int | None = None, progress: Progress = no_progress) -> None:
        """Index every tar, in this process or in many, and write its index."""
        if jobs is not None and jobs < 1:
            raise OptionError(f"jobs is {jobs}, expected at least 1")
        found = self._found
        sizes = [os.path.getsize(found.path(name)) for name in found.names]
        total = sum(sizes)
        count = ByteCount("index", total, progress)
        tasks = [(found.folder, name) for name in found.names]
        wanted = jobs or min(os.cpu_count() or 1, 1 + total // BYTES_PER_WORKER)
        with start_workers(min(wanted, len(tasks))) as pool:
            if pool is None:
                for task in tasks:
                    self._add(index_tar(task, passed=count.add))
            else:
                for number, indexed in pool.map(index_tar, tasks):
                    self._add(indexed)
                    count.add(sizes[number])

    def _add(self, indexed: IndexedTar) -> None:
        name, keys = indexed.name, indexed.index.keys()
        parts, num_bytes, checksum = encode_finished(indexed.index)
        self._write(manifest.index_name(name), parts)
        self._shards[name] = shard_info(name, indexed.index, num_bytes, checksum)
        self._hashes[name] = hash_keys((key.encode("utf-8", "surrogateescape") for key in keys), len(keys))
        self.ignored += indexed.ignored

    def check_unique(self, on_duplicate: OnDuplicate) -> None:
        """Fill `repeated`, and raise if there are any and they are not wanted."""
        first: dict[str, tuple[str, int]] = {}
        for name, rows in self._rows_with_repeated_hashes():
            index_name = manifest.index_name(name)
            index = parse_index(self._read(index_name), name=index_name)
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

    def encode(self, before: Manifest | None) -> tuple[Manifest, Parts]:
        """Return the manifest and the key index; `before` is the manifest that this one replaces."""
        return encode_dataset(
            [self._shards[name] for name in self._found.names],
            self._all_hashes(),
            unique_keys=not self.repeated,
            classes=None if before is None else before.classes,
            packed_with=recorded_options(indexed=True) if before is None else before.packed_with,
        )


def _sample_offset(index: ShardIndex, row: int) -> int:
    """Return where the first header of a sample begins."""
    present = index.present[row].astype(bool)
    return int((index.data_offset[row][present] - index.header_bytes[row][present]).min())
