"""The members of one shard in the order of its tar: what every foreign index is made of.

A `ShardIndex` orders members by field and knows fields in lower case; here they are as they stand in the tar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shardpack.format.shard_index import ShardIndex
from shardpack.runtime.arrays import Integers


@dataclass(frozen=True, slots=True, eq=False)
class ShardMembers:
    """All members that belong to samples: n samples, m members, both in tar order.

    Attributes:
        shard: Name of the tar.
        shard_bytes: Length of the tar.
        end_of_data: Offset of the blocks of zeros that end it.
        keys: (n) key of each sample.
        names: (m) whole name of each member.
        first: (n + 1) members of sample i: first[i] to first[i + 1].
        header_offset: (m) where the first header of the member begins.
        data_offset, size: (m) where its payload is.
    """

    shard: str
    shard_bytes: int
    end_of_data: int
    keys: list[str]
    names: list[str]
    first: Integers
    header_offset: Integers
    data_offset: Integers
    size: Integers

    @property
    def num_samples(self) -> int:
        """Number of samples."""
        return len(self.keys)

    @property
    def row(self) -> Integers:
        """(m) number of the sample that a member belongs to."""
        return np.repeat(np.arange(len(self.keys)), np.diff(self.first))

    def sample_starts(self) -> Integers:
        """Return (n + 1) where the headers of each sample begin, and the end of the data."""
        return np.append(self.header_offset[self.first[:-1]], self.end_of_data)

    def fields(self) -> list[str]:
        """Return (m) the field of each member: what follows the key and a dot in its name."""
        cuts = np.repeat([len(key) + 1 for key in self.keys], np.diff(self.first)).tolist()
        return [name[cut:] for name, cut in zip(self.names, cuts, strict=True)]

    def with_names(self, names: Sequence[str]) -> ShardMembers:
        """Return the same members under the names that their headers have."""
        return replace(self, names=list(names))


def members_of(index: ShardIndex, shard: str) -> ShardMembers:
    """Return the members that an index describes; fields are in lower case, as the index has them."""
    rows = np.arange(index.num_samples)
    row, member = index.pick(rows)
    data_offset = index.data_offset[member].astype(np.int64)
    order = np.lexsort((data_offset, row))
    member, data_offset = member[order], data_offset[order]
    keys = index.keys()
    codes = member % len(index.fields) if index.field is None else index.field[member]
    owners = map(keys.__getitem__, row.tolist())
    fields = map(index.fields.__getitem__, codes.tolist())
    return ShardMembers(
        shard=shard,
        shard_bytes=index.shard_bytes,
        end_of_data=index.end_of_data,
        keys=keys,
        names=list(map(".".join, zip(owners, fields, strict=True))),
        first=np.searchsorted(row, np.arange(index.num_samples + 1)),
        header_offset=data_offset - index.header_bytes[member],
        data_offset=data_offset,
        size=index.size[member].astype(np.int64),
    )
