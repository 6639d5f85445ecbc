"""The samples of a source, in columns: the input of planning and packing.

Columns take less memory than objects: 26 bytes plus the path per member, and 8 bytes plus the key per sample
(about 210 bytes for a sample of one file with a 40-character path, as CPython adds 49 bytes per string). Payloads
that are not files of a folder stay in columns, too: labels in one buffer, references as numbers; see `columns.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.sources.columns import Chosen
from shardpack.storage.protocols import Store


class Reference(NamedTuple):
    """A range of an object that is a payload; its length is the listing's `size`."""

    store: int  # number of the store in `Listing.stores`
    path: str
    start: int


Payload = str | bytes | Reference


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """n samples with m members in total. Sample i has the members `start[i]:start[i + 1]`.

    Attributes:
        root: Folder that file payloads are relative to.
        fields: Field names, sorted.
        keys: (n) sample keys, in packing order.
        start: (n + 1) first member of each sample.
        field_code: (m) number of each member's field in `fields`; ascending within a sample.
        size: (m) payload bytes.
        mtime_ns: (m) modification time of the file when it was listed; 0 for other payloads.
        payload: (m) a path relative to `root` (str), a range of an object (Reference), or the payload itself (bytes).
        stores: Stores that references point into.
        version: Text that changes when objects behind references are replaced; for files, sizes and times do that.
        crc32c: (m) checksums that the payloads must have, -1 where unknown; None if all are unknown.
        classes: Class names in label order, or None.
        by_class: Whether neighbouring samples mostly share a class, so that the samples should be shuffled.
        label_shape: Name of the shape of the JSON labels, if it is that of `label_shape.py`; or None.
        split_names: Names of the splits, in their order; () if the source has none.
        split: (n) number of each sample's split in `split_names`, or `splits.NO_SPLIT`; None if there are no splits.
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
    label_shape: str | None = None
    split_names: tuple[str, ...] = ()
    split: npt.NDArray[np.uint16] | None = None

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
        """Return the samples with these numbers, in this order: a permutation or a subset."""
        counts = (self.start[1:] - self.start[:-1])[order]
        start = np.zeros(len(order) + 1, np.int64)
        np.cumsum(counts, out=start[1:])
        # Member numbers: each sample's first member, plus 0, 1, ... within the sample.
        members = np.repeat(self.start[:-1][order] - start[:-1], counts) + np.arange(start[-1])
        keys = self.keys
        return replace(
            self,
            keys=[keys[row] for row in order.tolist()],
            start=start,
            field_code=self.field_code[members],
            size=self.size[members],
            mtime_ns=self.mtime_ns[members],
            payload=Chosen.of(self.payload).take(members),
            crc32c=None if self.crc32c is None else self.crc32c[members],
            split=None if self.split is None else self.split[order],
        )

    def slice(self, first: int, stop: int) -> Listing:
        """Return the samples `first <= i < stop`, such as those of one shard."""
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
            split=None if self.split is None else self.split[first:stop],
        )


def sorted_by_key(listing: Listing) -> Listing:
    """Return the listing sorted by key: by code point, which is the order of the bytes in UTF-8."""
    keys = listing.keys
    if all(a <= b for a, b in pairwise(keys)):
        return listing
    return listing.take(np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64))


def name_of(listing: Listing, sample: int) -> str:
    """Return the path of a sample's image, or its key if it has none: what a person can find it by."""
    for member in range(int(listing.start[sample]), int(listing.start[sample + 1])):
        payload = listing.payload[member]
        if isinstance(payload, str) and listing.fields[listing.field_code[member]] in IMAGE_EXTENSIONS:
            return payload
    return listing.keys[sample]


def without(listing: Listing, samples: Collection[int]) -> Listing:
    """Return the listing without these samples, and without the fields that no other sample has."""
    if not samples:
        return listing
    kept = np.delete(np.arange(listing.num_samples), list(samples))
    rest = listing.take(kept)
    codes, field_code = np.unique(rest.field_code, return_inverse=True)
    return replace(
        rest,
        fields=tuple(listing.fields[code] for code in codes.tolist()),
        field_code=field_code.astype(np.uint16),
    )
