"""Merge datasets into one: their shards stay where they are and are named from there, or are copied.

inputs -> plan (`merge_plan.py`) -> indexes, or shards and indexes -> manifest     (`commit/transaction.py`)
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from shardpack.commit.open_target import target_of
from shardpack.commit.overwrite import check_writable
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.edit.broken_tars import find_needless_tars
from shardpack.edit.merge_labels import RenumberedLabels
from shardpack.edit.merge_layers import MergedLayer, merged_layers
from shardpack.edit.merge_plan import MergeInput, MergePlan
from shardpack.edit.merge_table import takes_tables, write_joined_table
from shardpack.errors import OptionError, StaleIndexError
from shardpack.format.assemble import encode_dataset
from shardpack.format.checksum import crc32c
from shardpack.format.frames import COMPRESSED_SUFFIX
from shardpack.format.layout import edit_tag, shard_name, split_of_shard
from shardpack.format.manifest import OWN_FOLDER
from shardpack.format.shard_info import ShardInfo
from shardpack.read.open_dataset import open_shards
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.progress import Announce, ByteProgress, Progress, no_announcement, no_progress
from shardpack.runtime.threads import call_all
from shardpack.storage.adapter import adapt
from shardpack.storage.atomic import storage_errors
from shardpack.storage.locations import LocationOptions
from shardpack.storage.open import Writable, as_writable, open_store, refuse_same_store
from shardpack.storage.protocols import RangeReader, Store, WritableStore
from shardpack.storage.relative_location import relative_location
from shardpack.storage.transfer import checked_object
from shardpack.storage.url import is_url

JOBS = 4  # default number of shards that are copied at once
_INDEXES_AT_ONCE = 16

Mergeable = str | os.PathLike[str] | RangeReader


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What was merged, or what a run without `dry_run` would merge.

    Attributes:
        sources, target: Folders or URLs without secrets.
        num_samples: Number of visible samples.
        num_shards, num_bytes: Number of shards, and their total length.
        copied_bytes: Bytes written for them: indexes, and with `copy` tars.
        seconds: Wall time.
        dry_run: Whether nothing was written.
    """

    sources: Sequence[str]
    target: str
    num_samples: int
    num_shards: int
    num_bytes: int
    copied_bytes: int
    seconds: float
    dry_run: bool


def merge(
    datasets: Sequence[Mergeable],
    out: Writable,
    *,
    copy: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    target_storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    work_dir: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    reconcile: bool = False,
    progress: Progress = no_progress,
    announce: Announce = no_announcement,
) -> MergeReport:
    """Make one dataset of several, one behind the other; return a report.

    The tars stay where they are: the new dataset holds their indexes and says where they lie, relative to itself where
    it can, and needs them there. With `copy` it holds all of them. Deleted samples stay deleted; splits of one name
    become one; layers stay attached, those that edits made as copies. If all have a label table, so has the new one.

    Args:
        datasets: Folders, URLs or stores of two datasets or more, in this order.
        out: Folder or URL of the new dataset.
        copy: Copy the tars to `out`, under names that tell them apart.
        storage_options: Options of the datasets that are URLs.
        target_storage_options: Options of `out`, if it is a URL.
        allow_locations: For the datasets, as `shardpack.open` takes it.
        work_dir: Local folder for shards on their way to a bucket.
        jobs: How many shards to copy at once. Default: 4.
        force: Replace the dataset in `out`.
        dry_run: Return what would be merged, but write nothing.
        reconcile: Join class lists that differ, those of the first keep their numbers, and renumber the labels of
            the others, in a layer.
        progress: Called as progress("copy", bytes done, total bytes), ("read", labels done, all), and ("table", rows
            done, all).
        announce: Called with a line if label tables are not taken over.

    Raises:
        OptionError: Class lists or splits do not fit together, or `out` cannot name the place of another one.
        DuplicateKeyError: Two datasets have a key.
        DatasetNotFoundError: One of them is not a dataset.
        OutputExistsError: `out` holds something.
        SourceError: A label contradicts the class list of its dataset.
        StorageError: Reading or writing failed; the same call continues.
    """
    began = time.perf_counter()
    jobs = as_jobs(jobs)
    if isinstance(datasets, (str, os.PathLike)) or len(datasets) < 2:
        raise OptionError("merge needs two datasets or more, in a list")
    store = as_writable(out, target_storage_options)
    target = target_of(store, work_dir=work_dir)
    inputs = [_open(each, storage_options, allow_locations) for each in datasets]
    for each in inputs:
        refuse_same_store([each.cache.stores.sidecars, *each.cache.stores.tars], store)
    with storage_errors(f"write to {target.location!r}"):
        check_writable(target, "merge", force=force)
    plan = MergePlan(inputs, reconcile=reconcile)
    shards, locations = _copied(plan) if copy else _named(plan, store)
    plan.check()
    layers = merged_layers(plan, store, copy=copy)
    run = _Merge(plan, shards, locations, layers, copies=copy, jobs=JOBS if jobs is None else jobs, progress=progress)
    if any(each.manifest.table for each in inputs) and not takes_tables(plan):
        announce(f'{target.location} has no label table; "shardpack table {target.location}" makes it')
    for shard in shards:
        if not shard.has_tar:
            announce(
                f"{shard.source.location}: {shard.old.name} is left out: it is not whole, and no sample of it visible"
            )
    if dry_run:
        RenumberedLabels(plan, progress).check()
    else:
        run.write(store, target, force=force, work_dir=work_dir)
    for each in inputs:
        each.cache.close()
        each.cache.stores.close()
    return MergeReport(
        sources=[each.location for each in inputs],
        target=target.location,
        num_samples=sum(each.manifest.num_visible for each in inputs),
        num_shards=len(shards),
        num_bytes=sum(shard.info.num_bytes for shard in shards),
        copied_bytes=run.total_bytes,
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
    )


def _open(dataset: Any, options: Mapping[str, Any] | None, allow_locations: bool | Sequence[str]) -> MergeInput:
    store: Store
    if isinstance(dataset, (str, os.PathLike)):
        options = options if is_url(dataset) else None
        store = open_store(dataset, options)
    else:
        store, options = adapt(dataset), None
    location_options = LocationOptions(options, allow_locations=allow_locations)
    return MergeInput(store.location, open_shards(store, options=location_options), location_options)


class _Shard(NamedTuple):
    """A shard of an input, and what it is in the merged dataset.

    Its tar is not copied where it is not whole, and no sample of it is visible.
    """

    source: MergeInput
    old: ShardInfo
    info: ShardInfo
    has_tar: bool = True


def _named(plan: MergePlan, home: Store) -> tuple[list[_Shard], list[str]]:
    """Return the shards where they are, and the locations that the merged dataset names.

    Raises:
        OptionError: A location cannot be named there.
    """
    numbers: dict[str, int] = {}
    shards: list[_Shard] = []
    for each in plan.inputs:
        found = []
        for tars in each.cache.stores.tars:
            if tars.folder is None and not is_url(tars.location):
                raise OptionError(f"{tars.location!r} has no URL that a manifest could name; pass copy=True (--copy)")
            location = relative_location(home.location, tars.folder or tars.location)
            found.append(numbers.setdefault(location, len(numbers)))
        shards += [_Shard(each, info, replace(info, location=found[info.location])) for info in each.cache.shard_list]
    return shards, list(numbers) or [OWN_FOLDER]


def _copied(plan: MergePlan) -> tuple[list[_Shard], list[str]]:
    """Return the shards under names that differ, all in the dataset's own folder."""
    shards: list[_Shard] = []
    for number, each in enumerate(plan.inputs):
        tag = edit_tag(1, crc32c(f"{number} {each.manifest.fingerprint}".encode()))
        counts = Counter[str | None]()
        without_tars = find_needless_tars(each.cache.stores, each.manifest, list(each.cache.shard_list))
        for position, info in enumerate(each.cache.shard_list):
            split = split_of_shard(info.name)
            name = shard_name(counts[split], split=split, compressed=info.name.endswith(COMPRESSED_SUFFIX), tag=tag)
            counts[split] += 1
            shards.append(_Shard(each, info, replace(info, name=name, location=0), position not in without_tars))
    return shards, [OWN_FOLDER]


class _Merge:
    """One run."""

    def __init__(
        self,
        plan: MergePlan,
        shards: Sequence[_Shard],
        locations: Sequence[str],
        layers: Sequence[MergedLayer],
        *,
        copies: bool,
        jobs: int,
        progress: Progress,
    ) -> None:
        self._plan, self._shards, self._locations, self._layers = plan, shards, locations, layers
        self._copies, self._jobs, self._tell = copies, jobs, progress
        self._shard_bytes = sum(
            shard.info.index_bytes + (shard.info.num_bytes if copies and shard.has_tar else 0) for shard in shards
        )
        self.total_bytes = self._shard_bytes + sum(layer.copied_bytes for layer in layers)
        self._progress = ByteProgress("copy", self.total_bytes, progress)

    def write(
        self, store: WritableStore, target: Target, *, force: bool, work_dir: str | os.PathLike[str] | None
    ) -> None:
        """Write the merged dataset: its layers and table before anything names them."""
        plan = self._plan
        with Transaction.new_dataset(target, "merge", force=force) as transaction:
            if self._copies:
                self._copy_shards(transaction)
            else:
                transaction.keep_only([])
                call_all(partial(self._put_index, transaction), self._shards, limit=_INDEXES_AT_ONCE, purpose="merge")
            layers = [
                layer.write(store, jobs=self._jobs, progress=self._progress, work_dir=work_dir)
                for layer in self._layers
            ]
            layers += RenumberedLabels(plan, self._tell).write(store, work_dir=work_dir)
            _, files = encode_dataset(
                [shard.info for shard in self._shards],
                plan.hashes,
                locations=self._locations,
                unique_keys=plan.unique_keys,
                classes=plan.classes,
                splits=plan.splits,
                deleted=plan.deleted,
                layers=layers,
                label_table=write_joined_table(plan, transaction.put, work_dir=work_dir, progress=self._tell),
                packed_with=plan.packed_with(),
            )
            transaction.publish(files)

    def _put_index(self, transaction: Transaction, shard: _Shard) -> None:
        info = shard.old
        data = shard.source.cache.stores.sidecars.get(info.index_path, max_bytes=info.index_bytes)
        if len(data) != info.index_bytes or crc32c(data) != info.index_crc32c:
            raise StaleIndexError(
                f"the index of a shard in {shard.source.location!r} is not the one that its manifest describes; check "
                f'it with "shardpack verify {shard.source.location}"',
                shard=info.name,
            )
        transaction.put(shard.info.index_path, [data])
        self._progress.advance(info.index_bytes)

    def _copy_shards(self, transaction: Transaction) -> None:
        """Copy the shards that an earlier run has not finished."""
        whole = [shard for shard in self._shards if shard.has_tar]
        lone = [shard for shard in self._shards if not shard.has_tar]
        transaction.keep_only([shard.info.name for shard in whole])
        missing = []
        for shard in whole:
            if transaction.finished(shard.info.name, _digest(shard.info)) is None:
                transaction.drop(shard.info.name)
                missing.append(shard)
        left = sum(shard.info.num_bytes + shard.info.index_bytes for shard in missing)
        left += sum(shard.info.index_bytes for shard in lone)
        self._progress.advance_to(self._shard_bytes - left)
        call_all(partial(self._put_index, transaction), lone, limit=_INDEXES_AT_ONCE, purpose="merge")
        call_all(partial(self._copy, transaction), missing, limit=self._jobs, purpose="copy")

    def _copy(self, transaction: Transaction, shard: _Shard) -> None:
        stores, info, scratch = shard.source.cache.stores, shard.info, transaction.scratch
        index = (stores.sidecars, shard.old.index_path, info.index_path, info.index_bytes, info.index_crc32c)
        tar = (stores.of(shard.old), shard.old.name, info.name, info.num_bytes, info.crc32c)
        with storage_errors(f"write {scratch.join(info.name)!r}"), ExitStack() as stack:
            for store, old, name, num_bytes, checksum in (index, tar):
                new = scratch.new_file(name, expected_bytes=num_bytes)
                stack.callback(new.discard)
                for piece in checked_object(store, old, num_bytes=num_bytes, checksum=checksum):
                    new.write(piece)
                    self._progress.advance(len(piece))
                scratch.finish_file(name, new)
        transaction.deliver(info, _digest(info))


def _digest(info: ShardInfo) -> str:
    """Return a text that differs for different shards."""
    return "merge " + " ".join(map(str, (info.num_bytes, info.crc32c, info.index_bytes, info.index_crc32c)))
