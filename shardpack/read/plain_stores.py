"""The store that shows a shard as a plain tar: that of its location, or one that decompresses."""

from __future__ import annotations

from shardpack.errors import CorruptIndexError
from shardpack.format.frames import Frames
from shardpack.format.layout import index_path
from shardpack.format.shard_index import ShardIndex, parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.storage.frame_store import FrameStore
from shardpack.storage.locations import DatasetStores
from shardpack.storage.protocols import Store

MAX_KEPT_BYTES = 64 << 20  # of frames that are kept although no index of theirs is open


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
        """Drop the frames of a shard whose index is closed. A reader that still needs them reads the index again."""
        if info.location in self._framed:
            self._framed[info.location][1].pop(info.name, None)


class IndexFrames(dict[str, Frames]):
    """Frames by shard name: those of open indexes; missing ones are read from their index.

    So a copy in another process, which begins empty, finds all. Indexes read here are not compared with the shard
    table: the process that planned the reading did that, and frames are checked when they are decompressed.
    Safe in threads: of two that miss the same frames, both may read them.
    """

    def __init__(self, sidecars: Store, location: int, *, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        super().__init__()
        self._sidecars, self._location, self._max_kept_bytes = sidecars, location, max_kept_bytes
        self._kept: dict[str, Frames] = {}  # read here; the least recently used first

    def __reduce__(self) -> tuple[type[IndexFrames], tuple[Store, int]]:
        return (IndexFrames, (self._sidecars, self._location))

    def __missing__(self, name: str) -> Frames:
        frames = self._kept.pop(name, None) or self._read(name)
        self._kept[name] = frames
        return frames

    def _read(self, name: str) -> Frames:
        path = index_path(name, self._location)
        frames = parse_index(self._sidecars.get(path), name=path).frames
        if frames is None:
            raise CorruptIndexError("index says that its shard is not compressed; open the dataset again", path=path)
        kept = list(self._kept.items())
        num_bytes = frames.num_bytes + sum(one.num_bytes for _, one in kept)
        for old, one in kept:
            if num_bytes <= self._max_kept_bytes:
                break
            self._kept.pop(old, None)
            num_bytes -= one.num_bytes
        return frames.copy()


def plain_view(store: Store, name: str, index: ShardIndex) -> Store:
    """Return a store that shows one shard as a plain tar."""
    return store if index.frames is None else FrameStore(store, {name: index.frames})
