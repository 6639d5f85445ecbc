"""`begin` -> add shards -> `publish`: the order of writes that survives a kill at any moment, wherever they go.

    .shardpack/tmp/lease.json                  who writes here (`lease.py`)
    .shardpack/tmp/shard-000003.tar.done.json  journal: what the finished shard is, and of what it was made
    .shardpack/index/shard-000003.index        of a shard, which is finished when its journal entry
    shard-000003.tar                           and its tar are there
    .shardpack/run.json                        journal: of what the whole dataset was made
    .shardpack/shards-..., keys-...            of all shards together
    .shardpack/manifests/000001.json           created only if absent
    .shardpack/manifest.json                   a copy of it; last

A shard's journal entry is there before its tar gets its name, and an older tar of that name is gone
before that. So a tar with its name and a matching entry is whole, and everything else can be written
again without a loss. `run.json` is there before the manifest, and is removed after all else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from shardpack.commit.delivery_queue import DeliveryQueue
from shardpack.commit.journal import Entry, Journal, entry_name
from shardpack.commit.lease import Command, Lease, acquire, how_to_continue
from shardpack.commit.overwrite import check_writable, has_manifest, is_manifest, replaceable
from shardpack.commit.scratch import ScratchDir
from shardpack.commit.target import Target
from shardpack.errors import OutputExistsError, StorageError
from shardpack.format.dataset_files import REJECTED_PATH, RUN_PATH, generation_of, metadata_paths
from shardpack.format.manifest import FILE_NAME, WORK_FOLDER, parse_manifest
from shardpack.format.naming import is_packer_name
from shardpack.format.shard_info import ShardInfo, index_path
from shardpack.storage.atomic import storage_errors


def begin(
    target: Target,
    command: Command,
    *,
    force: bool = False,
    replace: bool = True,
    run_digest: Callable[[], str] | None = None,
) -> Transaction:
    """Return a transaction: a new one, or the continuation of one that was cut off.

    Args:
        target: Made if it is not there.
        command: What is done, for the error that another command meets.
        force: Delete a dataset that is there.
        replace: Make a new dataset, where nothing is in its way. Otherwise the one that is
            there stays as it is, until a new manifest replaces its own.
        run_digest: Called for a digest of all that makes the dataset what it is, when it is needed.

    Raises:
        OutputExistsError: There is something that this would overwrite, or another process at work.
        StorageError: The target refused.
    """
    then = how_to_continue(command)
    with storage_errors(f"write to {target.location!r}", then=then):
        if replace:
            check_writable(target, command, force=force)
        lease = acquire(target, command)
        with ExitStack() as on_error:
            on_error.callback(lease.release)
            transaction = Transaction(
                target, lease, then=then, replace=replace, owns_tars=command != "index", run_digest=run_digest
            )
            transaction.prepare(force=force)
            on_error.pop_all()
    return transaction


class Transaction:
    """A target that this process may write to, until the transaction is left. A context manager.

    Attributes:
        complete: The dataset is there already, whole, made by a run of the same digest that was killed
            before it could clean up. Nothing is left to do.
    """

    def __init__(
        self,
        target: Target,
        lease: Lease,
        *,
        then: str,
        replace: bool = True,
        owns_tars: bool = True,
        run_digest: Callable[[], str] | None = None,
    ) -> None:
        self._target, self._lease, self._then = target, lease, then
        self._replace, self._owns_tars, self._run_digest = replace, owns_tars, run_digest
        self._journal = Journal(target, owns_tars=owns_tars)
        self._new: list[str] = []
        self._is_lost = False
        self.complete = False

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def location(self) -> str:
        """The target, for people."""
        return self._target.location

    @property
    def moves_files(self) -> bool:
        """Whether delivered files are moved; if not, they may be anywhere, and stay."""
        return self._target.moves_files

    @property
    def scratch(self) -> ScratchDir:
        """Where shards are made that are delivered."""
        return self._target.scratch

    def prepare(self, *, force: bool) -> None:
        """Make the target ready: delete what is replaced, and what was being written when a run was killed."""
        self._target.refresh()
        if self._replace and has_manifest(self._target):
            before = self._journal.run_digest()
            self.complete = before is not None and self._run_digest is not None and before == self._run_digest()
            if self.complete:
                self._end()
                return
            self._delete_dataset(force=force)
        self._target.clear_scratch()
        self._lease.share()

    def _delete_dataset(self, *, force: bool) -> None:
        """Delete the dataset that is there: the manifest first, so that half of it never looks whole."""
        try:
            files = replaceable(self._target, force=force)
        except OutputExistsError:
            self._end()  # the work folder is of a run that was killed when all was done
            raise
        self._target.delete([FILE_NAME, *files])

    # Shards

    def finished(self, name: str, input_digest: str) -> Entry | None:
        """Return the entry of a shard that an earlier run finished from the same input, if there is one."""
        return self._journal.finished(name, input_digest)

    def keep_only(self, names: Iterable[str]) -> None:
        """Delete all shards that an earlier run left, but for those named."""
        found = {f"{PurePosixPath(name).stem}.tar" for name in self._target.names() if is_packer_name(name)}
        unwanted = sorted(found.union(self._journal.shard_names()).difference(names))
        if unwanted:
            self._check_lease()
        for name in unwanted:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Delete what there is of a shard: its journal entry first, so that the rest counts for nothing."""
        tar = [name] if self._owns_tars else []
        self._target.delete([entry_name(name), *tar, index_path(name)])

    def deliver(self, info: ShardInfo, input_digest: str, *, files: tuple[Path, Path] | None = None) -> None:
        """Move a shard that was made in `scratch` to the target, with its index and its journal entry. Safe in threads.

        Args:
            info: What the files must be.
            input_digest: Of what the shard was made.
            files: Where tar and index are, if not in `scratch`; only for a target that leaves them there.

        Raises:
            CorruptShardError: A local file is not what `info` says.
            OutputExistsError: Another process has begun here.
            StorageError: The target refused.
        """
        tar, index = files or self.scratch.files(info)
        with storage_errors(f"write to {self.location!r}", then=self._then):
            try:
                self._check_lease()
                self._journal.add(Entry(info, input_digest))
                self._target.put_file(info.index_path, index, num_bytes=info.index_bytes, crc32c=info.index_crc32c)
                self._target.put_file(info.name, tar, num_bytes=info.num_bytes, crc32c=info.crc32c)
            finally:
                if files is None:
                    self.scratch.delete([info.name, info.index_path])

    def deliveries(self, jobs: int) -> DeliveryQueue:
        """Return a queue that delivers shards in threads, while `jobs` more are being made."""
        # What is copied takes room in the scratch folder; what stays only waits for its sync.
        return DeliveryQueue(self.deliver, room=jobs + (4 if self._target.moves_files else 1))

    def put_index(self, entry: Entry, parts: Iterable[Any]) -> None:
        """Write the index of a tar that is somebody's, and then its journal entry. Safe in threads.

        Raises:
            OutputExistsError: Another process has begun here.
        """
        self._check_lease()
        if self._target.size(entry.info.index_path) is None:
            self._new.append(entry.info.index_path)
        self._target.put(entry.info.index_path, parts)
        self._journal.add(entry)

    def read_index(self, name: str) -> bytes:
        """Return the index file of a shard that was delivered, or is on its way."""
        path = Path(self.scratch.join(name))
        with suppress(FileNotFoundError):
            return path.read_bytes()
        return self._target.read(name) or b""

    # The whole dataset

    def put(self, name: str, parts: Iterable[Any]) -> None:
        """Write another file of the dataset."""
        self._check_lease()
        self._target.put(name, parts)

    def publish(self, files: Sequence[tuple[str, Iterable[Any]]]) -> None:
        """Write what belongs to the whole dataset, and end the transaction.

        Args:
            files: (name, parts) in the order in which they are written, as `encode_dataset` returns
                them: the manifest is the last, under the name of its generation and then under its own.
        """
        with storage_errors(f"write to {self.location!r}", then=self._then):
            self._check_lease()
            *others, (own_name, text), (manifest_name, manifest_parts) = files
            unnamed = self._unnamed(b"".join(text), dict(others))
            if self._replace:
                self._target.delete([own_name, *unnamed])  # of an earlier run, or killed
            for name, parts in others:
                self.put(name, parts)
            self._check_lease()
            self._new.clear()  # from here on they are the dataset's
            self._commit(own_name, b"".join(text))
            self._journal.write_run_digest("" if self._run_digest is None else self._run_digest())
            self._target.fsync()
            self.put(manifest_name, manifest_parts)
            self._target.delete(unnamed)
            self._target.fsync()
            self._end()
        self.release()

    def _commit(self, name: str, text: bytes) -> None:
        """Give a manifest the name of its generation, unless it has it; what is damaged there gives way."""
        there = self._target.read(name)
        if there == text:
            return
        if there is not None and not is_manifest(there):
            self._target.delete([name])
        self._target.create(name, [text])

    def _unnamed(self, text: bytes, written: Collection[str]) -> list[str]:
        """Return the files here that are of this generation, or a later one, but that its manifest does not name."""
        whole = parse_manifest(text)
        named = {*metadata_paths(whole), *written}
        found = [name for name in self._target.names() if generation_of(name) >= whole.generation]
        if self._replace and REJECTED_PATH not in written:
            return [REJECTED_PATH, *(name for name in found if name not in named)]
        return [name for name in found if name not in named]

    def roll_back(self) -> None:
        """Delete the indexes that this transaction has written where none were, and end it."""
        with suppress(OutputExistsError):  # somebody else goes on with them
            self._check_lease()
            self._target.delete(self._new)
            self._end()
        self.release()

    def _end(self) -> None:
        """Delete the work folder, and then the run's digest: until it is gone, the same command knows what is left."""
        self._target.delete(name for name in self._target.names() if name.startswith(f"{WORK_FOLDER}/"))
        self._target.drop_scratch()
        self._target.delete([RUN_PATH])

    def _check_lease(self) -> None:
        """See `Lease.check`."""
        try:
            self._lease.check()
        except OutputExistsError:
            self._is_lost = True
            raise

    def release(self) -> None:
        """Give the target up; what is finished stays, for the same command to continue. Safe to call twice.

        After another process has taken over, nothing of ours stays in the journal: that one may have ended already.
        """
        if self._is_lost:
            with suppress(StorageError):
                self._journal.withdraw()
        self._lease.release()
