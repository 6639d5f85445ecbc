"""Read the manifest of a dataset, the newest or that of a given generation."""

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
from shardpack.format.layout import MANIFEST_PATH, manifest_path
from shardpack.format.manifest import Manifest, parse_manifest
from shardpack.format.shard_info import MAX_COUNT
from shardpack.read.missing_dataset import missing_dataset
from shardpack.runtime.arguments import as_integer
from shardpack.storage.protocols import Store


def load_manifest(store: Store, generation: int | None = None) -> tuple[bytes, Manifest]:
    """Return the manifest of the dataset in a store, as bytes and parsed. Costs one read.

    Args:
        store: The store with the folder `.shardpack`.
        generation: Number of the generation; None for the newest.

    Raises:
        DatasetNotFoundError: The store has no manifest.
        OptionError: The store does not have this generation.
        CorruptManifestError: The manifest is damaged.
        UnsupportedVersionError: The manifest was written by a newer version of the format.
    """
    if generation is None:
        return _load_newest(store)
    generation, damage = as_integer("generation", generation, minimum=1, maximum=MAX_COUNT), None
    if text := _read_generation(store, generation):
        try:
            kept = parse_manifest(text)
            if kept.generation == generation:
                return text, kept
        except CorruptManifestError as error:
            damage = error
    text, newest = _load_newest(store)
    if newest.generation != generation:
        what = "no generation" if damage is None else "a damaged manifest of generation"
        raise OptionError(
            f"{store.location!r} has {what} {generation}; the newest is generation {newest.generation}, open that or "
            "an earlier one"
        ) from damage
    return text, newest


def _load_newest(store: Store) -> tuple[bytes, Manifest]:
    try:
        text = bytes(store.buffer(MANIFEST_PATH, max_bytes=manifest.MAX_MANIFEST_BYTES))
    except CorruptShardError as error:
        raise CorruptManifestError(error.args[0], path=MANIFEST_PATH) from error
    except ShardNotFoundError as error:
        if store.folder is not None:
            raise missing_dataset(store.folder) from error
        raise DatasetNotFoundError(
            f"no dataset in {store.location!r}: {MANIFEST_PATH} is missing; "
            'pack one with "shardpack pack", or index tars with "shardpack index"'
        ) from error
    return text, parse_manifest(text)


def reload_manifest(store: Store, generation: int, checksum: int) -> Manifest:
    """Return a manifest that was read before. Costs one read, or two if its generation is not the newest.

    Args:
        store: The store with the dataset's folder `.shardpack`.
        generation: Number of the generation.
        checksum: CRC32C of the manifest's file.

    Raises:
        OptionError: The store no longer has this manifest.
    """
    text, newest = _load_newest(store)
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
        return bytes(store.buffer(manifest_path(generation), max_bytes=manifest.MAX_MANIFEST_BYTES))
    except (ShardNotFoundError, CorruptShardError):
        return None
