"""A bucket as the place of a dataset: shards are made in a local folder and uploaded; all that resuming needs is there.

    s3://bucket/train/.shardpack/packing.json      says which packer began last; for the rest see `output.py`

A bucket has no locks. A packer writes its own name into `packing.json` when it begins, and stops before
the next file if somebody else's is there: of two packers the later one goes on.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from shardpack.commit.folder import Output
from shardpack.commit.scratch import Staging, new_staging
from shardpack.commit.target import MARK_NAME, DatasetOutput, journal_entry, journal_name
from shardpack.commit.upload import Sender, check_file
from shardpack.commit.upload_queue import Uploads
from shardpack.errors import OptionError, ShardNotFoundError, StaleIndexError
from shardpack.format.manifest import WORK_FOLDER, ShardInfo, index_name
from shardpack.storage.atomic import storage_errors
from shardpack.storage.lock import FolderLock
from shardpack.storage.open import open_store
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import WEB_SCHEMES

REQUESTS_AT_ONCE = 16
_BEGUN_NAME = f"{WORK_FOLDER}/packing.json"
_SPOOL_BYTES = 16 << 20  # what is longer goes through a local file


def open_output(
    location: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None = None,
    *,
    work_dir: str | os.PathLike[str] | None = None,
) -> DatasetOutput:
    """Return the place at a location; asks nothing of it yet.

    Raises:
        OptionError: It is no place to write to, or an option makes no sense there.
    """
    store = open_store(location, storage_options)
    if store.folder is not None:
        if work_dir is not None:
            raise OptionError("work_dir is for buckets; in a folder shards are made where they belong")
        return Output(os.fspath(location))
    if store.location.partition("://")[0] in WEB_SCHEMES:
        raise OptionError(f"cannot write to {store.location!r}: a web server takes no files; name a folder or a bucket")
    return BucketOutput(store, None if work_dir is None else os.fspath(work_dir))


class BucketOutput(DatasetOutput):
    """A folder of a bucket, or of any other store.

    What is there is listed once when packing begins, and then known: nobody else writes here.
    """

    def __init__(self, store: WritableStore, work_dir: str | None = None) -> None:
        self.store = store
        self._work_dir = work_dir
        self._staging: Staging | None = None
        self._sender = Sender(store)
        self._names: set[str] | None = None
        self._read: dict[str, bytes] = {}  # journal entries, fetched together
        self._sizes: dict[str, int] = {}
        self._begun = b""

    @property
    def location(self) -> str:
        return self.store.location

    @property
    def workplace(self) -> Staging:
        assert self._staging is not None
        return self._staging

    def prepare(self) -> None:
        """Folders of a bucket need not be made."""

    def lock(self) -> BucketHold:
        """Say that a packer begins here, and look at what is there; makes the local folder."""
        self._begun = json.dumps({"packer": secrets.token_hex(8)}).encode()
        self.store.put(_BEGUN_NAME, self._begun)
        self._names = set(self.store.names())
        self._ask_ahead(self._names)
        self._staging, lock = new_staging(self._work_dir)
        return BucketHold(self._staging, lock)

    def has_work_folder(self) -> bool:
        return any(name.startswith(f"{WORK_FOLDER}/") for name in self.names())

    def names(self) -> list[str]:
        return sorted(self._known())

    def _known(self) -> set[str]:
        """Return the names of all objects; asks the first time."""
        if self._names is None:
            self._names = set(self.store.names())
        return self._names

    def _ask_ahead(self, names: set[str]) -> None:
        """Fetch all that tells which shards are finished: one after the other it would take minutes."""
        journal = [name for name in names if name.startswith(f"{WORK_FOLDER}/") and name != _BEGUN_NAME]
        shards = [name for name in names if journal_name(name) in names]
        sized = [*shards, *names.intersection(map(index_name, shards))]
        self._read = dict(zip(journal, self._at_once(self._fetch, journal), strict=True))
        self._sizes = dict(zip(sized, self._at_once(self.store.size, sized), strict=True))

    @staticmethod
    def _at_once(function: Any, names: list[str]) -> list[Any]:
        if not names:
            return []
        with ThreadPoolExecutor(min(REQUESTS_AT_ONCE, len(names)), thread_name_prefix="shardpack ask") as threads:
            return list(threads.map(function, names))

    def _fetch(self, name: str) -> bytes:
        return bytes(self.store.buffer(name))

    def read(self, name: str) -> bytes | None:
        if name in self._read:
            return self._read[name]
        if self._staging is not None:
            with suppress(FileNotFoundError):  # the index of a shard that is on its way
                return Path(self._staging.join(name)).read_bytes()
        return self._fetch(name) if name in self._known() else None

    def size(self, name: str) -> int | None:
        if name not in self._known():
            return None
        return self._sizes[name] if name in self._sizes else self.store.size(name)

    def write(self, name: str, parts: Iterable[Any]) -> None:
        """See `DatasetOutput.write`; long files go through the local folder."""
        if name != MARK_NAME:
            self._check_turn()
        waiting: list[Any] = []
        length = 0
        rest = iter(parts)
        for part in rest:
            waiting.append(part)
            length += len(part)
            if length > _SPOOL_BYTES:
                break
        if length <= _SPOOL_BYTES:
            self._put(name, b"".join(waiting))
            return
        try:
            with open(self.workplace.join(name), "wb") as file:
                file.writelines(waiting)
                waiting.clear()
                file.writelines(rest)
            self._put(name, Path(self.workplace.join(name)))
        finally:
            self.workplace.delete([name])

    def settle(self) -> None:
        """What a store has taken, it keeps."""

    def delete(self, names: Iterable[str]) -> None:
        """See `DatasetOutput.delete`; after the first, all at once."""
        first, *others = names
        for group in ([first], others):
            self._at_once(self._delete, [name for name in group if name in self._known()])

    def _delete(self, name: str) -> None:
        self.store.delete(name)
        self._known().discard(name)
        self._read.pop(name, None)
        self._sizes.pop(name, None)

    def sweep(self) -> None:
        """Nothing to do: what is being uploaded is not there before it is whole."""

    def remove_work_folder(self) -> None:
        """Delete the work folder, its mark last."""
        found = [name for name in self.names() if name.startswith(f"{WORK_FOLDER}/") and name != MARK_NAME]
        self._at_once(self._delete, found)
        self.delete([MARK_NAME])

    def delivery(self, jobs: int) -> Uploads:
        return Uploads(self.deliver, jobs=jobs)

    def deliver(self, info: ShardInfo, made_of: str, *, folder: str | None = None) -> None:
        """Upload a shard and its index, and with them its journal entry; delete the local files.

        Args:
            info: What the files must be.
            made_of: Of what they were made.
            folder: Where the files are, if they are not of the workplace; they are kept then.

        Raises:
            CorruptShardError: A local file is not what `info` says.
            OutputExistsError: Another packer has begun here.
            StorageError: The store refused.
        """
        try:
            with storage_errors(f"upload {info.name!r}"):
                tar, index = (
                    Path(self.workplace.join(name) if folder is None else os.path.join(folder, name))
                    for name in (info.name, info.index_name)
                )
                check_file(index, info.index_name, num_bytes=info.index_bytes, checksum=info.index_crc32c)
                check_file(tar, info.name, num_bytes=info.num_bytes, checksum=info.crc32c)
                self._check_turn()
                self._put(journal_name(info.name), journal_entry(info, made_of))
                self._put(info.index_name, index)
                self._put(info.name, tar)
        finally:
            if folder is None:
                self.workplace.delete([info.name, info.index_name])

    def _put(self, name: str, source: bytes | Path) -> None:
        self._read.pop(name, None)
        self._sizes.pop(name, None)
        # What arrives damaged in the work folder costs making a shard again, and no more: it is not asked back.
        (self.store if name.startswith(f"{WORK_FOLDER}/") else self._sender).put(name, source)
        self._known().add(name)

    def _check_turn(self) -> None:
        """Raise OutputExistsError if another packer has begun here, or ended."""
        try:
            same = self._fetch(_BEGUN_NAME) == self._begun
        except (ShardNotFoundError, StaleIndexError):
            same = False
        if not same:
            raise self.busy()


class BucketHold:
    """A packer's local folder and its lock; the bucket itself has none. See `Hold`."""

    def __init__(self, staging: Staging, lock: FolderLock) -> None:
        self._staging, self._lock = staging, lock

    def __enter__(self) -> BucketHold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self, *, shared: bool = False) -> bool:  # noqa: ARG002 - there is nothing to take
        return True

    def is_current(self) -> bool:
        return True

    def release(self) -> None:
        self._staging.remove()
        self._lock.release()
