"""Which tars of a dataset are missing or break off, by their lengths alone: reading all of them is for `verify --full`.

in the dataset's own folder    whole samples of a tar that breaks off can be saved
in another one                 it is that of another dataset, which is to be repaired there
of a layer                     the layer is restored, or detached; its sidecars are made again there
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from shardpack.errors import (
    DatasetNotFoundError,
    FormatError,
    ShardNotFoundError,
    StaleIndexError,
    UnsupportedVersionError,
)
from shardpack.format.checksum import crc32c
from shardpack.format.layout import file_path
from shardpack.format.manifest import OWN_FOLDER, Manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.read.deleted_samples import have_visible, load_visible
from shardpack.read.open_dataset import layer_manifest
from shardpack.read.shard_list import ShardList
from shardpack.runtime.arrays import Integers
from shardpack.runtime.threads import call_all
from shardpack.storage.locations import DatasetStores, LocationOptions, open_layer
from shardpack.storage.protocols import Store

_AT_ONCE = 16


@dataclass(slots=True)
class BrokenTars:
    """What is wrong with the tars.

    Attributes:
        broken: Numbers of the shards whose tars break off, and whose whole samples can be saved.
        lost: What is wrong with the others, each in a sentence.
    """

    broken: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def find_broken_tars(
    stores: DatasetStores, manifest: Manifest, shards: Sequence[ShardInfo], deleted: Integers
) -> BrokenTars:
    """Return which tars are missing or break off, but for those of which no sample is visible.

    Args:
        stores: Where the tars are.
        manifest: The manifest.
        shards: All of its shards, in order.
        deleted: Stored positions of the deleted samples, ascending.

    Raises:
        StorageError: A place does not answer.
    """
    starts = np.cumsum([0, *(info.num_samples for info in shards)])
    visible = np.flatnonzero(have_visible(starts, deleted)).tolist()
    sizes = call_all(
        lambda number: _size(stores, shards[number]), visible, limit=_AT_ONCE if stores.remote else 1, purpose="repair"
    )
    found, elsewhere = BrokenTars(), dict[int, list[tuple[ShardInfo, int | None]]]()
    for number, size in zip(visible, sizes, strict=True):
        info = shards[number]
        if manifest.locations[info.location] != OWN_FOLDER:
            elsewhere.setdefault(info.location, []).append((info, size))
        elif size and size < info.num_bytes:  # of an empty tar nothing can be saved
            found.broken.append(number)
        elif size != info.num_bytes:
            found.lost.append(f"{info.name}: the tar {_state(info, size)}; restore it from a backup")
    for location, tars in elsewhere.items():
        found.lost += _lost_elsewhere(manifest.locations[location], tars)
    return found


def find_needless_tars(stores: DatasetStores, manifest: Manifest, shards: Sequence[ShardInfo]) -> frozenset[int]:
    """Return the numbers of shards without visible samples whose tars are missing or have another length.

    So `repair` leaves a tar whose whole samples it has saved: nobody reads it any more.

    Raises:
        StorageError: A place does not answer.
    """
    try:
        visible = load_visible(stores.sidecars, manifest)
    except (FormatError, ShardNotFoundError):  # not known what is deleted: every tar is needed
        return frozenset()
    if visible is None:
        return frozenset()
    starts = np.cumsum([0, *(info.num_samples for info in shards)])
    hidden = np.flatnonzero(~have_visible(starts, visible.deleted)).tolist()
    sizes = call_all(
        lambda number: _size(stores, shards[number]), hidden, limit=_AT_ONCE if stores.remote else 1, purpose="copy"
    )
    return frozenset(number for number, size in zip(hidden, sizes, strict=True) if size != shards[number].num_bytes)


def find_broken_layers(home: Store, manifest: Manifest, options: LocationOptions) -> Iterator[str]:
    """Yield what is wrong with the manifests, other sidecars and tars of layers, each in a sentence.

    Raises:
        OptionError: A layer is in a place that is not followed.
        StorageError: A place does not answer.
    """
    for ref in manifest.layers:
        broken = ""
        try:
            folder = open_layer(home, ref.location, options)
            own = layer_manifest(folder.store, ref)
            stores = folder.stores(own.locations)
            if broken := _broken_sidecars(stores.sidecars, own):
                yield f"layer {ref.location!r}: {broken}"
            shards = list(ShardList(stores.sidecars, own))
        except (DatasetNotFoundError, StaleIndexError, UnsupportedVersionError) as error:
            yield str(error.args[0])
            continue
        except (FormatError, ShardNotFoundError) as error:
            if not broken:
                yield f'layer {ref.location!r}: {error.args[0]}; it is a dataset of its own: "shardpack repair" it'
            continue
        found = find_broken_tars(stores, own, shards, np.zeros(0, np.int64))
        for number in found.broken:
            yield (
                f"layer {ref.location!r}: the tar {shards[number].name} breaks off; restore it from a backup, or do "
                'without the layer: "shardpack detach"'
            )
        for what in found.lost:
            yield f"layer {ref.location!r}: {what}"


def _broken_sidecars(store: Store, manifest: Manifest) -> str:
    """Return which files of a layer are not as its manifest says, in a sentence; "" if all are."""
    files = [(file_path(file), file.num_bytes, file.crc32c) for file in manifest.files if file not in manifest.table]
    with suppress(FormatError, ShardNotFoundError):  # the shard table is among the files
        files += [(info.index_path, info.index_bytes, info.index_crc32c) for info in ShardList(store, manifest)]
    states = call_all(partial(_is_whole, store), files, limit=_AT_ONCE if store.remote else 1, purpose="repair")
    broken = [path for (path, *_), whole in zip(files, states, strict=True) if not whole]
    if not broken:
        return ""
    force = " --force" if any(whole is False for whole in states) else ""
    return (
        f"{len(broken)} of its sidecars are missing or damaged, first {broken[0]}; it is a dataset of its own: repair "
        f'it with "shardpack repair {store.location}{force}"'
    )


def _is_whole(store: Store, file: tuple[str, int, int]) -> bool | None:
    """Return whether a file has this length and checksum; None if it is missing."""
    path, num_bytes, checksum = file
    try:
        return store.size(path) == num_bytes and crc32c(store.get(path, max_bytes=num_bytes)) == checksum
    except ShardNotFoundError:
        return None


def _size(stores: DatasetStores, info: ShardInfo) -> int | None:
    try:
        return stores.of(info).size(info.name)
    except ShardNotFoundError:
        return None


def _state(info: ShardInfo, size: int | None) -> str:
    return "is missing" if size is None else f"has {size} bytes, expected {info.num_bytes}"


def _lost_elsewhere(location: str, tars: Sequence[tuple[ShardInfo, int | None]]) -> Iterator[str]:
    """Yield what is wrong with the tars of another location: one sentence, if all of them are missing."""
    if all(size is None for _, size in tars):
        samples = sum(info.num_samples for info, _ in tars)
        yield (
            f"{location}: all {len(tars)} tar(s) with {samples} samples that the dataset has there are missing; bring "
            'this folder back to where it was, or merge anew what is left ("shardpack merge")'
        )
        return
    for info, size in tars:
        if size != info.num_bytes:
            yield (
                f"{location}/{info.name}: the tar {_state(info, size)}; restore it from a backup, or repair the "
                f'dataset there ("shardpack repair") and merge anew'
            )
