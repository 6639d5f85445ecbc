"""Reads the named splits of a dataset (SPEC 5.4)."""

from __future__ import annotations

from shardpack.errors import CorruptIndexError
from shardpack.format.checksum import crc32c
from shardpack.format.manifest import Manifest
from shardpack.format.splits import Splits, parse_splits
from shardpack.read.segment_file import SegmentFile
from shardpack.storage.protocols import Store


def load_splits(store: Store, manifest: Manifest) -> Splits | None:
    """Return the named splits of a dataset, None if it has none. Costs one read.

    Raises:
        ShardNotFoundError: The file is missing.
        CorruptIndexError: The file is damaged.
        UnsupportedVersionError: The file was written by a newer version of the format.
    """
    if manifest.splits is None:
        return None
    file = SegmentFile(store, manifest.splits)
    data = file.load(0, manifest.splits.num_bytes)
    if (checksum := crc32c(data)) != manifest.splits.crc32c:
        raise CorruptIndexError(
            f"file of splits is damaged: expected the CRC32C {manifest.splits.crc32c:08x}, got {checksum:08x}; "
            "restore it, or pack again",
            path=file.path,
        )
    return parse_splits(data, manifest.splits, num_samples=manifest.num_samples, path=file.path)
