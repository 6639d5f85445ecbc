"""From a store to the shards of the dataset in it: manifest, stores of the tars, cache."""

from __future__ import annotations

from shardpack.format.checksum import crc32c
from shardpack.read.open_manifest import load_manifest
from shardpack.read.shard_cache import CacheLimits, ShardCache
from shardpack.storage.locations import LocationOptions, open_locations
from shardpack.storage.protocols import Store


def open_shards(
    store: Store,
    *,
    verify: bool | None = None,
    sidecars: Store | None = None,
    options: LocationOptions | None = None,
    limits: CacheLimits | None = None,
) -> ShardCache:
    """Return the shards of the dataset in a store, none of them open yet. Costs one read, the manifest.

    Args:
        store: Of the dataset's own folder.
        verify: Compare each payload with its checksum; None leaves it to the store.
        sidecars: Holds the manifest and all else that is ours, where that is not in `store`.
        options: How to read tars that are not in `store`.
        limits: What may be kept open.

    Raises:
        DatasetNotFoundError: The store has no manifest.
        CorruptManifestError, UnsupportedVersionError: It is damaged, or newer than this code.
    """
    text, manifest = load_manifest(sidecars or store)
    stores = open_locations(store, manifest.locations, options or LocationOptions(), sidecars=sidecars)
    return ShardCache(
        stores,
        manifest,
        manifest_crc32c=crc32c(text),
        verify=stores.checks_reads if verify is None else verify,
        limits=limits,
    )
