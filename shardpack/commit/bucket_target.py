"""A bucket as the target of a dataset: shards are made in a local folder, then uploaded with their journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from posixpath import basename
from typing import Any, TypeVar

from shardpack.commit.journal import entry_name, is_journal_name
from shardpack.commit.lease import LEASE_NAME
from shardpack.commit.scratch import ScratchDir, new_scratch
from shardpack.commit.upload import Uploader
from shardpack.errors import ShardNotFoundError, StaleIndexError, StorageError
from shardpack.format.layout import MANIFEST_PATH, WORK_FOLDER, index_path
from shardpack.runtime.threads import call_all
from shardpack.storage.lock import FolderLock
from shardpack.storage.protocols import WritableStore
from shardpack.storage.transfer import check_file

Value = TypeVar("Value")

REQUESTS_AT_ONCE = 16
_REPLACED = frozenset((LEASE_NAME, MANIFEST_PATH))  # all other files keep their bytes, or are our own
SPOOL_BYTES = 16 << 20  # longer files are assembled in a local file instead of in memory


def no_check() -> None:
    """Let a target write: no other run can take over what this one writes."""


def no_look(_name: str, _path: Path) -> None:
    """Let a file be uploaded without a look at it."""


class BucketTarget:
    """A folder of a bucket or of any other store, as a `Target`.

    It is listed once, when a transaction begins: after that, only this process writes here. If others write here by
    agreement, nothing but finished shards is remembered.
    """

    moves_files = False

    def __init__(
        self,
        store: WritableStore,
        work_dir: str | None = None,
        *,
        needs_list: bool = True,
        shared: bool = False,
        spool_bytes: int = SPOOL_BYTES,
        check: Callable[[], None] = no_check,
        look: Callable[[str, Path], None] = no_look,
    ) -> None:
        """Write to a store; makes no request yet.

        Args:
            store: The bucket.
            work_dir: Folder in which the local scratch folder is made; None for the system's temporary folder.
            needs_list: Whether a store that refuses to list its objects is an error; otherwise it counts as empty.
            shared: Whether other processes write here, too, by agreement.
            spool_bytes: Files longer than this are assembled in the scratch folder instead of in memory.
            check: Called before anything is written or deleted; raises if this process may not any more.
            look: Called with name and path of each local file before its upload, perhaps in several threads; of a shard
                first with its index, then with its tar.
        """
        self._store, self._uploader = store, Uploader(store)
        self._work_dir, self._needs_list, self._spool_bytes = work_dir, needs_list, spool_bytes
        self._shared, self._check, self._look = shared, check, look
        self._making = threading.Lock()
        self._held: tuple[ScratchDir, FolderLock] | None = None
        self._names: set[str] | None = None
        self._may_list = True
        self._read: dict[str, bytes] = {}  # journal entries that `refresh` fetched
        self._sizes: dict[str, int] = {}

    @property
    def location(self) -> str:
        return self._store.location

    @property
    def can_create(self) -> bool:
        return self._store.can_create

    def opener(self) -> Callable[[], BucketTarget]:
        return partial(BucketTarget, self._store, self._work_dir, shared=True)

    @property
    def scratch(self) -> ScratchDir:
        """A folder of this machine, deleted when the transaction ends."""
        with self._making:
            if self._held is None:
                self._held = new_scratch(self._work_dir)
            return self._held[0]

    def clear_scratch(self) -> None:
        """Do nothing: the folder is new, and creating it removed those of killed processes."""

    def drop_scratch(self) -> None:
        if self._held is not None:
            scratch, lock = self._held
            self._held = None
            scratch.remove()
            lock.release()

    def lock(self) -> None:
        """Do nothing: buckets have no locks; see `lease.py`."""

    def refresh(self) -> None:
        """List all objects, and fetch journal entries and sizes of shards concurrently: one by one takes minutes."""
        names = self._names = self._list()
        journal = [name for name in names if is_journal_name(name)]
        finished = {basename(name) for name in journal}
        shards = [name for name in names if basename(entry_name(name)) in finished]
        sized = [*shards, *names.intersection(map(index_path, shards))]
        self._read = self._all_present(self._fetch, journal)
        self._sizes = self._all_present(self._store.size, sized)

    def _list(self) -> set[str]:
        try:
            return set(self._store.names())
        except StorageError:
            if self._needs_list:
                raise
            self._may_list = False
            return set()

    def _all_present(self, function: Callable[[str], Value], names: Sequence[str]) -> dict[str, Value]:
        """Return function(name) for each name, without those that another process has deleted meanwhile."""

        def ask(name: str) -> tuple[str, Value] | None:
            with suppress(ShardNotFoundError, StaleIndexError):
                return name, function(name)
            return None

        return dict(filter(None, self._all(ask, names)))

    @staticmethod
    def _all(function: Any, names: Iterable[str]) -> list[Any]:
        return call_all(function, names, limit=REQUESTS_AT_ONCE, purpose="ask")

    def _fetch(self, name: str) -> bytes:
        return bytes(self._store.get(name))

    def names(self) -> list[str]:
        if self._shared:
            self._names = self._list()
        return sorted(self._known())

    def names_below(self, folder: str) -> list[str]:
        """Return the names of the objects in a folder; a store that lists no folders is listed as a whole."""
        start = f"{folder}/"
        if callable(names_below := getattr(self._store, "names_below", None)):
            return sorted(names_below(folder))
        return [name for name in self._store.names() if name.startswith(start)]

    def _known(self) -> set[str]:
        """Return the names of all objects, listed at the first call."""
        if self._names is None:
            self._names = self._list()
        return self._names

    def _is_absent(self, name: str) -> bool:
        """Return whether nothing has this name; while others write here, that is known of the journal only."""
        if self._shared and not (self._names and is_journal_name(name)):
            return False
        return name not in self._known() and self._may_list

    def size(self, name: str) -> int | None:
        if name in self._sizes:
            return self._sizes[name]
        if self._is_absent(name):
            return None
        with suppress(ShardNotFoundError):
            return self._store.size(name)
        return None

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes. Lease and manifest are always fetched: another process may have replaced them."""
        if name in self._read:
            return self._read[name]
        if name in _REPLACED and callable(forget := getattr(self._store, "forget", None)):
            forget(name)
        if name != LEASE_NAME and self._is_absent(name):
            return None
        with suppress(ShardNotFoundError, StaleIndexError):
            return self._fetch(name)
        return None

    def put(self, name: str, parts: Iterable[Any]) -> None:
        """Write a file; one longer than `spool_bytes` is assembled in the scratch folder first."""
        buffered: list[Any] = []
        length = 0
        rest = iter(parts)
        for part in rest:
            buffered.append(part)
            length += len(part)
            if length > self._spool_bytes:
                break
        if length <= self._spool_bytes:
            self._put(name, b"".join(buffered))
            return
        path = Path(self.scratch.join(name))
        try:
            with open(path, "wb") as file:
                file.writelines(buffered)
                buffered.clear()
                file.writelines(rest)
            self._put(name, path)
        finally:
            path.unlink(missing_ok=True)

    def replace(self, name: str, data: bytes) -> None:
        self._check()
        self._read.pop(name, None)
        self._store.put(name, data, cache_control=_cache_control(name))
        self.add([name])

    def put_unsynced(self, name: str, data: bytes) -> None:
        self._put(name, data)

    def create(self, name: str, parts: Iterable[Any]) -> None:
        if not self._store.can_create:
            self.put(name, parts)
            return
        self._check()
        self._store.create(name, b"".join(parts))
        self.add([name])

    def put_file(self, name: str, path: Path, *, num_bytes: int, crc32c: int | None) -> None:
        """Upload a file, verified before and after."""
        check_file(path, name, num_bytes=num_bytes, checksum=crc32c)
        self._look(name, path)
        self._put(name, path)

    def _put(self, name: str, source: bytes | Path) -> None:
        self._check()
        self._read.pop(name, None)
        self._sizes.pop(name, None)
        # Not verified in the work folder: a damaged journal entry costs only making one shard again.
        if name.startswith(f"{WORK_FOLDER}/"):
            self._store.put(name, source)
        else:
            self._uploader.put(name, source, cache_control=_cache_control(name))
        self.add([name])

    def add(self, names: Iterable[str]) -> None:
        if self._names is not None:
            self._names.update(names)

    def delete(self, names: Iterable[str]) -> None:
        """Delete the files that exist: the first one, then all others concurrently."""
        wanted = list(names)
        if wanted:
            self._check()
        for group in (wanted[:1], wanted[1:]):
            self._all(self._delete, [name for name in group if self._shared or name in self._known()])

    def _delete(self, name: str) -> None:
        self._store.delete(name)
        if self._names is not None:
            self._names.discard(name)
        self._read.pop(name, None)
        self._sizes.pop(name, None)

    def fsync(self) -> None:
        """Do nothing: what a store has accepted is durable."""


def _cache_control(name: str) -> str | None:
    """Return the header that keeps caches from serving an older copy of the manifest."""
    return "no-cache" if name == MANIFEST_PATH else None
