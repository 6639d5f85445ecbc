"""Open the dataset in a store for reading: its manifest, the stores of its tars, and the cache of its shards."""

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
    generation: int | None = None,
    options: LocationOptions | None = None,
    limits: CacheLimits | None = None,
) -> ShardCache:
    """Return the shards of the dataset in a store, none of them open yet. Costs one read, of the manifest.

    Args:
        store: The store of the dataset's own folder.
        verify: Whether to compare each payload with its checksum; None: as the store recommends.
        sidecars: The store with the folder `.shardpack`, if that is not in `store`.
        generation: Number of the generation; None for the newest.
        options: How to read tars that are not in `store`.
        limits: How much may be kept open.

    Raises:
        DatasetNotFoundError: The store has no manifest.
        CorruptManifestError: The manifest is damaged.
        UnsupportedVersionError: The manifest was written by a newer version of the format.
        OptionError: This generation is not there, the manifest names a location that is not followed, or options
            do not fit the location.
    """
    text, manifest = load_manifest(sidecars or store, generation)
    stores = open_locations(store, manifest.locations, options or LocationOptions(), sidecars=sidecars)
    return ShardCache(
        stores,
        manifest,
        manifest_crc32c=crc32c(text),
        verify=stores.checks_reads if verify is None else verify,
        limits=limits,
    )
