"""A transaction of several processes that share nothing but source and target: parts of one plan.

    join -> deliver shards -> publish, if the other parts are finished, too

    .shardpack/tmp/parts/plan.json                   what all obey; created only if absent, by the part that comes first
    .shardpack/tmp/lease.json                        the same for all parts: it names the plan
    shard-000003.tar, .shardpack/index/...           a shard and its index
    .shardpack/tmp/parts/shard-000003.tar.done.json  its journal entry: both are there
    .shardpack/...                                   what describes the whole dataset; the manifest comes last

Any part may run twice, be killed and start again, or publish at the same moment as another. No order among them is
needed, because each file has the same bytes whoever writes it, nothing is deleted before the dataset is complete, and
a journal entry is written after the files that it vouches for. So a part may at any time find the work folder gone:
then the dataset is complete (`was_published`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from shardpack.commit.delivering import Delivering
from shardpack.commit.journal import PARTS_FOLDER, PLAN_PATH, Entry, Journal
from shardpack.commit.lease import LEASE_NAME, is_foreign, share
from shardpack.commit.overwrite import check_unused, has_manifest
from shardpack.commit.target import Target
from shardpack.errors import FormatError, OutputExistsError
from shardpack.format.layout import MANIFEST_PATH, RUN_PATH, WORK_FOLDER, manifest_path
from shardpack.format.manifest import Manifest
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_info import ShardInfo

Read = Callable[[str], bytes | None]  # returns a file of the target


class Agreement(Protocol):
    """A plan that parts agree on."""

    @property
    def digest(self) -> str:
        """Differs from that of any other plan."""
        ...

    @property
    def text(self) -> bytes:
        """The plan as it is published; parts agree if it is the same."""
        ...

    def details(self) -> Sequence[tuple[str, Iterable[Any]]]:
        """Return (name, parts) of the files in `PARTS_FOLDER` that `difference` needs; names that no other plan has."""
        ...

    def difference(self, published: bytes, read: Read) -> str:
        """Return how this plan differs from the published one, for an error message."""
        ...

    def is_dataset(self, read: Read) -> bool:
        """Return whether the published dataset is the one that this plan makes."""
        ...


def published_plan(target: Target) -> bytes | None:
    """Return the plan that the parts at work on a target obey, or None."""
    return target.read(PLAN_PATH)


class SharedTransaction(Delivering):
    """The right to write the shards of a plan, together with its other parts. A context manager.

    Attributes:
        complete: The dataset is already published. Nothing is left to do.
    """

    def __init__(self, target: Target, agreement: Agreement) -> None:
        """Publish the plan, or join the parts that obey it.

        Args:
            target: Opened as shared.
            agreement: The plan.

        Raises:
            OutputExistsError: Another plan is published, or the target holds something else.
            StorageError: The target refused.
        """
        super().__init__(target, Journal(target, folder=PARTS_FOLDER), "pack --part")
        self._agreement = agreement
        self.complete = False
        with self.write_errors():
            self._lock = target.lock()
            try:
                self._join()
                self._target.refresh()
            except BaseException:
                self.release()
                raise

    def __enter__(self) -> SharedTransaction:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _join(self) -> None:
        """Publish or obey the plan, and share the lease; repeated while other parts change what is found here."""
        while not self.complete:
            found = self._found()
            try:
                if self._is_published(*found):
                    self.complete = True
                    self._end()
                elif found[0] is None:
                    self._publish_plan()
                elif found[0] != self._agreement.text:
                    raise self._refusal(found[0])
                elif self._lease is None:
                    self._lease = share(self._target, self._lock, self._agreement.digest)
                else:
                    return
            except OSError:  # another part may be cleaning up
                if self._found() == found:
                    raise

    def _found(self) -> tuple[bytes | None, bool]:
        """Return the published plan, and whether there is a manifest."""
        return published_plan(self._target), has_manifest(self._target)

    def _is_published(self, plan: bytes | None, manifest: bool) -> bool:
        """Return whether the dataset of our plan is complete.

        A plan is published only where a manifest is missing, so a manifest beside it is its own. When the last part has
        cleaned up, only the dataset itself tells.
        """
        if plan is not None:
            return manifest and plan == self._agreement.text
        with suppress(FormatError):
            return manifest and self._agreement.is_dataset(self._read_before_table)
        return False

    def _read_before_table(self, name: str) -> bytes | None:
        """Return a file of the dataset; for the manifest that of the generation to which only a table was added."""
        text = self._target.read(name)
        while name == MANIFEST_PATH and text is not None and _adds_table(manifest := parse_manifest(text)):
            text = self._target.read(manifest_path(manifest.generation - 1))
        return text

    def _publish_plan(self) -> None:
        check_unused(self._target)
        if self._target.size(RUN_PATH) is not None:
            raise OutputExistsError(f"{self.location!r} holds {RUN_PATH}, of a run that was killed; delete it")
        for name, parts in self._agreement.details():
            self._target.put(name, parts)
        self._target.create(PLAN_PATH, [self._agreement.text])

    def _refusal(self, published: bytes) -> OutputExistsError:
        difference = self._agreement.difference(published, self._target.read)
        return OutputExistsError(
            f"the plan of the parts that are packed into {self.location!r} is another one: {difference}; give all "
            "parts the same source and options, or choose another target"
        )

    # Shards

    def refresh(self) -> None:
        """Look again for shards that the other parts finished."""
        with self.write_errors():
            self._target.refresh()

    def deliver(self, info: ShardInfo, input_digest: str) -> None:
        """See `Delivering.deliver`; the entry comes last, as other parts take the files that it names."""
        tar, index = self.scratch.files(info)
        with self.write_errors():
            try:
                self.check()
                self._target.put_file(info.index_path, index, num_bytes=info.index_bytes, crc32c=info.index_crc32c)
                self._target.put_file(info.name, tar, num_bytes=info.num_bytes, crc32c=info.crc32c)
                self.check()
                self._journal.add(Entry(info, input_digest))
            finally:
                self.scratch.delete([info.name, info.index_path])

    def read_index(self, name: str) -> bytes:
        """Return the index file of a finished shard."""
        return self._target.read(name) or b""

    # The whole dataset

    def publish(self, files: Sequence[tuple[str, Iterable[Any]]]) -> None:
        """Write the files that describe the whole dataset, as any other part would, and end the transaction.

        Args:
            files: (name, parts) in the order of writing; see `Transaction.publish`.

        Raises:
            OutputExistsError: Another part has published, or a foreign manifest is here.
        """
        with self.write_errors():
            *others, (own_name, text), (manifest_name, manifest_parts) = files
            for name, parts in others:
                self.check()
                self._target.put(name, parts)
            self.check()
            self._create(own_name, b"".join(text))
            self._target.fsync()
            self._target.put(manifest_name, manifest_parts)
            self._target.fsync()
            self._end()
        self.release()

    def _create(self, name: str, text: bytes) -> None:
        """Create a manifest under the name of its generation, unless another part has."""
        if self._target.read(name) == text:
            return
        try:
            self._target.create(name, [text])
        except OutputExistsError:
            if self._target.read(name) != text:
                raise

    def was_published(self) -> bool:
        """Return whether another part has published the dataset while this one was at work.

        As long as a part is at work, no other manifest than that of its plan can appear.
        """
        with self.write_errors():
            return has_manifest(self._target)

    def _end(self) -> None:
        """Delete the work folder: the lease first, so that no part takes entries that are gone for missing shards.

        The plan comes last: while that is there, a manifest is known to be its own.
        """
        if not is_foreign(self._target, self._agreement.digest):
            work = [name for name in self._target.names() if name.startswith(f"{WORK_FOLDER}/")]
            self._target.delete([LEASE_NAME, *(name for name in work if name not in (LEASE_NAME, PLAN_PATH))])
            self._target.delete([PLAN_PATH])
        self._target.drop_scratch()

    def release(self) -> None:
        """Release the target. Finished shards stay for the other parts. Safe to call twice."""
        self.withdraw_if_lost()
        if self._lease is not None:
            self._lease.release()
            return
        with suppress(OSError):
            self._target.drop_scratch()
        if self._lock is not None:
            self._lock.release()


def _adds_table(manifest: Manifest) -> bool:
    """Return whether a generation has the samples of the one before, and a label table."""
    edit = manifest.packed_with.get("edit")
    return manifest.generation > 1 and isinstance(edit, dict) and edit.get("command") == "table"
