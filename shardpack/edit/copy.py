"""Copy a dataset from any store to any other; check every byte on the way, and continue an interrupted copy.

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
from shardpack.errors import OutputExistsError, ShardpackError, StorageError, UnsupportedVersionError
from shardpack.format.layout import MANIFEST_PATH, REJECTED_PATH, file_path, is_packer_name, manifest_path
from shardpack.format.shard_info import ShardInfo
from shardpack.read.open_dataset import load_manifest
from shardpack.read.shard_list import ShardList
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.progress import ByteProgress, Progress, no_progress
from shardpack.runtime.threads import call_all
from shardpack.storage.adapter import adapt
from shardpack.storage.atomic import storage_errors
from shardpack.storage.locations import DatasetStores, LocationOptions, open_locations
from shardpack.storage.open import Writable, as_writable, open_store, refuse_same_store
from shardpack.storage.protocols import Store
from shardpack.storage.transfer import checked_pieces, read_object
from shardpack.storage.url import is_url

JOBS = 4  # default number of shards at once; each takes up to 32 MiB of memory

_File = tuple[str, int, int | None]  # name, bytes, CRC32C where the manifest has one


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied, or what would be copied with `dry_run`.

    Attributes:
        source, target: Both locations, without secrets.
        num_samples, num_shards, num_bytes: Totals of the dataset; the bytes are those of the tars.
        copied_shards: How many shards were not in the target yet.
        copied_bytes: Bytes of the tars and indexes of those shards.
        seconds: Wall time.
        dry_run: Whether nothing was written.
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
    target: Writable,
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
    """Copy a dataset to another folder or bucket, byte for byte; return what was copied.

    Compares length and CRC32C of every file with the manifest on the way, and writes the manifest last.
    The same call continues an interrupted copy. If the target already holds this dataset, the call
    repairs it: files of a wrong length are copied again, and all others stay as they are.

    Args:
        source: A folder, URL or store that `shardpack.open` reads. Tars in other locations than the
            manifest are beside it in the copy.
        target: A folder or URL that `shardpack.pack` writes to, or a store that can be written to.
        storage_options: Options of the source, if it is a URL.
        target_storage_options: Options of the target, if it is a URL.
        allow_locations: For the source, as `shardpack.open` takes it.
        work_dir: Local folder for up to `jobs` shards in transit; used only when the target is a bucket
            and the source is not a local folder. Default: the temporary folder.
        jobs: How many shards to copy at once. Default: 4.
        force: Replace another dataset in the target. If the target holds this dataset, compare the
            checksum of every file instead of its length.
        dry_run: Return what would be copied, but write nothing.
        progress: Called as progress("copy", bytes done, total bytes).

    Raises:
        DatasetNotFoundError: `source` does not hold a dataset.
        OptionError: Source and target are the same, or tars of two locations have the same name and so
            cannot be in one folder.
        OutputExistsError: `target` holds another dataset, or files that no dataset lists.
        UnsupportedVersionError: The dataset has layers.
        CorruptShardError: A file of the source does not match its manifest.
        StorageError: Reading or writing failed; what was finished is kept for the next call.
    """
    began = time.perf_counter()
    jobs = as_jobs(jobs)
    if isinstance(source, (str, os.PathLike)):
        source = open_store(source, storage_options if is_url(source) else None)
    source_store, target_store = adapt(source), as_writable(target, target_storage_options)
    destination = target_of(target_store, work_dir=work_dir)
    refuse_same_store([source_store], target_store)
    text, manifest = load_manifest(source_store)
    if manifest.layers:
        raise UnsupportedVersionError(
            "the dataset has layers, which a copy would leave behind; pack it: that folds them into its shards"
        )
    options = LocationOptions(storage_options, allow_locations=allow_locations)
    stores = open_locations(source_store, manifest.locations, options)
    for tars in stores.tars:
        refuse_same_store([tars], target_store)
    shards = tuple(ShardList(stores.sidecars, manifest))
    joined = join_locations(text, manifest, shards)
    run = _Copy(stores, shards, joined, jobs=JOBS if jobs is None else jobs, progress=progress)
    with storage_errors(f"write to {destination.location!r}"):
        if destination.read(MANIFEST_PATH) == joined.text:
            missing = run.repair(destination, target_store, every_byte=force, dry_run=dry_run)
        elif dry_run:
            check_writable(destination, "copy", force=force)
            destination.refresh()
            missing = run.missing(destination)
        else:
            if force:  # refuse before anything is deleted what would be refused later
                check_writable(destination, "copy", force=force)
                destination.refresh()
                run.missing(destination)
            missing = run.fill(destination, force=force)
    return CopyReport(
        source=source_store.location,
        target=destination.location,
        num_samples=manifest.num_samples,
        num_shards=manifest.num_shards,
        num_bytes=manifest.num_bytes,
        copied_shards=len(missing),
        copied_bytes=sum(map(_num_bytes, missing)),
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
    )


def _num_bytes(info: ShardInfo) -> int:
    return info.num_bytes + info.index_bytes


def _input_digest(info: ShardInfo) -> str:
    """Return a text that differs for different shards: lengths and checksums of tar and index."""
    return "copy " + " ".join(map(str, (info.num_bytes, info.crc32c, info.index_bytes, info.index_crc32c)))


def _files_of(info: ShardInfo) -> list[_File]:
    """Return the index and the tar of a shard, in this order."""
    return [(info.index_path, info.index_bytes, info.index_crc32c), (info.name, info.num_bytes, info.crc32c)]


class _Copy:
    """One run: the stores and shards of the source, and the dataset as it will be written."""

    def __init__(
        self,
        stores: DatasetStores,
        shards: Sequence[ShardInfo],
        joined: JoinedDataset,
        *,
        jobs: int,
        progress: Progress,
    ) -> None:
        manifest = joined.manifest
        self._stores, self._jobs = stores, jobs
        self._has_rejected = manifest.option("on_error") == "skip"
        self._shards = joined.shards
        self._elsewhere = {info.name: info for info in shards if info.location}  # their index has another name there
        self._new_tables = dict(joined.tables)
        self._named_files = [(file_path(file), file.num_bytes, file.crc32c) for file in manifest.files]
        self._manifests = [(name, [joined.text]) for name in (manifest_path(manifest.generation), MANIFEST_PATH)]
        self._total = sum(map(_num_bytes, self._shards))
        self._progress = ByteProgress("copy", self._total, progress)
        self._stop = threading.Event()

    def missing(self, target: Target) -> list[ShardInfo]:
        """Return the shards that are not yet in a target, which does not hold this dataset.

        Raises:
            OutputExistsError: A file that no copy has written has the name of a shard or index.
        """
        replaced, journal = has_manifest(target), Journal(target)
        missing = [info for info in self._shards if replaced or not journal.finished(info.name, _input_digest(info))]
        for info in missing:
            existing = [name for name in (info.name, info.index_path) if target.size(name) is not None]
            if existing and not is_packer_name(info.name) and journal.find(info.name) is None:
                raise OutputExistsError(
                    f"{target.location!r} holds {existing[0]!r}, which no copy has written; "
                    "move it away, or choose another folder"
                )
        return missing

    def fill(self, target: Target, *, force: bool) -> list[ShardInfo]:
        """Write the whole dataset; return the shards that the target did not have yet."""
        with Transaction.new_dataset(target, "copy", force=force) as transaction:
            missing = self.missing(target)
            transaction.keep_only([info.name for info in self._shards])
            for info in missing:
                transaction.drop(info.name)
            self._copy_shards(transaction, missing)
            rejected = [(REJECTED_PATH, [text])] if (text := self._rejected()) else []
            named = [(file[0], self._named_file(file)) for file in self._named_files]
            transaction.publish([*rejected, *named, *self._manifests])
        return missing

    def repair(self, target: Target, target_store: Store, *, every_byte: bool, dry_run: bool) -> list[ShardInfo]:
        """Copy missing and damaged files to a target with the same manifest; return the shards among them."""
        files = [*map(_files_of, self._shards), *([file] for file in self._named_files)]
        sound = call_all(partial(_are_sound, target_store, every_byte), files, limit=self._jobs, purpose="check")
        missing = [info for info, fine in zip(self._shards, sound, strict=False) if not fine]
        damaged = [file for file, fine in zip(self._named_files, sound[len(self._shards) :], strict=True) if not fine]
        if not dry_run and (missing or damaged or is_unfinished(target)):
            with Transaction.same_dataset(target, "copy") as transaction:
                self._copy_shards(transaction, missing)
                named = [(file[0], self._named_file(file)) for file in damaged]
                transaction.publish([*named, *self._manifests])
        return missing

    def _named_file(self, file: _File) -> Iterable[Any]:
        """Return the parts of a file that the manifest names: encoded for the copy, or read from the source."""
        return self._new_tables.get(file[0]) or self._pieces(self._stores.sidecars, file)

    def _rejected(self) -> bytes:
        """Return the list of rejected samples; empty if the dataset was not packed with `on_error="skip"`."""
        if self._has_rejected:
            with suppress(FileNotFoundError, StorageError):  # no list, or a bucket that does not say so
                return bytes(self._stores.sidecars.get(REJECTED_PATH))
        return b""

    def _copy_shards(self, transaction: Transaction, missing: Sequence[ShardInfo]) -> None:
        """Copy shards, `jobs` at a time; after an error the others stop at the end of the range they read."""
        self._progress.advance_to(self._total - sum(map(_num_bytes, missing)))
        call_all(partial(self._copy, transaction), missing, limit=self._jobs, purpose="copy", stop=self._stop)

    def _copy(self, transaction: Transaction, info: ShardInfo) -> None:
        source = self._elsewhere.get(info.name, info)
        tars, indexes = self._stores.of(source).folder, self._stores.sidecars.folder
        if tars is not None and indexes is not None and not transaction.moves_files:  # upload without another copy
            files = Path(tars, info.name), Path(indexes, source.index_path)
            transaction.deliver(info, _input_digest(info), files=files)
            self._progress.advance(_num_bytes(info))
        else:
            self._load(transaction.scratch, source, info)
            transaction.deliver(info, _input_digest(info))

    def _load(self, scratch: ScratchDir, source: ShardInfo, info: ShardInfo) -> None:
        """Read a shard and its index into the scratch folder, under their names in the copy."""
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
        """Yield a file of the source in pieces; at the end, raise unless length and checksum are right.

        A file of another length is not read.
        """
        name, num_bytes, checksum = file
        pieces = read_object(store, name, num_bytes) if store.size(name) == num_bytes else iter([b""])
        for piece in checked_pieces(pieces, name, num_bytes=num_bytes, checksum=checksum, location=store.location):
            if self._stop.is_set():
                raise StorageError(f"copying {name!r} was given up; run the same command again")
            yield piece


def _are_sound(store: Store, every_byte: bool, files: Sequence[_File]) -> bool:
    """Return whether files have the right length, and with `every_byte` the right checksum."""
    try:
        for name, num_bytes, checksum in files:
            if store.size(name) != num_bytes:
                return False
            if every_byte:
                pieces = read_object(store, name, num_bytes)
                for _ in checked_pieces(pieces, name, num_bytes=num_bytes, checksum=checksum, location=store.location):
                    pass
    except StorageError:
        raise  # a store that does not answer says nothing about the file
    except ShardpackError:
        return False
    return True
