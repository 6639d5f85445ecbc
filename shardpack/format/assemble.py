"""From members to the files of a dataset other than the tars: values in, bytes out (SPEC 4 to 6).

members     -> build_index    -> ShardIndex
ShardIndex  -> encode_shard   -> ShardInfo, parts of the index file
[ShardInfo] -> encode_dataset -> Manifest, [(path, parts), ...] in the order of publication, the manifest last
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack._version import __version__
from shardpack.errors import FormatError
from shardpack.format.fingerprint import chain, chain_edits, fingerprint_text
from shardpack.format.layout import MANIFEST_PATH, REJECTED_PATH, file_path, manifest_path
from shardpack.format.manifest import (
    OWN_FOLDER,
    DeletedFile,
    KeySegment,
    LayerRef,
    Manifest,
    Parent,
    SplitsFile,
    TableFile,
    TableSegment,
)
from shardpack.format.manifest_json import encode_manifest
from shardpack.format.named_files import (
    Parts,
    encode_deleted_file,
    encode_keys,
    encode_splits_file,
    encode_table,
    length_and_crc32c,
)
from shardpack.format.naming import key_bytes
from shardpack.format.shard_index import ShardIndex, check_field_names, encode_index, key_columns
from shardpack.format.shard_info import ShardInfo, repeated_name, samples_per_field
from shardpack.format.splits import Splits


def build_index(
    *,
    keys: Sequence[str],
    fields: Sequence[str],
    row: npt.NDArray[np.int64],
    code: npt.NDArray[Any],
    data_offset: npt.ArrayLike,
    size: npt.ArrayLike,
    crc32c: npt.ArrayLike | None,
    header_bytes: npt.ArrayLike,
    shard_bytes: int,
    shard_crc32c: int | None,
    end_of_data: int,
    ignored: Sequence[str] = (),
    shard: str | None = None,
) -> ShardIndex:
    """Return the index of n samples from the columns of their m members, in any order.

    Args:
        keys: (n) keys of the samples.
        fields: Field names; unused ones are dropped, the others are sorted.
        row: (m) sample of each member.
        code: (m) index into `fields` of each member's field; no sample has a field twice.
        data_offset, size, crc32c, header_bytes: (m) columns of the index; `crc32c` is None if `shard_crc32c` is.
        shard_bytes, shard_crc32c, end_of_data: Properties of the shard, as in the index.
        ignored: Patterns whose files were left out of the samples, sorted.
        shard: Name of the shard, for errors.

    Raises:
        FormatError: The field names are more or longer than an index can hold.
    """
    used = np.flatnonzero(np.bincount(code, minlength=len(fields)))
    names = [fields[number] for number in used.tolist()]
    order = sorted(range(len(names)), key=names.__getitem__)
    names = [names[i] for i in order]
    check_field_names(names, shard=shard)
    column_of = np.zeros(len(fields), np.int64)
    column_of[used[order]] = np.arange(len(names))
    column = column_of[code]
    place = row * len(names) + column
    in_order = slice(None) if bool((place[1:] > place[:-1]).all()) else np.argsort(place, kind="stable")
    dense = len(place) == len(keys) * len(names)

    def ordered(values: npt.ArrayLike, dtype: str) -> npt.NDArray[Any]:
        return np.asarray(values).astype(dtype, copy=False)[in_order]

    return ShardIndex(
        fields=tuple(names),
        **key_columns(list(map(key_bytes, keys))),
        data_offset=ordered(data_offset, "<u8"),
        size=ordered(size, "<u8"),
        crc32c=None if crc32c is None else ordered(crc32c, "<u4"),
        header_bytes=ordered(header_bytes, "<u4"),
        member_start=None if dense else _starts(row, len(keys)),
        field=None if dense else ordered(column, "<u2"),
        shard_bytes=shard_bytes,
        shard_crc32c=shard_crc32c,
        end_of_data=end_of_data,
        ignored=tuple(ignored),
        frames=None,
    )


def _starts(row: npt.NDArray[np.int64], num_samples: int) -> npt.NDArray[np.uint32]:
    starts = np.zeros(num_samples + 1, "<u4")
    np.cumsum(np.bincount(row, minlength=num_samples), out=starts[1:])
    return starts


def encode_shard(name: str, index: ShardIndex, *, location: int = 0) -> tuple[ShardInfo, Parts]:
    """Return the shard table's entry for a finished shard, and the parts of its index file."""
    parts = encode_index(index)
    num_bytes, checksum = length_and_crc32c(parts)
    info = ShardInfo(
        name=name,
        num_samples=index.num_samples,
        num_bytes=index.shard_bytes,
        crc32c=index.shard_crc32c,
        index_bytes=num_bytes,
        index_crc32c=checksum,
        samples_per_field=index.samples_per_field(),
        location=location,
    )
    return info, parts


def encode_dataset(
    shards: Sequence[ShardInfo],
    hashes: npt.NDArray[np.uint64],
    *,
    generation: int = 1,
    parent: Parent | None = None,
    locations: Sequence[str] = (OWN_FOLDER,),
    unique_keys: bool = True,
    classes: Sequence[str] | None = None,
    splits: Splits | None = None,
    deleted: npt.NDArray[np.int64] | None = None,
    layers: Sequence[tuple[LayerRef, Parts]] = (),
    label_table: Sequence[TableFile] = (),
    packed_with: Mapping[str, Any],
    rejected: Iterable[tuple[str, str]] = (),
) -> tuple[Manifest, list[tuple[str, Parts]]]:
    """Return the manifest, and all files but tars and shard indexes in the order in which to publish them.

    Args:
        shards: All shards, in order.
        hashes: Hashes of all keys, in order (`key_index.hash_keys`).
        generation: Number of this manifest.
        parent: The previous generation, which this one changes, or None.
        locations: Where the tars are; each shard refers to one by index.
        unique_keys: Whether each key names one sample.
        classes: Class names in label order, or None.
        splits: The named splits, of all samples in order; None if there are none.
        deleted: Stored positions of deleted samples, ascending; None if there are none.
        layers: Layers, which are there already, each with the bytes of its file of positions.
        label_table: Files of the label table, which are there already.
        packed_with: Result of `recorded_options`.
        rejected: (name, reason) of each sample that was left out.

    Raises:
        FormatError: Two shards have the same name or the same index path, or the dataset has too many
            different field names.
    """
    if (repeated := repeated_name(shards)) is not None:
        raise FormatError(
            "two shards have the same name, or names that differ only in .tar; rename one", shard=repeated
        )
    files: list[tuple[str, Parts]] = []
    table: list[TableSegment] = []
    keys: list[KeySegment] = []
    if shards:
        segment, parts = encode_table(shards, generation=generation)
        table.append(segment)
        files.append((file_path(segment), parts))
    if len(hashes):
        key_segment, parts = encode_keys(hashes, generation=generation)
        keys.append(key_segment)
        files.append((file_path(key_segment), parts))
    splits_file: SplitsFile | None = None
    if splits is not None:
        splits_file, parts = encode_splits_file(splits, generation=generation)
        files.append((file_path(splits_file), parts))
    deleted_files: list[DeletedFile] = []
    if deleted is not None and len(deleted):
        deleted_file, parts = encode_deleted_file(deleted, generation=generation)
        deleted_files.append(deleted_file)
        files.append((file_path(deleted_file), parts))
    refs = tuple(layer for layer, _ in layers)
    files += [(file_path(layer.positions), parts) for layer, parts in layers]
    manifest = Manifest(
        generation=generation,
        fingerprint=fingerprint_text(chain_edits(deleted_files, refs, chain(shards))),
        num_samples=sum(info.num_samples for info in shards),
        num_bytes=sum(info.num_bytes for info in shards),
        num_shards=len(shards),
        samples_per_field=samples_per_field(shards),
        locations=tuple(locations),
        table_segments=tuple(table),
        key_segments=tuple(keys),
        unique_keys=unique_keys,
        classes=None if classes is None else tuple(classes),
        splits=splits_file,
        deleted=tuple(deleted_files),
        layers=refs,
        table=tuple(label_table),
        packed_with=packed_with,
        parent=parent,
    )
    lines = [json.dumps({"name": name, "reason": reason}) + "\n" for name, reason in rejected]
    if lines:
        files.append((REJECTED_PATH, ["".join(lines).encode()]))
    text = encode_manifest(manifest)
    return manifest, [*files, (manifest_path(generation), [text]), (MANIFEST_PATH, [text])]


def recorded_options(**options: Any) -> dict[str, Any]:
    """Return the manifest's record of how a dataset was packed: the options that are not None."""
    return {"shardpack": __version__, "options": {k: v for k, v in options.items() if v is not None}}
