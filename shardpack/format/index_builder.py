"""The one place that builds a `ShardIndex`: from the members of a shard, in any order (SPEC 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.format.shard_index import ShardIndex, check_field_names, key_columns


def build_index(
    *,
    keys: Sequence[str],
    fields: Sequence[str],
    row: npt.NDArray[np.int64],
    code: npt.NDArray[Any],
    data_offset: npt.ArrayLike,
    size: npt.ArrayLike,
    crc32c: npt.ArrayLike | None,
    header_bytes: npt.ArrayLike,
    shard_bytes: int,
    shard_crc32c: int | None,
    end_of_data: int,
    ignored: Sequence[str] = (),
    shard: str | None = None,
) -> ShardIndex:
    """Return the index of n samples from the columns of their m members, in any order.

    Args:
        keys: (n) keys of the samples.
        fields: Field names; unused ones are dropped, the others are sorted.
        row: (m) sample of each member.
        code: (m) index into `fields` of each member's field; no sample has a field twice.
        data_offset, size, crc32c, header_bytes: (m) columns of the index; `crc32c` is None if `shard_crc32c` is.
        shard_bytes, shard_crc32c, end_of_data: Properties of the shard, as in the index.
        ignored: Patterns whose files were left out of the samples, sorted.
        shard: Name of the shard, for errors.

    Raises:
        FormatError: The field names are more or longer than an index can hold.
    """
    used = np.flatnonzero(np.bincount(code, minlength=len(fields)))
    names = [fields[number] for number in used.tolist()]
    order = sorted(range(len(names)), key=names.__getitem__)
    names = [names[i] for i in order]
    check_field_names(names, shard=shard)
    column_of = np.zeros(len(fields), np.int64)
    column_of[used[order]] = np.arange(len(names))
    column = column_of[code]
    rank = row * len(names) + column
    in_order = slice(None) if bool((rank[1:] > rank[:-1]).all()) else np.argsort(rank, kind="stable")
    dense = len(rank) == len(keys) * len(names)

    def ordered(values: npt.ArrayLike, dtype: str) -> npt.NDArray[Any]:
        return np.asarray(values).astype(dtype, copy=False)[in_order]

    return ShardIndex(
        fields=tuple(names),
        **key_columns([key.encode("utf-8", "surrogateescape") for key in keys]),
        data_offset=ordered(data_offset, "<u8"),
        size=ordered(size, "<u8"),
        crc32c=None if crc32c is None else ordered(crc32c, "<u4"),
        header_bytes=ordered(header_bytes, "<u4"),
        member_start=None if dense else _starts(row, len(keys)),
        field=None if dense else ordered(column, "<u2"),
        shard_bytes=shard_bytes,
        shard_crc32c=shard_crc32c,
        end_of_data=end_of_data,
        ignored=tuple(ignored),
    )


def _starts(row: npt.NDArray[np.int64], num_samples: int) -> npt.NDArray[np.uint32]:
    starts = np.zeros(num_samples + 1, "<u4")
    np.cumsum(np.bincount(row, minlength=num_samples), out=starts[1:])
    return starts
