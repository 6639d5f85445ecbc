"""Copy one dataset whose manifest is known: its shards, what its manifest names, and the manifest last.

source --ranges--> length, CRC32C --> scratch folder --deliver--> target     (`commit/transaction.py`)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from shardpack.commit.journal import Journal
from shardpack.commit.overwrite import has_manifest, is_unfinished
from shardpack.commit.scratch import ScratchDir
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.edit.join_locations import JoinedDataset
from shardpack.errors import OutputExistsError, ShardpackError, StorageError
from shardpack.format.layout import MANIFEST_PATH, REJECTED_PATH, file_path, is_packer_name, manifest_path
from shardpack.format.shard_info import ShardInfo
from shardpack.runtime.progress import ByteProgress
from shardpack.runtime.threads import call_all
from shardpack.storage.atomic import storage_errors
from shardpack.storage.locations import DatasetStores
from shardpack.storage.protocols import Store
from shardpack.storage.transfer import checked_object, checked_pieces, read_object


class File(NamedTuple):
    """A file that is copied; its checksum is None where the manifest has none."""

    name: str
    num_bytes: int
    crc32c: int | None


def copied_bytes(info: ShardInfo) -> int:
    """Return how many bytes are copied of a shard: those of its tar and of its index."""
    return info.num_bytes + info.index_bytes


def _input_digest(info: ShardInfo) -> str:
    """Return a text that differs for different shards: lengths and checksums of tar and index."""
    return "copy " + " ".join(map(str, (info.num_bytes, info.crc32c, info.index_bytes, info.index_crc32c)))


def _files_of(info: ShardInfo) -> list[File]:
    """Return the index and the tar of a shard, in this order."""
    index = File(info.index_path, info.index_bytes, info.index_crc32c)
    return [index, File(info.name, info.num_bytes, info.crc32c)]


class CopyRun:
    """One run: the stores and shards of the source, and the dataset as it will be written."""

    def __init__(
        self,
        stores: DatasetStores,
        shards: Sequence[ShardInfo],
        joined: JoinedDataset,
        *,
        jobs: int,
        progress: ByteProgress,
        earlier: Sequence[File] = (),
        without_tars: Collection[int] = (),
    ) -> None:
        """Prepare to copy; nothing is read or written yet.

        Args:
            stores: The source.
            shards: Its shards, in order.
            joined: The dataset as it will be written.
            jobs: How many shards to copy at once.
            progress: Counts the bytes of shards.
            earlier: Files of earlier generations, their manifests among them.
            without_tars: Numbers of the shards of which only the indexes are copied.
        """
        manifest = joined.manifest
        self.text = joined.text
        self._stores, self._jobs = stores, jobs
        self._has_rejected = manifest.option("on_error") == "skip"
        self._shards = [info for number, info in enumerate(joined.shards) if number not in without_tars]
        # Name in the copy -> the shard where it is, whose index, or which itself, may have another name there.
        self._elsewhere = {new.name: info for new, info in zip(joined.shards, shards, strict=True) if info.location}
        self._new_tables = dict(joined.tables)
        # Index in the copy -> the same index in the source.
        self._lone_indexes = {
            joined.shards[number].index_path: shards[number].index_path for number in sorted(without_tars)
        }
        lone = [_files_of(joined.shards[number])[0] for number in sorted(without_tars)]
        named = [File(file_path(file), file.num_bytes, file.crc32c) for file in manifest.files]
        self._named_files: list[File] = [*lone, *named, *earlier]
        self._manifests = [(name, [joined.text]) for name in (manifest_path(manifest.generation), MANIFEST_PATH)]
        self._progress = progress
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

    def fill(
        self, target: Target, *, force: bool, layers: Sequence[str] = (), then: Callable[[], None] = lambda: None
    ) -> list[ShardInfo]:
        """Write the whole dataset; return the shards that the target did not have yet.

        Args:
            target: Where it is written.
            force: Replace another dataset there.
            layers: Folders of the layers of all generations that are copied.
            then: Copies the layers: called before anything names them.
        """
        with Transaction.new_dataset(target, "copy", force=force) as transaction:
            missing = self.missing(target)
            transaction.keep_only([info.name for info in self._shards])
            for info in missing:
                transaction.drop(info.name)
            self._copy_shards(transaction, missing)
            then()
            rejected = [(REJECTED_PATH, [text])] if (text := self._rejected()) else []
            named = [(file.name, self._named_file(file)) for file in self._named_files]
            transaction.publish([*rejected, *named, *self._manifests], layers=layers)
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
                named = [(file.name, self._named_file(file)) for file in damaged]
                transaction.publish([*named, *self._manifests])
        return missing

    def _named_file(self, file: File) -> Iterable[Any]:
        """Return the parts of a file that the manifest names: encoded for the copy, or read from the source."""
        source = file._replace(name=self._lone_indexes.get(file.name, file.name))
        return self._new_tables.get(file.name) or self._pieces(self._stores.sidecars, source)

    def _rejected(self) -> bytes:
        """Return the list of rejected samples; empty if the dataset was not packed with `on_error="skip"`."""
        if self._has_rejected:
            with suppress(FileNotFoundError, StorageError):  # no list, or a bucket that does not say so
                return bytes(self._stores.sidecars.get(REJECTED_PATH))
        return b""

    def _copy_shards(self, transaction: Transaction, missing: Sequence[ShardInfo]) -> None:
        """Copy shards, `jobs` at a time; after an error the others stop at the end of the range they read."""
        self._progress.advance(sum(map(copied_bytes, self._shards)) - sum(map(copied_bytes, missing)))
        call_all(partial(self._copy, transaction), missing, limit=self._jobs, purpose="copy", stop=self._stop)

    def _copy(self, transaction: Transaction, info: ShardInfo) -> None:
        source = self._elsewhere.get(info.name, info)
        tars, indexes = self._stores.of(source).folder, self._stores.sidecars.folder
        if tars is not None and indexes is not None and not transaction.moves_files:  # upload without another copy
            files = Path(tars, info.name), Path(indexes, source.index_path)
            transaction.deliver(info, _input_digest(info), files=files)
            self._progress.advance(copied_bytes(info))
        else:
            self._load(transaction.scratch, source, info)
            transaction.deliver(info, _input_digest(info))

    def _load(self, scratch: ScratchDir, source: ShardInfo, info: ShardInfo) -> None:
        """Read a shard and its index into the scratch folder, under their names in the copy."""
        stores = self._stores.sidecars, self._stores.of(source)
        with storage_errors(f"write {scratch.join(info.name)!r}"), ExitStack() as stack:
            for store, old, new in zip(stores, _files_of(source), _files_of(info), strict=True):
                made = scratch.new_file(new.name, expected_bytes=old.num_bytes)
                stack.callback(made.discard)
                for piece in self._pieces(store, old):
                    made.write(piece)
                    self._progress.advance(len(piece))
                scratch.finish_file(new.name, made)

    def _pieces(self, store: Store, file: File) -> Iterator[Any]:
        """Yield a file of the source in pieces; at the end, raise unless length and checksum are right.

        A file of another length is not read.
        """
        for piece in checked_object(store, file.name, num_bytes=file.num_bytes, checksum=file.crc32c):
            if self._stop.is_set():
                raise StorageError(f"copying {file.name!r} was given up; run the same command again")
            yield piece


def _are_sound(store: Store, every_byte: bool, files: Sequence[File]) -> bool:
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
