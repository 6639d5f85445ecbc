"""What a source found, in columns: the input of planning and packing.

Columns, because ten million Python objects would not fit: a member costs 26 bytes plus its path,
a sample 8 bytes plus its key (with CPython's 49-byte strings: about 210 bytes for an image of
one file with a 40-character path).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shardpack.storage.protocols import Store


class Reference(NamedTuple):
    """Where a payload lies in an object of a store; its length is the listing's `size`."""

    store: int  # a number into `Listing.stores`
    path: str
    start: int


Payload = str | bytes | Reference


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """n samples with m members in all. Members of sample i are `start[i]:start[i + 1]`.

    Attributes:
        root: Folder that file payloads are relative to.
        fields: Field names, sorted; `field_code` points into them.
        keys: (n) sample keys, in packing order.
        start: (n + 1) first member of each sample.
        field_code: (m) ascending within a sample, so that fields are sorted there.
        size: (m) payload bytes.
        mtime_ns: (m) of the file when it was listed; 0 for inline payloads.
        payload: (m) a path relative to `root` (str), a range of an object (Reference), or the payload itself (bytes).
        stores: What references point into.
        version: What tells the bytes behind references from others that take their names later; of files,
            sizes and times do.
        crc32c: (m) checksums that the payloads must have; -1 where the source knows none.
        classes: Class names in label order, where the source has classes.
        by_class: Whether neighbours share a class, so that a reader should want them shuffled.
    """

    root: str
    fields: tuple[str, ...]
    keys: Sequence[str]
    start: npt.NDArray[np.int64]
    field_code: npt.NDArray[np.uint16]
    size: npt.NDArray[np.int64]
    mtime_ns: npt.NDArray[np.int64]
    payload: Sequence[Payload]
    stores: tuple[Store, ...] = ()
    version: str = ""
    crc32c: npt.NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None
    by_class: bool = False

    @property
    def num_samples(self) -> int:
        return len(self.keys)

    def owners(self, members: npt.NDArray[np.int64] | Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the sample that each of these members belongs to."""
        return np.searchsorted(self.start, members, side="right") - 1

    def samples_per_field(self) -> dict[str, int]:
        """Return how many samples have each field."""
        counts = np.bincount(self.field_code, minlength=len(self.fields)).tolist()
        return {field: count for field, count in zip(self.fields, counts, strict=True) if count}

    def take(self, order: npt.NDArray[np.int64]) -> Listing:
        """Return the samples `order`, in that order: a permutation or a subset."""
        counts = (self.start[1:] - self.start[:-1])[order]
        start = np.zeros(len(order) + 1, np.int64)
        np.cumsum(counts, out=start[1:])
        # Member numbers: each sample's first member, plus 0, 1, ... within the sample.
        members = np.repeat(self.start[:-1][order] - start[:-1], counts) + np.arange(start[-1])
        keys, payload = self.keys, self.payload
        return replace(
            self,
            keys=[keys[row] for row in order.tolist()],
            start=start,
            field_code=self.field_code[members],
            size=self.size[members],
            mtime_ns=self.mtime_ns[members],
            payload=[payload[member] for member in members.tolist()],
            crc32c=None if self.crc32c is None else self.crc32c[members],
        )

    def slice(self, first: int, stop: int) -> Listing:
        """Return the neighbouring samples `first <= i < stop`, as one shard takes them."""
        a, b = int(self.start[first]), int(self.start[stop])
        return replace(
            self,
            keys=self.keys[first:stop],
            start=self.start[first : stop + 1] - a,
            field_code=self.field_code[a:b],
            size=self.size[a:b],
            mtime_ns=self.mtime_ns[a:b],
            payload=self.payload[a:b],
            crc32c=None if self.crc32c is None else self.crc32c[a:b],
        )


def sorted_by_key(listing: Listing) -> Listing:
    """Return the listing with keys ascending by code point, which is byte order in UTF-8."""
    keys = listing.keys
    if all(a <= b for a, b in pairwise(keys)):
        return listing
    return listing.take(np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64))
