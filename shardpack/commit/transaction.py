"""A transaction: the order of writes that survives a kill at any moment, in folders and buckets alike.

    begin -> deliver shards -> publish

    .shardpack/tmp/lease.json                  who writes here (`lease.py`)
    .shardpack/tmp/shard-000003.tar.done.json  journal entry: the finished shard, and the digest of its input
    .shardpack/index/shard-000003.index        the index of a shard
    shard-000003.tar                           its tar
    .shardpack/run.json                        journal: the digest of the whole run
    .shardpack/shards-..., keys-...            shard table and key index
    .shardpack/manifests/000001.json           created only if absent
    .shardpack/manifest.json                   a copy of it; written last

The journal entry of a shard is written before its tar gets its name, and an older tar of that name is deleted
before the entry is written. So a tar that has a matching entry is complete, and everything else can be written
again without loss. `run.json` is written before the manifest and deleted last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shardpack.commit.delivering import Delivering
from shardpack.commit.edit_folder import folder_of_edit
from shardpack.commit.generations import is_manifest
from shardpack.commit.journal import Entry, Journal, entry_name
from shardpack.commit.lease import Command, Lease, acquire, how_to_continue
from shardpack.commit.overwrite import check_writable, files_to_replace, has_manifest
from shardpack.commit.target import Target
from shardpack.errors import OutputExistsError
from shardpack.format.layout import (
    MANIFEST_PATH,
    REJECTED_PATH,
    RUN_PATH,
    WORK_FOLDER,
    generation_of,
    index_path,
    is_index_path,
    is_layer_path,
    is_packer_name,
    split_of_shard,
    tag_of_shard,
)
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.storage.atomic import storage_errors


class Transaction(Delivering):
    """The right to write to a target, until the transaction is left. A context manager.

    Made by one of three constructors: `new_dataset`, `same_dataset`, `index_beside`. Each begins a transaction, or
    continues one that was interrupted.

    Attributes:
        complete: The dataset is already published: a run with the same digest was killed before it could
            clean up. Nothing is left to do.
        totals: What that run passed to `publish`; empty unless it is complete.
    """

    @classmethod
    def new_dataset(
        cls,
        target: Target,
        command: Command,
        *,
        force: bool = False,
        run_digest: Callable[[], str] | None = None,
        keeps_run: bool = False,
    ) -> Transaction:
        """Return a transaction that writes a new dataset.

        Args:
            target: Created if it does not exist.
            command: Named in the error that any other command gets while this one is unfinished.
            force: Delete the dataset that is there.
            run_digest: Returns a digest of everything that determines the dataset; called only if needed.
            keeps_run: Leave `run.json` to the caller, who has more to do: until `end_run`, the same run finds the
                transaction complete.

        Raises:
            OutputExistsError: The dataset would overwrite something, or another process is writing here.
            StorageError: The target refused.
        """
        with storage_errors(f"write to {target.location!r}", then=how_to_continue(command)):
            check_writable(target, command, force=force)
        return cls(
            target,
            command,
            replaces=True,
            owns_tars=True,
            force=force,
            run_digest=run_digest,
            keeps_run=keeps_run,
        )

    @classmethod
    def same_dataset(cls, target: Target, command: Command) -> Transaction:
        """Return a transaction that writes parts of an existing dataset again. Raises as `new_dataset`."""
        return cls(target, command, replaces=False, owns_tars=True)

    @classmethod
    def index_beside(cls, target: Target, *, run_digest: Callable[[], str] | None = None) -> Transaction:
        """Return a transaction that indexes the user's tars and never writes or deletes one. Raises as `new_dataset`.

        An existing dataset is unchanged until the new manifest replaces its own.
        """
        return cls(target, "index", replaces=False, owns_tars=False, run_digest=run_digest)

    def __init__(
        self,
        target: Target,
        command: Command,
        *,
        replaces: bool,
        owns_tars: bool,
        force: bool = False,
        run_digest: Callable[[], str] | None = None,
        keeps_run: bool = False,
    ) -> None:
        """Acquire the target and delete what killed runs left unfinished. Use one of the named constructors."""
        super().__init__(target, Journal(target, owns_tars=owns_tars), command)
        self._replaces, self._owns_tars, self._run_digest = replaces, owns_tars, run_digest
        self._keeps_run = keeps_run
        self._new_indexes: list[str] = []
        self.complete = False
        self.totals: Mapping[str, Any] = {}
        with self.write_errors():
            self._lease = acquire(target, command)
            try:
                self._prepare(self._lease, force=force)
            except BaseException:
                self._lease.release()
                raise

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def moves_files(self) -> bool:
        """Whether delivered files are moved out of `scratch`; otherwise they may be anywhere, and stay there."""
        return self._target.moves_files

    def _prepare(self, lease: Lease, *, force: bool) -> None:
        """Delete the dataset that is replaced, and what was being written when a run was killed."""
        self._target.refresh()
        if self._replaces and has_manifest(self._target):
            earlier = self._journal.run_digest()
            self.complete = earlier is not None and self._run_digest is not None and earlier == self._run_digest()
            if self.complete:
                self.totals = self._journal.run_totals()
                self._end()
                return
            self._delete_dataset(force=force)
        self._target.clear_scratch()
        if self._replaces and not has_manifest(self._target):  # deleting a dataset that was edited was interrupted
            self._target.delete([name for name in self._target.names() if folder_of_edit(name)])
        lease.share()

    def _delete_dataset(self, *, force: bool) -> None:
        """Delete the existing dataset, its manifest first: half of a dataset must never look complete."""
        try:
            files = files_to_replace(self._target, self._command, force=force)
        except OutputExistsError:
            self._keeps_run = False  # it is of another run
            self._end()  # the work folder is from a run that was killed after it had published
            raise
        self._target.delete([MANIFEST_PATH, *files])

    # Shards

    def keep_only(self, names: Iterable[str]) -> set[str]:
        """Delete all shards of earlier runs except the named ones, and all indexes of no shard that stays.

        Tars without a journal entry are an earlier run's only if they are named like these, or as an edit names them:
        others may be the user's.

        Returns:
            The shards that stay, complete or not.
        """
        names = set(names)
        splits = {None, *map(split_of_shard, names)}
        packed = filter(is_packer_name, self._target.names())
        ours = (name for name in packed if split_of_shard(name) in splits or tag_of_shard(name) is not None)
        present = {*ours, *self._journal.shard_names()}
        staying = present & names
        indexes = set(map(index_path, staying))
        orphans = [name for name in self._target.names() if is_index_path(name) and name not in indexes]
        if orphans or len(staying) < len(present):
            self.check()
        for name in sorted(present - staying):
            self.drop(name)
        self._target.delete(orphans)
        return staying

    def drop(self, name: str) -> None:
        """Delete a shard, its journal entry first: without it the other files count as unfinished."""
        tar = [name] if self._owns_tars else []
        self._target.delete([entry_name(name), *tar, index_path(name)])

    def deliver(self, info: ShardInfo, input_digest: str, *, files: tuple[Path, Path] | None = None) -> None:
        """See `Delivering.deliver`; the entry comes first.

        Args:
            info: What the files must be.
            input_digest: Digest of the input that the shard was made from.
            files: Tar and index, if they are not in `scratch`; only if `moves_files` is false.

        Raises:
            CorruptShardError: A local file differs from `info`.
            OutputExistsError: Another process began writing here.
            StorageError: The target refused.
        """
        tar, index = files or self.scratch.files(info)
        with self.write_errors():
            try:
                self.check()
                self._journal.add(Entry(info, input_digest))
                self._target.put_file(info.index_path, index, num_bytes=info.index_bytes, crc32c=info.index_crc32c)
                self._target.put_file(info.name, tar, num_bytes=info.num_bytes, crc32c=info.crc32c)
            finally:
                if files is None:
                    self.scratch.delete([info.name, info.index_path])

    def put_index(self, entry: Entry, parts: Iterable[Any]) -> None:
        """Write the index of a tar of the user's, then its journal entry. Safe in threads.

        Raises:
            OutputExistsError: Another process began writing here.
        """
        self.check()
        if self._target.size(entry.info.index_path) is None:
            self._new_indexes.append(entry.info.index_path)
        self._target.put(entry.info.index_path, parts)
        self._journal.add(entry)

    def read_index(self, name: str) -> bytes:
        """Return the index file of a shard that was delivered, or is being delivered."""
        path = Path(self.scratch.join(name))
        with suppress(FileNotFoundError):
            return path.read_bytes()
        return self._target.read(name) or b""

    # The whole dataset

    def put(self, name: str, parts: Iterable[Any]) -> None:
        """Write another file of the dataset."""
        self.check()
        self._target.put(name, parts)

    def publish(
        self,
        files: Sequence[tuple[str, Iterable[Any]]],
        *,
        totals: Mapping[str, Any] | None = None,
        layers: Sequence[str] = (),
    ) -> None:
        """Write the files that describe the whole dataset, and end the transaction.

        Args:
            files: (name, parts) in the order of writing, as `encode_dataset` returns them. The manifest
                comes last, twice: under the name of its generation, then under its own.
            totals: JSON values that the same command reports if this run is killed before it could clean up.
            layers: Folders of layers that stay although only earlier generations name them.
        """
        with self.write_errors():
            self.check()
            *others, (own_name, text), (manifest_name, manifest_parts) = files
            unnamed = self._unnamed(b"".join(text), dict(others), layers)
            if self._replaces:
                self._target.delete([own_name, *unnamed])  # from an earlier or a killed run
            for name, parts in others:
                self.put(name, parts)
            self.check()
            self._new_indexes.clear()  # from here on they belong to the dataset
            self._commit(own_name, b"".join(text))
            self._journal.write_run_digest("" if self._run_digest is None else self._run_digest(), totals)
            self._target.fsync()
            self.put(manifest_name, manifest_parts)
            self._target.delete(unnamed)
            self._target.fsync()
            self._end()
        self.release()

    def _commit(self, name: str, text: bytes) -> None:
        """Create a manifest under the name of its generation, unless it is there; replace only a damaged one."""
        present = self._target.read(name)
        if present == text:
            return
        if present is not None and not is_manifest(present):
            self._target.delete([name])
        try:
            self._target.create(name, [text])
        except OutputExistsError:
            if self._target.read(name) != text:
                raise

    def _unnamed(self, text: bytes, written: Collection[str], kept: Sequence[str]) -> list[str]:
        """Return the files of this generation that are here, but that its manifest does not name.

        Of a new dataset also those of later ones, and layers.
        """
        manifest = parse_manifest(text)
        named = {*manifest.metadata_paths, *written}
        made = {name: generation_of(name) for name in self._target.names() if name not in named}
        if not self._replaces:  # later generations are edits of this one, whose copy of the manifest was missed
            return [name for name, generation in made.items() if generation == manifest.generation]
        unnamed = [name for name, generation in made.items() if generation >= manifest.generation]
        layers = tuple(f"{place}/" for place in (*kept, *(layer.location for layer in manifest.layers)))
        unnamed += [name for name in made if is_layer_path(name) and not name.startswith(layers)]
        return unnamed if REJECTED_PATH in written else [REJECTED_PATH, *unnamed]

    def roll_back(self) -> None:
        """Delete the indexes that this transaction added, and end it."""
        with suppress(OutputExistsError):  # another process continues with them
            self.check()
            self._target.delete(self._new_indexes)
            self._end()
        self.release()

    def _end(self) -> None:
        """Delete the work folder, then the run's digest: while that exists, the same command can finish this.

        What edits of an existing dataset keep there is left to them.
        """
        work = (name for name in self._target.names() if name.startswith(f"{WORK_FOLDER}/"))
        self._target.delete(name for name in work if not folder_of_edit(name))
        self._target.drop_scratch()
        if not self._keeps_run:
            end_run(self._target)

    def release(self) -> None:
        """Release the target. Finished shards stay, so that the same command can continue. Safe to call twice."""
        self.withdraw_if_lost()
        assert self._lease is not None
        self._lease.release()


def end_run(target: Target) -> None:
    """Delete the digest of a run that is done: from here on, a dataset that is there is in the way of the same run."""
    target.delete([RUN_PATH])
