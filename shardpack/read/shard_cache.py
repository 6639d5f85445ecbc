"""The shards of a dataset, opened when first needed; shared by the dataset and its views."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

import numpy as np
import numpy.typing as npt

from shardpack.errors import ShardpackError
from shardpack.format.manifest import Manifest
from shardpack.read.read_plan import read_sample
from shardpack.read.sample import Sample
from shardpack.read.shard_reader import OpenShard, check_unread, open_shard, parsed_index
from shardpack.storage.local_file import drop_resident
from shardpack.storage.protocols import Ranges, Store

MAX_OPEN_SHARDS = 256  # what an open shard holds: a mapped index, and a descriptor in a local store
MAX_MAPPED_BYTES = 4 << 30  # read through maps since they were last let go of


class Shards:
    """Shards by number and by position. Safe in threads; holds at most `MAX_OPEN_SHARDS` open.

    Attributes:
        open: (shards) the open ones; None for the others. For the hot path, which saves a call.
        first: (shards) position of each shard's first sample.
    """

    def __init__(self, store: Store, manifest: Manifest, *, verify: bool) -> None:
        self.store, self.manifest, self.verify = store, manifest, verify
        self.first = manifest.starts[:-1]
        self.open: list[OpenShard | None] = [None] * len(self.first)
        self._opened: list[int] = []
        self._mapped = 0
        self._locks: dict[int, threading.Lock] = {}
        self._locks_of = os.getpid()

    def __len__(self) -> int:
        return len(self.first)

    def get(self, number: int) -> OpenShard:
        """Return a shard, opened; see `open_shard` for cost and errors."""
        shard = self.open[number]
        if shard is not None:
            return shard
        if not self.store.remote:  # no lock: two threads may open the same shard, and either copy serves
            return self._opened_now(number)
        with self._lock(number):
            return self.open[number] or self._opened_now(number)

    def _opened_now(self, number: int) -> OpenShard:
        shard = open_shard(self.store, self.manifest.shard(number), self.first[number], probe=not self.verify)
        self._keep(number, shard)
        return shard

    def _lock(self, number: int) -> threading.Lock:
        """Return the lock under which a shard far away is opened, so that its index is fetched once."""
        if self._locks_of != os.getpid():  # a forked child may have inherited them locked
            self._locks_of, self._locks = os.getpid(), {}
        return self._locks.setdefault(number, threading.Lock())

    def _keep(self, number: int, shard: OpenShard) -> None:
        self.open[number] = shard
        self._opened.append(number)
        while len(self._opened) > MAX_OPEN_SHARDS:
            with suppress(IndexError):
                self.open[self._opened.pop(0)] = None

    def load(self, numbers: Iterable[int]) -> None:
        """Open shards that will be needed, their indexes fetched all at once where that saves waiting."""
        if not self.store.remote:
            return
        closed = list(islice((number for number in numbers if self.open[number] is None), MAX_OPEN_SHARDS))
        ours = [number for number in closed if self._lock(number).acquire(blocking=False)]  # others are under way
        try:
            if len(ours) > 1:
                self._load([number for number in ours if self.open[number] is None])
        finally:
            for number in ours:
                self._lock(number).release()

    def _load(self, numbers: list[int]) -> None:
        infos = [self.manifest.shard(number) for number in numbers]
        try:
            buffers = self.store.get_many([Ranges(info.index_name, [0], [info.index_bytes]) for info in infos])
        except ShardpackError:
            return  # `get` says what is wrong, with the shard's own message
        indexes = [parsed_index(buffer, info) for info, (buffer,) in zip(infos, buffers, strict=True)]
        pairs = list(zip(infos, indexes, strict=True))
        check_unread(self.store, [pair for pair in pairs if not self.verify or pair[0].crc32c is None])
        for number, (info, index) in zip(numbers, pairs, strict=True):
            self._keep(number, OpenShard(self.store, info, index, self.first[number]))

    def at(self, position: int) -> OpenShard:
        """Return the shard that holds a position."""
        return self.get(bisect_right(self.first, position) - 1)

    def read(self, position: int) -> Sample:
        """Return one sample, with all of its fields. Costs a range, or none where its shard is mapped."""
        shard = self.at(position)
        sample = Sample()
        sample.position, sample._key = position, self
        mapped = shard.map
        if mapped is not None and shard.dense:
            cell = (position - shard.first) * shard.width
            for field in shard.fields:
                start = shard.offsets[cell]
                sample[field] = mapped[start : start + shard.sizes[cell]]
                cell += 1
            return sample
        read_sample(shard, position - shard.first, sample, verify=self.verify)
        if not self.verify:
            shard.count_read()
        return sample

    def read_mapped(self, position: int) -> Sample:
        """Do what `read` does, after mapping the shard where the store can."""
        shard = self.at(position)
        if shard.map is None:
            shard.keep_map()
        return self.read(position)

    def count_mapped(self, num_bytes: int) -> None:
        """Count bytes read through maps: now and then they are let go of, so that they do not pile up as ours."""
        self._mapped += num_bytes
        if self._mapped > MAX_MAPPED_BYTES:
            self._mapped = 0
            for shard in self.open:
                if shard is not None:
                    drop_resident(shard.map)

    def key_at(self, position: int) -> str:
        """Return the key of a position. Samples ask here: one that is kept must not keep its shard open."""
        return self.at(position).key_at(position)

    def runs(self, ascending: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """Yield (shard number, begin, end): the runs of ascending positions that share a shard."""
        begin, total, starts = 0, len(ascending), self.manifest.starts
        while begin < total:
            number = bisect_right(self.first, int(ascending[begin])) - 1
            end = int(np.searchsorted(ascending, starts[number + 1]))
            yield number, begin, end
            begin = end

    def rows(self, positions: npt.NDArray[np.int64] | None) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield (shard number, rows) for positions in any order, or for all: runs that share a shard."""
        starts = self.manifest.starts
        if positions is None:
            for number in range(len(self)):
                yield number, np.arange(starts[number + 1] - starts[number])
            return
        if not len(positions):
            return
        numbers = np.searchsorted(starts, positions, side="right") - 1
        edges = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for begin, end in zip(edges, [*edges[1:], len(numbers)], strict=True):
            number = int(numbers[begin])
            yield number, positions[begin:end] - starts[number]
