"""Encode a segment of the shard table, which `shard_table` reads (SPEC 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from shardpack.format.checksum import crc32c
from shardpack.format.container import encode_names
from shardpack.format.paged import PAGE_ROWS, encode_paged
from shardpack.format.shard_index import check_field_names
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import PAGE_COLUMNS, SCHEMA


def encode_shard_table(shards: Sequence[ShardInfo]) -> list[bytes | memoryview]:
    """Return a segment that lists some shards, as buffers. A million shards take 3 s (2-core VM).

    Raises:
        FormatError: The shards have too many different field names, or too long ones.
    """
    fields = sorted({field for names in {tuple(info.samples_per_field) for info in shards} for field in names})
    check_field_names(fields)
    number_of = {field: number for number, field in enumerate(fields)}
    pages: list[bytes] = []
    rows: list[tuple[int, int, int]] = []
    first = at = 0
    for begin in range(0, len(shards), PAGE_ROWS):
        part = shards[begin : begin + PAGE_ROWS]
        page = _encode_page(part, number_of)
        pages.append(page)
        rows.append((first, at, crc32c(page)))
        first += sum(info.num_samples for info in part)
        at += len(page)
    directory = np.array(rows, "<u8").reshape(-1, 3)
    metadata = {"fields": encode_names(fields)}
    return encode_paged(SCHEMA, directory, np.frombuffer(b"".join(pages), np.uint8), metadata)


def _encode_page(shards: Sequence[ShardInfo], number_of: dict[str, int]) -> bytes:
    names = [info.name.encode("utf-8") for info in shards]
    counts = [sorted((number_of[field], n) for field, n in info.samples_per_field.items()) for info in shards]
    flat = [pair for pairs in counts for pair in pairs]
    columns: dict[str, list[int]] = {
        "num_samples": [info.num_samples for info in shards],
        "num_bytes": [info.num_bytes for info in shards],
        "index_bytes": [info.index_bytes for info in shards],
        "field_samples": [n for _, n in flat],
        "crc32c": [info.crc32c or 0 for info in shards],
        "index_crc32c": [info.index_crc32c for info in shards],
        "location": [info.location for info in shards],
        "name_end": list(accumulate(map(len, names))),
        "field_end": list(accumulate(map(len, counts))),
        "field": [number for number, _ in flat],
        "has_crc32c": [info.crc32c is not None for info in shards],
    }
    parts = [np.array([len(shards), len(flat)], "<u8").tobytes()]
    parts.extend(np.array(columns[name], dtype).tobytes() for name, dtype in PAGE_COLUMNS.items())
    page = b"".join(parts) + b"".join(names)
    return page + bytes(-len(page) % 8)
