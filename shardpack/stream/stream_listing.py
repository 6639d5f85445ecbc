"""The samples of a stream as a source to pack: its order is computed, so they are listed, in order, and not read.

So a stream or a mix is packed as a view is: planned, in parallel, and continued after an interruption.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128

from shardpack.errors import OptionError
from shardpack.format.split_names import in_split_order
from shardpack.format.splits import NO_SPLIT
from shardpack.order.positions import compact
from shardpack.read.key_lookup import KeyLookup
from shardpack.read.layered_locations import Elsewhere
from shardpack.read.sample import SampleLocation
from shardpack.read.selection import Selection
from shardpack.sources.class_numbers import is_label_field
from shardpack.sources.dataset import list_samples
from shardpack.sources.listing import Listing
from shardpack.storage.protocols import Store
from shardpack.stream.stream_input import Placed, StreamInput

_Stored = Iterator[tuple[Store, SampleLocation, Elsewhere]]


def list_placed(placed: Placed) -> Listing:
    """Return the samples of a stream, in its order, with their classes and splits. Reads the indexes of their shards.

    Raises:
        OptionError: Two datasets number their classes differently, or one does not say what its numbers mean.
    """
    inputs, sources = placed.inputs, placed.sources
    selections = [
        Selection(one.cache, KeyLookup(one.cache), compact(placed.positions[sources == number]))
        for number, one in enumerate(inputs)
    ]
    stored = [_stored(selection, one.wanted_fields) for selection, one in zip(selections, inputs, strict=True)]
    caches = list({id(one.cache): one.cache for one in inputs}.values())
    locations = [cache.stores.location for cache in caches]
    shapes = {cache.manifest.option("label_shape") for cache in caches}
    split_names, split = _splits(selections, sources)
    return list_samples(
        (next(stored[source]) for source in sources.tolist()),
        location=locations[0] if len(locations) == 1 else f"the mix of {', '.join(locations)}",
        manifests=[cache.manifest_crc32c for cache in caches],
        classes=_classes(inputs),
        label_shape=shapes.pop() if len(shapes) == 1 else None,
        split_names=split_names,
        split=split,
    )


def digest_of(placed: Placed) -> str:
    """Return a digest of what decides the listing: which samples of which datasets, their order and fields."""
    datasets = [(one.cache.manifest_crc32c, one.wanted_fields, one.view.digest) for one in placed.inputs]
    hashed = xxh3_128(repr(datasets).encode())
    for numbers in (placed.sources, placed.positions):
        hashed.update(numbers.astype("<i8").tobytes())
    return hashed.hexdigest()


def _stored(selection: Selection, wanted: Sequence[str] | None) -> _Stored:
    for store, sample, elsewhere in selection.stored():
        fields = sample.fields
        if wanted is not None:
            sample = replace(sample, fields={name: fields[name] for name in wanted if name in fields})  # noqa: PLW2901
        yield store, sample, elsewhere


def _classes(inputs: Sequence[StreamInput]) -> tuple[str, ...] | None:
    """Return class names in label order: the longest list, with which all others begin."""
    lists = [one.cache.manifest.classes for one in inputs]
    longest: tuple[str, ...] | None = max((names for names in lists if names is not None), key=len, default=None)
    for one, names in zip(inputs, lists, strict=True):
        if longest is None or names == longest[: len(names or ())] or not any(map(is_label_field, one.fields)):
            continue
        raise OptionError(
            f"{one.cache.stores.location!r} numbers its classes ({_shown(names)}) differently from another dataset of "
            f'the mix ({_shown(longest)}); make one dataset of them with "shardpack merge --reconcile", and mix views '
            "of that"
        )
    return longest


def _shown(names: Sequence[str] | None) -> str:
    return "without a class list" if names is None else ", ".join(names[:3]) + ", ..." * (len(names) > 3)


def _splits(
    selections: Sequence[Selection], sources: npt.NDArray[np.int64]
) -> tuple[tuple[str, ...], npt.NDArray[np.uint16] | None]:
    """Return the names of all splits, and (n) the number of each sample's split in them, or `NO_SPLIT`."""
    found = [one.cache.splits for one in selections]
    names = in_split_order({name for splits in found if splits is not None for name in splits.names})
    if not names:
        return (), None
    numbers = np.full(len(sources), NO_SPLIT, np.uint16)
    for number, (selection, splits) in enumerate(zip(selections, found, strict=True)):
        own = selection.split_numbers()
        if splits is None or own is None:
            continue
        renumbered = np.full(NO_SPLIT + 1, NO_SPLIT, np.uint16)
        renumbered[: len(splits.names)] = [names.index(name) for name in splits.names]
        numbers[sources == number] = renumbered[own]
    return tuple(names), numbers
