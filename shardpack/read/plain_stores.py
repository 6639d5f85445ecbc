"""The store that shows each shard as a plain tar: that of its location, or one that decompresses."""

from __future__ import annotations

from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.storage.frame_store import FrameStore
from shardpack.storage.index_frames import IndexFrames
from shardpack.storage.locations import DatasetStores
from shardpack.storage.protocols import Store


class PlainStores:
    """Stores for shards whose indexes are open. Safe in threads; immutable but for what is open."""

    def __init__(self, stores: DatasetStores) -> None:
        self._stores = stores
        self._framed: dict[int, tuple[FrameStore, IndexFrames]] = {}  # by location

    def of(self, info: ShardInfo, index: ShardIndex) -> Store:
        """Return the store that shows a shard as a plain tar, from now on."""
        if index.frames is None:
            return self._stores.of(info)
        found = self._framed.get(info.location)
        if found is None:
            frames = IndexFrames(self._stores.sidecars, info.location)
            found = self._framed.setdefault(info.location, (FrameStore(self._stores.of(info), frames), frames))
        store, frames = found
        frames[info.name] = index.frames
        return store

    def forget(self, info: ShardInfo) -> None:
        """Let go of what a shard needs; who still reads it has its frames read again."""
        if info.location in self._framed:
            self._framed[info.location][1].pop(info.name, None)
