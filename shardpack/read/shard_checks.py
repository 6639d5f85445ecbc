"""Checks that an index and its shard match each other and the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.errors import (
    CorruptIndexError,
    CorruptShardError,
    ObjectTooLargeError,
    ShardNotFoundError,
    StaleIndexError,
)
from shardpack.format.checksum import crc32c
from shardpack.format.naming import key_bytes
from shardpack.format.shard_index import ShardIndex, parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.format.tar_header import BLOCK, header, header_length
from shardpack.format.tar_parser import Member, TarParser
from shardpack.storage.file_map import drop_resident
from shardpack.storage.protocols import Ranges, Store

# Payloads up to this length are compared as well when a shard is first opened: four of 300 bytes cost 1 % of a cold
# `ds[0]`, two of 150 kB would cost 8 % (2-core VM).
MAX_LOCAL_PAYLOAD_BYTES = 16 << 10
MAX_REMOTE_PAYLOAD_BYTES = 4 << 10


@dataclass(frozen=True, slots=True)
class Headers:
    """Where the headers of some members should be, and the short payloads behind them.

    Attributes:
        members: Numbers of the members.
        starts, lengths: Byte ranges.
        header_lengths: How much of each range is headers; the rest is the payload.
    """

    members: list[int]
    starts: list[int]
    lengths: list[int]
    header_lengths: list[int]

    def check(self, path: str, index: ShardIndex, read: Sequence[bytes]) -> None:
        """Compare the ranges that were read with the index.

        Raises:
            StaleIndexError: A header or payload is not the one that the index describes.
        """
        for member, length, data in zip(self.members, self.header_lengths, read, strict=True):
            key, field = index.key(index.row_of(member)), index.field_of(member)
            headers = data[:length] if length < len(data) else data
            if not headers_match(headers, f"{key}.{field}", int(index.size[member]), path):
                missing = f"no header of field {field!r} where it should be"
            elif headers is not data and crc32c(memoryview(data)[length:]) != index.crc32c[member]:  # type: ignore[index]
                missing = f"field {field!r} is damaged, or has other bytes"
            else:
                continue
            raise StaleIndexError(
                f"index does not match its shard: {missing}; "
                'restore the shard, or if it was written again, rebuild its index with "shardpack index --force"',
                shard=path,
                key=key,
                offset=int(index.data_offset[member]) - length,
            )


def headers_of(index: ShardIndex, members: list[int], *, max_payload_bytes: int = 0) -> Headers:
    """Return where the headers of some members should be, with payloads up to a length if the index has checksums."""
    header_lengths = index.header_bytes[members].tolist()
    starts = [end - length for end, length in zip(index.data_offset[members].tolist(), header_lengths, strict=True)]
    if not max_payload_bytes or index.crc32c is None:
        return Headers(members, starts, header_lengths, header_lengths)
    sizes = index.size[members].tolist()
    lengths = [a + (b if b <= max_payload_bytes else 0) for a, b in zip(header_lengths, sizes, strict=True)]
    return Headers(members, starts, lengths, header_lengths)


def headers_of_rows(index: ShardIndex, rows: Sequence[int], *, max_payload_bytes: int = 0) -> Headers:
    """Return where all headers of some samples should be, as `headers_of`."""
    members = [member for row in rows for member in index.members(row)]
    return headers_of(index, members, max_payload_bytes=max_payload_bytes)


def some_headers(index: ShardIndex, count: int = 4, *, max_payload_bytes: int = 0) -> Headers:
    """Return where one header of each of a few samples should be, the first and the last sample among them."""
    members = [index.members(row)[-1] for row in spread_rows(index, count)]
    return headers_of(index, members, max_payload_bytes=max_payload_bytes)


def spread_rows(index: ShardIndex, count: int) -> list[int]:
    """Return a few rows spread evenly over a shard, the first and the last among them."""
    rows: list[int] = np.unique(np.linspace(0, index.num_samples - 1, count, dtype=np.int64)).tolist()
    return rows


def headers_match(headers: bytes, name: str, size: int, path: str) -> bool:
    """Return whether these header blocks describe this member; upper and lower case may differ."""
    encoded = key_bytes(name)
    if len(headers) == BLOCK == header_length(encoded, size) and headers == header(encoded, size):
        return True  # as a packer writes it; this takes a third of the time
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


def check_shards(store: Store, shards: Sequence[tuple[ShardInfo, ShardIndex]], *, files: Store | None = None) -> None:
    """Check the length and some members of shards of one store.

    Costs a few small ranges per shard, all read concurrently: of a remote shard, or one whose index has no checksums,
    a header of each of four samples; of other shards, all headers of the first and the last sample. Where the index
    has checksums, the payloads behind them are compared too, if they are short.

    Args:
        store: Shows the shards as plain tars.
        shards: The shards, and their indexes.
        files: Has the files of the shards, if `store` does not know their lengths: they are compressed.

    Raises:
        StaleIndexError: A length, header or payload is not the one that the index describes.
    """
    files = files or store
    wanted = [
        some_headers(index, max_payload_bytes=MAX_REMOTE_PAYLOAD_BYTES)
        if info.crc32c is None or store.remote
        else headers_of_rows(index, sorted({0, index.num_samples - 1}), max_payload_bytes=MAX_LOCAL_PAYLOAD_BYTES)
        for info, index in shards
    ]
    if not store.remote:  # checked first, as it costs nothing and its error says more
        for info, _ in shards:
            check_length(info, files.size(info.name))
    read = store.get_many(
        [Ranges(info.name, some.starts, some.lengths) for (info, _), some in zip(shards, wanted, strict=True)]
    )
    for (info, index), some, headers in zip(shards, wanted, read, strict=True):
        if store.remote:
            check_length(info, files.size(info.name))  # costs nothing: the responses said it
        some.check(info.name, index, headers)


def check_length(info: ShardInfo, num_bytes: int) -> None:
    """Check the length of a shard.

    Raises:
        StaleIndexError: The shard has another length than when it was indexed.
    """
    if num_bytes != info.num_bytes:
        salvage = ', save its whole samples with "shardpack repair"' if num_bytes < info.num_bytes else ""
        raise StaleIndexError(
            f"index does not match its shard: expected {info.num_bytes} bytes, got {num_bytes}; restore the shard"
            f'{salvage}, or if it was written again, rebuild its index with "shardpack index --force"',
            shard=info.name,
        )


def fetch_index(store: Store, info: ShardInfo) -> Any:
    """Return the bytes of a shard's index, or a map of them; not checked yet.

    Raises:
        ShardNotFoundError: The index is missing.
        CorruptIndexError: The index is longer than the manifest says. Nothing was read into memory.
    """
    try:
        return store.get(info.index_path, max_bytes=info.index_bytes)
    except ObjectTooLargeError:
        raise _not_ours(info, f"{store.size(info.index_path)} bytes") from None
    except ShardNotFoundError as error:
        raise ShardNotFoundError(
            'index is missing; restore it, or make it again with "shardpack repair"', path=info.index_path
        ) from error


def checked_index(buffer: Any, info: ShardInfo) -> ShardIndex:
    """Return a shard's index, checked against everything that the manifest says about index and shard.

    Raises:
        CorruptIndexError: The index is damaged, or is not the one of the manifest.
        StaleIndexError: Index and manifest describe different shards.
    """
    if len(buffer) != info.index_bytes:
        raise _not_ours(info, f"{len(buffer)} bytes")
    checksum = crc32c(buffer)
    if checksum != info.index_crc32c:
        raise _not_ours(info, f"CRC32C {checksum:08x}")
    index = parse_index(buffer, name=info.index_path)
    drop_resident(buffer)  # the checks read all pages; look-ups need only a few
    described = (index.num_samples, index.shard_bytes, index.shard_crc32c, index.samples_per_field())
    if described != (info.num_samples, info.num_bytes, info.crc32c, dict(info.samples_per_field)):
        raise StaleIndexError(
            "index and manifest describe different shards; "
            'restore the files that belong together, or rebuild with "shardpack index --force"',
            shard=info.name,
        )
    return index


def _not_ours(info: ShardInfo, got: str) -> CorruptIndexError:
    return CorruptIndexError(
        f"index is damaged or not of this dataset: expected {info.index_bytes} bytes with CRC32C "
        f'{info.index_crc32c:08x}, got {got}; restore it, or make it again with "shardpack repair --force"',
        path=info.index_path,
    )
