"""Where the indexes, the key index and the manifest go, and what is there already.

    OUT/.shardpack/index-<hash of the name>.json   journal: a tar's version, and what its index is
    OUT/<tar>.index                                before its journal entry
    OUT/keys.index, OUT/shardpack.json             last; the journal is deleted after them

The journal is kept for tars that are far away. A run that is cut off leaves it, and the next one takes
what is of the same version of a tar: its length and ETag.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any

from xxhash import xxh3_64_hexdigest

from shardpack._version import __version__
from shardpack.errors import FormatError, OptionError, OutputExistsError, ShardNotFoundError, StorageError
from shardpack.format import key_index, manifest
from shardpack.format.manifest import WORK_FOLDER, Manifest, ShardInfo
from shardpack.index.find import TarSet
from shardpack.index.grouping import IndexedTar
from shardpack.read.shard_checks import checked_index, fetch_index
from shardpack.storage.open import open_store
from shardpack.storage.overlay import is_followed
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import WEB_SCHEMES, is_url

_JOURNAL = f"{WORK_FOLDER}/index-"
REQUESTS_AT_ONCE = 16


class Place:
    """A store that the indexes of some tars go to. Safe in threads."""

    def __init__(self, store: WritableStore, found: TarSet, shards_at: str | None) -> None:
        self.store, self.shards_at = store, shards_at
        self._found = found
        self._on_disk = not is_url(store.location)
        self._new: list[str] = []

    @property
    def location(self) -> str:
        """The place, for people."""
        return self.store.location

    # Before anything is read

    def refuse(self, *, force: bool) -> None:
        """Raise if this is no place to write to, or if something is in the way.

        Raises:
            OutputExistsError: A dataset is unfinished there, has more tars, or is there; or an index
                is somebody else's. The last two only without `force`.
            StorageError: The folder may not be written to.
        """
        packing = any(not name.startswith(_JOURNAL) for name in self._work_names())
        if packing or (self._found.on_disk and self.shards_at and os.path.isdir(self._found.path(WORK_FOLDER))):
            raise OutputExistsError(
                f"the dataset in {self.location if packing else self._found.folder!r} is unfinished; "
                "run the same pack command again: it continues where it stopped"
            )
        known = set() if self._described is None else {record["name"] for record in self._described.records}
        if left := sorted(known.difference(self._found.names)):
            raise OutputExistsError(
                f"the dataset in {self.location!r} has {len(left)} more tar(s), such as {left[0]!r}; "
                f'index them all: "shardpack index --force {self._found.folder}"'
            )
        if not force:
            if self._has_manifest:
                raise OutputExistsError(
                    f"{self.location!r} already holds {manifest.FILE_NAME}; pass --force to index its tars again"
                )
            if self._on_disk:
                for name in (key_index.FILE_NAME, *map(manifest.index_name, self._found.names)):
                    self.refuse_foreign(name)
        if self._on_disk:
            os.makedirs(self.location, exist_ok=True)
            if not os.access(self.location, os.W_OK):
                raise StorageError(
                    f'cannot write to {self.location!r}; change its permissions, or open with index="memory"'
                )

    def refuse_foreign(self, name: str) -> None:
        """Raise OutputExistsError if there is a file of this name that no run of ours has made."""
        if self._on_disk or name in self._names:
            with suppress(ShardNotFoundError):
                start = self.store.get_range(name, start=0, length=min(4096, self.store.size(name)))
                if b'"format":"shardpack-' not in start:
                    where = os.path.join(self.location, name) if self._on_disk else f"{self.location}/{name}"
                    raise OutputExistsError(f"{where!r} is no index of ours; move it away, or pass --force")

    @property
    def before(self) -> Manifest | None:
        """The manifest that is about to be replaced, if it is sound."""
        return self._described

    @cached_property
    def _described(self) -> Manifest | None:
        try:
            return manifest.parse_manifest(bytes(self.store.buffer(manifest.FILE_NAME)))
        except (FormatError, ShardNotFoundError):
            return None

    @cached_property
    def _has_manifest(self) -> bool:
        try:
            return self.store.size(manifest.FILE_NAME) >= 0
        except ShardNotFoundError:
            return False

    def _work_names(self) -> Iterable[str]:
        if not self._on_disk:
            return [name for name in self._names if name.startswith(f"{WORK_FOLDER}/")]
        try:
            names = os.listdir(os.path.join(self.location, WORK_FOLDER))
        except OSError:
            return []
        return [f"{WORK_FOLDER}/{name}" for name in names] or [WORK_FOLDER]

    @cached_property
    def _names(self) -> frozenset[str]:
        """What is there, in a bucket; nothing where it may not be listed: then nothing is resumed."""
        try:
            return frozenset(self.store.names())
        except StorageError:
            return frozenset()

    # Indexes

    def finished(self, name: str, *, checksums: bool | None) -> tuple[IndexedTar, ShardInfo] | None:
        """Return a tar's index from a run that was cut off, if the tar is still the same. Costs two requests."""
        if self._found.on_disk or _journal_name(name) not in (self._work_names() if self._on_disk else self._names):
            return None
        try:
            entry = json.loads(bytes(self.store.buffer(_journal_name(name))))
            info = Manifest([entry["shard"]], {}).shard(0)
            same = entry["version"] == self._version(name) and info.name == name and entry["made_by"] == __version__
            if not same or (checksums and info.crc32c is None):
                return None
            index = checked_index(fetch_index(self.store, info), info)
            return IndexedTar(name, index, int(entry["without_key"]), dict(entry["ignored"])), info
        except (FormatError, ShardNotFoundError, ValueError, KeyError, TypeError):
            return None

    def write(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        """Write an index, or another file; remembers what was not there before."""
        if self._on_disk and not os.path.exists(os.path.join(self.location, name)):
            self._new.append(name)
        try:
            self.store.put(name, b"".join(parts))
        except StorageError as error:
            if self._on_disk:
                raise
            raise StorageError(f"{error.args[0]}; or name another place for the indexes: --out", shard=name) from error

    def note(self, indexed: IndexedTar, info: ShardInfo) -> None:
        """Write the journal entry of a tar whose index is written."""
        version = self._version(indexed.name)
        if version is not None:
            entry = {
                "version": version,
                "made_by": __version__,
                "without_key": indexed.without_key,
                "ignored": dict(indexed.ignored),
            }
            text = json.dumps({**entry, "shard": manifest.record_of(info)})
            self.store.put(_journal_name(indexed.name), text.encode())

    def read(self, name: str) -> Any:
        """Return an index that was written."""
        return self.store.buffer(name)

    def undo(self) -> None:
        """Delete what this run has written, where nothing is gained by keeping it: the tars are near."""
        if self._found.on_disk:
            for name in self._new:
                with suppress(OSError):
                    self.store.delete(name)

    def finish(self, files: Sequence[tuple[str, Sequence[bytes | memoryview]]]) -> None:
        """Write what belongs to the whole dataset, the manifest last; then delete the journal."""
        for name, parts in files:
            self.write(name, parts)
        if self._found.on_disk:
            return
        names = [_journal_name(name) for name in self._found.names]
        with ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="shardpack-index") as threads:
            list(threads.map(self.store.delete, names))
        if self._on_disk:
            with suppress(OSError):
                os.rmdir(os.path.join(self.location, WORK_FOLDER))

    def _version(self, name: str) -> list[Any] | None:
        """Return what tells a tar from one that takes its name later; None where the server does not tell."""
        version = self._found.store.version(name)
        return [version.size, version.etag] if version.etag else None


def place_for(
    found: TarSet,
    out: str | os.PathLike[str] | None,
    options: Mapping[str, Any] | None,
    out_options: Mapping[str, Any] | None,
) -> Place:
    """Return where the indexes of some tars go: beside them, or to `out`.

    Raises:
        OptionError: Indexes cannot be there, or nobody who opens them there would find the tars.
    """
    if out is None:
        if out_options:
            raise OptionError("out_options are for out; name it, or leave them out")
        if found.folder.partition("://")[0] in WEB_SCHEMES:
            raise OptionError(
                f"cannot write to {found.folder!r}: a web server takes no files; "
                "name a folder or bucket for the indexes: --out (out=)"
            )
        return Place(found.store, found, None)
    out = os.fspath(out)
    if is_url(out):
        if out.partition("://")[0] in WEB_SCHEMES:
            raise OptionError(f"cannot write to {out.partition('?')[0]!r}: a web server takes no files")
        if found.on_disk:
            raise OptionError(
                f"tars on this disk cannot be found from {out!r}; write the indexes beside them, then copy both"
            )
        same_kind = out.partition("://")[0] == found.folder.partition("://")[0]
        store = open_store(out, out_options or (options if same_kind else None))
        here = store.location == found.folder
        return Place(store, found, None if here else _checked(found.folder, store.location, found))
    store = open_store(os.path.abspath(out), out_options)
    if found.on_disk and os.path.realpath(out) == os.path.realpath(found.folder):
        return Place(found.store, found, None)
    return Place(store, found, _checked(_from(store.location, found), store.location, found))


def _from(folder: str, found: TarSet) -> str:
    """Return where the tars are, as seen from a folder."""
    if not found.on_disk:
        return found.folder
    try:
        there = os.path.relpath(os.path.realpath(found.folder), os.path.realpath(folder))
    except ValueError:  # another drive of Windows
        there = found.folder
    return there.replace(os.sep, "/")


def _checked(shards_at: str, home: str, found: TarSet) -> str:
    if is_url(shards_at) and not is_followed(shards_at.partition("://")[0], home):
        raise OptionError(
            f"tars at {shards_at!r} are not found from elsewhere (SPEC 6.4); write the indexes beside them"
        )
    if (problem := manifest.place_problem(shards_at, found.names)) is not None:
        raise OptionError(f"cannot say in {home!r} where the tars are: {problem}")
    return shards_at


def _journal_name(name: str) -> str:
    return f"{_JOURNAL}{xxh3_64_hexdigest(name.encode('utf-8', 'surrogateescape'))}.json"
