"""Indexes in one place, the tars they describe in another: two stores that read as one.

A manifest says with `locations` where its tars are (SPEC 6.5). It may come from a stranger, so its
word is followed to few kinds of places, and takes credentials to no other server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from shardpack.errors import OptionError, UnsupportedVersionError
from shardpack.format.manifest import HERE
from shardpack.format.shard_info import FOLDER
from shardpack.storage.lending import Lent
from shardpack.storage.local import LocalStore
from shardpack.storage.open import open_store, with_cache
from shardpack.storage.protocols import Ranges, Store, Version
from shardpack.storage.stats import ReadStats, Stats
from shardpack.storage.url import BUCKET_SCHEMES, WEB_SCHEMES, is_url

_FOLLOWED = BUCKET_SCHEMES | WEB_SCHEMES | {"hf", "memory"}  # no driver that reads this disk, or logs in by itself


class SplitStore:
    """What is in the folder `.shardpack` comes from one store, all else from another. See `Store`."""

    def __init__(self, indexes: Store, shards: Store) -> None:
        self._indexes, self._shards = indexes, shards
        self.location = indexes.location
        self.shards_location = shards.location
        self.remote, self.prefetch_depth = shards.remote, shards.prefetch_depth
        self.folder: str | None = None
        self.merge_limits, self.checks_reads = shards.merge_limits, shards.checks_reads
        self.stats: ReadStats = _SumOfStats(indexes.stats, shards.stats)

    def __reduce__(self) -> tuple[type[SplitStore], tuple[Store, Store]]:
        return (SplitStore, (self._indexes, self._shards))

    def __repr__(self) -> str:
        return f"SplitStore({self._indexes!r}, {self._shards!r})"

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self._store(path).get_range(path, start=start, length=length)

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """See `Store.get_ranges`."""
        return self._store(path).get_ranges(path, starts=starts, lengths=lengths)

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """See `Store.get_many`. All at once, unless both indexes and tars are wanted."""
        stores = [self._store(ranges.path) for ranges in wanted]
        if stores and all(store is stores[0] for store in stores):
            return stores[0].get_many(wanted)
        return [store.get_many([ranges])[0] for store, ranges in zip(stores, wanted, strict=True)]

    def size(self, path: str) -> int:
        """See `Store.size`."""
        return self._store(path).size(path)

    def lend_range(self, path: str, *, start: int, length: int) -> bytes | Lent:
        """See `Store.lend_range`."""
        return self._store(path).lend_range(path, start=start, length=length)

    def version(self, path: str) -> Version:
        """See `Store.version`."""
        return self._store(path).version(path)

    def buffer(self, path: str, *, max_bytes: int | None = None) -> Any:
        """See `Store.buffer`."""
        return self._store(path).buffer(path, max_bytes=max_bytes)

    def map(self, path: str) -> Any | None:
        """See `Store.map`."""
        return self._store(path).map(path)

    def is_cached(self, path: str, start: int) -> bool:
        """See `Store.is_cached`."""
        return self._store(path).is_cached(path, start)

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """See `Store.prefetch`."""
        self._store(path).prefetch(path, starts=starts, lengths=lengths)

    def close(self) -> None:
        """See `Store.close`."""
        self._indexes.close()
        self._shards.close()

    def _store(self, path: str) -> Store:
        return self._indexes if path.startswith(f"{FOLDER}/") else self._shards


class _SumOfStats(ReadStats):
    """Counters that show those of two stores as well: one dataset, one bill."""

    def __init__(self, *parts: ReadStats) -> None:
        super().__init__()
        self._parts = parts

    def snapshot(self) -> Stats:
        """Return the sums as they are now."""
        all_of_them = [super().snapshot(), *(part.snapshot() for part in self._parts)]
        return Stats(*map(sum, zip(*map(astuple, all_of_them), strict=True)))


def is_followed(scheme: str, home: str) -> bool:
    """Return whether a manifest at `home` may say that its tars are at a URL of this scheme."""
    return scheme in _FOLLOWED or (is_url(home) and home.partition("://")[0] == scheme)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """How tars are read that are elsewhere than their manifest.

    Attributes:
        options: `storage_options`. Those given for a manifest on a server go along to the same server
            only; those for a bucket to buckets of the same provider.
        cache_dir, cache_bytes: See `with_cache`.
    """

    options: Mapping[str, Any] | None = None
    cache_dir: str | os.PathLike[str] | None = None
    cache_bytes: int | str | None = None


def with_shards(store: Store, locations: Sequence[str], elsewhere: Elsewhere) -> Store:
    """Return a store that finds a dataset's tars too, where its manifest says that they are elsewhere.

    Args:
        store: Holds manifest and indexes.
        locations: What the manifest says.
        elsewhere: How to read them.

    Raises:
        OptionError: The manifest names a place that is not followed; or there are options for a folder.
        UnsupportedVersionError: The tars are in several places.
    """
    if len(locations) > 1:
        raise UnsupportedVersionError(
            f"the tars of {store.location!r} are in {len(locations)} places, which this version of shardpack "
            "does not read; upgrade shardpack"
        )
    shards_at = None if locations[0] == HERE else locations[0]
    home = store.location
    if isinstance(store, SplitStore):  # out of a pickle: it knows
        return store
    if not is_url(home) and not (shards_at and is_url(shards_at)):
        if elsewhere.options:
            raise OptionError(f"storage_options are for URLs, and {home!r} is a folder; leave them out")
        if not elsewhere.cache_dir is elsewhere.cache_bytes is None:
            raise OptionError("cache_dir and cache_bytes are for URLs; what is near is read in place, leave them out")
    if shards_at is None:
        return store
    if not is_url(shards_at):
        if is_url(home):
            raise OptionError(
                f"the manifest at {home!r} says that its tars are in a folder, {shards_at!r}; "
                'copy the dataset to disk, or index the tars where they are: "shardpack index"'
            )
        return SplitStore(store, LocalStore(os.path.normpath(os.path.join(home, shards_at))))
    if not is_followed(shards_at.partition("://")[0], home):
        raise OptionError(
            f"the manifest at {home!r} says that its tars are at {shards_at!r}, a kind of place that is not followed; "
            'index the tars where they are: "shardpack index"'
        )
    options = elsewhere.options if _may_know(home, shards_at) else None
    shards = open_store(shards_at, options)
    return SplitStore(store, with_cache(shards, elsewhere.cache_dir, elsewhere.cache_bytes, options))


def _may_know(home: str, other: str) -> bool:
    """Return whether the options for one place are meant for another one, too."""
    if not is_url(home):
        return True
    (scheme, _, rest), (other_scheme, _, other_rest) = home.partition("://"), other.partition("://")
    if scheme != other_scheme:
        return False
    return scheme in BUCKET_SCHEMES or scheme == "hf" or rest.partition("/")[0] == other_rest.partition("/")[0]
