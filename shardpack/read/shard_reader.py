"""One shard open for reading: its index in columns, and the checks that it is the right one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.errors import CorruptIndexError, CorruptShardError, ShardNotFoundError, StaleIndexError
from shardpack.format.checksum import crc32c
from shardpack.format.manifest import ShardInfo
from shardpack.format.shard_index import ShardIndex, parse_index
from shardpack.format.tar_parser import Member, TarParser
from shardpack.storage.local_file import drop_resident
from shardpack.storage.protocols import Ranges, Store

# A map saves a random read 0.5 us, which is much for small samples and little for large ones (2-core
# VM), and a stream of large samples half its time, as nothing is copied twice. It also ties the
# process to the file: cutting a mapped file short kills its readers with SIGBUS. So random reads map
# shards of small samples that are read often; streams map what is in the page cache.
MAP_AFTER_READS = 64
MAP_SAMPLE_BYTES = 32 << 10
LARGE_SAMPLE_BYTES = 64 << 10  # that read each by itself cost little more than in long requests


@dataclass(frozen=True, slots=True)
class Span:
    """Payload bytes of one field in its shard: half-open, `data_offset` and `size`."""

    data_offset: int
    size: int
    crc32c: int | None  # None if its shard was indexed without reading payloads


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample as the index knows it."""

    key: str
    position: int
    shard: str
    fields: dict[str, Span]


class OpenShard:
    """Index columns of one shard, laid out for one sample at a time and for many at once.

    Immutable but for `map` and `reads`; safe in threads.
    """

    __slots__ = (
        "dense", "fields", "first", "index", "info", "key_heap", "key_offsets", "map", "offsets", "path", "reads",
        "sizes", "store", "width",
    )  # fmt: skip

    def __init__(self, store: Store, info: ShardInfo, index: ShardIndex, first: int):
        self.store, self.info, self.index, self.first = store, info, index, first
        self.path = info.name
        self.fields = index.fields
        self.width = len(index.fields)
        # Flat views for scalar access: 35 ns an item, a third of what numpy takes.
        self.offsets = memoryview(index.data_offset)
        self.sizes = memoryview(index.size)
        self.key_offsets = memoryview(index.key_offset)
        self.key_heap = memoryview(index.key_heap)
        self.dense = index.dense
        self.map: Any = None
        self.reads = 0

    def key_at(self, position: int) -> str:
        return self.index.key(position - self.first)

    def entry(self, row: int) -> Entry:
        """Return where one sample lies."""
        index = self.index
        spans = {
            index.field_of(member): Span(
                self.offsets[member], self.sizes[member], None if index.crc32c is None else int(index.crc32c[member])
            )
            for member in index.members(row)
        }
        return Entry(index.key(row), self.first + row, self.path, spans)

    def has_large_samples(self) -> bool:
        """Return whether the mean sample is large."""
        return self.info.num_bytes > LARGE_SAMPLE_BYTES * self.info.num_samples

    def count_read(self, num_samples: int = 1) -> None:
        """Count samples read by range; map the shard once it proves hot and its samples are small."""
        before, self.reads = self.reads, self.reads + num_samples
        if before < MAP_AFTER_READS <= self.reads and self.info.num_bytes <= MAP_SAMPLE_BYTES * self.info.num_samples:
            self.keep_map()

    def keep_map(self) -> None:
        """Map the shard, where the store can."""
        if self.map is None:
            mapped = self.store.map(self.path)
            if mapped is not None:
                check_length(self.info, len(mapped))
                self.map = mapped

    def columns_of(self, fields: tuple[str, ...] | None) -> list[int]:
        """Return the numbers of the wanted columns; fields that no sample here has are passed over."""
        if fields is None:
            return list(range(self.width))
        return [self.fields.index(field) for field in fields if field in self.fields]

    def check_payload(self, member: int, payload: bytes | memoryview) -> None:
        """Raise CorruptShardError unless the payload has the checksum that the index holds, if it holds any."""
        if self.index.crc32c is None:
            return
        expected = int(self.index.crc32c[member])
        found = crc32c(payload)
        if found != expected:
            raise CorruptShardError(
                f"field {self.index.field_of(member)!r} is damaged: expected CRC32C {expected:08x}, got {found:08x}; "
                'restore the shard, then run "shardpack verify --full"',
                shard=self.path,
                key=self.index.key(self.index.row_of(member)),
                offset=self.offsets[member],
            )


def open_shard(store: Store, info: ShardInfo, first: int, *, probe: bool, index: ShardIndex | None = None) -> OpenShard:
    """Return a shard ready to be read, after checking that index, shard and manifest agree.

    Costs the index (whole, checked against its CRC32C) unless it is given, and with `probe` the
    shard's length and two headers of it. Of a shard without checksums four headers are read in any
    case, all at once: nothing else would tell that it is another one.

    Raises:
        CorruptIndexError, StaleIndexError, CorruptShardError, ShardNotFoundError: See the names.
    """
    index = load_index(store, info) if index is None else index
    if probe:
        check_length(info, store.size(info.name))
        for row in {0, index.num_samples - 1}:
            check_headers(store, info.name, index, row)
    if info.crc32c is None:
        check_unread(store, [(info, index)])
    return OpenShard(store, info, index, first)


def check_unread(store: Store, shards: list[tuple[ShardInfo, ShardIndex]]) -> None:
    """Raise StaleIndexError unless shards have the length and some headers that their indexes tell of.

    Costs four small ranges a shard, all at once.
    """
    wanted = [some_headers(index) for _, index in shards]
    found = store.get_many(
        [Ranges(info.name, some.starts, some.lengths) for (info, _), some in zip(shards, wanted, strict=True)]
    )
    for (info, index), some, headers in zip(shards, wanted, found, strict=True):
        check_length(info, store.size(info.name))  # a store far away knows it by now
        some.check(info.name, index, headers)


@dataclass(frozen=True, slots=True)
class Headers:
    """Where the headers of some members should be: the number of each, and byte ranges."""

    members: list[int]
    starts: list[int]
    lengths: list[int]

    def check(self, path: str, index: ShardIndex, found: list[bytes]) -> None:
        """Raise StaleIndexError unless these are the headers that the index tells of."""
        for member, headers in zip(self.members, found, strict=True):
            key, field = index.key(index.row_of(member)), index.field_of(member)
            if not headers_match(headers, f"{key}.{field}", int(index.size[member]), path):
                raise StaleIndexError(
                    f"index does not match its shard: no header of field {field!r} where it should be; "
                    'restore the shard, or if it was written anew, rebuild its index with "shardpack index --force"',
                    shard=path,
                    key=key,
                    offset=int(index.data_offset[member]) - len(headers),
                )


def headers_of(index: ShardIndex, members: list[int]) -> Headers:
    """Return where the headers of some members should be."""
    lengths = index.header_bytes[members].tolist()
    starts = [end - length for end, length in zip(index.data_offset[members].tolist(), lengths, strict=True)]
    return Headers(members, starts, lengths)


def some_headers(index: ShardIndex, count: int = 4) -> Headers:
    """Return one field's headers of a few samples, the first and the last among them."""
    rows = np.unique(np.linspace(0, index.num_samples - 1, count, dtype=np.int64)).tolist()
    return headers_of(index, [index.members(row)[-1] for row in rows])


def load_index(store: Store, info: ShardInfo) -> ShardIndex:
    """Return a shard's index, checked against all that the manifest says of index and shard.

    Raises:
        ShardNotFoundError, CorruptIndexError, StaleIndexError: See the names.
    """
    try:
        buffer = store.buffer(info.index_name)
    except ShardNotFoundError as error:
        raise ShardNotFoundError(
            'index is missing; restore it, or rebuild it with "shardpack index --force"', shard=info.index_name
        ) from error
    return parsed_index(buffer, info)


def parsed_index(buffer: Any, info: ShardInfo) -> ShardIndex:
    """Return the index in a buffer, checked as `load_index` does."""
    if len(buffer) != info.index_bytes or crc32c(buffer) != info.index_crc32c:
        raise CorruptIndexError(
            f"index is damaged or not of this dataset: expected {info.index_bytes} bytes with CRC32C "
            f"{info.index_crc32c:08x}, got {len(buffer)} with {crc32c(buffer):08x}; "
            'restore it, or rebuild it with "shardpack index --force"',
            shard=info.index_name,
        )
    index = parse_index(buffer, name=info.index_name)
    drop_resident(buffer)  # the checks went over all of it; reading needs a few pages
    described = (index.num_samples, index.shard_bytes, index.shard_crc32c)
    if described != (info.num_samples, info.num_bytes, info.crc32c):
        raise StaleIndexError(
            "index and manifest describe different shards; "
            'restore the files that belong together, or rebuild with "shardpack index --force"',
            shard=info.name,
        )
    return index


def check_length(info: ShardInfo, num_bytes: int) -> None:
    """Raise StaleIndexError unless the shard is as long as when it was indexed."""
    if num_bytes != info.num_bytes:
        raise StaleIndexError(
            f"index does not match its shard: expected {info.num_bytes} bytes, got {num_bytes}; restore the shard, "
            'or if it was written anew, rebuild its index with "shardpack index --force"',
            shard=info.name,
        )


def check_headers(store: Store, path: str, index: ShardIndex, row: int) -> None:
    """Raise StaleIndexError unless the headers of one sample stand where the index says.

    Costs one range a field.
    """
    headers = headers_of(index, list(index.members(row)))
    for member, start, length in zip(headers.members, headers.starts, headers.lengths, strict=True):
        Headers([member], [start], [length]).check(path, index, [store.get_range(path, start=start, length=length)])


def headers_match(headers: bytes, name: str, size: int, path: str) -> bool:
    """Return whether these header blocks announce this member (extensions may differ in case)."""
    try:
        members = [event for event in TarParser(path).feed(headers) if isinstance(event, Member)]
    except CorruptShardError:
        return False
    return (
        len(members) == 1
        and members[0].size == size
        and members[0].header_bytes == len(headers)
        and members[0].name.lower() == name.lower()
    )
