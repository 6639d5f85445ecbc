"""Open the place that a dataset is written to: a folder, or a bucket."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from shardpack.commit.bucket_target import BucketTarget, no_check, no_look
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.target import Target
from shardpack.errors import OptionError
from shardpack.storage.open import Writable, as_writable
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import WEB_SCHEMES


def target_of(
    store: WritableStore,
    *,
    work_dir: str | os.PathLike[str] | None = None,
    needs_list: bool = True,
    shared: bool = False,
    check: Callable[[], None] = no_check,
    look: Callable[[str, Path], None] = no_look,
) -> Target:
    """Return a store as a target.

    Args:
        store: The store of a folder or a bucket, or one in memory.
        work_dir: Local folder in which shards for a bucket are made; None for the system's temporary folder.
        needs_list: Whether a bucket that refuses to list its objects is an error; otherwise it counts as empty.
        shared: Whether other processes write there, too, by agreement: parts of one plan.
        check: For a bucket: called before each write, see `BucketTarget`; a folder has locks instead.
        look: For a bucket: called before each upload of a file, see `BucketTarget`.

    Raises:
        OptionError: The location is read-only, or has no use for an option.
    """
    if store.folder is not None:
        if work_dir is not None:
            raise OptionError("work_dir is for buckets; in a folder shards are made where they belong")
        return FolderTarget(store.folder, shared=shared)
    if store.location.partition("://")[0] in WEB_SCHEMES:
        raise OptionError(f"cannot write to {store.location!r}: a web server takes no files; name a folder or a bucket")
    folder = None if work_dir is None else os.fspath(work_dir)
    return BucketTarget(store, folder, needs_list=needs_list, shared=shared, check=check, look=look)


def as_target(
    out: Writable | Target,
    options: Mapping[str, Any] | None = None,
    *,
    work_dir: str | os.PathLike[str] | None = None,
) -> Target:
    """Return the target of a folder, URL or store, as `as_writable` and `target_of` take them; or a given target.

    Raises:
        OptionError: The location is read-only, or has no use for an option.
    """
    if hasattr(out, "put_file"):
        if options or work_dir is not None:
            raise OptionError("storage_options and work_dir are for URLs; open the target with them, or leave them out")
        return cast("Target", out)
    return target_of(as_writable(out, options), work_dir=work_dir)
