"""Give tars that others wrote an index: beside them, or in memory for one dataset object."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from shardpack.errors import DuplicateKeyError, OptionError, OutputExistsError, ShardNotFoundError
from shardpack.format import key_index, manifest
from shardpack.format.index import ShardIndex
from shardpack.format.key_index import hash_keys, repeated_hashes
from shardpack.format.manifest import ShardInfo
from shardpack.pack.assembler import encode_finished
from shardpack.pack.publish import encode_dataset, shard_info, write_dataset
from shardpack.pack.run import recorded_options
from shardpack.progress import Progress, no_progress
from shardpack.read.dataset import Dataset, open_dataset
from shardpack.read.indexer import IndexedTar, RepeatedKey, index_tar
from shardpack.storage.files import storage_errors, write_file
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.workers import WorkerPool

OnDuplicate = Literal["raise", "keep"]
SHOWN = 3


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was indexed.

    Attributes:
        out: Folder of the manifest.
        num_samples, num_shards, num_bytes: Totals.
        samples_per_field: How many samples have each field.
        repeated: Keys that name two samples, in the order found.
        ignored: Files in the tars that belong to no sample.
        seconds: Wall time.
    """

    out: str
    num_samples: int
    num_shards: int
    num_bytes: int
    samples_per_field: dict[str, int] = field(default_factory=dict)
    repeated: Sequence[RepeatedKey] = ()
    ignored: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TarSet:
    """Tars below one folder: `names` are relative to it, in the order of the dataset."""

    folder: str
    names: tuple[str, ...]


def find_tars(paths: Sequence[str]) -> TarSet:
    """Return the tars that paths, patterns and folders name, in the order given (a folder's by name).

    Raises:
        ShardNotFoundError: A path leads nowhere, or a folder or pattern holds no tar.
        OptionError: A tar is named twice.
    """
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            tars = sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".tar"))
        elif os.path.exists(path):
            tars = [path]
        else:
            tars = sorted(glob.glob(path))
        if not tars:
            raise ShardNotFoundError(f"no tar found at {path!r}; check the path")
        found.extend(os.path.abspath(tar) for tar in tars)
    if len(set(found)) != len(found):
        raise OptionError("a tar is named twice; name each once")
    folder = os.path.commonpath([os.path.dirname(tar) for tar in found])
    return TarSet(folder, tuple(os.path.relpath(tar, folder).replace(os.sep, "/") for tar in found))


def index(
    tars: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    jobs: int | None = None,
    on_duplicate: OnDuplicate = "raise",
    force: bool = False,
    progress: Progress = no_progress,
) -> IndexReport:
    """Write the indexes, key index and manifest for tars that others wrote; the tars stay as they are.

    Members are grouped as webdataset groups them. Reads each tar once, from end to end.

    Args:
        tars: A folder, a pattern, a tar, or a list of these. The manifest is written to the
            folder that holds them all.
        jobs: Worker processes; None takes one a core, but no more than there are tars.
        on_duplicate: "raise" refuses tars in which a key names two samples; "keep" indexes them
            as webdataset would read them: by position, and by key only where it is unique.
        force: Replace indexes and a manifest that are already there.
        progress: Called as progress("index", tars done, tars in all).

    Raises:
        DuplicateKeyError: Keys repeat; the first few are named with shard and offsets.
        CorruptShardError: A tar is damaged, compressed or holds no samples.
        OutputExistsError: There is a manifest already, and `force` is off.
    """
    began = time.perf_counter()
    paths = [tars] if isinstance(tars, (str, os.PathLike)) else list(tars)
    found = find_tars([os.fspath(path) for path in paths])
    if os.path.exists(os.path.join(found.folder, manifest.FILE_NAME)) and not force:
        raise OutputExistsError(
            f"{found.folder!r} already holds {manifest.FILE_NAME}; pass --force to index its tars again"
        )
    built = _Built()
    for done, indexed in enumerate(_index_all(found, jobs), start=1):
        built.add(indexed)
        progress("index", done, len(found.names))
    built.check_unique(on_duplicate)
    with storage_errors(f"write indexes to {found.folder!r}"):
        shards = []
        for name in found.names:
            parts, num_bytes, checksum = encode_finished(built.tars[name].index)
            write_file(os.path.join(found.folder, manifest.index_name(name)), parts)
            shards.append(shard_info(name, built.tars[name].index, num_bytes, checksum))
        whole, keys = encode_dataset(
            shards, built.hashes(found), unique_keys=not built.repeated, packed_with=recorded_options(indexed=True)
        )
        write_dataset(found.folder, whole, keys)
    return IndexReport(
        out=found.folder,
        num_samples=whole.num_samples,
        num_shards=len(shards),
        num_bytes=whole.num_bytes,
        samples_per_field=whole.samples_per_field,
        repeated=tuple(built.repeated),
        ignored=built.ignored,
        seconds=time.perf_counter() - began,
    )


def index_in_memory(found: TarSet, *, verify: bool | None = None) -> Dataset:
    """Return a dataset over plain tars whose index lives in memory; nothing is written."""
    built = _Built()
    for indexed in _index_all(found, None):
        built.add(indexed)
    built.check_unique("keep")
    objects: dict[str, bytes] = {}
    shards: list[ShardInfo] = []
    for name in found.names:
        parts, num_bytes, checksum = encode_finished(built.tars[name].index)
        shards.append(shard_info(name, built.tars[name].index, num_bytes, checksum))
        objects[manifest.index_name(name)] = b"".join(parts)
    whole, keys = encode_dataset(
        shards, built.hashes(found), unique_keys=not built.repeated, packed_with=recorded_options(indexed=True)
    )
    objects[key_index.FILE_NAME] = b"".join(keys)
    objects[manifest.FILE_NAME] = manifest.encode_manifest(whole)
    return open_dataset(MemoryStore(objects, base=LocalStore(found.folder)), verify=verify)


def _index_all(found: TarSet, jobs: int | None) -> Iterator[IndexedTar]:
    tasks = [(found.folder, name) for name in found.names]
    count = min(jobs or os.cpu_count() or 1, len(tasks))
    if count == 1:
        yield from map(index_tar, tasks)
        return
    with WorkerPool(count) as pool:
        for _, indexed in pool.map(index_tar, tasks):
            yield indexed


class _Built:
    """Indexes so far, and which keys repeat among them."""

    def __init__(self) -> None:
        self.tars: dict[str, IndexedTar] = {}
        self.repeated: list[RepeatedKey] = []
        self.ignored = 0
        self._hashes: dict[str, npt.NDArray[np.uint64]] = {}

    def add(self, indexed: IndexedTar) -> None:
        self.tars[indexed.name] = indexed
        self.ignored += indexed.ignored
        keys = indexed.index.keys()
        self._hashes[indexed.name] = hash_keys((key.encode("utf-8", "surrogateescape") for key in keys), len(keys))

    def hashes(self, found: TarSet) -> npt.NDArray[np.uint64]:
        return np.concatenate([self._hashes[name] for name in found.names])

    def check_unique(self, on_duplicate: OnDuplicate) -> None:
        """Fill `repeated`, and raise if there are any and they are not wanted."""
        names = sorted(self.tars)
        starts = np.cumsum([0, *(len(self._hashes[name]) for name in names)])
        seen: dict[str, tuple[str, int]] = {}
        for position in repeated_hashes(np.concatenate([self._hashes[name] for name in names])).tolist():
            number = int(np.searchsorted(starts, position, side="right")) - 1
            built = self.tars[names[number]].index
            row = position - int(starts[number])
            key, offset = built.key(row), _sample_offset(built, row)
            first = seen.setdefault(key, (names[number], offset))
            if first != (names[number], offset):
                self.repeated.append(RepeatedKey(key, names[number], offset, *first))
        if self.repeated and on_duplicate == "raise":
            shown = "; ".join(map(str, self.repeated[:SHOWN]))
            more = f"; and {len(self.repeated) - SHOWN} more" if len(self.repeated) > SHOWN else ""
            raise DuplicateKeyError(
                f"{len(self.repeated)} key(s) name two samples: {shown}{more}; "
                "repack with the files of a sample together, or pass --on-duplicate keep"
            )


def _sample_offset(built: ShardIndex, row: int) -> int:
    present = built.present[row].astype(bool)
    return int((built.data_offset[row][present] - built.header_bytes[row][present]).min())

