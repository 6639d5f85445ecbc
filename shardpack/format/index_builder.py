"""Members to index columns: the one way a `ShardIndex` comes about (SPEC 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import FormatError
from shardpack.format.shard_index import MAX_FIELDS, ShardIndex, key_columns


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
) -> ShardIndex:
    """Return the index of n samples from the columns of their m members, in any order.

    Args:
        keys: (n) of the samples.
        fields: Field names; those that no member has are dropped, the others sorted.
        row: (m) the member's sample.
        code: (m) number of the member's field in `fields`.
        data_offset, size, crc32c, header_bytes: (m) as in the index; no `crc32c` without `shard_crc32c`.

    Raises:
        FormatError: More different fields than an index may have; nothing was allocated by then.
    """
    used, column = np.unique(code, return_inverse=True)
    names = [fields[number] for number in used.tolist()]
    if len(names) > MAX_FIELDS:
        raise FormatError(
            f"{len(names)} different fields in one shard, limit {MAX_FIELDS}: {', '.join(map(repr, names[:3]))}, ...; "
            "rename the members so that what differs stands before the first dot"
        )
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), np.intp)
    place[order] = np.arange(len(names))
    cell = (row, place[column])

    def spread(values: npt.ArrayLike, dtype: str) -> npt.NDArray[Any]:
        table = np.zeros((len(keys), len(names)), dtype)
        table[cell] = values
        return table

    return ShardIndex(
        fields=tuple(names[i] for i in order),
        data_offset=spread(data_offset, "<u8"),
        size=spread(size, "<u8"),
        crc32c=None if crc32c is None else spread(crc32c, "<u4"),
        header_bytes=spread(header_bytes, "<u4"),
        present=spread(1, "u1"),
        **key_columns([key.encode("utf-8", "surrogateescape") for key in keys]),
        shard_bytes=shard_bytes,
        shard_crc32c=shard_crc32c,
        end_of_data=end_of_data,
    )
