"""Open the dataset in a store: read its manifest, open the stores of its tars and the cache of its shards.

`open_location` comes before: it makes stores of what users write.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from shardpack.errors import (
    CorruptManifestError,
    DatasetNotFoundError,
    ObjectTooLargeError,
    OptionError,
    ShardNotFoundError,
    StaleIndexError,
    UnsupportedVersionError,
)
from shardpack.format.checksum import crc32c
from shardpack.format.layout import (
    INDEX_FOLDER,
    MANIFEST_PATH,
    WORK_FOLDER,
    generation_of,
    is_packer_name,
    manifest_path,
    split_of_shard,
)
from shardpack.format.manifest import MAX_MANIFEST_BYTES, LayerRef, Manifest
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_info import MAX_COUNT
from shardpack.read.layer_positions import LayerPositions
from shardpack.read.shard_cache import CacheLimits, Layer, ShardCache
from shardpack.runtime.arguments import as_integer
from shardpack.storage.locations import DatasetStores, LocationOptions, open_layer, open_locations
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
    return shards_of(
        store,
        manifest,
        manifest_crc32c=crc32c(text),
        verify=verify,
        sidecars=sidecars,
        options=options or LocationOptions(),
        limits=limits,
    )


def shards_of(
    store: Store,
    manifest: Manifest,
    *,
    manifest_crc32c: int,
    options: LocationOptions,
    verify: bool | None = None,
    sidecars: Store | None = None,
    limits: CacheLimits | None = None,
) -> ShardCache:
    """Return the shards that a manifest names, none of them open yet; makes no request.

    Args:
        store: The store of the dataset's own folder.
        manifest, manifest_crc32c: The manifest, and the CRC32C of its file.
        options, verify, sidecars, limits: As for `open_shards`.

    Raises:
        OptionError: The manifest names a location that is not followed, or options do not fit the location.
    """
    limits, layers = limits or CacheLimits(), manifest.layers
    stores = open_locations(
        store, manifest.locations, options, sidecars=sidecars, layers=[ref.location for ref in layers]
    )

    def open_layers() -> tuple[Layer, ...]:
        folders = [open_layer(store, ref.location, options, sidecars=sidecars) for ref in layers]
        manifests = [layer_manifest(folder.store, ref) for folder, ref in zip(folders, layers, strict=True)]
        opened = [folder.stores(one.locations) for folder, one in zip(folders, manifests, strict=True)]
        return _layers(stores, manifest, opened, manifests, verify=verify, limits=limits)

    return ShardCache(
        stores,
        manifest,
        manifest_crc32c=manifest_crc32c,
        verify=stores.checks_reads if verify is None else verify,
        limits=limits,
        open_layers=open_layers,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What finds a dataset again, exactly as it was opened.

    Attributes:
        stores: The stores of the dataset.
        layer_stores: Those of each layer.
        generation, manifest_crc32c: Its manifest.
    """

    stores: DatasetStores
    layer_stores: tuple[DatasetStores, ...]
    generation: int
    manifest_crc32c: int


def origin_of(cache: ShardCache) -> Origin:
    """Return what finds the dataset of these shards again; opens its layers."""
    layers = tuple(layer.cache.stores for layer in cache.layers)
    return Origin(cache.stores, layers, cache.manifest.generation, cache.manifest_crc32c)


def reopen_shards(origin: Origin, *, verify: bool | None) -> ShardCache:
    """Return the shards of a dataset that was open before, perhaps in another process. Costs one read, or two.

    Args:
        origin: What finds it again.
        verify: As for `open_shards`.

    Raises:
        OptionError: The store no longer has this manifest.
    """
    stores, of_layers = origin.stores, origin.layer_stores
    manifest = reload_manifest(stores.sidecars, origin.generation, origin.manifest_crc32c)

    def open_layers() -> tuple[Layer, ...]:
        pairs = zip(of_layers, manifest.layers, strict=True)
        manifests = [layer_manifest(of_layer.sidecars, ref) for of_layer, ref in pairs]
        return _layers(stores, manifest, of_layers, manifests, verify=verify, limits=CacheLimits())

    return ShardCache(
        stores,
        manifest,
        manifest_crc32c=origin.manifest_crc32c,
        verify=stores.checks_reads if verify is None else verify,
        open_layers=open_layers,
    )


def _layers(
    stores: DatasetStores,
    base: Manifest,
    layer_stores: Sequence[DatasetStores],
    manifests: Sequence[Manifest],
    *,
    verify: bool | None,
    limits: CacheLimits,
) -> tuple[Layer, ...]:
    """Return open layers, which share the memory for indexes that the base has once more."""
    limits = replace(limits, index_bytes=limits.index_bytes // max(1, len(manifests)))
    return tuple(
        Layer(
            ref,
            LayerPositions(stores.sidecars, ref, num_samples=base.num_samples, num_layer_samples=manifest.num_samples),
            ShardCache(
                of_layer,
                manifest,
                manifest_crc32c=ref.crc32c,
                verify=of_layer.checks_reads if verify is None else verify,
                limits=limits,
                open_layers=tuple,  # none
                only=None if set(ref.fields) >= manifest.samples_per_field.keys() else ref.fields,
            ),
        )
        for ref, of_layer, manifest in zip(base.layers, layer_stores, manifests, strict=True)
    )


def layer_manifest(store: Store, ref: LayerRef) -> Manifest:
    """Return the manifest of a layer that a base names. Costs one read.

    Raises:
        DatasetNotFoundError: The layer is missing.
        StaleIndexError: The dataset there is another one.
        UnsupportedVersionError: It has layers or deleted samples, or lacks a field.
    """
    text = _read_generation(store, ref.generation)
    if text is None:
        try:
            text, _ = _load_newest(store)
        except DatasetNotFoundError as error:
            raise DatasetNotFoundError(
                f"layer {ref.location!r} is missing: {store.location!r} holds no dataset; restore it, "
                'or do without it: "shardpack detach"'
            ) from error
    if (len(text), crc32c(text)) != (ref.num_bytes, ref.crc32c):
        raise StaleIndexError(
            f"layer {ref.location!r} has changed: generation {ref.generation} as it was attached is not in "
            f'{store.location!r}; restore it, or detach it ("shardpack detach") and attach what is there'
        )
    manifest = parse_manifest(text)
    if manifest.layers or manifest.deleted:
        raise UnsupportedVersionError(
            f"layer {ref.location!r} has layers or deleted samples of its own; "
            'make a plain dataset of it with "shardpack pack", and attach that'
        )
    if missing := sorted(set(ref.fields).difference(manifest.fields)):
        raise UnsupportedVersionError(
            f"layer {ref.location!r} does not have the field {missing[0]!r} that it is to give; "
            'detach it ("shardpack detach") and attach it again'
        )
    return manifest


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
        text = bytes(store.get(MANIFEST_PATH, max_bytes=MAX_MANIFEST_BYTES))
    except ObjectTooLargeError as error:
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
        return bytes(store.get(manifest_path(generation), max_bytes=MAX_MANIFEST_BYTES))
    except (ShardNotFoundError, ObjectTooLargeError):
        return None


def missing_dataset(path: str) -> DatasetNotFoundError:
    """Return the error for a local path that has no manifest: what is there instead, and the next command.

    Costs a listing of the folder.
    """
    if not os.path.exists(path):
        return DatasetNotFoundError(f"no such folder: {path!r}; check the path")
    if not os.path.isdir(path):
        return DatasetNotFoundError(
            f"not a folder: {path!r}; open the folder that holds {MANIFEST_PATH}"
            + (', or index the tar with "shardpack index"' if path.endswith(".tar") else "")
        )
    if os.path.isdir(os.path.join(path, WORK_FOLDER)):
        # Imported only here: readers need not load what writers use.
        from shardpack.commit.folder_target import FolderTarget
        from shardpack.commit.lease import how_to_continue, unfinished_command

        advice = how_to_continue(unfinished_command(FolderTarget(path)) or "pack")
        return DatasetNotFoundError(f"the dataset in {path!r} is unfinished; {advice}")
    if _has_generations(path):
        return DatasetNotFoundError(
            f"the dataset in {path!r} has lost {MANIFEST_PATH}, and the manifests of its generations are there; make "
            f'it again with "shardpack repair {path}"'
        )
    tars = [name for name in os.listdir(path) if name.endswith((".tar", ".tar.zst"))]
    if tars:
        return DatasetNotFoundError(f"{path!r} holds {len(tars)} {_without_manifest(path, tars)}")
    return DatasetNotFoundError(f'no dataset in {path!r}: it has no {MANIFEST_PATH}; make one with "shardpack pack"')


def _has_generations(path: str) -> bool:
    """Return whether the manifest of a generation is in a folder."""
    with suppress(OSError):
        folder = os.path.dirname(manifest_path(1))
        return any(generation_of(f"{folder}/{name}") for name in os.listdir(os.path.join(path, folder)))
    return False


def _has_indexes(path: str) -> bool:
    """Return whether the index of a shard is in a folder."""
    with suppress(OSError):
        return bool(os.listdir(os.path.join(path, INDEX_FOLDER)))
    return False


def _without_manifest(path: str, tars: list[str]) -> str:
    """Return what to say of tars without a manifest, by their names."""
    command = (
        f'"shardpack index {os.path.join(path, "*.tar" if any(n.endswith(".tar") for n in tars) else "*.tar.zst")}"'
    )
    if not all(map(is_packer_name, tars)):
        return f'tar(s) without an index; make one with {command}, or open with index="memory"'
    if _has_indexes(path):
        return (
            f"shard(s) and the indexes of shards, but neither {MANIFEST_PATH} nor any other manifest; restore "
            f'them, or make them anew of the tars: "shardpack repair --force {path}"'
        )
    if any(map(split_of_shard, tars)):  # train-000000.tar may be anybody's
        return (
            f"tar(s) without {MANIFEST_PATH} and indexes; if a copy left these out, copy them as well, or pass "
            f'sidecars= where they are elsewhere; otherwise make them with {command}, or open with index="memory"'
        )
    return (
        f"shard(s), but {MANIFEST_PATH} and their indexes are missing, as after a copy that left them out; copy them "
        f"as well, pass sidecars= where they are elsewhere, or make them anew: {command}"
    )
