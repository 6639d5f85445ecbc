"""Find keys that were written before, with 16 bytes of memory per key: compare hashes, then the keys themselves.

Keys that differ in case only count as equal: a file system that ignores case would unpack one over the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from shardpack.errors import DuplicateKeyError
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import index_path
from shardpack.format.shard_index import parse_index

Hashes = npt.NDArray[np.uint64]


class SeenKeys:
    """Hashes of the keys of all finished shards.

    They are kept in sorted runs. Runs of similar length are merged, so each hash is moved O(log n) times.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        """Read the index of an earlier shard with `read(name)`, which returns a file of the dataset."""
        self._read = read
        self._shards: list[str] = []
        self._hashes: list[Hashes] = []  # one array per shard, in order
        self._folded: list[Hashes] = []  # hashes of the keys in lower case; mostly the same arrays
        self._runs: list[Hashes] = []  # the hashes of `_folded` in sorted runs, longest first

    def add(self, keys: Sequence[str], shard: str) -> None:
        """Add the keys of one more shard; they must differ from one another.

        Raises:
            DuplicateKeyError: A key is in an earlier shard; the first such key is named.
        """
        hashes = folded = hash_keys(keys)
        lower = [key.lower() for key in keys]
        if lower != [*keys]:
            folded = hash_keys(lower)
        repeated = np.zeros(len(keys), bool)
        for run in self._runs:
            repeated |= run[np.minimum(np.searchsorted(run, folded), len(run) - 1)] == folded
        for row in np.flatnonzero(repeated).tolist():
            self._compare(keys[row], folded[row], shard)
        self._shards.append(shard)
        self._hashes.append(hashes)
        self._folded.append(folded)
        self._runs.append(np.sort(folded))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs.append(np.sort(np.concatenate((self._runs.pop(), self._runs.pop()))))

    def _compare(self, key: str, hashed: np.uint64, shard: str) -> None:
        """Raise DuplicateKeyError if an earlier key with this hash is also the same key."""
        for earlier, hashes in zip(self._shards, self._folded, strict=True):
            rows = np.flatnonzero(hashes == hashed).tolist()
            index = parse_index(self._read(index_path(earlier)), name=index_path(earlier)) if rows else None
            for row in rows:
                assert index is not None
                other = index.key(row)
                if other.lower() == key.lower():
                    alike = "is" if other == key else f"differs in case only from {other!r}, which is"
                    raise DuplicateKeyError(
                        f"key {alike} already in {earlier!r}; each key must name one sample, whatever its case",
                        shard=shard,
                        key=key,
                    )

    def hashes(self) -> Hashes:
        """Return the hashes of all keys, in the order of the samples."""
        return np.concatenate(self._hashes) if self._hashes else np.zeros(0, np.uint64)
