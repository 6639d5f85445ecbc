"""What `pack` has made in the namespace of an edit, as shards of the dataset that grows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from shardpack.commit.generations import newest_undamaged
from shardpack.commit.target import Target
from shardpack.edit.base import EditBase
from shardpack.format.assemble import encode_dataset
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import KeySegmentReader
from shardpack.format.layout import file_path, index_path, tagged_shard_name
from shardpack.format.naming import key_bytes
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.format.splits import NO_SPLIT, Splits
from shardpack.read.open_dataset import shards_of
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.threads import ordered_map
from shardpack.storage.overlay import OverlayStore

_INDEXES_AT_ONCE = 8


@dataclass(frozen=True, slots=True, eq=False)
class AddedShards:
    """What `pack` has made in the namespace.

    Attributes:
        shards: The shards, as `pack` calls them.
        hashes: Hashes of all keys, in order.
    """

    shards: Sequence[ShardInfo]
    hashes: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, target: Target) -> AddedShards:
        """Return what is in a namespace that is complete."""
        newest = newest_undamaged(target)
        assert newest is not None
        manifest = newest.manifest
        hashes = np.zeros(0, np.uint64)
        for segment in manifest.key_segments:
            data = memoryview(target.read(file_path(segment)) or b"")
            hashes = KeySegmentReader(partial(_range, data), segment, path=file_path(segment)).hashes()
        return cls(list(ShardTable.whole(manifest, target.read)), hashes)

    @property
    def num_samples(self) -> int:
        """Number of samples."""
        return len(self.hashes)

    def named(self, tag: str, location: int) -> list[ShardInfo]:
        """Return the shards as they are called in the dataset."""
        return [replace(info, name=tagged_shard_name(info.name, tag), location=location) for info in self.shards]

    def keys(self, target: Target) -> list[bytes]:
        """Return all keys, from the indexes of the shards."""

        def keys_of(info: ShardInfo) -> list[str]:
            path = index_path(info.name)
            return parse_index(target.read(path) or b"", name=path).keys()

        with closing(ordered_map(self.shards, keys_of, depth=_INDEXES_AT_ONCE, purpose="keys")) as found:
            return [key_bytes(key) for keys in found for key in keys]

    def cache(self, base: EditBase, tag: str, location: int, locations: Sequence[str]) -> ShardCache:
        """Return the new samples as a dataset of their own; close it with its stores."""
        manifest, files = encode_dataset(
            self.named(tag, location), self.hashes, locations=locations, packed_with={"options": {}}
        )
        sidecars = OverlayStore({name: b"".join(parts) for name, parts in files}, base.store)
        *_, (_, text) = files
        checksum = crc32c(b"".join(text))
        return shards_of(
            base.store, manifest, manifest_crc32c=checksum, options=base.options, sidecars=sidecars, verify=False
        )

    def splits(self, splits: Splits | None, first: int) -> Splits | None:
        """Return the splits that the new samples are in, those that fall into one by their hash included.

        Args:
            splits: Those of the whole dataset, with the new samples.
            first: Stored position of the first new sample.
        """
        if splits is None:
            return None
        numbers = splits.numbers(np.arange(first, first + self.num_samples))
        numbers = np.where(numbers == NO_SPLIT, splits.numbers_of_hashes(self.hashes), numbers)
        edges = np.flatnonzero(np.diff(numbers)) + 1
        begin, end = np.concatenate([[0], edges]), np.concatenate([edges, [len(numbers)]])
        inside = numbers[begin] != NO_SPLIT if len(numbers) else np.zeros(1, bool)
        number = numbers[begin[inside]] if len(numbers) else numbers
        return Splits(splits.names, begin[inside] + first, end[inside] + first, number)


def _range(data: memoryview, start: int, length: int) -> memoryview:
    return data[start : start + length]
