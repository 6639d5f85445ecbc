"""The manifest of a store, and what to say where there is none."""

from __future__ import annotations

from shardpack.errors import (
    CorruptManifestError,
    CorruptShardError,
    DatasetNotFoundError,
    OptionError,
    ShardNotFoundError,
)
from shardpack.format import manifest
from shardpack.format.checksum import crc32c
from shardpack.format.manifest import Manifest, parse_manifest
from shardpack.read.missing_dataset import missing_dataset
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
        raise CorruptManifestError(error.args[0], path=manifest.FILE_NAME) from error
    except ShardNotFoundError as error:
        if store.folder is not None:
            raise missing_dataset(store.folder) from error
        raise DatasetNotFoundError(
            f"no dataset in {store.location!r}: {manifest.FILE_NAME} is missing; "
            'pack one with "shardpack pack", or index tars with "shardpack index"'
        ) from error
    return text, parse_manifest(text)


def load_generation(store: Store, generation: int, checksum: int) -> Manifest:
    """Return the manifest of one generation. Costs one read while it is the newest, then one more.

    Args:
        store: Holds the dataset's folder `.shardpack`.
        generation: Its number.
        checksum: CRC32C of the whole file.

    Raises:
        OptionError: It is not there any more.
    """
    text, whole = load_manifest(store)
    if crc32c(text) != checksum:
        found = _read_generation(store, generation)
        if found is None or crc32c(found) != checksum:
            raise OptionError(
                f"the dataset at {store.location!r} has changed, and its generation {generation} as it was is not "
                "kept there; open it again"
            )
        whole = parse_manifest(found)
    return whole


def _read_generation(store: Store, generation: int) -> bytes | None:
    try:
        return bytes(store.buffer(manifest.manifest_path(generation), max_bytes=manifest.MAX_MANIFEST_BYTES))
    except (ShardNotFoundError, CorruptShardError):
        return None
