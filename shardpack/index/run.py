"""`index` makes a dataset of existing tars; `index_in_memory` does so without writing anything."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from shardpack.commit.open_target import target_of
from shardpack.commit.transaction import Transaction
from shardpack.errors import OptionError
from shardpack.format.manifest import Manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.index.beside import look_beside
from shardpack.index.build import OnDuplicate, RepeatedKey, TarIndexer
from shardpack.index.find import TarDigests, TarSet, find_tars
from shardpack.index.grouping import DEFAULT_IGNORE, check_ignore
from shardpack.index.index_target import check_indexable, place_for_indexes, writing_indexes
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.atomic import storage_errors
from shardpack.storage.locations import LocationOptions
from shardpack.storage.memory import MemoryStore
from shardpack.storage.open import Writable, with_cache
from shardpack.storage.overlay import OverlayStore
from shardpack.storage.protocols import RangeReader, Store


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was indexed.

    Attributes:
        out: Folder or URL that holds the manifest.
        num_samples, num_shards, num_bytes: Totals; the bytes are those of the tars.
        samples_per_field: How many samples have each field.
        repeated: Keys that name two samples, in the order found.
        without_key: How many files are part of no sample, as their names have no key and field.
        ignored: How many files each pattern of `ignore` matched; patterns that matched none are left out.
        changed: Names of tars that differ from their description in the previous manifest; only with `force`.
        without_checksums: How many tars have no checksums, as their payloads were not read.
        resumed: How many tars an interrupted run had already indexed.
        bytes_fetched: How many bytes were read: of the tars, and a few of the lease.
        splits: Number of samples in each split; {} if there are none.
        splits_from: The file of another tool that states them; "" if the dataset had them, or there are none.
        tables: Names of tables beside the tars, which may hold labels and were not read.
        splits_dropped: Names of splits that the dataset had, and that these tars do not tell: their samples are others
            now, or their file was lost or damaged.
        table_dropped: Whether the dataset had a label table that is not that of its tars any more.
        seconds: Wall time.
    """

    out: str
    num_samples: int
    num_shards: int
    num_bytes: int
    samples_per_field: dict[str, int] = field(default_factory=dict)
    repeated: Sequence[RepeatedKey] = ()
    without_key: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    changed: Sequence[str] = ()
    without_checksums: int = 0
    resumed: int = 0
    bytes_fetched: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    splits_from: str = ""
    tables: Sequence[str] = ()
    splits_dropped: Sequence[str] = ()
    table_dropped: bool = False
    seconds: float = 0.0


def index(
    tars: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    out: Writable | None = None,
    jobs: int | None = None,
    checksums: bool | None = None,
    on_duplicate: OnDuplicate = "raise",
    ignore: Sequence[str] = DEFAULT_IGNORE,
    force: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    out_options: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> IndexReport:
    """Index existing tars as a dataset, without changing them; return what was indexed.

    Writes an index per tar, the key index and the manifest. Members are grouped as webdataset groups
    them. Tars on disk are read once, from end to end. In a bucket or on a server, payloads are skipped
    where that saves a quarter of the bytes; such tars have no checksums. There, a run that was
    interrupted continues: tars that are indexed, and whose length and ETag have not changed, are not
    read again. With `force` this also repairs a dataset whose indexes or manifest are damaged or lost.
    If the result differs from the dataset that was there, it is the next generation: it keeps the
    classes and packing options of the previous one, whose files stay as they are; and its label table, if the tars have
    the samples and splits that they had. Splits that Megatron-Energon
    (`.nv-meta/split.yaml`) or lists of wids state beside the tars are kept.

    Args:
        tars: A folder, a pattern (`train-*.tar`, `train-{000000..000127}.tar`), a tar, the URL of
            any of these, or a list of them. Web servers (`https://`) do not list their files: name
            the tars, or use braces. Or a store, for the tars at its top, or (store, names or patterns).
        out: Folder, URL or store for the indexes and the manifest. The manifest records where the tars
            are, so that opening `out` is enough. Default: the folder that holds all the tars.
        jobs: For tars on disk, the number of worker processes. Default: one per core, but not more
            than are worth starting. For remote tars, how many are indexed at once. Default: 16.
        checksums: True reads every payload; False skips payloads on disk too; None decides as above.
        on_duplicate: "raise" refuses tars in which a key names two samples; "keep" indexes them as
            webdataset reads them: all samples by position, and by key only those whose key is unique.
        ignore: Patterns of members to leave out. They are matched against names without folders, or
            against whole names if the pattern has a slash. Default: the files that macOS writes
            beside each file (AppleDouble).
        force: Continue although a manifest exists: repair its files, or add the next generation.
        storage_options: For URLs, as `open` takes them.
        out_options: The same for `out`. Default: `storage_options`, if both URLs have the same scheme.
        progress: Called as progress("index", bytes done, total bytes); skipped bytes count as done.
            For remote tars it is called from threads, one call at a time, and first as
            progress("sizes", tars done, total tars).

    Raises:
        DuplicateKeyError: Keys repeat; the message names the first few with shard and offsets.
        CorruptShardError: A tar is damaged, compressed or holds no samples.
        OutputExistsError: A manifest exists already, and `force` is off.
        OptionError: Indexes cannot be written there; the message says where they can.

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
    tar_set = find_tars(tars, storage_options)
    ignore = check_ignore(ignore)
    beside = look_beside(tar_set)
    target, location = place_for_indexes(tar_set, out, storage_options, out_options)
    with storage_errors(f"write indexes to {target.location!r}"):
        digests = TarDigests(tar_set, ignore)
        said = sorted(beside.splits.of.items()), beside.classes
        run_digest = partial(digests.of_run, on_duplicate, checksums, location, *said)
        previous = check_indexable(tar_set, target, location, force=force, run_digest=run_digest)
        with writing_indexes(target):
            transaction = Transaction.index_beside(target, run_digest=run_digest)
        with transaction:
            indexer = TarIndexer(tar_set, target, transaction, ignore=ignore, digests=digests, previous=previous)
            try:
                indexer.index_all(jobs=jobs, checksums=checksums, progress=progress)
                indexer.check_unique(on_duplicate)
                manifest, files = indexer.encode(location, split_of=beside.splits.of, classes=beside.classes)
                with writing_indexes(target):
                    transaction.publish(files)
            except BaseException:
                if tar_set.on_disk:  # indexing again is cheap here, so leave the user's folder as it was
                    transaction.roll_back()
                raise
    return IndexReport(
        out=target.location,
        num_samples=manifest.num_samples,
        num_shards=manifest.num_shards,
        num_bytes=manifest.num_bytes,
        samples_per_field=dict(manifest.samples_per_field),
        repeated=tuple(indexer.repeated),
        without_key=indexer.without_key,
        ignored=dict(sorted(indexer.ignored.items())),
        changed=_changed((previous and previous.shards) or {}, indexer.shards),
        without_checksums=sum(info.crc32c is None for info in indexer.shards),
        resumed=indexer.resumed,
        bytes_fetched=indexer.bytes_fetched,
        splits={} if manifest.splits is None else dict(manifest.splits.samples),
        splits_from=beside.splits.file if manifest.splits is not None else "",
        tables=beside.tables,
        splits_dropped=_lost_splits(None if previous is None else previous.manifest, manifest),
        table_dropped=previous is not None and bool(previous.manifest.table) and not manifest.table,
        seconds=time.perf_counter() - began,
    )


def _lost_splits(previous: Manifest | None, manifest: Manifest) -> tuple[str, ...]:
    before, now = (
        () if one is None or one.splits is None else tuple(one.splits.samples) for one in (previous, manifest)
    )
    return tuple(name for name in before if name not in now)


def index_location(
    location: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | RangeReader,
    options: LocationOptions,
    *,
    ignore: Sequence[str] | None = None,
) -> Store:
    """Return what `index_in_memory` does for the tars that `shardpack.open(location, index="memory")` names.

    Raises:
        OptionError: `location` is not a folder, pattern, URL, list of tars, or store.
    """
    if isinstance(location, (Mapping, set, frozenset)):
        raise OptionError(f"cannot open {location!r}: expected a folder, a URL, a list of tars, or a store")
    tar_set = find_tars(location, options.storage_options)
    base = with_cache(tar_set.store, options.cache_dir, options.cache_bytes, options.storage_options)
    return index_in_memory(tar_set, ignore=DEFAULT_IGNORE if ignore is None else ignore, base=base)


def index_in_memory(tar_set: TarSet, *, ignore: Sequence[str], base: Store | None = None) -> Store:
    """Return a store of the tars and of their indexes and manifest, which are in memory only.

    Args:
        tar_set: The tars to index.
        ignore: As `index` takes it.
        base: Reads the tars afterwards. Default: their own store.
    """
    memory = MemoryStore({})
    target = target_of(memory)
    with Transaction.index_beside(target) as transaction:
        indexer = TarIndexer(tar_set, target, transaction, ignore=check_ignore(ignore))
        indexer.index_all()
        indexer.check_unique("keep")
        beside = look_beside(tar_set)
        _, files = indexer.encode(split_of=beside.splits.of, classes=beside.classes)
        transaction.publish(files)
    objects = {name: bytes(memory.get(name)) for name in memory.names()}
    return OverlayStore(objects, base or tar_set.store)


def _changed(before: Mapping[str, ShardInfo], after: Sequence[ShardInfo]) -> list[str]:
    """Return the names of tars that were described otherwise before."""
    return [info.name for info in after if _differ(before.get(info.name, info), info)]


def _differ(one: ShardInfo, other: ShardInfo) -> bool:
    """Return whether two descriptions are of different tars, compared by what both of them have."""
    if one.crc32c is not None and other.crc32c is not None:
        return one.crc32c != other.crc32c
    both = one.crc32c is other.crc32c is None
    return _described(one, with_index=both) != _described(other, with_index=both)


def _described(info: ShardInfo, *, with_index: bool) -> tuple[object, ...]:
    return info.num_bytes, info.num_samples, dict(info.samples_per_field), info.index_crc32c if with_index else None
