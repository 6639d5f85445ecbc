"""Read the manifest of a dataset, the newest or that of one generation."""

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
    """Return the manifest of the dataset in a store, as bytes and parsed. Costs one read.

    Raises:
        DatasetNotFoundError: The store has no manifest.
        CorruptManifestError: The manifest is damaged.
        UnsupportedVersionError: The manifest was written by a newer version of the format.
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
    """Return the manifest of one generation. Costs one read, or two if this generation is not the newest.

    Args:
        store: The store with the dataset's folder `.shardpack`.
        generation: Number of the generation.
        checksum: CRC32C of the manifest's file.

    Raises:
        OptionError: The store no longer has this manifest.
    """
    text, newest = load_manifest(store)
    if crc32c(text) != checksum:
        kept = _read_generation(store, generation)
        if kept is None or crc32c(kept) != checksum:
            raise OptionError(
                f"the dataset at {store.location!r} has changed, and its generation {generation} as it was is not "
                "kept there; open it again"
            )
        return parse_manifest(kept)
    return newest


def _read_generation(store: Store, generation: int) -> bytes | None:
    try:
        return bytes(store.buffer(manifest.manifest_path(generation), max_bytes=manifest.MAX_MANIFEST_BYTES))
    except (ShardNotFoundError, CorruptShardError):
        return None
