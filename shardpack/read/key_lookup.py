"""Keys to positions: hash, one page of the key index, and the key itself as the last word."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import numpy as np

from shardpack.errors import DuplicateKeyError, UnknownKeyError
from shardpack.format.key_index import KeyIndex, KeySegmentReader, hash_key
from shardpack.read.read_many import groups
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
        segments = shards.manifest.key_segments
        self._files = [SegmentFile(shards.stores.sidecars, segment) for segment in segments]
        self._index = KeyIndex(
            [
                KeySegmentReader(file.load, segment, path=file.path)
                for file, segment in zip(self._files, segments, strict=True)
            ]
        )
        self._lookups = 0

    def position(self, key: str, found: list[int] | None = None) -> int:
        """Return the position of the sample with this key.

        Args:
            key: Of the sample.
            found: What `positions` returns of it, where that is known already.

        Raises:
            UnknownKeyError: No sample has it.
            DuplicateKeyError: Several samples have it, in a dataset that others wrote.
        """
        if found is None:
            self._lookups += 1
            if self._lookups % LOOKUPS_PER_TRIM == 0:
                for file in self._files:
                    file.trim()
            try:
                raw = key.encode("utf-8", "surrogateescape")
                hashed = hash_key(raw)
                position = self._index.unique_position(hashed)
                if position >= 0 and self._shards.at(position).keys.key_at(position) == raw:
                    return position
                found = self._find(hashed, raw)
            except UnicodeEncodeError:
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
            raw = _encoded(key)
        except UnicodeEncodeError:
            return []
        return self._find(hash_key(raw), raw)

    def find_many(self, keys: Iterable[str]) -> dict[str, list[int]]:
        """Return `positions` by key; {} where each can be asked for alone, as no request is saved.

        All pages of the key index are fetched together, then the indexes of all shards that may hold a key, as
        many at a time as may be held. Keys are compared while these are at hand: fetched once, however many.
        """
        found: dict[str, list[int]] = {}
        if not self._shards.stores.sidecars.remote:
            return found
        asked: list[tuple[int, bytes, str]] = []
        for key in dict.fromkeys(keys):
            found[key] = []
            with suppress(UnicodeEncodeError):
                raw = _encoded(key)
                asked.append((hash_key(raw), raw, key))
        asked.sort()  # by hash, so that what is on one page is looked up while that page is kept
        hashes = np.array([hashed for hashed, _, _ in asked], np.uint64)
        fetch_needed(self._shards.stores.sidecars, self._files, lambda: self._index.needed(hashes), self._index.put)
        candidates = sorted(
            (position, raw, key) for hashed, raw, key in asked for position in self._index.positions(hashed)
        )
        for runs in groups(self._shards, np.array([position for position, _, _ in candidates], np.int64)):
            opened = self._shards.load(number for number, _, _ in runs)
            for shard, (_, begin, end) in zip(opened, runs, strict=True):
                for position, raw, key in candidates[begin:end]:
                    if shard.keys.key_at(position) == raw:
                        found[key].append(position)
        return found

    def _find(self, hashed: int, raw: bytes) -> list[int]:
        return [position for position in self._index.positions(hashed) if self._has_key(position, raw)]

    def _has_key(self, position: int, raw: bytes) -> bool:
        return self._shards.at(position).keys.key_at(position) == raw


def _encoded(key: str) -> bytes:
    """Return a key as it is stored; raises UnicodeEncodeError for a string that no bytes stand for."""
    return key.encode("utf-8", "surrogateescape")
