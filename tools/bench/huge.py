"""Make a dataset of many shards that holds nothing but its indexes: tars are sparse files.

Every shard has the same columns but for its keys, which are all of one length. Of each tar only the
headers of the first and the last sample are there, where a reader probes them; payloads read as zeros.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.format import key_index, manifest
from shardpack.format import tar_header as tar
from shardpack.format.checksum import crc32c
from shardpack.format.index_builder import build_index
from shardpack.format.key_index import encode_key_index, hash_keys
from shardpack.format.manifest import Manifest, ShardInfo, encode_manifest, record_of
from shardpack.format.shard_index import ShardIndex, encode_index

FIELDS, SIZES = ("jpg", "json"), (2500, 120)
KEY_DIGITS = 12
SHARD_CRC32C = 0  # nobody reads whole shards here


def key_of(position: int) -> str:
    """Return the key of a sample."""
    return f"{position:0{KEY_DIGITS}d}"


@dataclass(frozen=True)
class Huge:
    """A synthetic dataset: `num_shards` shards of `shard_samples` samples each."""

    folder: Path
    num_shards: int
    shard_samples: int

    @cached_property
    def template(self) -> ShardIndex:
        """The index of the first shard."""
        steps = [tar.BLOCK + tar.padded(size) for size in SIZES]
        row = np.repeat(np.arange(self.shard_samples), len(FIELDS))
        ends = np.cumsum(np.tile(steps, self.shard_samples))
        return build_index(
            keys=[key_of(position) for position in range(self.shard_samples)],
            fields=FIELDS,
            row=row,
            code=np.tile(np.arange(len(FIELDS)), self.shard_samples),
            data_offset=ends - np.tile(steps, self.shard_samples) + tar.BLOCK,
            size=np.tile(SIZES, self.shard_samples),
            crc32c=np.zeros(len(row), np.uint32),
            header_bytes=np.full(len(row), tar.BLOCK),
            shard_bytes=int(ends[-1]) + len(tar.END_OF_ARCHIVE),
            shard_crc32c=SHARD_CRC32C,
            end_of_data=int(ends[-1]),
        )

    def write_shard(self, number: int) -> tuple[dict[str, Any], npt.NDArray[np.uint64]]:
        """Write one tar and its index; return its entry in the manifest and the hashes of its keys."""
        first = number * self.shard_samples
        positions = np.arange(first, first + self.shard_samples)
        powers = 10 ** np.arange(KEY_DIGITS - 1, -1, -1)
        heap = (positions[:, None] // powers % 10 + ord("0")).astype(np.uint8).reshape(-1)
        index = replace(self.template, key_heap=heap)
        name = f"shard-{number:06d}.tar"
        checksum = num_bytes = 0
        with open(self.folder / manifest.index_name(name), "wb") as file:
            for part in encode_index(index):
                file.write(part)
                checksum, num_bytes = crc32c(part, checksum), num_bytes + len(part)
        self._write_tar(name, index)
        text = heap.tobytes()
        keys = (text[at : at + KEY_DIGITS] for at in range(0, len(text), KEY_DIGITS))
        counts = dict.fromkeys(FIELDS, self.shard_samples)
        info = ShardInfo(name, self.shard_samples, index.shard_bytes, SHARD_CRC32C, num_bytes, checksum, counts)
        return record_of(info), hash_keys(keys, self.shard_samples)

    def _write_tar(self, name: str, index: ShardIndex) -> None:
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.truncate(descriptor, index.shard_bytes)
        for row in {0, self.shard_samples - 1}:
            for member in index.members(row):
                name = f"{index.key(row)}.{index.field_of(member)}"
                header = tar.header(name.encode(), int(index.size[member]))
                os.pwrite(descriptor, header, int(index.data_offset[member]) - len(header))
        os.close(descriptor)

    def write(self) -> None:
        """Write the whole dataset; the manifest last."""
        began = time.perf_counter()
        self.folder.mkdir(parents=True, exist_ok=True)
        hashes = np.empty(self.num_shards * self.shard_samples, np.uint64)
        records = []
        assert self.template.num_samples == self.shard_samples  # made once, before the processes part
        with ProcessPoolExecutor() as pool:
            results = pool.map(self.write_shard, range(self.num_shards), chunksize=32)
            for number, (record, some) in enumerate(results):
                records.append(record)
                hashes[number * self.shard_samples : (number + 1) * self.shard_samples] = some
        parts = encode_key_index(hashes)
        checksum = 0
        with open(self.folder / key_index.FILE_NAME, "wb") as file:
            for part in parts:
                file.write(part)
                checksum = crc32c(part, checksum)
        keys = {"name": key_index.FILE_NAME, "num_bytes": sum(map(len, parts)), "crc32c": f"{checksum:08x}"}
        whole = Manifest(records, {**keys, "unique": True})
        (self.folder / manifest.FILE_NAME).write_bytes(encode_manifest(whole))
        os.sync()
        print(f"made {self.folder.name} in {time.perf_counter() - began:.0f} s", file=sys.stderr)
