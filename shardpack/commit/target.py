"""From made shards to a dataset, wherever it is written: the order of writes that survives a kill at any moment.

    .shardpack/                    the work folder; gone when the dataset is complete
        shard-000003.tar.json      journal: what the finished shard is, and of what it was made
        run.json                   the mark: of what the whole dataset was made
    shard-000003.index, .tar       a shard is finished when its journal entry and its tar are there
    keys.index, shardpack.json     last

A shard's journal entry is there before its tar gets its name, and an older tar of that name is gone
before that. So a tar with its name and a matching entry is whole, and everything else can be written
again without a loss. The mark is there before the manifest, and is removed after all else.

What differs between a folder (`publish.py`) and a bucket (`bucket.py`) is behind the abstract methods.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from shardpack.errors import OutputExistsError
from shardpack.format import key_index, manifest
from shardpack.format.assemble import REJECTED_NAME, Parts
from shardpack.format.manifest import WORK_FOLDER, Manifest, ShardInfo
from shardpack.format.shard_index import ShardIndex
from shardpack.runtime.engine import Backpressure
from shardpack.storage.atomic import NewFile

OTHER_NAMES = frozenset({key_index.FILE_NAME, REJECTED_NAME})
MARK_NAME = f"{WORK_FOLDER}/run.json"
_SHARD_FILE = re.compile(r"shard-\d{6,}\.(tar|index)", re.ASCII)
_JOURNAL = re.compile(rf"{re.escape(WORK_FOLDER)}/(.+\.tar)\.json", re.ASCII)


class Workplace(Protocol):
    """A folder of this machine in which workers make shards. Pickles."""

    def join(self, *names: str) -> str:
        """Return the path of a file there."""
        ...

    def share(self) -> AbstractContextManager[Any]:
        """Return the lock under which a worker writes, which it shares with its parent and the others."""
        ...

    def new_shard(self, name: str, *, expected_bytes: int = 0) -> NewFile:
        """Open a shard for writing under a temporary name that no other process uses."""
        ...

    def finish_shard(self, name: str, file: NewFile, index: ShardIndex, made_of: str) -> ShardInfo:
        """Give a written shard its name, and its index."""
        ...


class Delivery(Backpressure, Protocol):
    """The way of shards from the workplace to the dataset. A context manager."""

    def __enter__(self) -> Delivery: ...

    def __exit__(self, *_: object) -> None: ...

    def submit(self, info: ShardInfo, made_of: str) -> None:
        """Deliver a shard that was made after an `acquire`; does not wait for its arrival."""
        ...

    def arrived(self) -> list[ShardInfo]:
        """Return the shards that are finished since the last call; raises what went wrong with one."""
        ...

    def rest(self) -> Iterator[ShardInfo]:
        """Wait for all that was submitted, and yield each as it is finished."""
        ...


class Hold(Protocol):
    """What keeps other packers out, as far as the place has such a thing. A context manager."""

    def __enter__(self) -> Hold: ...

    def __exit__(self, *_: object) -> None: ...

    def take(self, *, shared: bool = False) -> bool:
        """Return whether it is ours now; if not, somebody else holds it."""
        ...

    def is_current(self) -> bool:
        """Return whether what is held is still in its place."""
        ...

    def release(self) -> None:
        """Give it up. Safe to call twice."""
        ...


class DatasetOutput(ABC):
    """A place that a dataset is written to. Names are those of the dataset's files, parted by "/"."""

    __slots__ = ()

    # What a place must offer

    @property
    @abstractmethod
    def location(self) -> str:
        """Where this is, for people: without secrets."""

    @property
    @abstractmethod
    def workplace(self) -> Workplace:
        """Where shards are made. Only under a claim."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the place itself, if it is not there."""

    @abstractmethod
    def lock(self) -> Hold:
        """Make the work folder, and return what holds it; not yet taken."""

    @abstractmethod
    def has_work_folder(self) -> bool:
        """Return whether a packer has begun here and not ended."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of the files here, and of the journal's."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a small file's bytes, or None if there is no such file."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return a file's length, or None if there is no such file."""

    @abstractmethod
    def write(self, name: str, parts: Iterable[Any]) -> None:
        """Write a file that is whole under its name, or not there."""

    @abstractmethod
    def settle(self) -> None:
        """Return when what was written would survive a power cut."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Delete files, the first before all others, as far as they are there."""

    @abstractmethod
    def sweep(self) -> None:
        """Delete what a packer was writing when it ended."""

    @abstractmethod
    def remove_work_folder(self) -> None:
        """Delete the work folder, its mark last."""

    @abstractmethod
    def delivery(self, jobs: int) -> Delivery:
        """Return how shards get here, if so many are made at a time."""

    # What is the same everywhere

    def busy(self) -> OutputExistsError:
        """Return the error that another packer is at work here."""
        return OutputExistsError(
            f"another process is packing into {self.location!r}; wait until it has ended, or choose another folder"
        )

    def has_manifest(self) -> bool:
        return self.size(manifest.FILE_NAME) is not None

    def files_like_ours(self) -> list[str]:
        """Return the files here that have the name of a part of a dataset, other than the manifest."""
        return sorted(name for name in self.names() if name in OTHER_NAMES or is_packer_name(name))

    def drop_shard(self, name: str) -> None:
        """Delete what there is of a shard: its journal entry first, so that the rest counts for nothing."""
        self.delete([journal_name(name), name, manifest.index_name(name)])

    def keep_only(self, names: Sequence[str]) -> None:
        """Delete all that an earlier run left, but for the shards named."""
        found = {name.rpartition(".")[0] + ".tar" for name in self.names() if is_packer_name(name)}
        for name in sorted((found | self._journalled()).difference(names)):
            self.drop_shard(name)

    def _journalled(self) -> set[str]:
        """Return the shards, however named, that the journal tells of: somebody's copy was cut off here."""
        found = set()
        for name in filter(_JOURNAL.fullmatch, self.names()):
            info = _info_of(_parsed(self.read(name)))
            if info and manifest.shard_name_problem(info.name) is None and journal_name(info.name) == name:
                found.add(info.name)
        return found

    def finished_shard(self, name: str, made_of: str) -> ShardInfo | None:
        """Return a shard that an earlier run finished from the same input, if there is one."""
        entry = _parsed(self.read(journal_name(name)))
        info = _info_of(entry)
        if info is None or entry["made_of"] != made_of:
            return None
        whole = self.size(name) == info.num_bytes and self.size(info.index_name) == info.index_bytes
        return info if whole else None

    def publish(self, files: Sequence[tuple[str, Parts]], *, mark: str = "") -> None:
        """Write what belongs to the whole dataset, in order, the manifest last; then remove the work folder.

        Args:
            files: (name, parts), as `encode_dataset` returns them.
            mark: What tells this run from one with other input.
        """
        *others, (manifest_name, manifest_parts) = files
        if REJECTED_NAME not in dict(others):
            self.delete([REJECTED_NAME])
        for name, parts in others:
            self.write(name, parts)
        self.write(MARK_NAME, [json.dumps({"mark": mark}).encode()])
        self.settle()
        self.write(manifest_name, manifest_parts)
        self.settle()
        self.remove_work_folder()

    def read_mark(self) -> str | None:
        """Return the mark of the run that made the dataset here, as long as the work folder is there."""
        entry = _parsed(self.read(MARK_NAME))
        return entry.get("mark") if isinstance(entry, dict) else None


def shard_name(number: int) -> str:
    """Return the name of a shard; numbers are without a gap."""
    return f"shard-{number:06d}.tar"


def is_packer_name(name: str) -> bool:
    """Return whether a packer could have named a shard or its index so."""
    return _SHARD_FILE.fullmatch(name) is not None


def flat_name(name: str) -> str:
    """Return a shard's name without folders, different for different names; a packer's as it is."""
    return name.replace("%", "%25").replace("/", "%2F")


def journal_name(name: str) -> str:
    """Return the name of a shard's journal entry."""
    return f"{WORK_FOLDER}/{flat_name(name)}.json"


def journal_entry(info: ShardInfo, made_of: str) -> bytes:
    """Return the journal entry of a shard."""
    return json.dumps({"made_of": made_of, "shard": manifest.record_of(info)}).encode()


def packer_names(whole: Manifest) -> set[str]:
    """Return the files of shards that a manifest lists, as far as they are named like a packer's."""
    names = {record["name"] for record in whole.records}
    return set(filter(is_packer_name, names | set(map(manifest.index_name, names))))


def is_packed(whole: Manifest) -> bool:
    """Return whether a packer wrote these shards, rather than found them."""
    options = whole.packed_with.get("options")
    return not (isinstance(options, dict) and options.get("indexed"))


def _parsed(text: bytes | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def _info_of(entry: Any) -> ShardInfo | None:
    """Return the shard that a journal entry tells of; None if it is no entry."""
    try:
        entry["made_of"]
        return Manifest([entry["shard"]], {}).shard(0)
    except (ValueError, KeyError, TypeError):
        return None
