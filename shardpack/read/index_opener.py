"""What opening shards costs: their indexes, and the first time a look whether the tars are those that were indexed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.errors import ShardpackError
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.read.plain_stores import PlainStores
from shardpack.read.shard_checks import check_shards, checked_index, fetch_index
from shardpack.read.shard_list import ShardList
from shardpack.storage.locations import DatasetStores
from shardpack.storage.protocols import Ranges


@dataclass(frozen=True, slots=True, eq=False)
class OpenedIndex:
    """The index of a shard, read and checked.

    Attributes:
        number, info: The shard.
        index: Its index.
        buffer: What holds the index: bytes, or a map of its file.
    """

    number: int
    info: ShardInfo
    index: ShardIndex
    buffer: Any


class IndexOpener:
    """Reads indexes, and remembers whose tars were looked at. Safe in threads."""

    def __init__(self, stores: DatasetStores, shard_list: ShardList, *, verify: bool) -> None:
        """Open shards of a dataset; nothing is read yet.

        Args:
            stores: Where its files are.
            shard_list: All of its shards.
            verify: Whether payloads are compared with their checksums when they are read, where there are some: then
                the tars need no look before.
        """
        self._stores, self._shard_list, self._verify = stores, shard_list, verify
        self._is_trusted = bytearray(len(shard_list))

    def trust(self, numbers: Iterable[int] | None = None) -> None:
        """Never look at the tars of some shards from now on; None for all."""
        for number in range(len(self._is_trusted)) if numbers is None else numbers:
            self._is_trusted[number] = True

    def open_one(self, number: int, plain: PlainStores) -> OpenedIndex:
        """Return the index of a shard, whose tar `plain` then shows.

        Raises:
            ShardNotFoundError: The shard or its index is missing.
            CorruptIndexError: The index is damaged.
            StaleIndexError: The index does not match the shard or the manifest.
            CorruptShardError: The shard is truncated.
        """
        info = self._shard_list[number]
        return self._checked([number], [info], [fetch_index(self._stores.sidecars, info)], plain)[0]

    def open_many(self, numbers: Sequence[int], plain: PlainStores) -> list[OpenedIndex]:
        """Return the indexes of some shards, fetched together; [] if they cannot be read. Raises as `open_one`."""
        infos = [self._shard_list[number] for number in numbers]
        try:
            found = self._stores.sidecars.get_many([Ranges(info.index_path, [0], [info.index_bytes]) for info in infos])
        except ShardpackError:
            return []  # `open_one` raises the error, with the shard's own message
        return self._checked(numbers, infos, [buffer for (buffer,) in found], plain)

    def _checked(
        self, numbers: Sequence[int], infos: Sequence[ShardInfo], buffers: Sequence[Any], plain: PlainStores
    ) -> list[OpenedIndex]:
        opened = [
            OpenedIndex(number, info, checked_index(buffer, info), buffer)
            for number, info, buffer in zip(numbers, infos, buffers, strict=True)
        ]
        by_store: dict[int, list[OpenedIndex]] = {}
        for one in opened:
            if self._needs_look(one):
                by_store.setdefault(id(plain.of(one.info, one.index)), []).append(one)
        for some in by_store.values():
            store, files = plain.of(some[0].info, some[0].index), self._stores.of(some[0].info)
            check_shards(store, [(one.info, one.index) for one in some], files=files)
        self.trust(numbers)
        return opened

    def _needs_look(self, one: OpenedIndex) -> bool:
        is_verified = self._verify and one.info.crc32c is not None
        return not (self._is_trusted[one.number] or is_verified)
