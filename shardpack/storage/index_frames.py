"""The frames of the compressed shards of one location, as their indexes tell them."""

from __future__ import annotations

from shardpack.errors import CorruptIndexError
from shardpack.format.frames import Frames
from shardpack.format.layout import index_path
from shardpack.format.shard_index import parse_index
from shardpack.storage.protocols import Store

READ_HERE = 16  # shards whose frames are kept although no index of theirs is open


class IndexFrames(dict[str, Frames]):
    """Shard name -> frames. Whoever opens an index adds its own; those that are missing are read from their index.

    So that a copy in another process, which begins empty, knows them too. It does not compare an index with the shard
    table: what it reads was checked by the process that planned the reading, and frames are checked against it.
    """

    def __init__(self, sidecars: Store, location: int) -> None:
        super().__init__()
        self._sidecars, self._location = sidecars, location
        self._read_here: list[str] = []

    def __reduce__(self) -> tuple[type[IndexFrames], tuple[Store, int]]:
        return (IndexFrames, (self._sidecars, self._location))

    def __missing__(self, name: str) -> Frames:
        path = index_path(name, self._location)
        frames = parse_index(self._sidecars.buffer(path), name=path).frames
        if frames is None:
            raise CorruptIndexError("index says that its shard is not compressed; open the dataset again", path=path)
        self[name] = frames
        self._read_here.append(name)
        if len(self._read_here) > READ_HERE:
            self.pop(self._read_here.pop(0), None)
        return frames
