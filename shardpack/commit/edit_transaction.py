"""A transaction that makes the next generation of a dataset: new files, then one manifest that is created if absent.

    begin -> put files -> commit

    .shardpack/tmp/<command>-<hash>/...   the edit's own folder (`edit_folder.py`)
    shard-<tag>-000000.tar, ...           whatever the edit adds, under names that no other edit gives
    .shardpack/keys-000002-..., ...       the files that the next manifest names
    .shardpack/tmp/.../edit.json          which manifest is about to be committed
    .shardpack/manifests/000002.json      created only if absent: this is the commit
    .shardpack/manifest.json              a copy of it

Nothing that a manifest names is changed or deleted, so readers of earlier generations go on. In a folder, a lock keeps
a second editor out; in a bucket, of several editors the one that creates the manifest first wins, and the others keep
what they finished for another run. An edit that is killed has happened or not; the same command tells which.

Edits with equal input and options make equal files. In a bucket, where two may do so at once, one that takes many
writes (`CLAIMING`) claims its folder: the one that began last goes on with what is finished, and any other stops before
its next write. A claim comes before the look at the note and the newest generation, and the note before the last look
at the claim: so whoever claims the folder of a run that may commit sees what that has announced, and leaves its files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from shardpack.commit.claim import Claim
from shardpack.commit.edit_folder import CLAIM, CLAIMING, NOTE, EditCommand, EditNote, edit_folder, new_tag, read_note
from shardpack.commit.generations import Generation, generation_at, is_manifest, newest_generation, replace_copy
from shardpack.commit.lease import busy, how_to_continue, unfinished, unfinished_command
from shardpack.commit.target import Target
from shardpack.errors import OptionError, OutputExistsError, StorageError
from shardpack.format.layout import MANIFEST_PATH, generation_of, manifest_path
from shardpack.format.manifest import Manifest
from shardpack.storage.atomic import storage_errors


class EditTransaction:
    """The right to make the next generation, until the transaction is left. A context manager.

    Attributes:
        target: The dataset's folder or bucket.
        parent, parent_text: The newest generation, which the edit changes: its manifest as a value, and as bytes.
        folder: The edit's own folder, deleted by `commit`. What is there when the edit is killed or refused, a run with
            equal input and options finds again.
        complete: This very edit was committed already, as `parent`, and killed before it could clean up.
        totals: What that run passed to `commit`; empty unless it is complete.
        advice: What errors say to do next. Default: to run the same command again, which continues.
    """

    def __init__(
        self,
        target: Target,
        command: EditCommand,
        *,
        run_digest: str | Callable[[Manifest], str],
        single_writer: bool = False,
    ) -> None:
        """Begin an edit, or continue one that was killed; bring the copy of the manifest up to date.

        Args:
            target: Where the dataset is; buckets are opened as shared.
            command: Names the folder, and the command to run again in errors.
            run_digest: A digest of everything that determines what the edit does, but for the parent; or what returns
                it, given the parent.
            single_writer: Promise that nobody else edits the dataset meanwhile, for stores that cannot create an object
                only if it is absent.

        Raises:
            DatasetNotFoundError: A dataset is missing there.
            OutputExistsError: Another process is writing there, or a packer has not finished.
            OptionError: The store cannot tell two editors apart, and `single_writer` is not given.
            StorageError: The target refused.
        """
        self.target, self._command = target, command
        self.complete = False
        self.totals: Mapping[str, Any] = {}
        self.advice = ""
        self._process = os.getpid()
        self._note: EditNote | None = None
        self._tag, self.folder = "", ""
        self._has_named = False  # whether the tag was asked for: then files may have it in their names
        self._keeps_note = False  # as such files wait for the next run
        self._new: list[str] = []  # files that were put, and not there before
        self._released = False
        if not (target.can_create or single_writer):
            raise OptionError(
                f"{target.location!r} cannot create an object only if it is absent, so that two edits at once could "
                "undo each other; pass single_writer=True (--single-writer) if nobody else edits it meanwhile"
            )
        with self.write_errors():
            self._lock = target.lock()
            self._claim = Claim(target, is_needed=self._lock is None and command in CLAIMING)
            try:
                self._begin(run_digest)
            except BaseException:
                self.release()
                raise

    def __enter__(self) -> EditTransaction:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """Release the target. An error of a run that lost its claim is that: others changed what it worked with."""
        is_lost = False
        try:
            if isinstance(error, Exception) and not self._released:
                with suppress(StorageError):  # a bucket that does not answer hides no error
                    is_lost = not self._claim.is_held()
        finally:
            self.release()
        if is_lost:
            raise self._claimed() from error

    @property
    def tag(self) -> str:
        """Part of the names of all files that the edit makes beside `put`, of shards for example.

        It holds the generation that the edit is to make, and a hash of parent, command, input and options. A run that
        continues another one has the tag of that.
        """
        self._has_named = True
        return self._tag

    @property
    def generation(self) -> int:
        """Number of the generation that the edit makes."""
        return self.parent.generation + 1

    def write_errors(self) -> AbstractContextManager[None]:
        """Return a context in which errors of the system become StorageErrors that say how to continue."""
        return storage_errors(f"write to {self.target.location!r}", then=self.advice or how_to_continue(self._command))

    def _begin(self, run_digest: str | Callable[[Manifest], str]) -> None:
        self._refuse_packers()
        found = newest_generation(self.target)
        self.target.clear_scratch()
        parent = found if found.is_copied else replace_copy(self.target, found)
        self._parent = parent
        self.parent, self.parent_text = parent.manifest, parent.text
        digest = run_digest if isinstance(run_digest, str) else run_digest(parent.manifest)
        self.folder = edit_folder(self._command, digest)
        if self._claim.take(self.folder) and generation_at(self.target, self.generation) is not None:
            self._begin(run_digest)  # the generation was made meanwhile, perhaps by such a run
            return
        note = read_note(self.target, self.folder)
        if note is not None and self._was_committed(note):
            self.complete = parent.crc32c == note.commits[1] if note.commits else False
            self.totals = note.totals if self.complete else {}
            self.discard()  # its files belong to a generation now: a new run gives its own other names
            note = None
            if self.complete:
                return
        own_tag = new_tag(self._command, digest, generation=self.generation, parent_crc32c=parent.crc32c)
        self._tag = own_tag if note is None else note.tag
        if note is None:
            self._write_note(EditNote(self._tag))
        else:
            self._note = note  # stays: what it announces may still be committed

    def _refuse_packers(self) -> None:
        if (before := unfinished_command(self.target)) is not None:
            raise unfinished(self.target, before)

    def _was_committed(self, note: EditNote) -> bool:
        if note.commits is None:
            return False
        number, checksum = note.commits
        made = self._parent if number == self.parent.generation else generation_at(self.target, number)
        return made is not None and made.crc32c == checksum

    # Files

    def put(self, name: str, parts: Iterable[Any]) -> None:
        """Write a new file that the next manifest will name; one with the same bytes stays as it is.

        Raises:
            StorageError: The target refused.
        """
        parts = list(parts)
        with self.write_errors():
            self.check_claim()
            present = self.target.size(name)
            if present != sum(map(len, parts)) or self.target.read(name) != b"".join(parts):
                self.target.put(name, parts)
                if present is None:
                    self._new.append(name)

    def commit(
        self,
        manifest: Manifest,
        files: Sequence[tuple[str, Iterable[Any]]],
        *,
        totals: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the next generation, and end the transaction.

        Args:
            manifest: Of the next generation; its parent is `parent`.
            files: (name, parts) in the order of writing, as `next_generation` returns them: the manifest comes
                last, twice: under the name of its generation, then as the copy.
            totals: JSON values that the same command reports if this run is killed before it could clean up.

        Raises:
            OutputExistsError: Another edit made this generation meanwhile. Nothing has changed, and what is finished
                is kept for the next run.
            StorageError: The target refused.
        """
        *others, (own_name, parts), _ = files
        text = b"".join(parts)
        with self.write_errors():
            self.check()
            self._refuse_other(own_name, text)
            for name, content in others:
                self.put(name, content)
            made = Generation(text, manifest)
            self._write_note(EditNote(self._tag, (manifest.generation, made.crc32c), dict(totals or {})))
            self._keep_parent()
            self.target.fsync()
            self.check()
            self._create(own_name, text)
            self.target.fsync()
            replace_copy(self.target, made)
            self.target.fsync()
            self._clean()
        self.release()

    def check(self) -> None:
        """Raise unless this process may still make the next generation.

        Raises:
            OutputExistsError: A packer began to write here, the lock or the claim is lost, or this is a forked child.
        """
        if os.getpid() != self._process or (self._lock is not None and not self._lock.is_current()):
            raise busy(self.target.location)
        self.check_claim()
        self._refuse_packers()

    def check_claim(self) -> None:
        """Raise unless this run is the last of those with equal input and options that began. One GET in a bucket.

        Raises:
            OutputExistsError: Another one goes on with this edit, or has finished it.
        """
        if not self._claim.is_held():
            raise self._claimed()

    def _claimed(self) -> OutputExistsError:
        return OutputExistsError(
            f"the same {self._command} was begun again in {self.target.location!r} by another process, which goes on "
            'with what this one has finished; wait until it has ended, and see with "shardpack log" what it has done'
        )

    def _create(self, name: str, text: bytes) -> None:
        """Create the manifest. What it is called may be taken by a file that a kill left incomplete."""
        present = self._refuse_other(name, text)
        if present not in (None, text):
            self.target.delete([name])
        try:
            self.target.create(name, [text])
        except OutputExistsError:
            if self.target.read(name) != text:
                raise self._lost() from None

    def _refuse_other(self, name: str, text: bytes) -> bytes | None:
        """Return what has the name of the manifest that is to be created, unless that is another manifest."""
        present = self.target.read(name)
        if present not in (None, text) and is_manifest(present or b""):
            raise self._lost()
        return present

    def _lost(self) -> OutputExistsError:
        """Return the error that another edit came first, after deleting what only our manifest would have named.

        Shards and whatever else has the tag in its name stay for the next run.
        """
        winner = generation_at(self.target, self.generation)
        if winner is not None:
            needed = set(winner.manifest.metadata_paths)
            ours = [name for name in self._new if generation_of(name) == self.generation]
            self.target.delete([name for name in ours if name not in needed])
            self._keeps_note = self._has_named
            self._note = EditNote(self._tag)  # as before the commit
        return OutputExistsError(
            f"another edit made generation {self.generation} of the dataset in {self.target.location!r} meanwhile; "
            f"nothing has changed: {self.advice or how_to_continue(self._command)}"
        )

    def _keep_parent(self) -> None:
        """Create the manifest of the parent under the name of its generation, where only the copy is there.

        Raises:
            OutputExistsError: Another dataset is there by now: a packer replaced it.
        """
        name = manifest_path(self.parent.generation)
        present = self.target.read(name)
        if present is None and self.target.read(MANIFEST_PATH) == self.parent_text:
            with suppress(OutputExistsError):  # another editor did so at this moment
                self.target.create(name, [self.parent_text])
        elif present != self.parent_text:
            raise OutputExistsError(
                f"the dataset in {self.target.location!r} was replaced while it was edited; nothing has changed: run "
                f"the same {self._command} command again, if it is meant for the new one"
            )

    # The edit's own folder

    def _write_note(self, note: EditNote) -> None:
        self.target.put(f"{self.folder}/{NOTE}", [note.encode()])
        self._note = note

    def discard(self) -> None:
        """Delete what is in the edit's folder, its note last: as long as that is there, the same command can finish."""
        note = f"{self.folder}/{NOTE}"
        kept = (note, f"{self.folder}/{CLAIM}")
        self.target.delete(name for name in self.target.names_below(self.folder) if name not in kept)
        self.target.delete([note])

    def _clean(self) -> None:
        """Delete the folder of an edit that is done; the claim first, also that of another, so that nobody goes on."""
        self._claim.delete()
        self.discard()

    def _forget_nothing_finished(self) -> None:
        """Delete the claim; and the note of an edit that has finished nothing, so that nothing is left of it."""
        self._claim.delete()
        if self._note is not None and self._note.commits is None and not self._keeps_note:
            note = f"{self.folder}/{NOTE}"
            if self.target.names_below(self.folder) == [note]:
                self.target.delete([note])
        self._note = None

    def release(self) -> None:
        """Release the target. What is finished stays, so that the same command can continue. Safe to call twice."""
        if os.getpid() == self._process and not self._released:
            with suppress(OSError):  # a broken folder or bucket was reported before
                if self._lock is None or self._lock.is_current():
                    try:
                        if self.folder and self._claim.is_held():
                            self._forget_nothing_finished()
                    finally:
                        self.target.drop_scratch()
        self._released = True  # from here on the folder may be another editor's
        if self._lock is not None:
            self._lock.release()
