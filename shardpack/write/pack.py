"""Pack a source into a dataset: what `shardpack.pack` does.

Source.list -> listing -> images checked -> order -> plan of shards -> engine writes them -> publish
samples, one after the other: pack_samples.py -> ShardWriter
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from shardpack.commit.open_target import target_of
from shardpack.commit.overwrite import check_writable
from shardpack.errors import OptionError
from shardpack.order.permutation import PACK_ORDER, derive_key, permutation
from shardpack.runtime.processes import start_workers
from shardpack.sources.dataset import DatasetSource, Listable
from shardpack.sources.folder import FolderSource
from shardpack.sources.image_check import check_images
from shardpack.sources.listing import Listing
from shardpack.sources.source import ListOptions, Source
from shardpack.storage.atomic import storage_errors
from shardpack.storage.open import Writable, as_writable, is_same_store
from shardpack.storage.protocols import Store
from shardpack.write.pack_run import PackPlan, pack_plan, plan_shards
from shardpack.write.report import PackOptions, PackReport
from shardpack.write.request import PackRequest
from shardpack.write.sharding import ShardLimits

Samples = Iterable[tuple[str, Mapping[str, Any]]]
Packable = str | os.PathLike[str] | Listable | Samples


def pack_source(source: Packable, out: Writable, request: PackRequest) -> PackReport:
    """Write the dataset of a source, whatever kind it is; see `shardpack.pack`."""
    listable = as_source(source, request)
    if listable is not None:
        return pack_listed(listable, out, request)
    assert isinstance(source, Iterable)
    from shardpack.write.pack_samples import pack_samples  # with all that a writer is made of

    return pack_samples(source, out, request)


def as_source(source: Packable, request: PackRequest) -> Source | None:
    """Return what lists the samples; None for an iterable, which cannot.

    Raises:
        OptionError: It is no source, or an option does not fit it.
    """
    if isinstance(source, (str, os.PathLike)):
        return FolderSource(source, request.layout, request.annotations)
    if isinstance(source, Listable):
        request.refuse_but_for("a dataset as source", layout="auto", annotations=None)
        return DatasetSource(source)
    if not isinstance(source, Iterable):
        raise OptionError(f"cannot pack {source!r}: expected a folder, a dataset, or an iterable of (key, fields)")
    return None


def _refuse_own_location(listing: Listing, target: Store) -> None:
    """Raise OptionError if payloads lie where the dataset would go: `force` would delete them before they are read."""
    for store in listing.stores:
        if is_same_store(store, target):
            raise OptionError(f"source and target are the same: {target.location!r}; name another target")


def pack_listed(source: Source, out: Writable, request: PackRequest) -> PackReport:
    """Write the dataset of a source that knows its samples beforehand: planned, in parallel, resumable."""
    began = time.perf_counter()
    limits, progress = request.limits, request.progress
    store = as_writable(out, request.storage_options)
    target = target_of(store, work_dir=request.work_dir)
    if not request.dry_run:
        with storage_errors(f"write to {target.location!r}"):
            check_writable(target, "pack", force=request.force)  # before hours of listing and checking
    with ExitStack() as stack:
        # Workers that were asked for warm up while the source is listed, and share the listing.
        engine = stack.enter_context(start_workers(request.jobs or 1))
        found = source.list(
            ListOptions(
                rename_keys=request.rename_keys,
                on_error=request.on_error,
                progress=lambda count: progress("list", count, 0),
                engine=engine,
            )
        )
        listing, problems = found.listing, found.problems
        _refuse_own_location(listing, store)
        classes = _classes(listing, request)
        if request.jobs is None and (request.check_images is not None or not request.dry_run):
            engine = stack.enter_context(start_workers(default_jobs(listing, limits)))
        if request.check_images is not None:
            listing = check_images(
                listing, problems, request.check_images, engine=engine, on_error=request.on_error, progress=progress
            )
        if request.shuffle_seed is not None:
            listing = listing.take(permutation(listing.num_samples, derive_key(PACK_ORDER, request.shuffle_seed)))
        plan = plan_shards(listing, limits)
        resumed = 0
        if not request.dry_run:
            recorded = request.recorded(found.layout)
            options = PackOptions(force=request.force, classes=classes, progress=progress, recorded=recorded)
            resumed = pack_plan(plan, target, options, engine=engine, rejected=problems.rejected)
    return PackReport(
        **_totals(plan),
        out=target.location,
        resumed_shards=resumed,
        layout=found.layout,
        classes=classes,
        by_class=listing.by_class and request.shuffle_seed is None,
        rejected=tuple(problems.rejected),
        left_out=dict(problems.left_out),
        seconds=time.perf_counter() - began,
        dry_run=request.dry_run,
    )


def _classes(listing: Listing, request: PackRequest) -> tuple[str, ...] | None:
    if request.classes is not None and listing.classes is not None:
        raise OptionError("the source has classes of its own; leave out classes, or pack samples from code")
    return listing.classes if request.classes is None else tuple(request.classes)


def default_jobs(listing: Listing, limits: ShardLimits) -> int:
    """Return a worker a core, but no more than there are shards: starting one takes 0.2 s."""
    shards = int(listing.size.sum()) // limits.max_bytes + 1
    if limits.max_samples is not None:
        shards = max(shards, -(-listing.num_samples // limits.max_samples))
    return min(os.cpu_count() or 1, shards)


def _totals(plan: PackPlan) -> dict[str, Any]:
    listing = plan.listing
    return {
        "num_samples": listing.num_samples,
        "num_shards": plan.num_shards,
        "num_bytes": int(plan.shard_bytes.sum()),
        "payload_bytes": int(listing.size.sum()),
        "largest_shard_bytes": int(plan.shard_bytes.max(initial=0)),
        "samples_per_field": listing.samples_per_field(),
    }
