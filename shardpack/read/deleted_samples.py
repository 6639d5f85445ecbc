"""Reads which samples of a dataset are deleted (SPEC 5.5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError
from shardpack.format.checksum import crc32c
from shardpack.format.deleted import join_deleted, parse_deleted
from shardpack.format.manifest import Manifest
from shardpack.order.visible import Visible
from shardpack.read.segment_file import SegmentFile
from shardpack.runtime.arrays import Integers
from shardpack.runtime.threads import call_all
from shardpack.storage.protocols import Store

_FILES_AT_ONCE = 8  # more are few rows each: edits join them


def load_visible(store: Store, manifest: Manifest) -> Visible | None:
    """Return what is visible of a dataset; None if nothing is deleted. Costs one round trip.

    Raises:
        ShardNotFoundError: A file is missing.
        CorruptIndexError: A file is damaged, or one does not fit the others.
        UnsupportedVersionError: A file was written by a newer version of the format.
    """
    if not manifest.deleted:
        return None
    files = [SegmentFile(store, file) for file in manifest.deleted]
    loaded = call_all(SegmentFile.load, files, limit=_FILES_AT_ONCE if store.remote else 1, purpose="open")
    parts = []
    for file, named, data in zip(files, manifest.deleted, loaded, strict=True):
        if (checksum := crc32c(data)) != named.crc32c:
            raise CorruptIndexError(
                f"file of deleted samples is damaged: expected the CRC32C {named.crc32c:08x}, got {checksum:08x}; "
                "restore it, or open an earlier generation",
                path=file.path,
            )
        parts.append(parse_deleted(data, named, num_samples=manifest.num_samples, path=file.path))
    deleted = join_deleted(parts, path=files[-1].path)
    return Visible(manifest.num_samples, deleted.astype(np.int64))


def have_visible(starts: Integers, deleted: Integers) -> npt.NDArray[np.bool_]:
    """Return which shards have a sample that is not deleted.

    Args:
        starts: First stored position of each shard, and behind the last one.
        deleted: Stored positions of the deleted samples, ascending.
    """
    return np.diff(np.searchsorted(deleted, starts)) < np.diff(starts)
