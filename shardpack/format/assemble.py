"""From finished shards to the files of a dataset, all but the tars: values in, bytes out.

ShardIndex  -> encode_shard   -> ShardInfo, parts of the index file
[ShardInfo] -> encode_dataset -> Manifest, [(name, parts), ...] in the order of publication, the manifest last
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack._version import __version__
from shardpack.format import key_index, manifest
from shardpack.format.checksum import crc32c
from shardpack.format.manifest import Manifest, ShardInfo
from shardpack.format.shard_index import ShardIndex, encode_index

REJECTED_NAME = "rejected.jsonl"

Parts = Sequence[bytes | memoryview]  # a file, piece by piece


def encode_shard(name: str, index: ShardIndex) -> tuple[ShardInfo, Parts]:
    """Return what the manifest says of a finished shard, and the parts of its index file."""
    parts = encode_index(index)
    num_bytes, checksum = _length_and_crc32c(parts)
    info = ShardInfo(
        name=name,
        num_samples=index.num_samples,
        num_bytes=index.shard_bytes,
        crc32c=index.shard_crc32c,
        index_bytes=num_bytes,
        index_crc32c=checksum,
        samples_per_field=index.samples_per_field(),
    )
    return info, parts


def encode_dataset(
    shards: Sequence[ShardInfo],
    hashes: npt.NDArray[np.uint64],
    *,
    unique_keys: bool = True,
    classes: Sequence[str] | None = None,
    packed_with: Mapping[str, Any],
    shards_at: str | None = None,
    rejected: Iterable[tuple[str, str]] = (),
) -> tuple[Manifest, list[tuple[str, Parts]]]:
    """Return the manifest, and all files but tars and shard indexes in the order in which they are published.

    Args:
        shards: All of them, in order.
        hashes: Of all keys, in order (`key_index.hash_keys`).
        unique_keys: Whether no key names two samples.
        classes: Class names in label order, where the source has classes.
        packed_with: See `recorded_options`.
        shards_at: Where the tars are, if not beside the manifest.
        rejected: (name, reason) of samples left out, for a list beside the shards.
    """
    parts = key_index.encode_key_index(hashes)
    num_bytes, checksum = _length_and_crc32c(parts)
    keys = {"name": key_index.FILE_NAME, "num_bytes": num_bytes, "crc32c": f"{checksum:08x}", "unique": unique_keys}
    whole = Manifest([manifest.record_of(info) for info in shards], keys, classes, packed_with, shards_at)
    lines = [json.dumps({"name": name, "reason": reason}) + "\n" for name, reason in rejected]
    files: list[tuple[str, Parts]] = [(REJECTED_NAME, ["".join(lines).encode()])] if lines else []
    files += [(key_index.FILE_NAME, parts), (manifest.FILE_NAME, [manifest.encode_manifest(whole)])]
    return whole, files


def recorded_options(**options: Any) -> dict[str, Any]:
    """Return what the manifest keeps of how it was packed: options that differ from None."""
    return {"shardpack": __version__, "options": {k: v for k, v in options.items() if v is not None}}


def _length_and_crc32c(parts: Parts) -> tuple[int, int]:
    num_bytes = checksum = 0
    for part in parts:
        num_bytes += len(part)
        checksum = crc32c(part, checksum)
    return num_bytes, checksum
