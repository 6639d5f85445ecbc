"""Make a dataset of very many shards that holds nothing but its tables and indexes: tars are sparse files.

Of a tar only the headers of the first and the last sample are there, where a reader looks; payloads read as
zeros. With `keys`, every shard has an index with keys of its own, and the key index is whole. Without, all
shards are links to one tar and one index, and the key index is a hole: a million shards of 10,000 samples
then take the room of their table.

The only benchmark that knows the library from inside: it encodes tables that no one could wait for.
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

from shardpack.format import assemble, manifest
from shardpack.format import tar_header as tar
from shardpack.format.assemble import build_index
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import file_path
from shardpack.format.manifest import KeySegment
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo

FIELDS, SIZES = ("jpg", "json"), (2500, 120)
KEY_DIGITS = 12
SHARD_CRC32C = 0  # nobody reads whole shards here
LINKS = 60_000  # to one file; ext4 allows 65,000


def key_of(position: int) -> str:
    """Return the key of a sample."""
    return f"{position:0{KEY_DIGITS}d}"


@dataclass(frozen=True)
class Huge:
    """A synthetic dataset: `num_shards` shards of `shard_samples` samples each, with or without keys of their own."""

    folder: Path
    num_shards: int
    shard_samples: int
    keys: bool

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
            crc32c=np.tile(np.array([crc32c(bytes(size)) for size in SIZES], np.uint32), self.shard_samples),
            header_bytes=np.full(len(row), tar.BLOCK),
            shard_bytes=int(ends[-1]) + len(tar.END_OF_ARCHIVE),
            shard_crc32c=SHARD_CRC32C,
            end_of_data=int(ends[-1]),
        )

    def write_shard(self, number: int) -> tuple[ShardInfo, npt.NDArray[np.uint64]]:
        """Write one tar and its index; return what the table says of it, and the hashes of its keys."""
        first = number * self.shard_samples
        positions = np.arange(first, first + self.shard_samples)
        powers = 10 ** np.arange(KEY_DIGITS - 1, -1, -1)
        heap = (positions[:, None] // powers % 10 + ord("0")).astype(np.uint8).reshape(-1)
        index = replace(self.template, key_heap=heap)
        info, parts = assemble.encode_shard(f"shard-{number:06d}.tar", index)
        self._write(info.index_path, parts)
        descriptor = os.open(self.folder / info.name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.truncate(descriptor, index.shard_bytes)
        for row in {0, self.shard_samples - 1}:
            for column, field in enumerate(FIELDS):
                header = tar.header(f"{index.key(row)}.{field}".encode(), SIZES[column])
                os.pwrite(descriptor, header, int(index.data_offset[row * len(FIELDS) + column]) - len(header))
        os.close(descriptor)
        text = heap.tobytes()
        keys = (text[at : at + KEY_DIGITS].decode() for at in range(0, len(text), KEY_DIGITS))
        return info, hash_keys(keys)

    def write(self) -> None:
        """Write the whole dataset; the manifest last."""
        began = time.perf_counter()
        shards, hashes = self._write_shards() if self.keys else (self._link_shards(), np.empty(0, np.uint64))
        whole, files = assemble.encode_dataset(shards, hashes, packed_with=assemble.recorded_options())
        if not self.keys:
            count = self.num_shards * self.shard_samples
            hole = KeySegment("keys-000001-00000000.index", 16 * count, 0, 4096, 0, num_keys=count)
            with open(self.folder / file_path(hole), "wb") as file:
                file.truncate(hole.num_bytes)
            text = manifest.encode_manifest(replace(whole, key_segments=(hole,)))
            files = [(path, [text] if path.endswith(".json") else parts) for path, parts in files]
        for path, parts in files:
            self._write(path, parts)
        os.sync()
        print(f"made {self.folder.name} in {time.perf_counter() - began:.0f} s", file=sys.stderr)

    def _write_shards(self) -> tuple[list[ShardInfo], npt.NDArray[np.uint64]]:
        hashes = np.empty(self.num_shards * self.shard_samples, np.uint64)
        infos = []
        assert self.template.num_samples == self.shard_samples  # made once, before the processes part
        with ProcessPoolExecutor() as pool:
            for number, (info, some) in enumerate(pool.map(self.write_shard, range(self.num_shards), chunksize=32)):
                infos.append(info)
                hashes[number * self.shard_samples : (number + 1) * self.shard_samples] = some
        return infos, hashes

    def _link_shards(self) -> list[ShardInfo]:
        infos: list[ShardInfo] = []
        for number in range(self.num_shards):
            if number % LINKS == 0:
                made, _ = self.write_shard(number)
                infos.append(made)
            else:
                infos.append(replace(made, name=f"shard-{number:06d}.tar"))
                for path, link in ((made.name, infos[-1].name), (made.index_path, infos[-1].index_path)):
                    os.link(self.folder / path, self.folder / link)
        return infos

    def _write(self, path: str, parts: Any) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as file:
            file.writelines(parts)
