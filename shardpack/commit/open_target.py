"""Turn a location or a store into a target that a dataset can be written to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.target import Target
from shardpack.errors import OptionError
from shardpack.storage.open import Writable, as_writable
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import WEB_SCHEMES


def open_target(
    out: Writable,
    storage_options: Mapping[str, Any] | None = None,
    *,
    work_dir: str | os.PathLike[str] | None = None,
) -> Target:
    """Return the target for a folder, a URL or a store; makes no request. Arguments and errors as for `target_of`."""
    return target_of(as_writable(out, storage_options), work_dir=work_dir)


def target_of(
    store: WritableStore, *, work_dir: str | os.PathLike[str] | None = None, needs_list: bool = True
) -> Target:
    """Return a store as a target.

    Args:
        store: The store of a folder or a bucket, or one in memory.
        work_dir: Local folder in which shards for a bucket are made; None for the system's temporary folder.
        needs_list: Whether a bucket that refuses to list its objects is an error; otherwise it counts as empty.

    Raises:
        OptionError: The location is read-only, or has no use for an option.
    """
    if store.folder is not None:
        if work_dir is not None:
            raise OptionError("work_dir is for buckets; in a folder shards are made where they belong")
        return FolderTarget(store.folder)
    if store.location.partition("://")[0] in WEB_SCHEMES:
        raise OptionError(f"cannot write to {store.location!r}: a web server takes no files; name a folder or a bucket")
    return BucketTarget(store, None if work_dir is None else os.fspath(work_dir), needs_list=needs_list)
