"""Check the layers of a dataset: that each is the one that the manifest pins, and that its samples are the base's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from shardpack.errors import DatasetNotFoundError, OptionError, ShardpackError, StaleIndexError, UnsupportedVersionError
from shardpack.format.layer_positions import check_layer_positions, parse_layer_positions
from shardpack.format.layout import FOLDER, MANIFEST_PATH, file_path
from shardpack.format.manifest import LayerRef, Manifest
from shardpack.inspect.problem import Problem, problem_of
from shardpack.inspect.verify_shards import Hashes
from shardpack.read.open_dataset import layer_manifest
from shardpack.read.segment_file import SegmentFile
from shardpack.storage.locations import DatasetStores, LocationOptions, open_layer
from shardpack.storage.protocols import Store

_ANEW = 'take it off ("shardpack detach"), and attach it anew'


@dataclass(frozen=True, slots=True, eq=False)
class PinnedLayer:
    """A layer as the manifest of the base names it, and the manifest that it has itself."""

    ref: LayerRef
    stores: DatasetStores
    manifest: Manifest

    def own(self, problem: Problem) -> Problem:
        """Return a problem of the layer's files as one of the base: its path begins with the layer's location.

        A tar is never salvaged or indexed beneath the base, which has pinned the layer. Its sidecars are repaired in
        the layer.
        """
        if problem.shard.startswith(f"{FOLDER}/"):
            home = self.stores.sidecars.location
            message = problem.message.replace('"shardpack repair', f'"shardpack repair {home}')
        else:
            message = f'{problem.what}; restore it, or do without the layer: "shardpack detach"'
        return replace(problem, shard=f"{self.ref.location}/{problem.shard}", message=message)


def open_pinned(home: Store, ref: LayerRef, options: LocationOptions) -> PinnedLayer | Problem:
    """Return a layer, or why it cannot be read. Costs a read of its manifest."""
    path = f"{ref.location}/{MANIFEST_PATH}"
    try:
        folder = open_layer(home, ref.location, options)
        manifest = layer_manifest(folder.store, ref)
        stores = folder.stores(manifest.locations)
    except (DatasetNotFoundError, StaleIndexError, UnsupportedVersionError, OptionError) as error:
        return Problem("layer", path, error.args[0])
    except ShardpackError as error:
        return replace(problem_of(error, MANIFEST_PATH), shard=path)
    return PinnedLayer(ref, stores, manifest)


def check_positions(
    store: Store, base: Manifest, layer: PinnedLayer, *, base_hashes: Hashes | None, layer_hashes: Hashes | None
) -> Iterator[Problem]:
    """Yield what is wrong with the file that leads from the base to a layer.

    Args:
        store: The store with the folder `.shardpack` of the base.
        base: Its manifest.
        layer: The layer.
        base_hashes, layer_hashes: Hashes of the keys of all stored samples, in order; None where they are not known:
            then it is not checked that the samples have equal keys.
    """
    path = file_path(layer.ref.positions)
    try:
        data = SegmentFile(store, layer.ref.positions).load()
        column = parse_layer_positions(data, num_samples=base.num_samples, path=path)
        check_layer_positions(column, layer_samples=layer.manifest.num_samples, path=path)
    except ShardpackError as error:
        yield problem_of(error, path)
        return
    used = np.flatnonzero(column)
    at = column[used].astype(np.int64) - 1
    if base_hashes is not None and layer_hashes is not None:
        others = used[base_hashes[used] != layer_hashes[at]]
        if len(others):
            yield Problem(
                "layer",
                path,
                f"{len(others):,} samples of the layer {layer.ref.location!r} have other keys than the samples that "
                f"they belong to, first at position {int(others[0])}; {_ANEW}",
            )
    unused = layer.manifest.num_samples - len(np.unique(at))
    if unused:
        what = f"{unused:,} samples of the layer {layer.ref.location!r} belong to no sample of the dataset"
        yield Problem("layer", path, f"{what}; {_ANEW}")
