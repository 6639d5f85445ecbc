"""The index of a shard as it would be with some fields alone: what a layer gives may be less than what it has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shardpack.format.shard_index import ShardIndex


def only_fields(index: ShardIndex, fields: Collection[str]) -> ShardIndex:
    """Return the index without the members of other fields; itself, if there are none.

    Samples may have no members then. Costs a copy of the columns of the members.
    """
    kept = [number for number, name in enumerate(index.fields) if name in fields]
    if len(kept) == len(index.fields):
        return index
    start: npt.NDArray[np.uint32] | None = None
    field: npt.NDArray[np.uint16] | None = None
    if not kept or not index.dense:
        members, start, field = _sparse(index, kept)
    else:
        rows = np.arange(index.num_samples, dtype=np.int64)[:, None]
        members = (rows * len(index.fields) + np.array(kept)).reshape(-1)
    return replace(
        index,
        fields=tuple(index.fields[number] for number in kept),
        data_offset=index.data_offset[members],
        size=index.size[members],
        crc32c=None if index.crc32c is None else index.crc32c[members],
        header_bytes=index.header_bytes[members],
        member_start=start,
        field=field,
    )


def _sparse(
    index: ShardIndex, kept: Sequence[int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """Return the members of some fields, and the columns `member_start` and `field` of these alone."""
    owner, members = index.pick(np.arange(index.num_samples, dtype=np.int64), kept)
    number = np.zeros(len(index.fields), np.uint16)
    number[np.array(kept, np.int64)] = np.arange(len(kept))
    start = np.zeros(index.num_samples + 1, np.uint32)
    np.cumsum(np.bincount(owner, minlength=index.num_samples), out=start[1:])
    field = number[:0] if index.field is None else number[index.field[members]]
    return members, start, field
