"""Files that a manifest names, encoded: each as the manifest names it, and the parts of its bytes.

The name of such a file holds the generation that it was made in and the CRC32C of its bytes (SPEC 1.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.format.checksum import crc32c
from shardpack.format.deleted import encode_deleted
from shardpack.format.key_index import encode_key_index
from shardpack.format.layer_positions import encode_layer_positions
from shardpack.format.manifest import DeletedFile, KeySegment, PositionsFile, SplitsFile, TableSegment
from shardpack.format.paged import AnySegment
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table_writer import encode_shard_table
from shardpack.format.splits import Splits, encode_splits

Parts = Sequence[bytes | memoryview]  # consecutive parts of one file


def encode_table(shards: Sequence[ShardInfo], *, generation: int) -> tuple[TableSegment, Parts]:
    """Return a segment of the shard table as the manifest names it, and the parts of its file."""
    parts = encode_shard_table(shards)
    numbers = {"num_shards": len(shards), "num_samples": sum(info.num_samples for info in shards)}
    return _segment(TableSegment, "shards", generation, parts, **numbers), parts


def encode_keys(hashes: npt.NDArray[np.uint64], *, generation: int) -> tuple[KeySegment, Parts]:
    """Return a segment of the key index as the manifest names it, and the parts of its file."""
    parts = encode_key_index(hashes)
    return _segment(KeySegment, "keys", generation, parts, num_keys=len(hashes)), parts


def encode_splits_file(splits: Splits, *, generation: int) -> tuple[SplitsFile, Parts]:
    """Return the file of named splits as the manifest names it, and the parts of the file."""
    parts = encode_splits(splits)
    name, num_bytes, checksum = _named("splits", generation, parts)
    return SplitsFile(name, num_bytes, checksum, splits.counts(), splits.appended), parts


def encode_deleted_file(positions: npt.NDArray[Any], *, generation: int) -> tuple[DeletedFile, Parts]:
    """Return a file of deleted stored positions, given ascending, as the manifest names it, and its parts."""
    parts = encode_deleted(positions)
    return DeletedFile(*_named("deleted", generation, parts), len(positions)), parts


def encode_positions_file(column: npt.NDArray[Any], *, generation: int) -> tuple[PositionsFile, Parts]:
    """Return the file of a layer's positions as the manifest names it, and its parts."""
    parts = encode_layer_positions(column)
    return PositionsFile(*_named("layer", generation, parts)), parts


def with_counts(file: SplitsFile, added: dict[str, int]) -> SplitsFile:
    """Return a file of splits into which more appended samples fell by their hash."""
    if file.appended is None or not added:
        return file
    fell = dict(file.appended.samples)
    fell.update((name, fell.get(name, 0) + count) for name, count in added.items())
    return replace(file, appended=replace(file.appended, samples=fell))


def length_and_crc32c(parts: Parts) -> tuple[int, int]:
    """Return the length and the CRC32C of a file."""
    num_bytes = checksum = 0
    for part in parts:
        num_bytes += len(part)
        checksum = crc32c(part, checksum)
    return num_bytes, checksum


def _segment(kind: type[AnySegment], what: str, generation: int, parts: Parts, **numbers: int) -> AnySegment:
    """Return a segment as the manifest names it; its head is its first two parts, header and chapters."""
    name, num_bytes, checksum = _named(what, generation, parts)
    head_bytes, head_checksum = length_and_crc32c(parts[:2])
    return kind(
        name=name,
        num_bytes=num_bytes,
        crc32c=checksum,
        head_bytes=head_bytes,
        head_crc32c=head_checksum,
        **numbers,
    )


def _named(what: str, generation: int, parts: Parts) -> tuple[str, int, int]:
    num_bytes, checksum = length_and_crc32c(parts)
    return f"{what}-{generation:06d}-{checksum:08x}.index", num_bytes, checksum
