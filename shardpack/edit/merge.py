"""Merge datasets into one: their shards stay where they are and are named from there, or are copied.

inputs -> plan (`merge_plan.py`) -> shards under their new names -> what is written (`merge_run.py`)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from shardpack.commit.open_target import target_of
from shardpack.commit.overwrite import check_writable
from shardpack.commit.target import Target
from shardpack.edit.merge_labels import RenumberedLabels
from shardpack.edit.merge_layers import merged_layers
from shardpack.edit.merge_plan import MergeInput, MergePlan
from shardpack.edit.merge_run import MergedShard, MergedShards, MergeRun
from shardpack.edit.merge_table import takes_tables
from shardpack.errors import OptionError
from shardpack.read.open_dataset import open_shards
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.progress import Announce, Progress, no_announcement, no_progress
from shardpack.storage.adapter import adapt
from shardpack.storage.atomic import storage_errors
from shardpack.storage.locations import LocationOptions
from shardpack.storage.open import Writable, as_writable, open_store, refuse_same_store
from shardpack.storage.protocols import RangeReader, Store
from shardpack.storage.url import is_url

JOBS = 4  # default number of shards that are copied at once

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
    with _opened(datasets, storage_options, allow_locations) as inputs:
        for each in inputs:
            refuse_same_store([each.cache.stores.sidecars, *each.cache.stores.tars], store)
        with storage_errors(f"write to {target.location!r}"):
            check_writable(target, "merge", force=force)
        plan = MergePlan(inputs, reconcile=reconcile)
        shards = MergedShards.copied_from(plan) if copy else MergedShards.named(plan, store)
        plan.check()
        layers = merged_layers(plan, store, copy=copy)
        run = MergeRun(plan, shards, layers, jobs=JOBS if jobs is None else jobs, progress=progress)
        _announce_losses(plan, target, shards.not_copied if copy else (), announce)
        if dry_run:
            RenumberedLabels(plan, progress).check()
        else:
            run.write(store, target, force=force, work_dir=work_dir)
    return MergeReport(
        sources=[each.location for each in inputs],
        target=target.location,
        num_samples=sum(each.manifest.num_visible for each in inputs),
        num_shards=len(shards.all),
        num_bytes=sum(shard.info.num_bytes for shard in shards.all),
        copied_bytes=run.total_bytes,
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
    )


def _announce_losses(plan: MergePlan, target: Target, left_out: Iterable[MergedShard], announce: Announce) -> None:
    """Tell what the merged dataset lacks: a label table, though an input has one; and tars."""
    if any(each.manifest.table for each in plan.inputs) and not takes_tables(plan):
        announce(f'{target.location} has no label table; "shardpack table {target.location}" makes it')
    for shard in left_out:
        announce(f"{shard.source.location}: {shard.old.name} is left out: it is not whole, and no sample of it visible")


@contextmanager
def _opened(
    datasets: Sequence[Mergeable], options: Mapping[str, Any] | None, allow_locations: bool | Sequence[str]
) -> Iterator[list[MergeInput]]:
    """Yield the datasets, open; they are closed at the end."""
    with ExitStack() as stack:
        inputs = []
        for dataset in datasets:
            inputs.append(_open(dataset, options, allow_locations))
            stack.callback(inputs[-1].cache.close)
        yield inputs


def _open(dataset: Any, options: Mapping[str, Any] | None, allow_locations: bool | Sequence[str]) -> MergeInput:
    store: Store
    if isinstance(dataset, (str, os.PathLike)):
        options = options if is_url(dataset) else None
        store = open_store(dataset, options)
    else:
        store, options = adapt(dataset), None
    location_options = LocationOptions(options, allow_locations=allow_locations)
    return MergeInput(store.location, open_shards(store, options=location_options), location_options)
