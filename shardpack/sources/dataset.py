"""A dataset, view, stream or mix as a source: its samples, with their keys, order and classes.

So filtering, joining small shards, reordering and renaming are all done by packing. Nothing is decoded: a payload
is a range of a shard, and when it is copied its checksum is compared with that in the index.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from shardpack.errors import SourceError
from shardpack.runtime.threads import call_all
from shardpack.sources.keys import check_names
from shardpack.sources.listing import Listing, Reference
from shardpack.sources.source import Listed, ListOptions, Problems
from shardpack.storage.protocols import Store

if TYPE_CHECKING:  # packing a folder needs nothing that reads
    from shardpack.read.sample import SampleLocation

_VERSIONS_AT_ONCE = 32  # requests


@runtime_checkable
class Listable(Protocol):
    """A dataset, a view, a stream or a mix: knows where its samples are without reading them."""

    def listing(self) -> Listing:
        """Return the samples in order. Reads the indexes of their shards, but no payload."""
        ...


@runtime_checkable
class HasSplits(Protocol):
    """A dataset or a view: knows which samples are in a split without reading the indexes of the others."""

    @property
    def splits(self) -> dict[str, int]:
        """Names of the splits, and the number of samples in each."""
        ...

    def split(self, name: str) -> Listable:
        """Return the samples of a split."""
        ...


def list_samples(
    samples: Iterable[tuple[Store, SampleLocation, Mapping[str, tuple[Store, str]]]],
    *,
    location: str,
    manifests: Iterable[int],
    classes: Sequence[str] | None,
    label_shape: object = None,
    split_names: tuple[str, ...] = (),
    split: npt.NDArray[np.uint16] | None = None,
) -> Listing:
    """Return the listing of samples that are stored in shards.

    Costs about 3 us and 200 bytes per field, and a request for each shard whose index has no checksums.

    Args:
        samples: For each sample the store of its shard, where it is, and (store, shard) of its fields in other shards.
        location: Location of the dataset, for messages.
        manifests: Checksums of the manifests that list the shards.
        classes: Class names in the order of their labels.
        label_shape: Shape of the labels, as the manifest says it.
        split_names, split: As of a listing.
    """
    stores: list[Store] = []
    number_of: dict[int, int] = {}  # id of a store -> its number
    keys: list[str] = []
    counts: list[int] = []
    code_of: dict[str, int] = {}
    codes: list[int] = []
    sizes: list[int] = []
    checksums: list[int] = []
    unchecked: dict[tuple[int, str], None] = {}  # (store, shard) without checksums; a dict, as it keeps their order
    payload: list[Reference] = []

    def numbered(store: Store) -> int:
        number = number_of.setdefault(id(store), len(stores))
        if number == len(stores):
            stores.append(store)
        return number

    for store, sample, elsewhere in samples:
        own = numbered(store)
        keys.append(sample.key)
        counts.append(len(sample.fields))
        for field in sorted(sample.fields):
            member, number, shard = sample.fields[field], own, sample.shard
            if field in elsewhere:
                other, shard = elsewhere[field]
                number = numbered(other)
            codes.append(code_of.setdefault(field, len(code_of)))
            sizes.append(member.size)
            if member.crc32c is None:
                unchecked[number, shard] = None
            checksums.append(-1 if member.crc32c is None else member.crc32c)
            payload.append(Reference(number, shard, member.offset))
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
        version=" ".join(
            [
                *(f"{crc32c:08x}" for crc32c in manifests),
                _versions([(stores[number], path) for number, path in unchecked]),
            ]
        ),
        crc32c=np.array(checksums, np.int64),
        classes=None if classes is None else tuple(classes),
        label_shape=label_shape if isinstance(label_shape, str) else None,
        split_names=split_names,
        split=split,
    )


def _versions(objects: Sequence[tuple[Store, str]]) -> str:
    """Return a text that changes when one of these objects is replaced."""

    def version(stored: tuple[Store, str]) -> list[str]:
        store, path = stored
        current = store.version(path)
        # If the store has no versions, every run counts as different.
        return [store.folder or store.location, path, str(current.size), current.etag or secrets.token_hex()]

    return json.dumps(call_all(version, objects, limit=_VERSIONS_AT_ONCE, purpose="version"))


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """A dataset, view, stream or mix to pack again.

    Attributes:
        dataset: The dataset, view, stream or mix.
        only_split: The only split that is wanted; None for all samples. What cannot leave out others lists them, too.
    """

    dataset: Listable
    only_split: str | None = None

    def list(self, options: ListOptions) -> Listed:
        """Return the samples in their order; see `Source.list`."""
        from shardpack.sources.layouts.describe import describe  # readers of a dataset load no layouts

        listing, problems = self._wanted().listing(), Problems()
        options.progress(listing.num_samples)
        listing = check_names(listing, problems, rename_keys=options.rename_keys, keep_order=True)
        if options.on_error == "raise":
            problems.raise_if_any()
        if not listing.num_samples:
            raise SourceError(f"no samples to pack in {listing.root!r}; select some")
        sentence = describe(listing, title=f"{listing.root} is a dataset")
        return Listed(replace(listing, by_class=False), "dataset", problems, sentence)

    def _wanted(self) -> Listable:
        dataset, name = self.dataset, self.only_split
        if name is None or not isinstance(dataset, HasSplits) or name not in dataset.splits:
            return dataset
        return dataset.split(name)
