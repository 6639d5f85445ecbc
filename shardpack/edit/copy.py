"""Copy a dataset from any store to any other, checked on the way, and continued where it stopped.

source --ranges--> length, CRC32C --> folder: temporary file, rename
                                  --> bucket: local file, upload, asked back
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from shardpack.commit.bucket import BucketOutput, open_output
from shardpack.commit.folder import Output
from shardpack.commit.lease import claim, refuse_taken
from shardpack.commit.target import DatasetOutput, is_packer_name, journal_name
from shardpack.commit.upload import checked, read_object
from shardpack.dataset import open_dataset
from shardpack.errors import OptionError, OutputExistsError, ShardpackError, StorageError
from shardpack.format import key_index, manifest
from shardpack.format.assemble import REJECTED_NAME
from shardpack.format.manifest import Manifest, ShardInfo
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.atomic import NewFile, storage_errors
from shardpack.storage.open import open_store
from shardpack.storage.overlay import Elsewhere, with_shards
from shardpack.storage.protocols import Store, WritableStore
from shardpack.storage.url import is_url

JOBS = 4  # shards at once, unless told otherwise: each takes up to 32 MiB of memory
_TICK_SECONDS = 0.1  # between calls of `progress`
_ALIASES = {"s3a": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az", "adl": "az"}


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
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    target_storage_options: Mapping[str, Any] | None = None,
    work_dir: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> CopyReport:
    """Copy a dataset to another folder or bucket, byte for byte; return what was done.

    Length and CRC32C of every file are compared with the manifest on the way, and the manifest is
    written last. The same call continues where a killed one stopped. A target that holds this very
    dataset is mended: files of a wrong length are copied again, all others are left alone.

    Args:
        source: A folder or URL that `shardpack.open` reads. Tars that are elsewhere than their
            manifest join it in the copy.
        target: A folder or URL that `shardpack.pack` writes to.
        storage_options: Of the source.
        target_storage_options: Of the target.
        work_dir: With a bucket as target and none of your folders as source: where `jobs` shards at
            most lie on their way. None takes the temporary folder.
        jobs: Shards under way at once; None takes 4.
        force: Replace another dataset that is there. If it is this one, compare the checksum of
            every file instead of its length.
        dry_run: Say what would be copied; write nothing.
        progress: Called as progress("copy", bytes done, bytes in all).

    Raises:
        DatasetNotFoundError: There is no dataset at `source`.
        OutputExistsError: `target` holds another dataset, or files that are nobody's.
        CorruptShardError: A file of the source is not what its manifest says.
        StorageError: One of the two refused; what was finished is kept for the next call.
    """
    began = time.perf_counter()
    jobs = as_jobs(jobs)
    store = open_store(source, storage_options if is_url(source) else None)
    output = open_output(target, target_storage_options, work_dir=None if work_dir is None else os.fspath(work_dir))
    if _place(store.location) == _place(output.location):
        raise OptionError(f"source and target are the same place: {output.location!r}; name another target")
    open_dataset(store)  # says best why there is none
    text = bytes(store.buffer(manifest.FILE_NAME))
    whole = manifest.parse_manifest(text)
    reader = with_shards(store, whole.shards_at, Elsewhere(storage_options))
    if whole.shards_at is not None:
        whole = replace(whole, shards_at=None)
        text = manifest.encode_manifest(whole)
    run = _Copy(reader, output, whole, JOBS if jobs is None else jobs, progress)
    with storage_errors(f"write to {output.location!r}"):
        if output.read(manifest.FILE_NAME) == text:
            run.mend(open_store(target, target_storage_options), every_byte=force, dry_run=dry_run)
        elif dry_run:
            refuse_taken(output, force=force)
            run.look()
        else:
            run.fill(text, force=force)
    return CopyReport(
        source=store.location,
        target=output.location,
        num_samples=whole.num_samples,
        num_shards=len(whole.records),
        num_bytes=whole.num_bytes,
        copied_shards=len(run.missing),
        copied_bytes=sum(map(_num_bytes, run.missing)),
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
    )


def _place(location: str) -> str:
    """Return a location in one of the ways in which it may be written."""
    scheme, found, rest = location.partition("://")
    return f"{_ALIASES.get(scheme, scheme)}://{rest.rstrip('/')}" if found else os.path.realpath(location)


def _num_bytes(info: ShardInfo) -> int:
    return info.num_bytes + info.index_bytes


def _made_of(info: ShardInfo) -> str:
    """Return what tells a shard from any other, for the journal."""
    return "copy " + " ".join(map(str, (info.num_bytes, info.crc32c, info.index_bytes, info.index_crc32c)))


class _Copy:
    """One run. `missing` are the shards that are, or were, not in the target."""

    def __init__(self, store: Store, output: DatasetOutput, whole: Manifest, jobs: int, progress: Progress) -> None:
        self._store, self._output, self._whole, self._jobs, self._progress = store, output, whole, jobs, progress
        self._total = sum(map(_num_bytes, whole.shards))
        self.missing: list[ShardInfo] = []
        self._stop = threading.Event()
        self._count = threading.Lock()
        self._done = 0

    def look(self) -> None:
        """Find out what is missing in a target that holds no dataset, or another one."""
        taken = self._output.has_manifest()
        self.missing = [
            info for info in self._whole.shards if taken or not self._output.finished_shard(info.name, _made_of(info))
        ]
        for info in self.missing:
            there = [name for name in (info.name, info.index_name) if self._output.size(name) is not None]
            if there and not is_packer_name(info.name) and self._output.read(journal_name(info.name)) is None:
                raise OutputExistsError(
                    f"{self._output.location!r} holds {there[0]!r}, which is of another origin; "
                    "move it away, or choose another folder"
                )

    def fill(self, text: bytes, *, force: bool) -> None:
        """Write the whole dataset, whose manifest is `text`."""
        with claim(self._output, force=force):
            self.look()
            self._output.keep_only([info.name for info in self._whole.shards])
            for info in self.missing:
                self._output.drop_shard(info.name)
            self._copy_shards()
            files: list[tuple[str, Any]] = [(key_index.FILE_NAME, self._key_index()), (manifest.FILE_NAME, [text])]
            if rejected := self._rejected():
                files.insert(0, (REJECTED_NAME, [rejected]))
            self._output.publish(files)

    def mend(self, there: WritableStore, *, every_byte: bool, dry_run: bool) -> None:
        """Copy what is damaged of a target that has the same manifest."""
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="shardpack check") as threads:
            sound = list(threads.map(lambda info: _is_sound(there, info, every_byte=every_byte), self._whole.shards))
        self.missing = [info for info, fine in zip(self._whole.shards, sound, strict=True) if not fine]
        keys = self._whole.keys
        files = [(key_index.FILE_NAME, keys["num_bytes"], int(keys["crc32c"], 16))]
        keys_are_sound = _are_sound(there, files, every_byte=every_byte)
        if dry_run or not (self.missing or not keys_are_sound or self._output.has_work_folder()):
            return
        with self._output.lock() as lock:
            if not lock.take():
                raise self._output.busy()
            self._copy_shards()
            if not keys_are_sound:
                self._output.write(key_index.FILE_NAME, self._key_index())
            self._output.settle()
            self._output.remove_work_folder()

    def _key_index(self) -> Iterator[Any]:
        keys = self._whole.keys
        yield from self._pieces(key_index.FILE_NAME, keys["num_bytes"], int(keys["crc32c"], 16))

    def _rejected(self) -> bytes:
        """Return the list of rejected samples, which may be there if the dataset was packed with skipping."""
        options = self._whole.packed_with.get("options")
        if isinstance(options, dict) and options.get("on_error") == "skip":
            with suppress(FileNotFoundError, StorageError):  # none, or no right to know that there is none
                return bytes(self._store.buffer(REJECTED_NAME))
        return b""

    # Shards

    def _copy_shards(self) -> None:
        if not self.missing:
            return
        one = self._to_bucket if isinstance(self._output, BucketOutput) else self._to_folder
        with self._threads() as threads:
            futures: Sequence[Future[None]] = [threads.submit(one, info) for info in self.missing]
            waiting: set[Future[None]] = set(futures)
            while waiting:
                ended, waiting = wait(waiting, timeout=_TICK_SECONDS, return_when=FIRST_EXCEPTION)
                for future in ended:
                    future.result()
                self._progress("copy", self._done, self._total)

    @contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        """Yield the threads; on leaving by an error they end at the next range they have read."""
        self._done = self._total - sum(map(_num_bytes, self.missing))
        threads = ThreadPoolExecutor(self._jobs, thread_name_prefix="shardpack copy")
        try:
            yield threads
        except BaseException:
            self._stop.set()
            raise
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    def _to_folder(self, info: ShardInfo) -> None:
        output = self._output
        assert isinstance(output, Output)
        with storage_errors(f"write {output.join(info.name)!r}"), _files(output.new_shard, info) as (tar, index):
            self._load(info, tar, index)
            output.finish_copy(info, tar, index, _made_of(info))

    def _to_bucket(self, info: ShardInfo) -> None:
        output = self._output
        assert isinstance(output, BucketOutput)
        if self._store.folder is not None:  # uploaded from where it is
            output.deliver(info, _made_of(info), folder=self._store.folder)
            self._add(_num_bytes(info))
            return
        place = output.workplace
        with storage_errors(f"write {place.join(info.name)!r}"), _files(place.new_shard, info) as (tar, index):
            self._load(info, tar, index)
            place.finish_file(info.index_name, index)
            place.finish_file(info.name, tar)
        output.deliver(info, _made_of(info))

    def _load(self, info: ShardInfo, tar: NewFile, index: NewFile) -> None:
        for piece in self._pieces(info.index_name, info.index_bytes, info.index_crc32c):
            index.write(piece)
            self._add(len(piece))
        for piece in self._pieces(info.name, info.num_bytes, info.crc32c):
            tar.write(piece)
            self._add(len(piece))

    def _pieces(self, name: str, num_bytes: int, checksum: int | None) -> Iterator[Any]:
        """Yield a file of the source, checked as `transfer.checked` does, and its length first."""
        pieces = read_object(self._store, name, num_bytes) if self._store.size(name) == num_bytes else iter([b""])
        for piece in checked(pieces, name, num_bytes=num_bytes, checksum=checksum, whose=self._store.location):
            if self._stop.is_set():
                raise StorageError(f"copying {name!r} was given up; run the same command again")
            yield piece

    def _add(self, num_bytes: int) -> None:
        with self._count:
            self._done += num_bytes


@contextmanager
def _files(new: Callable[..., NewFile], info: ShardInfo) -> Iterator[tuple[NewFile, NewFile]]:
    """Yield files for a shard and its index; what was not published by the end is deleted."""
    with ExitStack() as stack:
        tar = new(info.name, expected_bytes=info.num_bytes)
        stack.callback(tar.discard)
        index = new(info.index_name)
        stack.callback(index.discard)
        yield tar, index


def _is_sound(there: WritableStore, info: ShardInfo, *, every_byte: bool) -> bool:
    files = [(info.name, info.num_bytes, info.crc32c), (info.index_name, info.index_bytes, info.index_crc32c)]
    return _are_sound(there, files, every_byte=every_byte)


def _are_sound(there: WritableStore, files: Sequence[tuple[str, int, int | None]], *, every_byte: bool) -> bool:
    """Return whether files have the right length, and if asked the right checksum."""
    try:
        for name, num_bytes, checksum in files:
            if there.size(name) != num_bytes:
                return False
            if every_byte:
                pieces = read_object(there, name, num_bytes)
                for _ in checked(pieces, name, num_bytes=num_bytes, checksum=checksum, whose=there.location):
                    pass
    except StorageError:
        raise  # no answer is not a bad one
    except ShardpackError:
        return False
    return True
