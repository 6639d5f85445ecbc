"""From a store to the shards of the dataset in it: manifest, stores of the tars, cache."""

from __future__ import annotations

from shardpack.errors import DatasetNotFoundError, ShardNotFoundError
from shardpack.format.manifest import FILE_NAME, parse_manifest
from shardpack.read.shard_cache import CacheLimits, ShardCache
from shardpack.storage.overlay import Elsewhere, with_shards
from shardpack.storage.protocols import Store


def open_shards(
    store: Store, *, verify: bool | None = None, elsewhere: Elsewhere | None = None, limits: CacheLimits | None = None
) -> ShardCache:
    """Return the shards of the dataset in a store, none of them open yet. Costs one read, the manifest.

    Args:
        store: Holds the manifest.
        verify: Compare each payload with its checksum; None leaves it to the store.
        elsewhere: How to read tars that are not beside the manifest.
        limits: What may be kept open.

    Raises:
        DatasetNotFoundError: The store has no manifest.
        CorruptManifestError, UnsupportedVersionError: It is damaged, or newer than this code.
    """
    try:
        text = bytes(store.buffer(FILE_NAME))
    except ShardNotFoundError as error:
        raise DatasetNotFoundError(
            f"no dataset in {store.location!r}: {FILE_NAME} is missing; "
            'pack one with "shardpack pack", or index tars with "shardpack index"'
        ) from error
    manifest = parse_manifest(text)
    store = with_shards(store, manifest.shards_at, elsewhere or Elsewhere())
    return ShardCache(store, manifest, verify=store.checks_reads if verify is None else verify, limits=limits)
