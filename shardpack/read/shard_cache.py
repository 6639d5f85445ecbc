"""The shards that are open, kept within limits: parsed indexes by their bytes, maps by their number.

    position --bisect--> `cut` of its shard, where that is mapped, else `ShardCache.read`

Who was not used since the last look goes first (second chance), so that a look-up costs one flag. A sample that
is kept holds the keys of its shard at most, never the shard.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shardpack.errors import ShardpackError
from shardpack.format.manifest import Manifest
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.read.sample import Sample
from shardpack.read.shard_checks import check_length, check_shards, checked_index, fetch_index
from shardpack.read.shard_list import ShardList
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers
from shardpack.runtime.fork import watch_forks
from shardpack.storage.file_map import drop_resident
from shardpack.storage.locations import DatasetStores
from shardpack.storage.process_limits import max_index_maps, max_maps
from shardpack.storage.protocols import Ranges

MAX_MAPPED_BYTES = 4 << 30  # read through maps since they were last let go of
_OBJECT_BYTES = 4 << 10  # what an open shard takes besides its index


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """What may be kept open.

    A map saves a random read 0.5 us, which is much for small samples and little for large ones (2-core
    VM). It also ties the process to the file: cutting a mapped file short kills its readers with SIGBUS. So
    random reads map shards of small samples that are read often; streams map what is in the page cache.

    Attributes:
        index_bytes: Memory of parsed indexes; of those that are maps of a file, as many as the system allows.
        maps: Shards that are mapped; None for a share of what the system allows this process.
        map_after_reads: Random reads by range after which a shard of small samples is mapped.
        map_sample_bytes: Mean size up to which samples are small.
    """

    index_bytes: int = 256 << 20
    maps: int | None = None
    map_after_reads: int = 64
    map_sample_bytes: int = 32 << 10


@dataclass(frozen=True, eq=False)
class _Table:
    """Which shard is open at each position; replaced as a whole, but for single entries that are exchanged.

    Attributes:
        bounds: Ascending positions; what holds position p is number `bisect_right(bounds, p)`.
        mapped: (bounds + 1) the shard that cuts the sample at a position from its map; None where `ShardCache.read`
            must read it.
        shards: (bounds + 1) the open ones; None between them.
    """

    bounds: list[int]
    mapped: list[ShardReader | None]
    shards: list[ShardReader | None]

    def find_mapped(self, positions: Integers) -> list[ShardReader | None]:
        """Return what `mapped` holds for each of many positions, all found at once."""
        numbers = self._ascending.searchsorted(positions, side="right")
        return list(map(self.mapped.__getitem__, numbers.tolist()))

    @cached_property
    def _ascending(self) -> Integers:
        return np.array(self.bounds, np.int64)

    def with_shard(self, shard: ShardReader) -> _Table:
        """Return a table with one shard more, whose positions are not in it yet."""
        begin, end = shard.first, shard.first + len(shard)
        at = bisect_right(self.bounds, begin)
        before = begin > (self.bounds[at - 1] if at else 0)
        after = at == len(self.bounds) or end < self.bounds[at]
        bounds, mapped, shards = self.bounds[:], self.mapped[:], self.shards[:]
        bounds[at:at] = [begin] * before + [end] * after
        mapped[at : at + 1] = [None] * (before + 1 + after)
        shards[at : at + 1] = [*[None] * before, shard, *[None] * after]
        return _Table(bounds, mapped, shards)

    def without(self, shard: ShardReader) -> _Table:
        """Return a table with one shard less."""
        at = bisect_right(self.bounds, shard.first)
        first, last = at, at
        if at and self.shards[at - 1] is None:
            first -= 1
        if at + 1 < len(self.shards) and self.shards[at + 1] is None:
            last += 1
        bounds, mapped, shards = self.bounds[:], self.mapped[:], self.shards[:]
        del bounds[first:last]
        mapped[first : last + 1] = [None]
        shards[first : last + 1] = [None]
        return _Table(bounds, mapped, shards)


class ShardCache:
    """Shards by number and by position, opened when first needed. Safe in threads and after fork.

    Attributes:
        stores, manifest, table: What is read; the shards of the manifest.
        manifest_crc32c: Of the manifest's file, by which a pickle finds this very manifest again.
        verify: Whether every payload is compared with its checksum.
        open: What is open, for the hot path, which saves a call.
    """

    def __init__(
        self,
        stores: DatasetStores,
        manifest: Manifest,
        *,
        manifest_crc32c: int,
        verify: bool,
        limits: CacheLimits | None = None,
    ) -> None:
        self.stores, self.manifest, self.verify = stores, manifest, verify
        self.manifest_crc32c = manifest_crc32c
        self.table = ShardList(stores.sidecars, manifest)
        self.limits = limits or CacheLimits()
        self._max_maps = max_maps() if self.limits.maps is None else self.limits.maps
        self._map_bytes = self.limits.index_bytes // max_index_maps()  # what an index that is a map counts for
        self._probed = bytearray(len(self.table))
        self.after_fork()
        watch_forks(self)
        self._reset()

    def _reset(self) -> None:
        self.open = _Table([], [None], [None])
        self._shards: dict[int, ShardReader] = {}  # the open ones, by number
        self._held_bytes = 0  # by them
        self._held: deque[int] = deque()  # their numbers, in the order of the next look
        self._maps: deque[int] = deque()  # the same for those that are mapped
        self._mapped_bytes = 0

    def after_fork(self) -> None:
        """Replace the locks, in a child that may have inherited them locked."""
        self._opening: dict[int, threading.Event] = {}  # shards that a thread is about to open
        self._lock = threading.Lock()  # of what is open

    def __len__(self) -> int:
        return len(self.table)

    @property
    def open_shards(self) -> list[ShardReader]:
        """The shards that are open now."""
        return list(self._shards.values())

    def close(self) -> None:
        """Let go of all indexes and maps; a later read opens what it needs again."""
        with self._lock:
            self._reset()

    # Opening

    def at(self, position: int) -> ShardReader:
        """Return the shard that holds a position, opened."""
        table = self.open
        shard = table.shards[bisect_right(table.bounds, position)]
        return self.get(self.table.locate(position)) if shard is None else shard

    def get(self, number: int) -> ShardReader:
        """Return a shard, opened.

        Costs its index, checked against its CRC32C, and the first time, unless payloads are verified, the shard's
        length and a few headers of it. Threads that want the same shard wait for the one that opens it.

        Raises:
            CorruptIndexError, StaleIndexError, CorruptShardError, ShardNotFoundError: See the names.
        """
        while True:
            shard = self._shards.get(number)
            if shard is not None:
                shard.used = True
                return shard
            with self._lock:
                under_way = self._opening.get(number)
                if under_way is None:
                    self._opening[number] = threading.Event()
            if under_way is None:
                break
            under_way.wait()
        try:
            return self._shards.get(number) or self._open_one(number)
        finally:
            self._opening.pop(number).set()

    def load(self, numbers: Iterable[int]) -> list[ShardReader]:
        """Return shards, opened; the indexes of all are fetched at once where that saves waiting.

        They stay usable whatever the cache lets go of meanwhile.
        """
        wanted = list(numbers)
        if not self.stores.sidecars.remote:
            return [self.get(number) for number in wanted]
        found = {number: self._shards.get(number) for number in wanted}
        found.update(self._open_many([number for number, shard in found.items() if shard is None]))
        return [found[number] or self.get(number) for number in wanted]

    def _open_one(self, number: int) -> ShardReader:
        info = self.table[number]
        buffer = fetch_index(self.stores.sidecars, info)
        index = checked_index(buffer, info)
        if self._needs_probe(number, has_checksum=info.crc32c is not None):
            check_shards(self.stores.of(info), [(info, index)])
        self._probed[number] = True
        return self._keep(number, info, index, buffer)

    def _open_many(self, numbers: list[int]) -> dict[int, ShardReader]:
        """Open those of some shards that no other thread is opening, all at once; {} where one cannot be opened."""
        with self._lock:
            closed = (number for number in dict.fromkeys(numbers) if number not in self._shards)
            ours = [number for number in closed if number not in self._opening]
            if len(ours) < 2:
                return {}
            self._opening.update({number: threading.Event() for number in ours})
        try:
            infos = [self.table[number] for number in ours]
            try:
                buffers = self.stores.sidecars.get_many(
                    [Ranges(info.index_path, [0], [info.index_bytes]) for info in infos]
                )
            except ShardpackError:
                return {}  # `get` says what is wrong, with the shard's own message
            indexes = [checked_index(buffer, info) for info, (buffer,) in zip(infos, buffers, strict=True)]
            pairs = list(zip(ours, infos, indexes, strict=True))
            by_store: dict[int, list[tuple[ShardInfo, ShardIndex]]] = {}
            for number, info, index in pairs:
                if self._needs_probe(number, has_checksum=info.crc32c is not None):
                    by_store.setdefault(id(self.stores.of(info)), []).append((info, index))
            for unknown in by_store.values():
                check_shards(self.stores.of(unknown[0][0]), unknown)
            opened = {}
            for (number, info, index), (buffer,) in zip(pairs, buffers, strict=True):
                self._probed[number] = True
                opened[number] = self._keep(number, info, index, buffer)
            return opened
        finally:
            for number in ours:
                self._opening.pop(number).set()

    def _needs_probe(self, number: int, *, has_checksum: bool) -> bool:
        """Return whether to look at the shard itself: payloads that are verified tell as much, once they are read."""
        return not self._probed[number] and not (self.verify and has_checksum)

    # Keeping

    def _keep(self, number: int, info: ShardInfo, index: ShardIndex, buffer: object) -> ShardReader:
        shard = ShardReader(
            self.stores.of(info),
            info,
            index,
            number=number,
            first=self.table.first(number),
            held_bytes=_OBJECT_BYTES + (len(buffer) if isinstance(buffer, bytes) else self._map_bytes),
        )
        with self._lock:
            self._shards[number] = shard
            self._held.append(number)
            self._held_bytes += shard.held_bytes
            self.open = self.open.with_shard(shard)
            while self._held_bytes > self.limits.index_bytes and len(self._held) > 1:
                old = self._next_unused(self._held, keep=number)
                self._held_bytes -= old.held_bytes
                if old.map is not None:
                    self._maps.remove(old.number)
                del self._shards[old.number]
                self.open = self.open.without(old)
                old.keys.detach()
            shard.used = True
        return shard

    def _next_unused(self, queue: deque[int], *, keep: int) -> ShardReader:
        """Take a shard out of a queue of several: the first not used since the last look, and not `keep`."""
        while True:
            number = queue.popleft()
            shard = self._shards[number]
            if number != keep and not shard.used:
                return shard
            shard.used = False
            queue.append(number)

    def map(self, shard: ShardReader) -> ShardReader:
        """Return a shard mapped, where its store can; one that was not used of late may lose its map."""
        if shard.map is not None or self._max_maps < 1:
            return shard
        mapped = shard.store.map(shard.path)
        if mapped is None:
            return shard
        check_length(shard.info, len(mapped))
        with self._lock:
            if self._shards.get(shard.number) is not shard:  # let go of meanwhile, or mapped
                return self._shards.get(shard.number, shard)
            self._maps.append(shard.number)
            if len(self._maps) > self._max_maps:
                old = self._next_unused(self._maps, keep=shard.number if self._max_maps > 1 else -1)
                self._exchange(old.with_map(None))
            shard = shard.with_map(mapped)
            self._exchange(shard)
        return shard

    def _exchange(self, shard: ShardReader) -> None:
        """Put a shard in its own place: mapped, or not any more. Whoever still reads from the old one may do so."""
        self._shards[shard.number] = shard
        table = self.open
        at = bisect_right(table.bounds, shard.first)
        table.shards[at] = shard
        table.mapped[at] = shard if shard.map is not None and shard.dense else None

    def count_mapped(self, num_bytes: int) -> None:
        """Count bytes read through maps: now and then they are let go of, so that they do not pile up as ours."""
        self._mapped_bytes += num_bytes
        if self._mapped_bytes > MAX_MAPPED_BYTES:
            self._mapped_bytes = 0
            for shard in list(self._shards.values()):
                drop_resident(shard.map)

    # Reading

    def read(self, position: int) -> Sample:
        """Return one sample, with all of its fields. Costs a range, or none where its shard is mapped."""
        shard = self.at(position)
        if shard.map is not None and shard.dense:
            return shard.cut(position)
        sample = shard.read(position, verify=self.verify)
        self.count_reads(shard)
        return sample

    def read_mapped(self, position: int) -> Sample:
        """Do what `read` does, after mapping the shard where the store can."""
        shard = self.map(self.at(position))
        return shard.cut(position) if shard.map is not None and shard.dense else self.read(position)

    def count_reads(self, shard: ShardReader, num_samples: int = 1) -> None:
        """Count samples read by range; map the shard once it proves hot and its samples are small."""
        limits = self.limits
        shard.used = True
        before, shard.num_reads = shard.num_reads, shard.num_reads + num_samples
        if before < limits.map_after_reads <= shard.num_reads and not self.verify:
            info = shard.info
            if info.num_bytes <= limits.map_sample_bytes * info.num_samples:
                self.map(shard)

    # Positions

    def runs(self, ascending: Integers) -> Iterator[tuple[int, int, int]]:
        """Yield (shard number, begin, end): the runs of ascending positions that share a shard."""
        begin, total = 0, len(ascending)
        self.table.prepare(ascending)
        while begin < total:
            number = self.table.locate(int(ascending[begin]))
            end = int(np.searchsorted(ascending, self.table.first(number + 1)))
            yield number, begin, end
            begin = end

    def rows(self, positions: Integers | None) -> Iterator[tuple[int, Integers]]:
        """Yield (shard number, rows) for positions in any order, or for all: runs that share a shard."""
        first = self.table.first
        if positions is None:
            for number in range(len(self)):
                yield number, np.arange(first(number + 1) - first(number))
            return
        if not len(positions):
            return
        numbers = self.table.locate_many(positions)
        edges = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for begin, end in zip(edges, [*edges[1:], len(numbers)], strict=True):
            number = int(numbers[begin])
            yield number, positions[begin:end] - first(number)
