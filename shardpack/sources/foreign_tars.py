"""Folders of tars that other tools prepared: their indexes are no labels, and the splits that they state are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from shardpack.errors import ShardNotFoundError, StorageError
from shardpack.sources.listing import Listing, Reference
from shardpack.sources.scan import Files
from shardpack.sources.source import Listed, Problems
from shardpack.sources.splits import counted_splits, with_splits
from shardpack.sources.stated_splits import MAX_BYTES, StatedSplits, find_stated_splits, is_wids_list, splits_by_name
from shardpack.storage.local import LocalStore

_HEAD_BYTES = 4096
_BINARY = (".idx", ".index.sqlite")


def leave_out_indexes(files: Files, tars: Sequence[str], problems: Problems) -> tuple[Files, StatedSplits]:
    """Return the files of a folder without the indexes of its tars, and the splits that these state, or names of tars.

    Known are those of DALI, Megatron-Energon, wids, webshart, hfutils, ratarmount and Croissant. Reads the beginning of
    each JSON file in a folder with tars.

    Raises:
        SourceError: A file states splits that cannot be.
    """
    store = LocalStore(files.root)
    indexes = list(_indexes(files, tars, store))
    stated = find_stated_splits(tars, lambda name: _read(store, name), indexes)
    if not stated.of:
        stated = splits_by_name(tars)
    for name in indexes:
        problems.leave_out(name, "an index of the tars")
    return files.without(set(indexes)), stated


def _indexes(files: Files, tars: Sequence[str], store: LocalStore) -> Iterator[str]:
    folders = {tar.rpartition("/")[0] for tar in tars}
    stems = {tar.rpartition(".")[0] for tar in tars}
    for name, size in zip(files.names, files.sizes, strict=True):
        if name.rpartition("/")[0] not in folders:
            continue
        if name.endswith(_BINARY):
            yield name
        elif name.endswith(".json"):
            head = store.get_range(name, start=0, length=min(int(size), _HEAD_BYTES))
            is_list = b'"filesize"' in head and name.removesuffix(".json") in stems
            if is_list or is_wids_list(head) or b"mlcommons.org/croissant" in head:
                yield name


def _read(store: LocalStore, name: str) -> bytes | None:
    try:
        return bytes(store.get(name, max_bytes=MAX_BYTES))
    except (ShardNotFoundError, StorageError):
        return None


def with_stated_splits(listed: Listed, stated: StatedSplits) -> Listed:
    """Return the samples with the splits of their tars, unless their folders are splits already.

    Raises:
        SourceError: A name cannot be that of a split.
    """
    listing = listed.listing
    if not stated.of or listing.split is not None:
        return listed
    listing = with_splits(listing, [stated.of.get(tar) for tar in _tars_of(listing)])
    counts = ", ".join(f"{name} {count:,}" for name, count in counted_splits(listing).items())
    return replace(listed, listing=listing, sentence=f"{listed.sentence}; splits as {stated.file} states: {counts}")


def _tars_of(listing: Listing) -> Iterator[str]:
    """Yield the tar of each sample: of its first payload that is in one."""
    payload, bounds = listing.payload, listing.start.tolist()
    for begin, end in pairwise(bounds):
        references = (one for one in payload[begin:end] if isinstance(one, Reference))
        yield next(references, Reference(0, "", 0)).path
