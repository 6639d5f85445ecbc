"""`index`: tars that others wrote become a dataset; `index_in_memory`: for as long as an object lives."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shardpack.commit.open_target import target_of
from shardpack.commit.transaction import Transaction
from shardpack.errors import OptionError
from shardpack.format.shard_info import ShardInfo
from shardpack.index.build import Build, OnDuplicate
from shardpack.index.find import TarSet, find_tars
from shardpack.index.grouping import DEFAULT_IGNORE, check_ignore
from shardpack.index.index_target import check_writable, target_for, writing_indexes
from shardpack.index.report import IndexReport
from shardpack.index.tar_digests import TarDigests
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.atomic import storage_errors
from shardpack.storage.memory import MemoryStore
from shardpack.storage.protocols import Store


def index(
    tars: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    checksums: bool | None = None,
    on_duplicate: OnDuplicate = "raise",
    ignore: Sequence[str] = DEFAULT_IGNORE,
    force: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    out_options: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> IndexReport:
    """Write the indexes, key index and manifest for tars that others wrote; the tars stay as they are.

    Members are grouped as webdataset groups them. Tars on disk are read once, from end to end. In a
    bucket or on a server, payloads are skipped where that saves a quarter of the bytes; such tars
    have no checksums. A run that was cut off there continues: tars whose index is written, and that
    have the same length and ETag, are not read again. With `force` it also repairs a dataset whose
    indexes or manifest are damaged or lost. Where the tars are indexed otherwise than before, that
    is the next generation: what the one before said of classes and packing is kept, and its files
    stay as they are.

    Args:
        tars: A folder, a pattern (`train-*.tar`, `train-{000000..000127}.tar`), a tar, the URL of
            any of these, or a list. A web server (`https://`) has no list of its files: name the
            tars, or use braces. Or a store, for the tars at its top, or (store, names or patterns).
        out: Folder or URL that indexes and manifest go to. None: where the tars are, in the folder
            that holds them all. The manifest then says where the tars are, so that it is enough to
            open `out`.
        jobs: For tars on disk, worker processes; None takes one a core, but no more than pay for
            their start. Elsewhere, tars indexed at the same time; None takes 16.
        checksums: True reads every payload; False skips them also on disk; None decides as above.
        on_duplicate: "raise" refuses tars in which a key names two samples; "keep" indexes them
            as webdataset would read them: by position, and by key only where it is unique.
        ignore: Patterns of files in the tars that become part of no sample: of their names without
            folders, or with a slash in the pattern, of whole names. Default: what macOS writes
            beside each file (AppleDouble).
        force: Go on where there is a manifest already: mend its files, or add the next generation.
        storage_options: For URLs, as `open` takes them.
        out_options: The same for `out`. None: `storage_options`, if both have the same scheme.
        progress: Called as progress("index", bytes done, bytes in all); skipped bytes count. For
            remote tars it is called in threads, one call at a time; before that as
            progress("sizes", tars, tars in all).

    Raises:
        DuplicateKeyError: Keys repeat; the first few are named with shard and offsets.
        CorruptShardError: A tar is damaged, compressed or holds no samples.
        OutputExistsError: There is a manifest already, and `force` is off.
        OptionError: Indexes cannot be written there; says where else.

    Example:
        >>> shardpack.index("out/shard-{000000..000000}.tar", out="indexes/").num_samples
        1
    """
    began = time.perf_counter()
    if on_duplicate not in ("raise", "keep"):
        raise OptionError(f"on_duplicate is {on_duplicate!r}; choose 'raise' or 'keep'")
    if checksums not in (True, False, None):
        raise OptionError(f"checksums is {checksums!r}; choose True, False or None")
    jobs = as_jobs(jobs)
    found = find_tars(tars, storage_options)
    ignore = check_ignore(ignore)
    target, shards_at = target_for(found, out, storage_options, out_options)
    with storage_errors(f"write indexes to {target.location!r}"):
        digests = TarDigests(found, ignore)
        run_digest = partial(digests.of_run, on_duplicate, checksums, shards_at)
        before = check_writable(found, target, shards_at, force=force, run_digest=run_digest)
        with writing_indexes(target):
            transaction = Transaction.index_beside(target, run_digest=run_digest)
        with transaction:
            built = Build(found, target, transaction, ignore=ignore, digests=digests, before=before)
            try:
                built.add_all(jobs=jobs, checksums=checksums, progress=progress)
                built.check_unique(on_duplicate)
                whole, files = built.encode(shards_at)
                with writing_indexes(target):
                    transaction.publish(files)
            except BaseException:
                if found.on_disk:  # quickly indexed again: somebody's folder is left as it was
                    transaction.roll_back()
                raise
    return IndexReport(
        out=target.location,
        num_samples=whole.num_samples,
        num_shards=whole.num_shards,
        num_bytes=whole.num_bytes,
        samples_per_field=dict(whole.samples_per_field),
        repeated=tuple(built.repeated),
        without_key=built.without_key,
        ignored=dict(sorted(built.ignored.items())),
        changed=_changed((before and before.shards) or {}, built.shards),
        without_checksums=sum(info.crc32c is None for info in built.shards),
        resumed=built.resumed,
        bytes_fetched=built.bytes_fetched,
        seconds=time.perf_counter() - began,
    )


def index_in_memory(found: TarSet, *, ignore: Sequence[str] = DEFAULT_IGNORE, base: Store | None = None) -> Store:
    """Return a store of plain tars with their index in memory; `base` reads the tars, if not their own store."""
    memory = MemoryStore({})
    target = target_of(memory)
    with Transaction.index_beside(target) as transaction:
        built = Build(found, target, transaction, ignore=check_ignore(ignore))
        built.add_all()
        built.check_unique("keep")
        _, files = built.encode()
        transaction.publish(files)
    objects = {name: bytes(memory.buffer(name)) for name in memory.names()}
    return MemoryStore(objects, base=base or found.store)


def _changed(before: Mapping[str, ShardInfo], after: Sequence[ShardInfo]) -> list[str]:
    """Return the tars that are others than before, as far as both know."""
    return [info.name for info in after if _differ(before.get(info.name, info), info)]


def _differ(one: ShardInfo, other: ShardInfo) -> bool:
    if one.crc32c is not None and other.crc32c is not None:
        return one.crc32c != other.crc32c
    both = one.crc32c is other.crc32c is None
    return _described(one, with_index=both) != _described(other, with_index=both)


def _described(info: ShardInfo, *, with_index: bool) -> tuple[object, ...]:
    return info.num_bytes, info.num_samples, dict(info.samples_per_field), info.index_crc32c if with_index else None
