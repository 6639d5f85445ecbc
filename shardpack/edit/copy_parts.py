"""What a copy of a dataset consists of: the dataset itself, its layers, and files of earlier generations.

the dataset, its tars in one folder     .
a layer in `.shardpack/layers/`         where it is
a layer anywhere else                   .shardpack/layers/<generation and CRC32C of its manifest>
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from shardpack.edit.broken_tars import find_needless_tars
from shardpack.edit.copy_run import File
from shardpack.edit.join_locations import JoinedDataset, join_locations
from shardpack.errors import CorruptManifestError, ObjectTooLargeError, OptionError, ShardNotFoundError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import LAYER_FOLDER, MANIFEST_PATH, file_path, manifest_path
from shardpack.format.manifest import MAX_MANIFEST_BYTES, OWN_FOLDER, LayerRef, Manifest
from shardpack.format.manifest_json import encode_manifest, parse_manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.read.shard_list import ShardList
from shardpack.storage.locations import DatasetStores, LocationOptions, open_layer, open_locations
from shardpack.storage.protocols import Store

_OWN_LAYER = re.compile(rf"{re.escape(LAYER_FOLDER)}/[0-9A-Za-z_-]{{1,100}}", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class CopyPart:
    """A dataset that is copied: the dataset itself, or a layer of it.

    Attributes:
        folder: Where it is in the copy; "" for the dataset itself.
        stores, shards: The source.
        joined: The dataset as it is in the copy.
        earlier: Files of earlier generations.
        without_tars: Numbers of the shards of which only the indexes are copied: their tars are not whole, and no
            sample of them is visible.
    """

    folder: str
    stores: DatasetStores
    shards: Sequence[ShardInfo]
    joined: JoinedDataset
    earlier: Sequence[File] = ()
    without_tars: frozenset[int] = frozenset()

    @property
    def copied_shards(self) -> list[ShardInfo]:
        """The shards whose tars are copied."""
        return [info for number, info in enumerate(self.joined.shards) if number not in self.without_tars]


@dataclass(frozen=True, slots=True, eq=False)
class CopyParts:
    """All that is copied.

    Attributes:
        base: The dataset itself.
        layers: The layers of all generations that are copied.
        num_generations: How many these are.
    """

    base: CopyPart
    layers: Sequence[CopyPart]
    num_generations: int

    @property
    def all(self) -> list[CopyPart]:
        """The dataset, then its layers."""
        return [self.base, *self.layers]


def parts_of(store: Store, text: bytes, manifest: Manifest, options: LocationOptions, *, history: bool) -> CopyParts:
    """Return what is copied of a dataset.

    Args:
        store: The dataset's own folder.
        text, manifest: Its newest manifest, as the bytes of its file and as a value.
        options: How other locations are reached.
        history: Whether all generations are copied.

    Raises:
        OptionError: Tars cannot be in one folder, or the history cannot be copied byte for byte.
        CorruptManifestError: The manifest of an earlier generation is damaged, and the history is asked for.
    """
    generations = list(_earlier(store, manifest)) if history else []
    refs = {ref.location: ref for _, one in generations for ref in one.layers}
    if history:
        _refuse_elsewhere([manifest, *(one for _, one in generations)])
    layers: list[CopyPart] = []
    renamed: list[LayerRef] = []
    for ref in manifest.layers:
        part = layer_part(store, ref, options)
        if all(part.folder != other.folder for other in layers):
            layers.append(part)
        renamed.append(replace(ref, location=part.folder))
        refs.pop(ref.location, None)
    layers += [layer_part(store, ref, options) for ref in refs.values()]
    if tuple(renamed) != manifest.layers:
        manifest = replace(manifest, layers=tuple(renamed))
        text = encode_manifest(manifest)
    stores = open_locations(store, manifest.locations, options)
    shards = tuple(ShardList(stores.sidecars, manifest))
    joined = join_locations(text, manifest, shards)
    needless = find_needless_tars(stores, manifest, shards)
    base = CopyPart("", stores, shards, joined, _files_of(generations, joined.manifest), needless)
    return CopyParts(base, layers, 1 + len(generations))


def _earlier(store: Store, manifest: Manifest) -> Iterator[tuple[bytes, Manifest]]:
    """Yield the manifests of all earlier generations that are kept, the newest first."""
    while (parent := manifest.parent) is not None:
        path = manifest_path(parent.generation)
        try:
            text = bytes(store.get(path, max_bytes=MAX_MANIFEST_BYTES))
            manifest = parse_manifest(text)
        except ShardNotFoundError:  # "shardpack gc" has deleted it, and what is older
            return
        except (CorruptManifestError, ObjectTooLargeError) as error:
            raise CorruptManifestError(
                f"the manifest of generation {parent.generation} is damaged, so that it is not known which files "
                "it needs; restore it, or copy the newest generation alone, without history (--history)",
                path=path,
            ) from error
        yield text, manifest


def _files_of(generations: Sequence[tuple[bytes, Manifest]], newest: Manifest) -> list[File]:
    """Return the files that only earlier generations name, and their manifests."""
    known = {file_path(file) for file in newest.files}
    files: dict[str, File] = {}
    for text, manifest in generations:
        for file in manifest.files:
            if file_path(file) not in known:
                files[file_path(file)] = File(file_path(file), file.num_bytes, file.crc32c)
        name = manifest_path(manifest.generation)
        files[name] = File(name, len(text), crc32c(text))
    return list(files.values())


def _refuse_elsewhere(manifests: Sequence[Manifest]) -> None:
    """Refuse a history of which a copy would have to change something: locations are in manifests, and pinned."""
    for manifest in manifests:
        elsewhere = [location for location in manifest.locations if location != OWN_FOLDER]
        elsewhere += [ref.location for ref in manifest.layers if not _is_inside(ref)]
        if elsewhere:
            raise OptionError(
                f"generation {manifest.generation} has tars or a layer at {elsewhere[0]!r}, so the history cannot be "
                "copied byte for byte; copy the newest generation alone, without history (--history)"
            )


def _is_inside(ref: LayerRef) -> bool:
    """Return whether a layer is where edits put it, under a name that leads nowhere else."""
    return _OWN_LAYER.fullmatch(ref.location) is not None


def layer_part(store: Store, ref: LayerRef, options: LocationOptions) -> CopyPart:
    """Return a layer as a part of the copy.

    Raises:
        OptionError: It is missing or has changed, or its tars are not all in its own folder.
    """
    folder = open_layer(store, ref.location, options)
    text = _pinned(folder.store, ref)
    manifest = parse_manifest(text)
    if any(location != OWN_FOLDER for location in manifest.locations):
        raise OptionError(
            f"layer {ref.location!r} has tars in other places than its own folder; pack the dataset instead, which "
            'folds layers into its shards ("shardpack pack")'
        )
    stores = folder.stores(manifest.locations)
    shards = tuple(ShardList(stores.sidecars, manifest))
    place = ref.location if _is_inside(ref) else f"{LAYER_FOLDER}/g{ref.generation:06d}-{ref.crc32c:08x}"
    return CopyPart(place, stores, shards, join_locations(text, manifest, shards))


def _pinned(store: Store, ref: LayerRef) -> bytes:
    """Return the bytes of the very manifest that a dataset names as its layer."""
    for name in (manifest_path(ref.generation), MANIFEST_PATH):
        with suppress(ShardNotFoundError):
            text = bytes(store.get(name, max_bytes=MAX_MANIFEST_BYTES))
            if (len(text), crc32c(text)) == (ref.num_bytes, ref.crc32c):
                return text
    raise OptionError(
        f"layer {ref.location!r} is missing or has changed: generation {ref.generation} as it was attached is not in "
        f'{store.location!r}; restore it, or detach it ("shardpack detach")'
    )
