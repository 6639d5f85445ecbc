"""Keys to positions: hash, one page of the key index, and the key itself as the last word."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from shardpack.errors import DuplicateKeyError, UnknownKeyError
from shardpack.format.key_index import KeyIndex, SegmentReader, hash_key
from shardpack.read.segment_file import SegmentFile, fetch_needed
from shardpack.read.shard_cache import ShardCache

LOOKUPS_PER_TRIM = 64  # each may map 2 MiB of a large key index, which then counts as memory of this process


class KeyLookup:
    """Look keys up in a dataset; shared by the dataset and its views. Safe in threads.

    Costs the first 64 KiB of the key index at first use; then one page of it and one key in a shard index. What is
    read of it is checked before it is used, so that "no such key" needs no further proof.
    """

    def __init__(self, shards: ShardCache) -> None:
        self._shards = shards
        segments = shards.manifest.keys
        self._files = [SegmentFile(shards.stores.sidecars, segment) for segment in segments]
        self._index = KeyIndex(
            [
                SegmentReader(file.load, segment, path=file.path)
                for file, segment in zip(self._files, segments, strict=True)
            ]
        )
        self._lookups = 0

    def position(self, key: str) -> int:
        """Return the position of the sample with this key.

        Raises:
            UnknownKeyError: No sample has it.
            DuplicateKeyError: Several samples have it, in a dataset that others wrote.
        """
        self._lookups += 1
        if self._lookups % LOOKUPS_PER_TRIM == 0:
            for file in self._files:
                file.trim()
        try:
            raw = key.encode("utf-8", "surrogateescape")
            hashed = hash_key(raw)
            position = self._index.unique_position(hashed)
            if position >= 0 and self._has_key(position, raw):
                return position
            found = self._find(hashed, raw)
        except UnicodeEncodeError:  # a string that no bytes stand for
            found = []
        if not found:
            raise UnknownKeyError(f'no such key: {key!r}; list them with "shardpack ls"')
        if len(found) > 1:
            shown = ", ".join(map(str, found[:5]))
            raise DuplicateKeyError(
                f"{len(found)} samples have this key, at positions {shown}; ask by position", key=key
            )
        return found[0]

    def positions(self, key: str) -> list[int]:
        """Return the positions of all samples with this key, ascending; usually none or one."""
        try:
            raw = key.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return []
        return self._find(hash_key(raw), raw)

    def prepare(self, keys: Iterable[str]) -> None:
        """Fetch together what looking up some keys needs: pages of the key index, then indexes of shards."""
        if not self._shards.stores.sidecars.remote:
            return
        hashes = np.array([hash_key(key.encode("utf-8", "surrogatepass")) for key in keys], np.uint64)
        fetch_needed(self._shards.stores.sidecars, self._files, lambda: self._index.needed(hashes), self._index.put)
        positions = [position for hashed in hashes.tolist() for position in self._index.positions(hashed)]
        numbers = self._shards.table.locate_many(np.array(positions, np.int64))
        self._shards.load(np.unique(numbers).tolist())

    def _find(self, hashed: int, raw: bytes) -> list[int]:
        return [position for position in self._index.positions(hashed) if self._has_key(position, raw)]

    def _has_key(self, position: int, raw: bytes) -> bool:
        return self._shards.at(position).keys.key_at(position) == raw
