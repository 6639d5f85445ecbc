"""A dataset or view as a source: its samples by their bytes, keys, order and classes kept.

So that filtering, joining small shards, re-ordering and renaming are all packing. Nothing is decoded: a payload
is a range of a shard, and its checksum is compared with that of the index when it is copied.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from shardpack.errors import SourceError
from shardpack.runtime.threads import call_all
from shardpack.sources.keys import check_names
from shardpack.sources.listing import Listing, Reference
from shardpack.sources.rejects import Problems
from shardpack.sources.source import Listed, ListOptions
from shardpack.storage.protocols import Store

_VERSIONS_AT_ONCE = 32  # requests


class FieldLocation(Protocol):
    """Where a field lies in its shard."""

    @property
    def offset(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def crc32c(self) -> int | None: ...


class SampleLocation(Protocol):
    """Where a sample lies."""

    @property
    def key(self) -> str: ...
    @property
    def shard(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, FieldLocation]: ...


@runtime_checkable
class Listable(Protocol):
    """A dataset, or a view of one: what knows its samples without reading them."""

    def listing(self) -> Listing:
        """Return the samples in order; costs the index of each shard, and no payload."""
        ...


def list_samples(
    samples: Iterable[tuple[Store, SampleLocation]],
    *,
    location: str,
    manifest_crc32c: int,
    classes: Sequence[str] | None,
) -> Listing:
    """Return the listing of samples whose fields lie in shards of some stores.

    Costs about 3 us a field and 200 bytes, and for each shard whose index has no checksums to ask for its version.

    Args:
        samples: Each with the store that has its shard.
        location: Of the dataset, for people.
        manifest_crc32c: Of the manifest that lists the shards.
        classes: Names in the order of their labels.
    """
    stores: list[Store] = []
    number_of: dict[int, int] = {}  # by identity: equal ones are few
    keys: list[str] = []
    counts: list[int] = []
    code_of: dict[str, int] = {}
    codes: list[int] = []
    sizes: list[int] = []
    checksums: list[int] = []
    unchecked: dict[tuple[int, str], None] = {}  # in order; a set would not have one
    payload: list[Reference] = []
    for store, sample in samples:
        number = number_of.setdefault(id(store), len(stores))
        if number == len(stores):
            stores.append(store)
        keys.append(sample.key)
        counts.append(len(sample.fields))
        for field in sorted(sample.fields):
            member = sample.fields[field]
            codes.append(code_of.setdefault(field, len(code_of)))
            sizes.append(member.size)
            if member.crc32c is None:
                unchecked[number, sample.shard] = None
            checksums.append(-1 if member.crc32c is None else member.crc32c)
            payload.append(Reference(number, sample.shard, member.offset))
    fields = tuple(sorted(code_of))
    renumber = np.zeros(len(fields), np.uint16)
    renumber[[code_of[field] for field in fields]] = np.arange(len(fields))
    return Listing(
        root=location,
        fields=fields,
        keys=keys,
        start=np.concatenate(([0], np.cumsum(counts, dtype=np.int64))),
        field_code=renumber[np.array(codes, np.int64)],
        size=np.array(sizes, np.int64),
        mtime_ns=np.zeros(len(sizes), np.int64),
        payload=payload,
        stores=tuple(stores),
        version=f"{manifest_crc32c:08x} {_versions([(stores[number], path) for number, path in unchecked])}",
        crc32c=np.array(checksums, np.int64),
        classes=None if classes is None else tuple(classes),
    )


def _versions(objects: Sequence[tuple[Store, str]]) -> str:
    """Return a text that tells these objects from others that take their names later."""

    def version(found: tuple[Store, str]) -> list[str]:
        store, path = found
        known = store.version(path)
        # Where a store does not tell versions, none is the same as another.
        return [store.folder or store.location, path, str(known.size), known.etag or secrets.token_hex()]

    return json.dumps(call_all(version, objects, limit=_VERSIONS_AT_ONCE, purpose="version"))


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """A dataset or view to pack anew."""

    dataset: Listable

    def list(self, options: ListOptions) -> Listed:
        """Return its samples in its order; see `Source.list`."""
        listing, problems = self.dataset.listing(), Problems()
        options.progress(listing.num_samples)
        listing = check_names(listing, problems, rename_keys=options.rename_keys, keep_order=True)
        if options.on_error == "raise":
            problems.raise_if_any()
        if not listing.num_samples:
            raise SourceError(f"no samples to pack in {listing.root!r}; choose some")
        return Listed(replace(listing, by_class=False), "dataset", problems)
