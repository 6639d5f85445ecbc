"""Keys to positions: hash, one page of the key index, and the key itself as the last word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from shardpack.errors import CorruptIndexError, DuplicateKeyError, ShardNotFoundError, UnknownKeyError
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import FILE_NAME, KeyIndex, directory_end, hash_key
from shardpack.read.shard_cache import ShardCache
from shardpack.storage.local_file import drop_resident

TRIMMED_BYTES = 64 << 20  # smaller key indexes may stay mapped whole: faults cost more than they take
LOOKUPS_PER_TRIM = 64  # each may map 2 MiB of a large key index, which then counts as memory of this process


class KeyLookup:
    """Look keys up in a dataset; shared by the dataset and its views. Safe in threads.

    Costs the key index's directory at first use; then one page of it and one key in a shard index.
    """

    def __init__(self, shards: ShardCache) -> None:
        self._shards = shards
        self._index: KeyIndex | None = None
        self._buffer: Any = b""
        self._lookups = 0
        self._proven = False  # that the key index is of these shards

    def position(self, key: str) -> int:
        """Return the position of the sample with this key.

        Raises:
            UnknownKeyError: No sample has it.
            DuplicateKeyError: Several samples have it, in a dataset that others wrote.
        """
        index = self._index or self._open()
        self._lookups += 1
        if self._lookups % LOOKUPS_PER_TRIM == 0 and len(self._buffer) > TRIMMED_BYTES:
            drop_resident(self._buffer)
        try:
            raw = key.encode("utf-8", "surrogateescape")
            position = index.unique_position(hash_key(raw))
            if position >= 0 and self._has_key(position, raw):
                return position
            found = self._find(index, raw)
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
        index = self._index or self._open()
        try:
            return self._find(index, key.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            return []

    def prepare(self, keys: Iterable[str]) -> None:
        """Fetch together what looking up some keys needs."""

    def _find(self, index: KeyIndex, raw: bytes) -> list[int]:
        hashed = index.positions(hash_key(raw))
        found = [position for position in hashed if self._has_key(position, raw)]
        if not found and not self._proven:
            self._prove()
        return found

    def _prove(self) -> None:
        """Raise unless the key index is whole and of this dataset, before the first "no such key". Reads all of it."""
        expected = self._shards.manifest.keys["crc32c"]
        if f"{crc32c(self._buffer):08x}" != expected:
            raise CorruptIndexError(
                'key index is damaged or not of this dataset; rebuild it with "shardpack index --force"',
                shard=FILE_NAME,
            )
        drop_resident(self._buffer)
        self._proven = True

    def _has_key(self, position: int, raw: bytes) -> bool:
        return self._shards.at(position).keys.key_at(position) == raw

    def _open(self) -> KeyIndex:
        manifest, store = self._shards.manifest, self._shards.stores.sidecars
        if store.remote:
            return self._open_in_pages()
        try:
            buffer = store.buffer(FILE_NAME)
        except ShardNotFoundError as error:
            raise _missing() from error
        expected = manifest.keys["num_bytes"]
        if len(buffer) != expected:
            raise _wrong_length(len(buffer), expected)
        self._buffer = buffer
        self._index = KeyIndex(buffer, num_samples=manifest.num_samples)
        return self._index

    def _open_in_pages(self) -> KeyIndex:
        """Open a key index far away: its directory now, one request; a page when a key falls in it, one each."""
        manifest, store = self._shards.manifest, self._shards.stores.sidecars
        num_bytes = manifest.keys["num_bytes"]
        head = directory_end(manifest.num_samples, num_bytes)
        if head <= 0:
            raise _wrong_length(num_bytes, 16 * manifest.num_samples)
        try:
            directory = store.get_range(FILE_NAME, start=0, length=head)
        except ShardNotFoundError as error:
            raise _missing() from error
        if store.size(FILE_NAME) != num_bytes:  # told by the response
            raise _wrong_length(store.size(FILE_NAME), num_bytes)
        buffer = np.zeros(num_bytes, np.uint8)  # takes memory only where pages were written
        buffer[:head] = np.frombuffer(directory, np.uint8)
        self._proven = True  # reading all of it is out of the question; directory and pages have checksums

        def load(start: int, length: int) -> bytes:
            return store.get_range(FILE_NAME, start=start, length=length)

        self._index = KeyIndex(buffer.data, num_samples=manifest.num_samples, load=load)
        return self._index


def _missing() -> ShardNotFoundError:
    return ShardNotFoundError('key index is missing; rebuild it with "shardpack index --force"', shard=FILE_NAME)


def _wrong_length(found: int, expected: int) -> CorruptIndexError:
    return CorruptIndexError(
        f'key index has {found} bytes, expected {expected}; rebuild it with "shardpack index --force"', shard=FILE_NAME
    )
