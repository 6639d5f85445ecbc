"""The manifest of a store, and what to say where there is none."""

from __future__ import annotations

from shardpack.errors import CorruptManifestError, CorruptShardError, DatasetNotFoundError, ShardNotFoundError
from shardpack.format import manifest
from shardpack.format.manifest import Manifest, parse_manifest
from shardpack.storage.protocols import Store


def load_manifest(store: Store) -> tuple[bytes, Manifest]:
    """Return the manifest of the dataset in a store, as it is written and as a value. Costs one read.

    Raises:
        DatasetNotFoundError: The store has no manifest.
        CorruptManifestError, UnsupportedVersionError: It is damaged, or newer than this code.
    """
    try:
        text = bytes(store.buffer(manifest.FILE_NAME, max_bytes=manifest.MAX_MANIFEST_BYTES))
    except CorruptShardError as error:
        raise CorruptManifestError(error.args[0], shard=manifest.FILE_NAME) from error
    except ShardNotFoundError as error:
        raise DatasetNotFoundError(
            f"no dataset in {store.location!r}: {manifest.FILE_NAME} is missing; "
            'pack one with "shardpack pack", or index tars with "shardpack index"'
        ) from error
    return text, parse_manifest(text)
