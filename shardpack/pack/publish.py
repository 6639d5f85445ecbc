"""From temporary files to a dataset: the order of writes that survives a kill at any moment.

    OUT/.shardpack/                     the work folder; gone when the dataset is complete
        shard-000003.json               journal: what the finished shard is, and of what it was made
        shard-000003.tar.<pid>.tmp      being written
        run.json                        the mark: of what the whole dataset was made
    OUT/shard-000003.index, .tar        a shard is finished when its tar has this name
    OUT/keys.index, OUT/shardpack.json  last

A shard's journal entry is on the disk before its tar gets its name, and an older tar of that name is
gone before that. So a tar with its name and a matching entry is whole, and everything else can be
written again without a loss. The mark is there before the manifest, and is removed after all else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import OutputExistsError
from shardpack.format import key_index, manifest
from shardpack.format.checksum import crc32c
from shardpack.format.index import ShardIndex
from shardpack.format.manifest import Manifest, ShardInfo
from shardpack.pack.assembler import encode_finished
from shardpack.storage.files import NewFile, sync_folder, write_file
from shardpack.storage.locking import FolderLock

WORK_FOLDER = ".shardpack"
REJECTED_NAME = "rejected.jsonl"
OTHER_NAMES = frozenset({key_index.FILE_NAME, REJECTED_NAME})
_MARK_NAME = "run.json"
_SHARD_FILE = re.compile(r"shard-\d{6,}\.(tar|index)", re.ASCII)


def shard_name(number: int) -> str:
    """Return the name of a shard; numbers are without a gap."""
    return f"shard-{number:06d}.tar"


@dataclass(frozen=True, slots=True)
class Output:
    """The folder a dataset is packed into. Whoever writes holds the lock of its work folder."""

    path: str

    def join(self, *names: str) -> str:
        return os.path.join(self.path, *names)

    def has_work_folder(self) -> bool:
        return os.path.isdir(self.join(WORK_FOLDER))

    def lock(self) -> FolderLock:
        """Return the lock of the work folder, not yet taken; makes the folder."""
        while True:
            os.makedirs(self.join(WORK_FOLDER), exist_ok=True)
            with suppress(FileNotFoundError):  # its last owner removed it just now
                return FolderLock(self.join(WORK_FOLDER))

    def share(self) -> FolderLock:
        """Return the lock under which a worker writes, which it shares with its parent and the others."""
        lock = FolderLock(self.join(WORK_FOLDER))
        if not lock.take(shared=True):  # this worker's parent was killed, and another packer is there
            raise self.busy()
        return lock

    def busy(self) -> OutputExistsError:
        """Return the error that another packer is at work here."""
        return OutputExistsError(
            f"another process is packing into {self.path!r}; wait until it has ended, or choose another folder"
        )

    def sweep(self) -> None:
        """Delete what a packer was writing when it ended."""
        if self.has_work_folder():
            for name in os.listdir(self.join(WORK_FOLDER)):
                if name.endswith(".tmp"):
                    os.unlink(self.join(WORK_FOLDER, name))

    def files_like_ours(self) -> list[str]:
        """Return the files here that have the name of a part of a dataset, other than the manifest."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name in OTHER_NAMES or _SHARD_FILE.fullmatch(name))

    def delete(self, names: Iterable[str]) -> None:
        """Delete files of the dataset, in this order, as far as they are there."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self.join(name))

    def drop_shard(self, name: str) -> None:
        """Delete what there is of a shard: its journal entry first, so that the rest counts for nothing."""
        self.delete([self._journal_name(name), name, manifest.index_name(name)])

    def keep_only(self, names: Sequence[str]) -> None:
        """Delete all that an earlier run left, but for the shards named."""
        for name in {found.rpartition(".")[0] + ".tar" for found in self.files_like_ours()}.difference(names):
            if _SHARD_FILE.fullmatch(name):
                self.drop_shard(name)

    def new_shard(self, name: str, *, expected_bytes: int = 0) -> NewFile:
        """Open a shard for writing under a temporary name that no other process uses."""
        return NewFile(self._temporary(name), expected_bytes=expected_bytes)

    def finish_shard(self, name: str, file: NewFile, index: ShardIndex, made_of: str) -> ShardInfo:
        """Publish a written shard with its index and its journal entry."""
        parts, index_bytes, index_crc32c = encode_finished(index)
        info = shard_info(name, index, index_bytes, index_crc32c)
        file.sync()
        entry = {"made_of": made_of, "shard": manifest.record_of(info)}
        self._write(self._journal_name(name), [json.dumps(entry).encode()])
        self._write(info.index_name, parts)
        file.publish(self.join(name))
        sync_folder(self.path)
        return info

    def finished_shard(self, name: str, made_of: str) -> ShardInfo | None:
        """Return a shard that an earlier run finished from the same input, if there is one."""
        entry = self._read_json(self._journal_name(name))
        try:
            info = Manifest([entry["shard"]], {}).shard(0)
            whole = (
                entry["made_of"] == made_of
                and os.path.getsize(self.join(name)) == info.num_bytes
                and os.path.getsize(self.join(info.index_name)) == info.index_bytes
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return info if whole else None

    def complete(
        self,
        shards: Sequence[ShardInfo],
        hashes: npt.NDArray[np.uint64],
        *,
        classes: Sequence[str] | None = None,
        packed_with: Mapping[str, Any],
        rejected: Sequence[tuple[str, str]] = (),
        mark: str = "",
    ) -> Manifest:
        """Write what belongs to the whole dataset, the manifest last; then remove the work folder.

        Args:
            shards: All of them, finished.
            hashes: Of all keys, in order.
            classes, packed_with: For the manifest.
            rejected: (name, reason) of samples left out, for a list beside the shards.
            mark: What tells this run from one with other input.
        """
        whole, keys = encode_dataset(shards, hashes, classes=classes, packed_with=packed_with)
        if rejected:
            lines = [json.dumps({"name": name, "reason": reason}) + "\n" for name, reason in rejected]
            self._write(REJECTED_NAME, ["".join(lines).encode()])
        else:
            self.delete([REJECTED_NAME])
        self._write(key_index.FILE_NAME, keys)
        self._write(os.path.join(WORK_FOLDER, _MARK_NAME), [json.dumps({"mark": mark}).encode()])
        sync_folder(self.path)
        self._write(manifest.FILE_NAME, [manifest.encode_manifest(whole)])
        sync_folder(self.path)
        self.remove_work_folder()
        return whole

    def read_mark(self) -> str | None:
        """Return the mark of the run that made the dataset here, as long as the work folder is there."""
        entry = self._read_json(os.path.join(WORK_FOLDER, _MARK_NAME))
        return entry.get("mark") if isinstance(entry, dict) else None

    def remove_work_folder(self) -> None:
        """Delete the work folder, its mark last."""
        names = os.listdir(self.join(WORK_FOLDER))
        self.delete(os.path.join(WORK_FOLDER, name) for name in names if name != _MARK_NAME)
        shutil.rmtree(self.join(WORK_FOLDER))

    @staticmethod
    def names_of(whole: Manifest) -> set[str]:
        """Return the files of shards that a manifest lists, as far as they are named like a packer's."""
        names = {record["name"] for record in whole.records}
        return {name for name in names | set(map(manifest.index_name, names)) if _SHARD_FILE.fullmatch(name)}

    @staticmethod
    def is_packed(whole: Manifest) -> bool:
        """Return whether a packer wrote these shards, rather than found them."""
        options = whole.packed_with.get("options")
        return not (isinstance(options, dict) and options.get("indexed"))

    def _write(self, name: str, parts: Iterable[Any]) -> None:
        write_file(self.join(name), parts, temporary=self._temporary(os.path.basename(name)))

    def _temporary(self, name: str) -> str:
        return self.join(WORK_FOLDER, f"{name}.{os.getpid()}.tmp")

    def _read_json(self, name: str) -> Any:
        try:
            with open(self.join(name), "rb") as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    @staticmethod
    def _journal_name(name: str) -> str:
        return os.path.join(WORK_FOLDER, f"{name}.json")


def encode_dataset(
    shards: Sequence[ShardInfo],
    hashes: npt.NDArray[np.uint64],
    *,
    unique_keys: bool = True,
    classes: Sequence[str] | None = None,
    packed_with: Mapping[str, Any],
) -> tuple[Manifest, list[bytes | memoryview]]:
    """Return the manifest and the parts of the key index for shards that are in place."""
    parts = key_index.encode_key_index(hashes)
    checksum = 0
    for part in parts:
        checksum = crc32c(part, checksum)
    keys = {
        "name": key_index.FILE_NAME,
        "num_bytes": sum(map(len, parts)),
        "crc32c": f"{checksum:08x}",
        "unique": unique_keys,
    }
    return Manifest([manifest.record_of(info) for info in shards], keys, classes, packed_with), parts


def write_dataset(folder: str, whole: Manifest, keys: Iterable[bytes | memoryview]) -> None:
    """Write the key index and, last of all, the manifest, for shards that nobody here wrote."""
    write_file(os.path.join(folder, key_index.FILE_NAME), keys)
    write_file(os.path.join(folder, manifest.FILE_NAME), [manifest.encode_manifest(whole)])
    sync_folder(folder)


def shard_info(name: str, index: ShardIndex, index_bytes: int, index_crc32c: int) -> ShardInfo:
    """Return what the manifest says of a shard."""
    return ShardInfo(
        name=name,
        num_samples=index.num_samples,
        num_bytes=index.shard_bytes,
        crc32c=index.shard_crc32c,
        index_bytes=index_bytes,
        index_crc32c=index_crc32c,
        samples_per_field=index.samples_per_field(),
    )
