"""Pack a source that can list its samples: listed, checked, ordered, planned and packed, in this order.

Where payloads stay as they are, each shard is known before the first one is written (`pack_run.py`). Where they change,
the chunks are known (`pack_chunked.py`). Either way the result is the same for any number of jobs, and a run that was
killed is continued.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from shardpack.commit.overwrite import check_writable
from shardpack.commit.target import Target
from shardpack.errors import CorruptShardError, OptionError
from shardpack.order.permutation import PACK_ORDER, derive_key, permutation
from shardpack.runtime.cores import usable_cores
from shardpack.runtime.engine import IN_PROCESS, Engine, as_remote
from shardpack.runtime.processes import start_workers
from shardpack.runtime.start_engine import start_engine
from shardpack.sources.archives.spool import Spool
from shardpack.sources.folder import FolderSource
from shardpack.sources.image_check import check_images
from shardpack.sources.label_check import check_labels
from shardpack.sources.layouts.describe import left_out_line, without_match_line
from shardpack.sources.listing import Listing
from shardpack.sources.source import Listed, ListOptions, Source
from shardpack.sources.splits import counted_splits, only_split, sorted_by_split, split_ends
from shardpack.storage.atomic import storage_errors
from shardpack.write.chunk_plan import ChunkRecipe
from shardpack.write.listed_input import ListedInput
from shardpack.write.make_there import probe_source
from shardpack.write.pack_part import pack_part
from shardpack.write.pack_run import Packed, PackPlan, pack_plan, plan_shards
from shardpack.write.part import Part, parse_part
from shardpack.write.place import Place
from shardpack.write.report import PackReport
from shardpack.write.request import PackRequest

if TYPE_CHECKING:
    from shardpack.write.preview import SamplePreview

_SAMPLES_PER_JOB = 64  # at least, where they are transformed: starting a worker takes 0.2 s


def pack_listed(source: Source, place: Place, request: PackRequest) -> PackReport:
    """Write the dataset of a source that can list its samples. Raises as `shardpack.pack`."""
    began = time.perf_counter()
    part = None if request.part is None else parse_part(request.part)
    # In a folder, shards are made where they belong; a compressed tar may still need a place to be unpacked in.
    work_dir = None if place.store.folder is not None and isinstance(source, FolderSource) else request.work_dir
    target = place.target(work_dir=work_dir, shared=part is not None)
    if not request.dry_run and part is None:
        with storage_errors(f"write to {target.location!r}"):
            check_writable(target, "pack", force=request.force)  # before hours of listing and checking
    with ExitStack() as engines:
        spool = engines.enter_context(Spool(request.work_dir, announce=request.announce, progress=request.progress))
        engine = _start_listing(request, engines)
        listed = _list(source, request, engine, spool)
        if request.work_dir is not None and work_dir is None and not spool.used:
            place.target(work_dir=request.work_dir)  # refuses it
        place.refuse(listed.listing.stores)
        said = (listed.sentence, left_out_line(listed.problems), without_match_line(listed.problems.without_match))
        for line in filter(None, said):
            request.announce(line)
        engine = _start_packing(listed.listing, request, part, engines, started=engine)
        listing = _listing_to_pack(listed, request, engine, place)
        pack = _pack_chunked if request.steps.change_payloads else _pack_planned
        totals = pack(listing, listed, target, request, engine, part=part)
    return PackReport(
        out=target.location,
        layout=listed.layout,
        found=listed.sentence,
        classes=listing.classes,
        by_class=listing.by_class and request.shuffle_seed is None,
        left_out=dict(listed.problems.left_out),
        seconds=time.perf_counter() - began,
        dry_run=request.dry_run,
        **totals,
    )


def _start_listing(request: PackRequest, engines: ExitStack) -> Engine:
    """Return what lists the source: if `jobs` is given the workers that will do all the work, else this process.

    Only the listing tells how many workers are worth starting, and the nodes of a cluster only pack.
    """
    if request.engine is not None or request.jobs is None:
        return IN_PROCESS
    jobs = min(request.jobs, usable_cores())  # more of them only if there are tasks for them
    return engines.enter_context(start_workers(jobs, threads_per_job=request.threads_per_job))


def _start_packing(
    listing: Listing, request: PackRequest, part: Part | None, engines: ExitStack, *, started: Engine
) -> Engine:
    """Return what checks and packs the samples: what is `started` already, if that is enough."""
    if request.dry_run and not request.checks_samples:
        return started
    threads = request.threads_per_job
    if request.engine is not None:
        engine = engines.enter_context(start_engine(request.engine, request.jobs, threads_per_job=threads))
        if (remote := as_remote(engine)) is not None:
            probe_source(remote, ListedInput(listing).first_part())
        return engine
    jobs = min(request.jobs or usable_cores(), _useful_jobs(listing, request, part))
    if request.jobs is not None and jobs <= started.jobs:
        return started
    return engines.enter_context(start_workers(jobs, threads_per_job=threads))


def _list(source: Source, request: PackRequest, engine: Engine, spool: Spool) -> Listed:
    listed = source.list(
        ListOptions(
            rename_keys=request.rename_keys,
            on_error="skip" if request.checks_samples else request.on_error,  # checks raise what is rejected here, too
            progress=lambda count: request.progress("list", count, 0),
            engine=engine,
            unpack=spool.unpack,
        )
    )
    return listed if request.split is None else replace(listed, listing=only_split(listed.listing, request.split))


def _pack_planned(
    listing: Listing, listed: Listed, target: Target, request: PackRequest, engine: Engine, *, part: Part | None
) -> dict[str, Any]:
    """Pack payloads as they are: each shard is known before the first is written. Returns totals for the report."""
    plan = plan_shards(listing, request.limits, request.compression)
    packed = None
    if not request.dry_run:
        try:
            packed = (pack_plan if part is None else partial(pack_part, part=part))(
                plan,
                target,
                request,
                recorded=request.recorded(listed.layout, listing.label_shape),
                rejected=listed.problems.rejected,
                engine=engine,
            )
        except CorruptShardError as error:
            if request.on_error == "skip":
                raise _with_way_out(error) from error
            raise
    shown: Sequence[SamplePreview] = ()
    if request.dry_run:
        from shardpack.write.preview import preview  # with what transforms samples, which plain packing does not need

        shown = preview(plan.listing)
    return {**_totals(plan, packed), "rejected": tuple(listed.problems.rejected), "preview": shown}


def _with_way_out(error: CorruptShardError) -> CorruptShardError:
    """Return the error of a damaged payload with what leaves its sample out: shards are planned to the byte."""
    return CorruptShardError(
        f"{error.args[0]}, or leave such samples out before shards are planned: also give check_images='decode' "
        "(--check-images=decode)",
        path=error.path,
        key=error.key,
        offset=error.offset,
    )


def _pack_chunked(
    listing: Listing, listed: Listed, target: Target, request: PackRequest, engine: Engine, *, part: Part | None
) -> dict[str, Any]:
    """Pack payloads that change on the way: the chunks are known before. Returns totals for the report."""
    # What plain packing does not need:
    from shardpack.write.pack_chunked import pack_chunked

    steps = request.steps
    recipe = ChunkRecipe(
        steps.application(), request.limits, request.compression, request.on_error, versions=steps.versions()
    )
    return pack_chunked(
        ListedInput(listing),
        recipe,
        target,
        request,
        recorded=request.recorded(listed.layout, listing.label_shape),
        rejected=listed.problems.rejected,
        engine=engine,
        part=part,
    )


def _listing_to_pack(listed: Listed, request: PackRequest, engine: Engine, place: Place) -> Listing:
    """Return the listing with the requested classes, checks and order."""
    listing = listed.listing
    if request.classes is not None:
        if listing.classes not in (None, request.classes):
            raise OptionError("the source has classes of its own; leave out classes, or pack samples from code")
        listing = replace(listing, classes=tuple(request.classes))
    if place.is_new:
        request.steps.check_fields(listing.fields)
    listing = place.admit(listing, keeps_keys=request.transform is None)
    if request.steps.select is not None and not request.steps.change_payloads:
        listing = request.steps.select.of_listing(listing, listed.problems)
        if request.on_error == "raise":
            listed.problems.raise_if_any()
    if request.check_images is not None:
        listing = check_images(
            listing,
            listed.problems,
            request.check_images,
            engine=engine,
            on_error=request.on_error,
            progress=request.progress,
        )
    if request.check_labels:
        listing = check_labels(
            listing, listed.problems, engine=engine, on_error=request.on_error, progress=request.progress
        )
    return in_packing_order(listing, request.shuffle_seed)


def in_packing_order(listing: Listing, shuffle_seed: int | None) -> Listing:
    """Return the listing with the samples of a split together; with a seed, those of each are shuffled (SPEC 7.1)."""
    listing = sorted_by_split(listing)
    if shuffle_seed is None:
        return listing
    key, ends = derive_key(PACK_ORDER, shuffle_seed), split_ends(listing)
    runs = pairwise([0, *ends])
    return listing.take(np.concatenate([first + permutation(stop - first, key) for first, stop in runs]))


def _useful_jobs(listing: Listing, request: PackRequest, part: Part | None) -> int:
    """Return the number of shards of a part, or more where samples change: starting a worker takes 0.2 s."""
    limits = request.limits
    shards = int(listing.size.sum()) // limits.max_bytes + 1
    if limits.max_samples is not None:
        shards = max(shards, -(-listing.num_samples // limits.max_samples))
    jobs = shards if part is None else -(-shards // part.count)
    if request.steps.change_payloads:  # the samples of a chunk, too, are work for several
        jobs = max(jobs, -(-listing.num_samples // _SAMPLES_PER_JOB))
    return jobs


def _totals(plan: PackPlan, packed: Packed | None) -> dict[str, Any]:
    listing, tar_bytes, largest = plan.listing, int(plan.shard_bytes.sum()), int(plan.shard_bytes.max(initial=0))
    complete = None if packed is None or packed.missing_shards else packed
    return {
        "num_samples": listing.num_samples,
        "num_shards": plan.num_shards,
        "num_bytes": tar_bytes if complete is None else complete.num_bytes,
        "tar_bytes": tar_bytes,
        "payload_bytes": int(listing.size.sum()),
        "largest_shard_bytes": largest if complete is None else complete.largest_shard_bytes,
        "missing_shards": 0 if packed is None else packed.missing_shards,
        "resumed_shards": 0 if packed is None else packed.resumed_shards,
        "samples_per_field": listing.samples_per_field(),
        "splits": counted_splits(listing),
        "kept": listing.num_samples,
        "source_bytes": int(listing.size.sum()),
        "source_samples": listing.num_samples,
    }
