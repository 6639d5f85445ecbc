"""From temporary files to a dataset: the order of writes that survives a kill at any moment.

    OUT/.shardpack/                     the work folder; gone when the dataset is complete
        shard-000003.json               journal: what the finished shard is, and of what it was made
        shard-000003.tar.<pid>.tmp      being written
    OUT/shard-000003.index, .tar        a shard is finished when its tar has this name
    OUT/keys.index, OUT/shardpack.json  last

A shard's journal entry is on the disk before its tar gets its name. So a tar with its name and a
matching entry is whole, and everything else can be written again without a loss.
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

WORK_FOLDER = ".shardpack"
REJECTED_NAME = "rejected.jsonl"
_OURS = re.compile(r"shard-\d{6,}\.(tar|index)")


def shard_name(number: int) -> str:
    return f"shard-{number:06d}.tar"


@dataclass(frozen=True, slots=True)
class Output:
    """The folder a dataset is packed into."""

    path: str

    def join(self, *names: str) -> str:
        return os.path.join(self.path, *names)

    def prepare(self, *, force: bool) -> None:
        """Make the folder ready for a new dataset, or for going on with an unfinished one.

        Raises:
            OutputExistsError: There is a dataset or a shard that this would overwrite.
        """
        os.makedirs(self.path, exist_ok=True)
        unfinished = os.path.isdir(self.join(WORK_FOLDER))
        complete = os.path.exists(self.join(manifest.FILE_NAME))
        if (complete or (self.leftovers() and not unfinished)) and not force:
            what = "a dataset" if complete else "shards without a manifest"
            raise OutputExistsError(f"{self.path!r} already holds {what}; choose another folder, or pass --force")
        if complete or not unfinished:
            self.clear()
        os.makedirs(self.join(WORK_FOLDER), exist_ok=True)
        for name in os.listdir(self.join(WORK_FOLDER)):
            if name.endswith(".tmp"):
                os.unlink(self.join(WORK_FOLDER, name))

    def leftovers(self) -> list[str]:
        """Return the files here that are named like ours."""
        return sorted(name for name in os.listdir(self.path) if _OURS.fullmatch(name))

    def clear(self) -> None:
        """Delete the dataset here: the manifest first, so that half of it never looks whole."""
        for name in (manifest.FILE_NAME, key_index.FILE_NAME, REJECTED_NAME):
            with suppress(FileNotFoundError):
                os.unlink(self.join(name))
        for name in self.leftovers():
            os.unlink(self.join(name))
        shutil.rmtree(self.join(WORK_FOLDER), ignore_errors=True)

    def new_shard(self, name: str, *, expected_bytes: int = 0) -> NewFile:
        """Open a shard for writing under a temporary name that no other process uses."""
        return NewFile(self.join(WORK_FOLDER, f"{name}.{os.getpid()}.tmp"), expected_bytes=expected_bytes)

    def finish_shard(self, name: str, file: NewFile, index: ShardIndex, made_of: str) -> ShardInfo:
        """Publish a written shard with its index and its journal entry."""
        parts, index_bytes, index_crc32c = encode_finished(index)
        info = shard_info(name, index, index_bytes, index_crc32c)
        file.sync()
        entry = {"made_of": made_of, "shard": manifest.record_of(info)}
        write_file(self._journal_path(name), [json.dumps(entry).encode()])
        index_path = self.join(WORK_FOLDER, f"{info.index_name}.{os.getpid()}.tmp")
        write_file(self.join(info.index_name), parts, temporary=index_path)
        file.publish(self.join(name))
        sync_folder(self.path)
        return info

    def finished_shard(self, name: str, made_of: str) -> ShardInfo | None:
        """Return a shard that an earlier run finished from the same input, if there is one."""
        try:
            with open(self._journal_path(name), "rb") as file:
                entry = json.load(file)
            record = entry["shard"]
            info = Manifest([record], {}).shard(0)
            whole = (
                os.path.getsize(self.join(name)) == info.num_bytes
                and os.path.getsize(self.join(info.index_name)) == info.index_bytes
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return info if whole and entry.get("made_of") == made_of else None

    def keep_only(self, names: Sequence[str]) -> None:
        """Delete shards of an earlier run that are not among `names`."""
        kept = {*names, *(manifest.index_name(name) for name in names)}
        for name in self.leftovers():
            if name not in kept:
                os.unlink(self.join(name))

    def complete(
        self,
        shards: Sequence[ShardInfo],
        hashes: npt.NDArray[np.uint64],
        *,
        classes: Sequence[str] | None = None,
        packed_with: Mapping[str, Any],
    ) -> Manifest:
        """Write the key index and, last of all, the manifest; then remove the work folder."""
        whole, keys = encode_dataset(shards, hashes, classes=classes, packed_with=packed_with)
        write_dataset(self.path, whole, keys)
        shutil.rmtree(self.join(WORK_FOLDER))
        return whole

    def write_rejected(self, rejected: Sequence[tuple[str, str]]) -> None:
        """Write the reject list beside the shards, one JSON object a line."""
        lines = [json.dumps({"name": name, "reason": reason}) + "\n" for name, reason in rejected]
        write_file(
            self.join(REJECTED_NAME), ["".join(lines).encode()], temporary=self.join(WORK_FOLDER, "rejected.tmp")
        )

    def _journal_path(self, name: str) -> str:
        return self.join(WORK_FOLDER, f"{name}.json")


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
    """Write the key index and, last of all, the manifest."""
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
