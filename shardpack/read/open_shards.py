"""From a store to the shards of the dataset in it: manifest, stores of the tars, cache."""

from __future__ import annotations

from shardpack.errors import CorruptManifestError, CorruptShardError, DatasetNotFoundError, ShardNotFoundError
from shardpack.format.manifest import FILE_NAME, MAX_MANIFEST_BYTES, Manifest, parse_manifest
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
    manifest = load_manifest(sidecars or store)
    stores = open_locations(store, manifest.locations, options or LocationOptions(), sidecars=sidecars)
    return ShardCache(stores, manifest, verify=stores.checks_reads if verify is None else verify, limits=limits)


def load_manifest(store: Store) -> Manifest:
    """Return the manifest in a store; raises as `open_shards`."""
    try:
        text = bytes(store.buffer(FILE_NAME, max_bytes=MAX_MANIFEST_BYTES))
    except CorruptShardError as error:  # too long: none of it was read into memory
        raise CorruptManifestError(error.args[0], shard=FILE_NAME) from error
    except ShardNotFoundError as error:
        raise DatasetNotFoundError(
            f"no dataset in {store.location!r}: {FILE_NAME} is missing; "
            'pack one with "shardpack pack", or index tars with "shardpack index"'
        ) from error
    return parse_manifest(text)
