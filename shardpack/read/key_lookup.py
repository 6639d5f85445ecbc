"""From keys to positions, over the whole dataset.

key --hash--> page of the key index --> candidate positions --compare the stored key--> position
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np

from shardpack.errors import DuplicateKeyError, UnknownKeyError
from shardpack.format.key_index import KeyIndex, KeySegmentReader, hash_key
from shardpack.format.naming import key_bytes
from shardpack.read.opened_shards import opened_shards
from shardpack.read.segment_file import TRIMMED_BYTES, SegmentFile, fetch_needed
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Advance, no_advance

_LOOKUPS_PER_TRIM = 64  # each may load 2 MiB of a large mapped key index, which then counts as this process's memory


class KeyLookup:
    """Finds keys in a dataset; shared by the dataset and its views. Safe in threads.

    The first look-up costs the first 64 KiB of the key index. Each look-up costs a page of the key index, unless
    it is cached, and the index of the shard that holds the sample, unless that shard is open. Everything read is
    checked before it is used, so that an unknown key needs no further proof.
    """

    def __init__(self, cache: ShardCache) -> None:
        self._cache = cache
        segments = cache.manifest.key_segments
        self._files = [SegmentFile(cache.stores.sidecars, segment) for segment in segments]
        self._index = KeyIndex(
            [
                KeySegmentReader(file.load, segment, path=file.path)
                for file, segment in zip(self._files, segments, strict=True)
            ]
        )
        self._is_large = any(segment.num_bytes > TRIMMED_BYTES for segment in segments)
        self._lookups = 0
        self._hides = bool(cache.manifest.deleted)

    def find(self, key: str) -> int:
        """Return the stored position of the sample with this key; a deleted one does not count.

        Raises:
            UnknownKeyError: No sample has this key.
            DuplicateKeyError: Several samples have this key, in a dataset that another tool wrote.
        """
        if self._is_large:
            self._trim()
        try:
            raw = key.encode()
        except UnicodeEncodeError:
            return self.only_match(key, self.find_all(key))
        hashed = hash_key(raw)
        position = self._index.find_fast(hashed)
        if position >= 0 and self._cache.at(position).keys.key_at(position) == raw and self._is_visible(position):
            return position
        return self.only_match(key, self._find(hashed, raw))

    def find_all(self, key: str) -> list[int]:
        """Return the stored positions of all samples with this key, ascending; usually none or one."""
        try:
            raw = key_bytes(key)
        except UnicodeEncodeError:
            return []
        return self._find(hash_key(raw), raw)

    def find_many(self, keys: Iterable[str]) -> dict[str, list[int]]:
        """Return `find_all` by key; {} for a local dataset, where looking up each key alone costs no more.

        All pages of the key index are fetched together, then the indexes of all shards that may hold a key, as
        many at a time as may be open. Each is fetched once: keys are compared while their shard is open.
        """
        matches: dict[str, list[int]] = {}
        if not self._cache.stores.sidecars.remote:
            return matches
        asked: list[tuple[int, bytes, str]] = []
        for key in dict.fromkeys(keys):
            matches[key] = []
            with suppress(UnicodeEncodeError):
                raw = key_bytes(key)
                asked.append((hash_key(raw), raw, key))
        asked.sort()  # by hash: keys on the same page are looked up while that page is cached
        hashes = np.array([hashed for hashed, _, _ in asked], np.uint64)
        fetch_needed(self._cache.stores.sidecars, self._files, lambda: self._index.needed(hashes), self._index.put)
        candidates = sorted(
            (position, raw, key)
            for hashed, raw, key in asked
            for position in self._index.find(hashed)
            if self._is_visible(position)
        )
        positions = np.array([position for position, _, _ in candidates], np.int64)
        for shard, own in opened_shards(self._cache, positions):
            for position, raw, key in candidates[own]:
                if shard.keys.key_at(position) == raw:
                    matches[key].append(position)
        return matches

    def match(self, keys: Sequence[bytes], *, progress: Advance = no_advance) -> tuple[Integers, Integers]:
        """Return (numbers of keys, stored positions of the samples that have them), by ascending position.

        For very many keys, local and remote: hashes are looked up page by page, keys compared shard by shard. Deleted
        samples are found, too. Memory: 50 bytes for each key.

        Args:
            keys: All different.
            progress: Called with the number of samples whose keys were compared.
        """
        hashes = np.fromiter(map(hash_key, keys), np.uint64, len(keys))
        distinct, first = np.unique(hashes, return_index=True)
        fetch_needed(self._cache.stores.sidecars, self._files, lambda: self._index.needed(distinct), self._index.put)
        numbers, positions = self._index.match(distinct)
        order = np.argsort(positions, kind="stable")
        numbers, positions = first[numbers[order]], positions[order]
        same = np.zeros(len(positions), bool)
        for shard, own in opened_shards(self._cache, positions):
            stored = list(map(shard.keys.key_at, positions[own].tolist()))
            same[own] = [keys[number] == key for number, key in zip(numbers[own].tolist(), stored, strict=True)]
            progress(len(stored))
        if len(distinct) == len(keys):
            return numbers[same], positions[same]
        others = np.setdiff1d(np.arange(len(keys)), first).tolist()  # they have the hash of another key that is asked
        found = [
            (position, n) for n in others for position in self._compared(keys[n], self._index.find(int(hashes[n])))
        ]
        found += zip(positions[same].tolist(), numbers[same].tolist(), strict=True)
        pairs = np.array(sorted(found), np.int64).reshape(-1, 2)
        return pairs[:, 1], pairs[:, 0]

    def _trim(self) -> None:
        """Release the memory of large key indexes, once in several look-ups."""
        self._lookups += 1
        if self._lookups % _LOOKUPS_PER_TRIM == 0:
            for file in self._files:
                file.trim()

    def _find(self, hashed: int, raw: bytes) -> list[int]:
        return self._compared(raw, filter(self._is_visible, self._index.find(hashed)))

    def _compared(self, raw: bytes, candidates: Iterable[int]) -> list[int]:
        return [position for position in candidates if self._cache.at(position).keys.key_at(position) == raw]

    def _is_visible(self, position: int) -> bool:
        return not self._hides or (visible := self._cache.visible) is None or visible.holds(position)

    def only_match(self, key: str, matches: list[int]) -> int:
        """Return the only stored position that a key was found at.

        Raises:
            UnknownKeyError: There are no matches.
            DuplicateKeyError: There are several matches.
        """
        if not matches:
            raise UnknownKeyError(f'no such key: {key!r}; list them with "shardpack ls"')
        if len(matches) > 1:
            visible = self._cache.visible
            positions = matches[:5] if visible is None else map(visible.position_of, matches[:5])
            shown = ", ".join(map(str, positions))
            raise DuplicateKeyError(
                f"{len(matches)} samples have this key, at positions {shown}; ask by position", key=key
            )
        return matches[0]
