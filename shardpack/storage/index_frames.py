"""The frames of the compressed shards of one location, as their indexes tell them."""

from __future__ import annotations

from shardpack.errors import CorruptIndexError
from shardpack.format.frames import Frames
from shardpack.format.layout import index_path
from shardpack.format.shard_index import parse_index
from shardpack.storage.protocols import Store

MAX_KEPT_BYTES = 64 << 20  # of frames that are kept although no index of theirs is open


class IndexFrames(dict[str, Frames]):
    """Shard name -> frames. Whoever opens an index adds its own; those that are missing are read from their index.

    So that a copy in another process, which begins empty, knows them too. It does not compare an index with the shard
    table: what it reads was checked by the process that planned the reading, and frames are checked against it.
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
