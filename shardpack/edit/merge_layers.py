"""The layers of datasets that are merged: each is a layer of the merged one, with the positions of its own part.

a layer elsewhere                      stays where it is, and is named from there
one in `.shardpack/layers/`            is copied into the merged dataset: the other one's `gc` may delete it
any, if tars are copied                is copied
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from shardpack.commit.open_target import target_of
from shardpack.edit.copy_parts import CopyPart, layer_part
from shardpack.edit.copy_run import CopyRun, copied_bytes
from shardpack.edit.merge_plan import MergeInput, MergePlan
from shardpack.errors import CorruptIndexError
from shardpack.format.checksum import crc32c
from shardpack.format.layer_positions import parse_layer_positions
from shardpack.format.layout import LAYER_FOLDER, MANIFEST_PATH, edit_tag, file_path, is_layer_path
from shardpack.format.manifest import LayerRef
from shardpack.format.named_files import Parts, encode_positions_file
from shardpack.read.open_dataset import layer_manifest
from shardpack.read.segment_file import SegmentFile
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import ByteProgress
from shardpack.storage.locations import LocationOptions, open_layer
from shardpack.storage.protocols import Store, WritableStore
from shardpack.storage.relative_location import relative_location
from shardpack.storage.subfolder import subfolder
from shardpack.storage.url import is_url

NewLayer = tuple[LayerRef, Parts]


@dataclass(frozen=True, slots=True, eq=False)
class MergedLayer:
    """A layer of one of the datasets.

    Attributes:
        ref: As the merged dataset names it, but for the file of positions.
        parts: That file.
        copied: What is to be copied; None if it stays where it is.
    """

    ref: LayerRef
    parts: Parts
    copied: CopyPart | None

    @property
    def copied_bytes(self) -> int:
        """Length of the tars and indexes that are copied."""
        return 0 if self.copied is None else sum(map(copied_bytes, self.copied.joined.shards))

    def write(
        self, store: WritableStore, *, jobs: int, progress: ByteProgress, work_dir: str | os.PathLike[str] | None
    ) -> NewLayer:
        """Copy the layer into the folder of the merged dataset, unless it stays where it is, or is there; return it."""
        if self.copied is not None:
            run = CopyRun(self.copied.stores, self.copied.shards, self.copied.joined, jobs=jobs, progress=progress)
            target = target_of(subfolder(store, self.ref.location), work_dir=work_dir)
            if target.read(MANIFEST_PATH) == run.text:
                progress.advance(self.copied_bytes)
            else:
                run.fill(target, force=True)
        return self.ref, self.parts


def merged_layers(plan: MergePlan, home: Store, *, copy: bool) -> list[MergedLayer]:
    """Return the layers of all datasets, in their order; writes nothing.

    Args:
        plan: The datasets.
        home: The folder of the merged dataset.
        copy: Whether all are copied.

    Raises:
        OptionError: A layer that is to be copied has tars in other places than its own folder.
        DatasetNotFoundError: A layer is missing.
        StaleIndexError: A layer has changed.
        CorruptIndexError: A file of positions is damaged.
    """
    return [
        layer
        for number, (each, first) in enumerate(plan.placed())
        for layer in _layers(number, each, first, home, copy=copy)
    ]


def _layers(number: int, each: MergeInput, first: int, home: Store, *, copy: bool) -> Iterator[MergedLayer]:
    sidecars, options = each.cache.stores.sidecars, each.options
    for at, ref in enumerate(each.manifest.layers):
        own = _positions(sidecars, ref, each.manifest.num_samples)
        column = np.zeros(first + len(own), np.int64)
        column[first:] = own
        positions, parts = encode_positions_file(column, generation=1)
        location = None if copy else _location(ref, home, sidecars, options)
        copied = None
        if location is None:
            copied = layer_part(sidecars, ref, options)
            location = f"{LAYER_FOLDER}/{edit_tag(1, crc32c(f'{number} {at} {ref.crc32c}'.encode()))}"
        yield MergedLayer(replace(ref, location=location, positions=positions), parts, copied)


def _positions(sidecars: Store, ref: LayerRef, num_samples: int) -> Integers:
    path, data = file_path(ref.positions), SegmentFile(sidecars, ref.positions).load()
    if crc32c(data) != ref.positions.crc32c:
        raise CorruptIndexError("positions of a layer are damaged; restore the file, or attach it anew", path=path)
    return parse_layer_positions(data, num_samples=num_samples, path=path).view(np.int64)


def _location(ref: LayerRef, home: Store, sidecars: Store, options: LocationOptions) -> str | None:
    """Return where a layer is, as the merged dataset names it; None if it cannot stay there."""
    store = open_layer(sidecars, ref.location, options).store
    layer_manifest(store, ref)
    place = store.folder or store.location
    if is_layer_path(ref.location) or (store.folder is None and not is_url(place)):
        return None
    if store.folder is not None and is_url(home.location):
        return None
    return relative_location(home.location, place)
