"""One shard open for reading: its index in columns, laid out for one sample at a time and for many at once."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from shardpack.errors import CorruptShardError
from shardpack.format.checksum import crc32c
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.read.payload import cut_field, cut_mapped, cut_sample
from shardpack.read.sample import Sample
from shardpack.read.shard_keys import ShardKeys
from shardpack.storage.locations import url_of
from shardpack.storage.protocols import Store

LARGE_SAMPLE_BYTES = 64 << 10  # that read each by itself cost little more than in long requests


@dataclass(frozen=True, slots=True)
class FieldLocation:
    """Where the payload of one field lies: bytes `offset` to `offset + size` of an object.

    Attributes:
        url: Path or URL of the shard.
        offset, size: Bytes, from the shard's start.
        crc32c: Of the payload; None if its shard was indexed without reading payloads.
    """

    url: str
    offset: int
    size: int
    crc32c: int | None


@dataclass(frozen=True, slots=True)
class SampleLocation:
    """Where one sample lies, field by field; `shard` is the name of its shard."""

    key: str
    position: int
    shard: str
    fields: dict[str, FieldLocation]


class ShardReader:
    """Reads samples of one shard. Immutable but for `used` and `num_reads`; safe in threads.

    Attributes:
        store, path, info, index: What it reads.
        number, first: Of the shard in the dataset, and the position of its first sample.
        held_bytes: Memory that it takes; pages of a map are the system's.
        dense: Whether each sample has each field: then member k of row i is number i * width + k.
        offsets, sizes: (members) where payloads lie.
        keys: Of its samples.
        map: The shard as a buffer, or None.
        used: Whether it was read since the cache last looked.
        num_reads: Samples read by range.
    """

    __slots__ = (
        "dense", "fields", "first", "held_bytes", "index", "info", "keys", "map", "num_reads",
        "number", "offsets", "path", "sizes", "store", "used", "width",
    )  # fmt: skip

    def __init__(
        self, store: Store, info: ShardInfo, index: ShardIndex, *, number: int, first: int, held_bytes: int
    ) -> None:
        self.store, self.info, self.index = store, info, index
        self.number, self.first, self.path, self.held_bytes = number, first, info.name, held_bytes
        self.fields, self.width = index.fields, len(index.fields)
        self.dense = index.dense
        # Views for scalar access: 35 ns an item, a third of what numpy takes.
        self.offsets, self.sizes = memoryview(index.data_offset), memoryview(index.size)
        self.keys = ShardKeys(index, first)
        self.map: Any = None
        self.used = True
        self.num_reads = 0

    cut = cut_mapped

    def __len__(self) -> int:
        return self.info.num_samples

    def with_map(self, mapped: Any) -> ShardReader:
        """Return the same shard with another map, or with none."""
        other = copy(self)
        other.map, other.num_reads, other.used = mapped, 0, True
        return other

    def has_large_samples(self) -> bool:
        """Return whether the mean sample is large."""
        return self.info.num_bytes > LARGE_SAMPLE_BYTES * self.info.num_samples

    def columns_of(self, fields: tuple[str, ...] | None) -> list[int]:
        """Return the numbers of the wanted fields; those that no sample here has are passed over."""
        if fields is None:
            return list(range(self.width))
        return [self.fields.index(field) for field in fields if field in self.fields]

    def extent(self, position: int) -> tuple[int, int]:
        """Return start and length of one sample, first payload to last, as payloads are sorted by most writers."""
        members = self.index.members(position - self.first)
        start, last = self.offsets[members.start], members.stop - 1
        return start, max(1, self.offsets[last] + self.sizes[last] - start)

    def read(self, position: int, *, verify: bool) -> Sample:
        """Return one sample, read by range.

        Costs one range, header blocks between the fields included; one a field where the sample is
        longer than the store finds worth merging.
        """
        members = self.index.members(position - self.first)
        fields = self.fields if self.dense else [self.index.field_of(member) for member in members]
        sample = Sample()
        sample.position, sample.stored_key = position, self.keys.key_at(position)
        begins = self.offsets[members.start : members.stop].tolist()
        ends = [begin + size for begin, size in zip(begins, self.sizes[members.start : members.stop], strict=True)]
        start = min(begins)
        length = max(ends) - start
        if length <= self.store.merge_limits.max_request_bytes:
            data = self.store.get_range(self.path, start=start, length=length)
            cut_sample(data, fields, [a - start for a in begins], [b - start for b in ends], sample)
        else:
            sizes = [b - a for a, b in zip(begins, ends, strict=True)]
            payloads = self.store.get_ranges(self.path, starts=begins, lengths=sizes)
            for field, payload in zip(fields, payloads, strict=True):
                sample[field] = cut_field(payload, 0, len(payload))
        self.store.stats.add_used(sum(map(len, sample.values())))
        if verify:
            for member, field in zip(members, fields, strict=True):
                self.check_payload(member, sample[field])
        return sample

    def check_payload(self, member: int, payload: bytes | memoryview) -> None:
        """Raise CorruptShardError unless the payload has the checksum that the index holds, if it holds any."""
        expected = self.checksum_of(member)
        if expected is None:
            return
        found = crc32c(payload)
        if found != expected:
            raise CorruptShardError(
                f"field {self.index.field_of(member)!r} is damaged: expected CRC32C {expected:08x}, got {found:08x}; "
                'restore the shard, then run "shardpack verify --full"',
                shard=self.path,
                key=self.index.key(self.index.row_of(member)),
                offset=self.offsets[member],
            )

    def checksum_of(self, member: int) -> int | None:
        """Return the CRC32C of one payload, as the index has it."""
        checksums = self.index.crc32c
        return None if checksums is None else int(checksums[member])

    def locate(self, row: int) -> SampleLocation:
        """Return where one sample lies."""
        url = url_of(self.store, self.path)
        fields = {
            self.index.field_of(member): FieldLocation(
                url, self.offsets[member], self.sizes[member], self.checksum_of(member)
            )
            for member in self.index.members(row)
        }
        return SampleLocation(self.index.key(row), self.first + row, self.path, fields)
