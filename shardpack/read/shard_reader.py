"""One open shard: samples cut from its map, or read by range; and where each of them is stored.

    buffer[begin:end] --the stored bytes are the field--> sample[field]

All payloads are cut out of buffers here, for `ds[i]`, `get_many` and streams: if a field were stored in another form,
this would be the place to undo it. The functions differ in how much they cut at once: a call costs up to a tenth of
a small sample, and objects created one at a time stay in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np

from shardpack.errors import CorruptShardError
from shardpack.format.checksum import crc32c
from shardpack.format.naming import key_text
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.order.visible import Visible
from shardpack.read.sample import FieldLocation, KeySource, KnownKey, Sample, SampleLocation
from shardpack.storage.locations import url_of
from shardpack.storage.protocols import Store

LARGE_SAMPLE_BYTES = 64 << 10  # reading such samples one by one costs little more than in long requests


class ShardKeys:
    """The keys of one shard, by position: samples refer to them, and not to the shard. Safe in threads; never reads.

    Attributes:
        visible: What is visible of the dataset; None if nothing is deleted.
    """

    __slots__ = ("_ends", "_first", "_heap", "visible")

    def __init__(self, index: ShardIndex, first: int, visible: Visible | None = None) -> None:
        self._first, self.visible = first, visible
        # Memoryviews for scalar access: an item takes 35 ns, a third of numpy's.
        self._ends: Any = memoryview(index.key_offset)
        self._heap: Any = memoryview(index.key_heap)

    def key_at(self, position: int) -> bytes:
        """Return the key at a position of the dataset, which must be in this shard."""
        row, ends = position - self._first, self._ends
        return bytes(self._heap[ends[row] : ends[row + 1]])

    def known_at(self, position: int) -> bytes | KeySource:
        """Return what a sample needs to know its key and position when it refers to nothing of the shard."""
        raw = self.key_at(position)
        return raw if self.visible is None else KnownKey(raw, self.visible)

    def text_at(self, position: int) -> str:
        """Return the key at a position of the dataset, as users see it."""
        return key_text(self.key_at(position))

    def detach(self) -> None:
        """Copy the keys out of the index, so that samples that are kept do not keep its map open."""
        heap, ends = bytes(self._heap), np.array(self._ends)
        self._heap = heap  # first: old offsets fit the copied heap as well
        self._ends = memoryview(ends)


class ShardReader:
    """Reads the samples of one shard. Immutable except `used` and `num_reads`; safe in threads.

    Attributes:
        store, path, info, index: The tar, and what describes it.
        number: The shard's number in the dataset.
        first: Position of the shard's first sample in the dataset.
        held_bytes: Memory that this object takes; pages of a map belong to the system.
        fields, width: The shard's fields, and their number.
        dense: Whether each sample has each field: then member k of row i is number i * width + k.
        offsets, sizes: (members) Where payloads are stored.
        keys: The keys of its samples.
        mapped: The whole tar as a buffer, or None.
        used: Whether the shard was read since the cache last looked.
        num_reads: Number of samples read by range.
    """

    __slots__ = (
        "dense", "fields", "first", "held_bytes", "index", "info", "keys", "mapped", "num_reads",
        "number", "offsets", "path", "sizes", "store", "used", "width",
    )  # fmt: skip

    def __init__(
        self,
        store: Store,
        info: ShardInfo,
        index: ShardIndex,
        *,
        number: int,
        first: int,
        held_bytes: int,
        visible: Visible | None = None,
    ) -> None:
        self.store, self.info, self.index = store, info, index
        self.number, self.first, self.path, self.held_bytes = number, first, info.name, held_bytes
        self.fields, self.width = index.fields, len(index.fields)
        self.dense = index.dense
        # Memoryviews for scalar access: an item takes 35 ns, a third of numpy's.
        self.offsets, self.sizes = memoryview(index.data_offset), memoryview(index.size)
        self.keys = ShardKeys(index, first, visible)
        self.mapped: Any = None
        self.used = True
        self.num_reads = 0

    def __len__(self) -> int:
        return self.info.num_samples

    def with_map(self, mapped: Any) -> ShardReader:
        """Return a copy with another map, or with None."""
        other = copy(self)
        other.mapped, other.num_reads, other.used = mapped, 0, True
        return other

    def has_large_samples(self) -> bool:
        """Return whether the mean sample is large."""
        return self.index.plain_bytes > LARGE_SAMPLE_BYTES * self.info.num_samples

    def columns_of(self, fields: tuple[str, ...] | None) -> list[int]:
        """Return the numbers of the wanted fields, leaving out those that no sample of this shard has."""
        if fields is None:
            return list(range(self.width))
        return [self.fields.index(field) for field in fields if field in self.fields]

    # Samples

    def cut(self, position: int, view: memoryview | None = None) -> Sample:
        """Return one sample of a dense, mapped shard: the hot path of `ds[i]`, about 1 us for two small fields.

        Payloads are bytes, or slices of `view`, a view of the map.
        """
        self.used = True
        sample = Sample()
        sample.stored_position, sample.stored_key = position, self.keys
        buffer, offsets, sizes = self.mapped if view is None else view, self.offsets, self.sizes
        member = (position - self.first) * self.width
        for field in self.fields:
            start = offsets[member]
            sample[field] = buffer[start : start + sizes[member]]
            member += 1
        return sample

    def cut_views(self, position: int) -> Sample:
        """Return what `cut` does with views of the map, which they keep alive, as payloads: nothing is copied."""
        return self.cut(position, map_view(self.mapped))

    def read(self, position: int, *, verify: bool) -> Sample:
        """Return one sample, read by range.

        Costs one range, which includes the header blocks between the fields; if the sample is longer than
        the store's longest merged request, one range per field.
        """
        row, fields = position - self.first, self.fields
        if self.dense:
            members = range(row * self.width, (row + 1) * self.width)
        else:
            members = self.index.members(row)
            fields = tuple(self.index.field_of(member) for member in members)
        sample = Sample()
        sample.stored_position, sample.stored_key = position, self.keys.known_at(position)
        if not members:  # of a layer, of which other fields are read
            return sample
        if len(members) == 1 and not verify:  # takes half as long without the lists below
            start, length = self.offsets[members.start], self.sizes[members.start]
            sample[fields[0]] = self.store.get_range(self.path, start=start, length=length)
            self.store.stats.add_used(length)
            return sample
        begins = self.offsets[members.start : members.stop].tolist()
        sizes = self.sizes[members.start : members.stop].tolist()
        ends = [begin + size for begin, size in zip(begins, sizes, strict=True)]
        start = min(begins)
        length = max(ends) - start
        if length <= self.store.merge_limits.max_request_bytes:
            data = self.store.get_range(self.path, start=start, length=length)
            for field, begin, end in zip(fields, begins, ends, strict=True):
                sample[field] = data[begin - start : end - start]
        else:
            payloads = self.store.get_ranges(self.path, starts=begins, lengths=sizes)
            for field, payload in zip(fields, payloads, strict=True):
                sample[field] = payload
        self.store.stats.add_used(sum(sizes))
        if verify:
            for member, field in zip(members, fields, strict=True):
                self.check_payload(member, sample[field])
        return sample

    def has_any(self, fields: Collection[str]) -> bool:
        """Return whether some sample of this shard has one of the fields."""
        return any(field in fields for field in self.fields)

    def read_without(self, position: int, fields: Collection[str], *, verify: bool) -> Sample:
        """Return one sample without some fields. Costs one range per field, or nothing if the shard is mapped."""
        wanted = {
            field: member
            for member in self.index.members(position - self.first)
            if (field := self.index.field_of(member)) not in fields
        }
        starts = [self.offsets[member] for member in wanted.values()]
        sizes = [self.sizes[member] for member in wanted.values()]
        if self.mapped is None:
            payloads = self.store.get_ranges(self.path, starts=starts, lengths=sizes)
            self.store.stats.add_used(sum(sizes))
        else:
            payloads = [self.mapped[start : start + size] for start, size in zip(starts, sizes, strict=True)]
        if verify:
            for member, payload in zip(wanted.values(), payloads, strict=True):
                self.check_payload(member, payload)
        sample = Sample(zip(wanted, payloads, strict=True))
        sample.stored_position, sample.stored_key = position, self.keys.known_at(position)
        return sample

    def check_payload(self, member: int, payload: bytes | memoryview) -> None:
        """Compare a payload with its checksum in the index, if the index has checksums.

        Raises:
            CorruptShardError: They differ.
        """
        expected = self.checksum_of(member)
        if expected is None:
            return
        computed = crc32c(payload)
        if computed != expected:
            raise CorruptShardError(
                f"field {self.index.field_of(member)!r} is damaged: expected CRC32C {expected:08x}, "
                f'got {computed:08x}; restore the shard, then run "shardpack verify --full"',
                shard=self.path,
                key=self.index.key(self.index.row_of(member)),
                offset=self.offsets[member],
            )

    def checksum_of(self, member: int) -> int | None:
        """Return the CRC32C of one payload according to the index; None if it has no checksums."""
        checksums = self.index.crc32c
        return None if checksums is None else int(checksums[member])

    # Where samples are stored

    def extent(self, position: int) -> tuple[int, int]:
        """Return start and length of one sample, first payload to last; exact if its payloads are sorted by field."""
        row, width = position - self.first, self.width
        if self.dense and width:  # in a third of the time
            first, last = row * width, (row + 1) * width - 1
        else:
            members = self.index.members(row)
            if not members:
                return 0, 1
            first, last = members.start, members.stop - 1
        start = self.offsets[first]
        return start, max(1, self.offsets[last] + self.sizes[last] - start)

    def locate(self, row: int) -> SampleLocation:
        """Return where one sample is stored."""
        url, frames = url_of(self.store, self.path), self.index.frames
        fields = {
            self.index.field_of(member): FieldLocation(
                url,
                self.offsets[member],
                self.sizes[member],
                self.checksum_of(member),
                None if frames is None else frames.stored_range(self.offsets[member], self.sizes[member]),
            )
            for member in self.index.members(row)
        }
        visible, stored = self.keys.visible, self.first + row
        position = stored if visible is None else visible.position_of(stored)
        return SampleLocation(self.index.key(row), position, self.path, fields)


# --- Payloads of many samples ------------------------------------------------------------------


def map_view(mapped: Any) -> memoryview:
    """Return a read-only view of a mapped shard. The map lives as long as the view, or a slice of it."""
    return memoryview(mapped).cast("B").toreadonly()


def cut_each(shards: Sequence[ShardReader], positions: Sequence[int]) -> list[Sample]:
    """Return the sample at each position from its mapped shard: `ShardReader.cut`, without a call per sample."""
    samples: list[Sample] = []
    add, new = samples.append, Sample
    for shard, position in zip(shards, positions, strict=True):
        sample = new()
        sample.stored_position, sample.stored_key = position, shard.keys
        buffer, offsets, sizes, width = shard.mapped, shard.offsets, shard.sizes, shard.width
        member = (position - shard.first) * width
        if width == 2:  # the usual two at once: a tenth faster
            one, two = shard.fields
            start = offsets[member]
            sample[one] = buffer[start : start + sizes[member]]
            member += 1
            start = offsets[member]
            sample[two] = buffer[start : start + sizes[member]]
        else:
            for field in shard.fields:
                start = offsets[member]
                sample[field] = buffer[start : start + sizes[member]]
                member += 1
        add(sample)
    return samples


def cut_samples(
    fields: Sequence[str],
    buffers: Iterable[Any],
    bounds: Sequence[Sequence[int]],
    positions: Iterable[int],
    keys: Iterable[bytes | KeySource],
) -> Iterator[Sample]:
    """Yield samples that have the same fields, each cut when it is asked for.

    Args:
        fields: Names of the fields.
        buffers: (n) The buffer that holds each sample.
        bounds: (2 * fields, n) Begin and end of the first field, then of the second, and so on.
        positions: (n) Positions of the samples.
        keys: (n) Keys of the samples, or objects that know them.
    """
    if len(fields) == 2:  # the usual two at once: a tenth faster
        one, two = fields
        for position, key, buffer, a, b, c, d in zip(positions, keys, buffers, *bounds, strict=True):
            sample = Sample()
            sample.stored_position, sample.stored_key = position, key
            sample[one], sample[two] = buffer[a:b], buffer[c:d]
            yield sample
            del sample  # the next one is then created in memory that the processor's caches still hold
        return
    if len(fields) == 1:  # without the inner loop below, an epoch of 2 KB labels takes a third less
        (one,) = fields
        for position, key, buffer, a, b in zip(positions, keys, buffers, *bounds, strict=True):
            sample = Sample()
            sample.stored_position, sample.stored_key = position, key
            sample[one] = buffer[a:b]
            yield sample
            del sample
        return
    for position, key, buffer, *own in zip(positions, keys, buffers, *bounds, strict=True):
        sample = Sample()
        sample.stored_position, sample.stored_key = position, key
        for field, begin, end in zip(fields, own[::2], own[1::2], strict=True):
            sample[field] = buffer[begin:end]
        yield sample
        del sample


def cut_payloads(
    shard: ShardReader,
    positions: Sequence[int],
    keys: Sequence[bytes | KeySource],
    payloads: Iterable[tuple[int, int, int, Any, int, int]],
    *,
    verify: bool,
) -> list[Sample]:
    """Return samples of one shard that may have different fields.

    Args:
        shard: The shard.
        positions, keys: (n) Positions and keys of the samples.
        payloads: (p) For each payload the number of its sample, its number in the index, the number of its field, the
            buffer that holds it, and where it begins and ends there.
        verify: Whether to compare payloads with their checksums.
    """
    samples = []
    for position, key in zip(positions, keys, strict=True):
        sample = Sample()
        sample.stored_position, sample.stored_key = position, key
        samples.append(sample)
    fields = shard.fields
    for owner, member, field, buffer, begin, end in payloads:
        payload = buffer[begin:end]
        if verify:
            shard.check_payload(member, payload)
        samples[owner][fields[field]] = payload
    return samples
