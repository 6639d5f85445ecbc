"""The open shards of a dataset, kept within limits: parsed indexes by their bytes, maps by their number.

    position --bisect--> cut from the map of its shard, if that is mapped; otherwise `ShardCache.read`

Eviction is second chance (clock): a look-up only sets the flag `used`. A sample that is kept may keep the keys of its
shard, but never the shard.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from shardpack.format.index_fields import only_fields
from shardpack.format.manifest import LayerRef, Manifest
from shardpack.order.visible import Visible
from shardpack.read.deleted_samples import load_visible
from shardpack.read.index_opener import IndexOpener, OpenedIndex
from shardpack.read.kept_columns import KeptColumns
from shardpack.read.layer_positions import LayerPositions
from shardpack.read.named_splits import NamedSplits, load_splits
from shardpack.read.plain_stores import PlainStores
from shardpack.read.position_table import PositionTable
from shardpack.read.sample import Sample
from shardpack.read.shard_checks import check_length
from shardpack.read.shard_list import ShardList
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.process import watch_forks
from shardpack.storage.file_map import drop_resident
from shardpack.storage.locations import DatasetStores, sum_of_stats
from shardpack.storage.process_limits import max_index_maps, max_maps
from shardpack.storage.stats import Stats

MAX_MAPPED_BYTES = 4 << 30  # read through maps before their pages are released
_MAX_NAMES = 256  # different lists of fields that are kept once
_OBJECT_BYTES = 4 << 10  # memory of an open shard in addition to its index


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much may be kept open.

    A map saves a random read 0.5 us, which is much for small samples and little for large ones (2-core
    VM). It also ties the process to the file: truncating a mapped file kills its readers with SIGBUS. So
    random reads map shards of small samples that are read often; streams map shards that are in the page cache.

    Attributes:
        index_bytes: Memory of parsed indexes. Indexes that are maps of a file are limited by what the system allows.
        maps: Number of mapped shards; None for a share of what the system allows this process.
        map_after_reads: Number of random reads after which a shard of small samples is mapped.
        map_sample_bytes: Samples up to this mean size are small.
    """

    index_bytes: int = 256 << 20
    maps: int | None = None
    map_after_reads: int = 64
    map_sample_bytes: int = 32 << 10


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer, open.

    Attributes:
        ref: The layer, as the manifest of the base names it.
        positions: Which of its samples belongs to which stored position of the base.
        cache: Opens its shards.
        left_out: The fields that its samples have and it does not give.
    """

    ref: LayerRef
    positions: LayerPositions
    cache: ShardCache
    left_out: frozenset[str] = frozenset()

    def given(self, fields: Collection[str] | None) -> tuple[str, ...] | None:
        """Return which of these fields it gives, or of all fields if that is None; None if that is all it has."""
        if fields is None:
            return self.ref.fields if self.left_out else None
        return tuple(field for field in self.ref.fields if field in fields)


class ShardCache:
    """Shards by number and by position, opened when first needed. Safe in threads and after fork.

    Attributes:
        stores, manifest: What is read.
        manifest_crc32c: CRC32C of the manifest's file, by which a pickle finds this very manifest again.
        shard_list: All shards of the dataset, open or not.
        verify: Whether every payload is compared with its checksum.
        limits: How much may be kept open.
        by_position: The open shards; public so that the hot path of `ds[i]` saves a call.
        columns: What is kept of the label table, until `close`.
    """

    def __init__(
        self,
        stores: DatasetStores,
        manifest: Manifest,
        *,
        manifest_crc32c: int,
        verify: bool,
        open_layers: Callable[[], tuple[Layer, ...]],
        limits: CacheLimits | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        self._only = only  # of a layer that gives some of its fields: no others are there
        self.stores, self.manifest, self.verify = stores, manifest, verify
        self.manifest_crc32c = manifest_crc32c
        self.shard_list = ShardList(stores.sidecars, manifest)
        self.limits = limits or CacheLimits()
        self._open_layers = open_layers
        self._max_maps = max_maps() if self.limits.maps is None else self.limits.maps
        self._map_bytes = self.limits.index_bytes // max_index_maps()  # an index that is a map counts for so much
        self._opener = IndexOpener(stores, self.shard_list, verify=verify)
        self._fields: dict[tuple[str, ...], tuple[str, ...]] = {}  # of shards; equal ones are one object
        self.after_fork()
        watch_forks(self)
        self._reset()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "open shards cannot be pickled, nor streams and loaders, which hold them; pickle the dataset or view and "
            "stream it there, or give DataLoader workers a shardpack.torch.StreamDataset"
        )

    def _reset(self) -> None:
        self.by_position = PositionTable([], [None], [None])
        self.columns = KeptColumns()
        self._shards: dict[int, ShardReader] = {}  # the open shards, by number
        self._held_bytes = 0  # sum over the open shards
        self._held: deque[int] = deque()  # their numbers; the next to be examined for eviction comes first
        self._plain = PlainStores(self.stores)
        self._maps: deque[int] = deque()  # likewise for the mapped shards
        self._mapped_bytes = 0

    def after_fork(self) -> None:
        """Replace the locks, which a thread of the parent may have held."""
        self._opening: dict[int, threading.Event] = {}  # shards that a thread is opening
        self._lock = threading.Lock()  # guards what is open

    @cached_property
    def visible(self) -> Visible | None:
        """What is visible; None if nothing is deleted. The first call costs one round trip where something is."""
        return load_visible(self.stores.sidecars, self.manifest)

    @cached_property
    def splits(self) -> NamedSplits | None:
        """The named splits; None if there are none. The first call costs one read."""
        return load_splits(self.stores.sidecars, self.manifest)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, of which the last wins. The first call costs a read of each one's manifest.

        Raises:
            DatasetNotFoundError: A layer is not where the manifest says.
            StaleIndexError: A layer has changed.
            OptionError: The location of a layer is not followed.
        """
        return self._open_layers()

    def stats(self) -> Stats:
        """Return what reading has cost, summed over all stores of the dataset and of its open layers."""
        layers: tuple[Layer, ...] = vars(self).get("layers", ())
        return sum_of_stats([*self.stores.all, *(store for layer in layers for store in layer.cache.stores.all)])

    def __len__(self) -> int:
        return len(self.shard_list)

    def close(self) -> None:
        """Release all indexes, maps, connections and descriptors; a later read opens again what it needs."""
        with self._lock:
            self._reset()
        for layer in vars(self).get("layers", ()):
            layer.cache.close()
            layer.positions.close()
        self.stores.close()

    # Opening

    def trust_indexes(self, numbers: Iterable[int] | None = None) -> None:
        """From now on open shards by their indexes alone, even where a tar is lost: no sample of theirs is read.

        Args:
            numbers: The shards; None for all.
        """
        self._opener.trust(numbers)

    def at(self, position: int) -> ShardReader:
        """Return the open shard that holds a position; opens it if necessary."""
        shard = self.by_position.shard_at(position)
        return self.get(self.shard_list.locate(position)) if shard is None else shard

    def get(self, number: int) -> ShardReader:
        """Return an open shard; opens it if necessary.

        Opening costs its index, checked against its CRC32C. The first time, unless payloads are verified, it also
        costs the shard's length and a few of its headers. Threads that want the same shard wait for the one that
        opens it.

        Raises:
            ShardNotFoundError: The shard or its index is missing.
            CorruptIndexError: The index is damaged.
            StaleIndexError: The index does not match the shard or the manifest.
            CorruptShardError: The shard is truncated.
        """
        while True:
            shard = self._shards.get(number)
            if shard is not None:
                shard.used = True
                return shard
            with self._lock:
                being_opened = self._opening.get(number)
                if being_opened is None:
                    self._opening[number] = threading.Event()
            if being_opened is None:
                break
            being_opened.wait()
        try:
            return self._shards.get(number) or self._keep(self._opener.open_one(number, self._plain))
        finally:
            self._opening.pop(number).set()

    def load(self, numbers: Iterable[int]) -> list[ShardReader]:
        """Return open shards; opens those that are not, fetching their indexes concurrently from a remote store.

        The shards stay usable when the cache evicts them.
        """
        wanted = list(numbers)
        if not self.stores.sidecars.remote:
            return [self.get(number) for number in wanted]
        shards = {number: self._shards.get(number) for number in wanted}
        shards.update(self._open_many([number for number, shard in shards.items() if shard is None]))
        return [shards[number] or self.get(number) for number in wanted]

    def _open_many(self, numbers: list[int]) -> dict[int, ShardReader]:
        """Open concurrently those shards that no other thread is opening; return {} if one index cannot be read."""
        with self._lock:
            closed = (number for number in dict.fromkeys(numbers) if number not in self._shards)
            ours = [number for number in closed if number not in self._opening]
            if len(ours) < 2:
                return {}
            self._opening.update({number: threading.Event() for number in ours})
        try:
            return {one.number: self._keep(one) for one in self._opener.open_many(ours, self._plain)}
        finally:
            for number in ours:
                self._opening.pop(number).set()

    # Keeping

    def _keep(self, opened: OpenedIndex) -> ShardReader:
        number, index = opened.number, opened.index
        if self._only is not None:
            index = only_fields(index, self._only)
        shard = ShardReader(
            self._plain.of(opened.info, index),
            opened.info,
            index,
            number=number,
            first=self.shard_list.first(number),
            held_bytes=_OBJECT_BYTES + (len(opened.buffer) if isinstance(opened.buffer, bytes) else self._map_bytes),
            visible=self.visible,
        )
        with self._lock:
            if len(self._fields) > _MAX_NAMES:
                self._fields.clear()
            shard.fields = self._fields.setdefault(shard.fields, shard.fields)
            self._shards[number] = shard
            self._held.append(number)
            self._held_bytes += shard.held_bytes
            self.by_position = self.by_position.with_shard(shard)
            while self._held_bytes > self.limits.index_bytes and len(self._held) > 1:
                old = self._next_unused(self._held, keep=number)
                self._held_bytes -= old.held_bytes
                if old.mapped is not None:
                    self._maps.remove(old.number)
                del self._shards[old.number]
                self._plain.forget(old.info)
                self.by_position = self.by_position.without(old)
                old.keys.detach()
            shard.used = True
        return shard

    def _next_unused(self, queue: deque[int], *, keep: int) -> ShardReader:
        """Remove and return the first shard of a queue of several that is unused since the last look; never `keep`."""
        while True:
            number = queue.popleft()
            shard = self._shards[number]
            if number != keep and not shard.used:
                return shard
            shard.used = False
            queue.append(number)

    def map(self, shard: ShardReader) -> ShardReader:
        """Return a shard with its map, if its store has maps. May unmap a shard that was not used lately.

        Raises:
            StaleIndexError: The tar has another length than its index says.
        """
        if shard.mapped is not None or self._max_maps < 1:
            return shard
        mapped = shard.store.map(shard.path)
        if mapped is None:
            return shard
        check_length(shard.info, len(mapped))
        with self._lock:
            if self._shards.get(shard.number) is not shard:  # evicted or mapped meanwhile
                return self._shards.get(shard.number, shard)
            self._maps.append(shard.number)
            if len(self._maps) > self._max_maps:
                old = self._next_unused(self._maps, keep=shard.number if self._max_maps > 1 else -1)
                self._exchange(old.with_map(None))
            shard = shard.with_map(mapped)
            self._exchange(shard)
        return shard

    def _exchange(self, shard: ShardReader) -> None:
        self._shards[shard.number] = shard
        self.by_position.exchange(shard)

    def count_mapped(self, num_bytes: int) -> None:
        """Count bytes read through maps; now and then, release their pages, which count as this process's memory."""
        self._mapped_bytes += num_bytes
        if self._mapped_bytes > MAX_MAPPED_BYTES:
            self._mapped_bytes = 0
            for shard in list(self._shards.values()):
                drop_resident(shard.mapped)

    # Reading

    def read(self, position: int) -> Sample:
        """Return one sample, with all of its fields. Costs one range; nothing if its shard is mapped."""
        shard = self.at(position)
        if shard.mapped is not None and shard.dense:
            return shard.cut(position)
        sample = shard.read(position, verify=self.verify)
        self.count_reads(shard)
        return sample

    def read_views(self, position: int) -> Sample:
        """Return one sample whose payloads are views of the map of its shard, or bytes where it cannot be mapped."""
        shard = self.at(position)
        if not self.verify and shard.dense:
            shard = self.map(shard)
            if shard.mapped is not None:
                return shard.cut_views(position)
        return self.read(position)

    def read_without(self, position: int, fields: Collection[str]) -> Sample:
        """Return one sample without some fields, of which nothing is read."""
        shard = self.at(position)
        if not shard.has_any(fields):
            return self.read(position)
        sample = shard.read_without(position, fields, verify=self.verify)
        self.count_reads(shard)
        return sample

    def count_reads(self, shard: ShardReader, num_samples: int = 1) -> None:
        """Count samples read by range; map the shard once it is read often, if its samples are small."""
        limits = self.limits
        shard.used = True
        before, shard.num_reads = shard.num_reads, shard.num_reads + num_samples
        if before < limits.map_after_reads <= shard.num_reads and not self.verify:
            info = shard.info
            if info.num_bytes <= limits.map_sample_bytes * info.num_samples:
                self.map(shard)
