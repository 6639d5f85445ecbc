"""The next generation of a dataset: what an edit changes, and the files that are new. Nothing old is written again.

Where the segments of a kind, or the files of deleted samples, become many, the last of them are written as one: the
rule of SPEC 6.6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from shardpack._version import __version__
from shardpack.errors import FormatError
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain, chain_edits, fingerprint_text
from shardpack.format.join_files import joined_deleted, joined_keys, joined_table
from shardpack.format.layout import MANIFEST_PATH, NamedFile, file_path, manifest_path
from shardpack.format.manifest import LayerRef, Manifest, Parent, SplitsFile, TableFile
from shardpack.format.manifest_json import encode_manifest
from shardpack.format.named_files import Parts, encode_splits_file, with_counts
from shardpack.format.shard_info import ShardInfo, repeated_name, samples_per_field
from shardpack.format.splits import Splits, fallen_counts


class Keep(Enum):
    """Stands for the value that the parent has."""

    KEEP = "as the parent has it"


KEEP: Literal[Keep.KEEP] = Keep.KEEP
Kept = Literal[Keep.KEEP]
Value = TypeVar("Value")


def next_generation(
    parent: Manifest,
    parent_text: bytes,
    *,
    shards: Sequence[ShardInfo] = (),
    hashes: npt.NDArray[np.uint64] | None = None,
    base_chain: int | None = None,
    deleted: npt.NDArray[np.int64] | None = None,
    layers: Sequence[tuple[LayerRef, Parts | None]] | None = None,
    classes: Sequence[str] | Kept | None = KEEP,
    splits: Splits | Kept | None = KEEP,
    table: Sequence[TableFile] | Kept = KEEP,
    locations: Sequence[str] | Kept = KEEP,
    unique_keys: bool | Kept = KEEP,
    edit: Mapping[str, Any] | None = None,
    read: Callable[[NamedFile], Any] | None = None,
) -> tuple[Manifest, list[tuple[str, Parts]]]:
    """Return the manifest of the next generation, and its new files as `encode_dataset` returns them.

    Args:
        parent: The generation that is edited.
        parent_text: The bytes of its manifest.
        shards: Shards that are added, in order; their location is a number into the new `locations`.
        hashes: Hashes of the keys of all their samples, in order.
        base_chain: The fingerprint's chain over the shards of the parent (`fingerprint.chain_columns`). Needed only
            where shards, deleted or layers change and the parent has deleted samples or layers.
        deleted: Stored positions that are deleted in addition; those of the added shards may be among them.
        layers: All layers from now on, each with the bytes of its file of positions if that is new; None: as they are.
        classes, splits, table, locations, unique_keys: Other values from now on. A table that is kept although shards,
            layers or splits change is dropped, as it does not say what they do. Of samples that are added, those in
            no range of splits that have `appended` fall into them by their hash.
        edit: What the history tells of this edit: JSON values.
        read: Returns the bytes of a file that the parent names. None: segments are not joined, however many.

    Raises:
        FormatError: Two added shards have the same name, or arguments do not belong together.
        CorruptIndexError: A file of the parent that is joined with a new one is damaged.
    """
    generation, new_samples = parent.generation + 1, sum(info.num_samples for info in shards)
    _check(parent, shards, hashes, deleted, new_samples)
    all_locations = parent.locations if locations is KEEP else tuple(locations)
    table_segments, key_segments, deleted_files = parent.table_segments, parent.key_segments, parent.deleted
    files: list[tuple[str, Parts]] = []
    if shards and hashes is not None:
        table_segments, segment_parts = joined_table(
            table_segments, shards, generation=generation, num_locations=len(all_locations), read=read
        )
        key_segments, key_parts = joined_keys(key_segments, hashes, generation=generation, read=read)
        files += [(file_path(table_segments[-1]), segment_parts), (file_path(key_segments[-1]), key_parts)]
    splits_file = _splits(parent, splits, hashes, generation, files)
    if deleted is not None and len(deleted):
        deleted_files, parts = joined_deleted(
            deleted_files,
            np.sort(deleted),
            generation=generation,
            num_samples=parent.num_samples + new_samples,
            read=read,
        )
        files.append((file_path(deleted_files[-1]), parts))
    refs = parent.layers if layers is None else tuple(layer for layer, _ in layers)
    files += [(file_path(layer.positions), parts) for layer, parts in layers or () if parts is not None]
    counts = dict(parent.samples_per_field)
    for name, count in samples_per_field(shards).items():
        counts[name] = counts.get(name, 0) + count
    manifest = replace(
        parent,
        generation=generation,
        num_samples=parent.num_samples + new_samples,
        num_bytes=parent.num_bytes + sum(info.num_bytes for info in shards),
        num_shards=parent.num_shards + len(shards),
        samples_per_field=dict(sorted(counts.items())),
        locations=all_locations,
        table_segments=table_segments,
        key_segments=key_segments,
        unique_keys=_kept(unique_keys, parent.unique_keys),
        classes=_tuple(_kept(classes, parent.classes)),
        splits=splits_file,
        deleted=deleted_files,
        layers=refs,
        table=tuple(_kept(table, parent.table if not shards and layers is None and splits is KEEP else ())),
        packed_with={
            **parent.packed_with,
            "edit": {"shardpack": __version__, "generation": generation, **(edit or {})},
        },
        parent=Parent(parent.generation, len(parent_text), crc32c(parent_text)),
    )
    manifest = replace(manifest, fingerprint=_fingerprint(parent, manifest, shards, base_chain))
    text = encode_manifest(manifest)
    return manifest, [*files, (manifest_path(generation), [text]), (MANIFEST_PATH, [text])]


def _check(
    parent: Manifest,
    shards: Sequence[ShardInfo],
    hashes: npt.NDArray[np.uint64] | None,
    deleted: npt.NDArray[np.int64] | None,
    new_samples: int,
) -> None:
    if (repeated := repeated_name(shards)) is not None:
        raise FormatError(
            "two shards have the same name, or names that differ only in .tar; rename one", shard=repeated
        )
    if (0 if hashes is None else len(hashes)) != new_samples:
        raise FormatError(f"expected the hashes of {new_samples} keys, got {0 if hashes is None else len(hashes)}")
    if deleted is not None and len(deleted):
        lowest, highest = int(deleted.min()), int(deleted.max())
        if lowest < 0 or highest >= parent.num_samples + new_samples or len(np.unique(deleted)) < len(deleted):
            raise FormatError(f"expected each position once, from 0 to {parent.num_samples + new_samples - 1}")


def _splits(
    parent: Manifest,
    splits: Splits | Kept | None,
    hashes: npt.NDArray[np.uint64] | None,
    generation: int,
    files: list[tuple[str, Parts]],
) -> SplitsFile | None:
    """Return the file of splits from now on; if it is new, it is added to `files`."""
    if splits is KEEP:
        file, free = parent.splits, hashes
    elif splits is None:
        return None
    else:
        file, parts = encode_splits_file(splits, generation=generation)
        files.append((file_path(file), parts))
        free = None if hashes is None else _free(splits, hashes, parent.num_samples)
    if file is None or file.appended is None or free is None:
        return file
    return with_counts(file, fallen_counts(file.appended, free))


def _free(splits: Splits, hashes: npt.NDArray[np.uint64], first: int) -> npt.NDArray[np.uint64]:
    """Return the hashes, of those of the positions from `first` on, of samples that may fall into a split by them."""
    made_for = first if splits.appended is None else max(first, splits.appended.of_samples)
    late = hashes[made_for - first :]
    return late[splits.are_in_none(made_for, len(late))]


def _fingerprint(parent: Manifest, manifest: Manifest, shards: Sequence[ShardInfo], base_chain: int | None) -> str:
    if not shards and (manifest.deleted, manifest.layers) == (parent.deleted, parent.layers):
        return parent.fingerprint
    if base_chain is None:
        if parent.deleted or parent.layers:
            raise FormatError("base_chain is needed, as the parent has deleted samples or layers")
        base_chain = int(parent.fingerprint, 16)
    return fingerprint_text(chain_edits(manifest.deleted, manifest.layers, chain(shards, base_chain)))


def _kept(value: Value | Kept, old: Value) -> Value:
    return old if value is KEEP else value


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
