"""Copy a dataset from any store to any other, checked on the way, and continued where it stopped.

source --ranges--> length, CRC32C --> scratch folder --deliver--> target     (`commit/transaction.py`)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shardpack.commit.journal import Journal
from shardpack.commit.open_target import target_of
from shardpack.commit.overwrite import check_writable, has_manifest, is_unfinished
from shardpack.commit.scratch import ScratchDir
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.edit.join_locations import JoinedDataset, join_locations
from shardpack.errors import OptionError, OutputExistsError, ShardpackError, StorageError
from shardpack.format.dataset_files import REJECTED_PATH
from shardpack.format.manifest import FILE_NAME, manifest_path, segment_path
from shardpack.format.naming import is_packer_name
from shardpack.format.shard_info import ShardInfo
from shardpack.read.open_manifest import load_manifest
from shardpack.read.shard_list import ShardList
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.progress import ByteProgress, Progress, no_progress
from shardpack.runtime.threads import call_all
from shardpack.storage.adapter import adapt
from shardpack.storage.atomic import storage_errors
from shardpack.storage.locations import DatasetStores, LocationOptions, open_locations
from shardpack.storage.open import open_store
from shardpack.storage.protocols import Store, WritableStore
from shardpack.storage.transfer import checked_pieces, read_object
from shardpack.storage.url import canonical, is_url

JOBS = 4  # shards at once, unless `jobs` says otherwise: each takes up to 32 MiB of memory

_File = tuple[str, int, int | None]  # name, bytes, CRC32C if anybody knows it


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied, or with `dry_run` would be.

    Attributes:
        source, target: Both locations, without secrets.
        num_samples, num_shards, num_bytes: Of the dataset; bytes of all tars.
        copied_shards: Shards that were not in the target yet.
        copied_bytes: Of their tars and indexes.
        seconds: Wall time.
        dry_run: Nothing was written.
    """

    source: str
    target: str
    num_samples: int
    num_shards: int
    num_bytes: int
    copied_shards: int
    copied_bytes: int
    seconds: float = 0.0
    dry_run: bool = False


def copy(
    source: str | os.PathLike[str] | Store,
    target: str | os.PathLike[str] | WritableStore,
    *,
    storage_options: Mapping[str, Any] | None = None,
    target_storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    work_dir: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> CopyReport:
    """Copy a dataset to another folder or bucket, byte for byte; return what was done.

    Length and CRC32C of every file are compared with the manifest on the way, and the manifest is
    written last. The same call continues where a killed one stopped. A target that holds this very
    dataset is repaired: files of a wrong length are copied again, all others are left alone.

    Args:
        source: A folder, URL or store that `shardpack.open` reads. Tars that are elsewhere than their
            manifest join it in the copy.
        target: A folder or URL that `shardpack.pack` writes to, or a store that can be written to.
        storage_options: Of the source.
        target_storage_options: Of the target.
        allow_locations: Of the source, as `shardpack.open` takes them.
        work_dir: With a bucket as target and none of your folders as source: where `jobs` shards at
            most lie on their way. None takes the temporary folder.
        jobs: Shards under way at once; None takes 4.
        force: Replace another dataset that is there. If it is this one, compare the checksum of
            every file instead of its length.
        dry_run: Say what would be copied; write nothing.
        progress: Called as progress("copy", bytes done, bytes in all).

    Raises:
        DatasetNotFoundError: There is no dataset at `source`.
        OptionError: Tars of two locations have one name, so that they cannot join the manifest.
        OutputExistsError: `target` holds another dataset, or files that no dataset lists.
        CorruptShardError: A file of the source is not what its manifest says.
        StorageError: One of the two refused; what was finished is kept for the next call.
    """
    began = time.perf_counter()
    jobs = as_jobs(jobs)
    if isinstance(source, (str, os.PathLike)):
        source = open_store(source, storage_options if is_url(source) else None)
    if isinstance(target, (str, os.PathLike)):
        target = open_store(target, target_storage_options)
    store, there = adapt(source), target
    destination = target_of(there, work_dir=work_dir)
    _refuse_same(store.location, destination.location)
    text, whole = load_manifest(store)
    options = LocationOptions(storage_options, allow_locations=allow_locations)
    stores = open_locations(store, whole.locations, options)
    for tars in stores.shards:
        _refuse_same(tars.location, destination.location)
    found = tuple(ShardList(stores.sidecars, whole))
    joined = join_locations(text, whole, found)
    run = _Copy(stores, found, joined, jobs=JOBS if jobs is None else jobs, progress=progress)
    with storage_errors(f"write to {destination.location!r}"):
        if destination.read(FILE_NAME) == joined.text:
            missing = run.repair(destination, there, every_byte=force, dry_run=dry_run)
        elif dry_run:
            check_writable(destination, "copy", force=force)
            destination.refresh()
            missing = run.missing(destination)
        else:
            if force:  # what would be refused later is refused before anything is deleted
                check_writable(destination, "copy", force=force)
                destination.refresh()
                run.missing(destination)
            missing = run.fill(destination, force=force)
    return CopyReport(
        source=store.location,
        target=destination.location,
        num_samples=whole.num_samples,
        num_shards=whole.num_shards,
        num_bytes=whole.num_bytes,
        copied_shards=len(missing),
        copied_bytes=sum(map(_num_bytes, missing)),
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
    )


def _refuse_same(source: str, target: str) -> None:
    """Raise OptionError if what is copied lies where it would go: `force` would delete it first."""
    if canonical(source) == canonical(target):
        raise OptionError(f"source and target are the same: {target!r}; name another target")


def _num_bytes(info: ShardInfo) -> int:
    return info.num_bytes + info.index_bytes


def _input_digest(info: ShardInfo) -> str:
    """Return what tells a shard from any other; lengths and checksums do."""
    return "copy " + " ".join(map(str, (info.num_bytes, info.crc32c, info.index_bytes, info.index_crc32c)))


def _files_of(info: ShardInfo) -> list[_File]:
    """Return the index and the tar of a shard."""
    return [(info.index_path, info.index_bytes, info.index_crc32c), (info.name, info.num_bytes, info.crc32c)]


class _Copy:
    """One run: the stores and shards of a dataset, and the dataset as it will be written."""

    def __init__(
        self, stores: DatasetStores, found: Sequence[ShardInfo], made: JoinedDataset, *, jobs: int, progress: Progress
    ) -> None:
        whole = made.manifest
        self._stores, self._whole, self._jobs = stores, whole, jobs
        self._shards = made.shards
        self._from = {info.name: info for info in found if info.location}  # under which name their index is
        self._tables = dict(made.tables)
        self._sidecars = [
            (segment_path(file), file.num_bytes, file.crc32c) for file in (*whole.table_segments, *whole.key_segments)
        ]
        self._manifests = [(name, [made.text]) for name in (manifest_path(whole.generation), FILE_NAME)]
        self._total = sum(map(_num_bytes, self._shards))
        self._progress = ByteProgress("copy", self._total, progress)
        self._stop = threading.Event()

    def missing(self, target: Target) -> list[ShardInfo]:
        """Return the shards that are not in a target yet, which holds no dataset, or another one.

        Raises:
            OutputExistsError: A file of somebody else is in the way.
        """
        replaced, journal = has_manifest(target), Journal(target)
        missing = [info for info in self._shards if replaced or not journal.finished(info.name, _input_digest(info))]
        for info in missing:
            there = [name for name in (info.name, info.index_path) if target.size(name) is not None]
            if there and not is_packer_name(info.name) and journal.find(info.name) is None:
                raise OutputExistsError(
                    f"{target.location!r} holds {there[0]!r}, which is of another origin; "
                    "move it away, or choose another folder"
                )
        return missing

    def fill(self, target: Target, *, force: bool) -> list[ShardInfo]:
        """Write the whole dataset; return the shards that were not there yet."""
        with Transaction.new_dataset(target, "copy", force=force) as transaction:
            missing = self.missing(target)
            transaction.keep_only([info.name for info in self._shards])
            for info in missing:
                transaction.drop(info.name)
            self._copy_shards(transaction, missing)
            rejected = [(REJECTED_PATH, [text])] if (text := self._rejected()) else []
            sidecars = [(file[0], self._sidecar(file)) for file in self._sidecars]
            transaction.publish([*rejected, *sidecars, *self._manifests])
        return missing

    def repair(self, target: Target, there: Store, *, every_byte: bool, dry_run: bool) -> list[ShardInfo]:
        """Copy what is damaged of a target that has the same manifest; return the shards that were."""
        files = [*map(_files_of, self._shards), *([file] for file in self._sidecars)]
        sound = call_all(partial(_are_sound, there, every_byte), files, limit=self._jobs, purpose="check")
        missing = [info for info, fine in zip(self._shards, sound, strict=False) if not fine]
        damaged = [file for file, fine in zip(self._sidecars, sound[len(self._shards) :], strict=True) if not fine]
        if not dry_run and (missing or damaged or is_unfinished(target)):
            with Transaction.same_dataset(target, "copy") as transaction:
                self._copy_shards(transaction, missing)
                sidecars = [(file[0], self._sidecar(file)) for file in damaged]
                transaction.publish([*sidecars, *self._manifests])
        return missing

    def _sidecar(self, file: _File) -> Iterable[Any]:
        """Return the parts of a segment: made for the copy, or those of the source."""
        return self._tables.get(file[0]) or self._pieces(self._stores.sidecars, file)

    def _rejected(self) -> bytes:
        """Return the list of rejected samples, which may be there if the dataset was packed with skipping."""
        options = self._whole.packed_with.get("options")
        if isinstance(options, dict) and options.get("on_error") == "skip":
            with suppress(FileNotFoundError, StorageError):  # none, or no right to know that there is none
                return bytes(self._stores.sidecars.buffer(REJECTED_PATH))
        return b""

    def _copy_shards(self, transaction: Transaction, missing: Sequence[ShardInfo]) -> None:
        """Copy shards, some at a time; after an error the others end at the next range they have read."""
        self._progress.advance_to(self._total - sum(map(_num_bytes, missing)))
        call_all(partial(self._copy, transaction), missing, limit=self._jobs, purpose="copy", stop=self._stop)

    def _copy(self, transaction: Transaction, info: ShardInfo) -> None:
        source = self._from.get(info.name, info)
        tars, indexes = self._stores.of(source).folder, self._stores.sidecars.folder
        if tars is not None and indexes is not None and not transaction.moves_files:  # uploaded from where it is
            files = Path(tars, info.name), Path(indexes, source.index_path)
            transaction.deliver(info, _input_digest(info), files=files)
            self._progress.advance(_num_bytes(info))
        else:
            self._load(transaction.scratch, source, info)
            transaction.deliver(info, _input_digest(info))

    def _load(self, scratch: ScratchDir, source: ShardInfo, info: ShardInfo) -> None:
        """Read a shard and its index into the scratch folder, under the names that they get."""
        stores = self._stores.sidecars, self._stores.of(source)
        with storage_errors(f"write {scratch.join(info.name)!r}"), ExitStack() as stack:
            for store, file, (name, *_) in zip(stores, _files_of(source), _files_of(info), strict=True):
                new = scratch.new_file(name, expected_bytes=file[1])
                stack.callback(new.discard)
                for piece in self._pieces(store, file):
                    new.write(piece)
                    self._progress.advance(len(piece))
                scratch.finish_file(name, new)

    def _pieces(self, store: Store, file: _File) -> Iterator[Any]:
        """Yield a file of the source, checked as `upload.checked` does, and its length first."""
        name, num_bytes, checksum = file
        pieces = read_object(store, name, num_bytes) if store.size(name) == num_bytes else iter([b""])
        for piece in checked_pieces(pieces, name, num_bytes=num_bytes, checksum=checksum, location=store.location):
            if self._stop.is_set():
                raise StorageError(f"copying {name!r} was given up; run the same command again")
            yield piece


def _are_sound(there: Store, every_byte: bool, files: Sequence[_File]) -> bool:
    """Return whether files have the right length, and if asked the right checksum."""
    try:
        for name, num_bytes, checksum in files:
            if there.size(name) != num_bytes:
                return False
            if every_byte:
                pieces = read_object(there, name, num_bytes)
                for _ in checked_pieces(pieces, name, num_bytes=num_bytes, checksum=checksum, location=there.location):
                    pass
    except StorageError:
        raise  # no answer is not a bad one
    except ShardpackError:
        return False
    return True
