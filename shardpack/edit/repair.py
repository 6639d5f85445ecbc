"""`repair`: whatever tars can tell of a dataset whose sidecars are lost or damaged, and nothing that they cannot.

no manifest is left     every sidecar made anew from the tars             (rebuild)
a manifest is there     the files that it names, made again byte for byte (repair_files)
a tar breaks off        its whole samples, in a new shard; the broken tar stays (salvage)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from shardpack.commit.generations import newest_undamaged, refuse_newer
from shardpack.commit.lease import unfinished, unfinished_command
from shardpack.commit.open_target import target_of
from shardpack.commit.target import Target
from shardpack.edit.base import EditBase, open_base
from shardpack.edit.rebuild import Rebuilt, choose_tars, rebuild
from shardpack.edit.repair_files import FileRepair
from shardpack.edit.repair_plan import RepairPlan, write_plan
from shardpack.edit.replace_broken import clean_up_committed, replace_broken
from shardpack.edit.salvage import Salvage
from shardpack.format.assemble import recorded_options
from shardpack.format.layout import MANIFEST_PATH, RUN_PATH
from shardpack.format.manifest import Manifest
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.atomic import storage_errors
from shardpack.storage.locations import LocationOptions
from shardpack.storage.open import Writable, as_writable
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import is_path

_NO_MANIFEST = (
    "classes, and the options of packing: tars do not say them",
    "what edits changed: deleted samples are back, labels are those in the tars, layers are not attached",
    "named splits, but for those that the names of shards tell",
    'the label table: make it with "shardpack table"',
)


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did, or would do with `dry_run`.

    Attributes:
        location: Folder or URL of the dataset, without secrets.
        generation: Number of its newest generation.
        num_samples, num_shards: Totals of it; 0 if a dry run does not know them.
        written: Names of the files that were made again or anew; in a dry run of a dataset without a manifest only the
            manifest.
        tars: Names of the tars that a new manifest is made of; () if a manifest is there.
        salvaged: The tars that break off, and what is whole of them.
        left_out: Names of tars that are not taken, as no manifest ever named them; `include` takes them.
        lost: What cannot be told from the tars, and files that could not be made again, each in a sentence.
        seconds: Wall time.
        dry_run: Whether nothing was written.
    """

    location: str
    generation: int
    num_samples: int
    num_shards: int
    written: tuple[str, ...] = ()
    tars: tuple[str, ...] = ()
    salvaged: tuple[Salvage, ...] = ()
    left_out: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    seconds: float = 0.0
    dry_run: bool = False


def repair(
    dataset: Writable,
    *,
    include: Sequence[str] = (),
    force: bool = False,
    jobs: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> RepairReport:
    """Make the sidecars of a dataset again from its tars, and save the whole samples of tars that break off.

    Where a manifest is left, in `manifest.json` or of any generation, the files that it names and that are missing are
    made again, each compared with the checksum that the manifest states. Without any, a first generation is made of
    the tars: shard indexes, shard table and key index are those of packing, byte for byte, if nothing was edited. What
    tars cannot tell is named in the report. Tars are never changed or deleted.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        include: Patterns (`*`, `?`, `[...]`) for more tars, where no manifest is left: those that are not named as a
            packer names shards, and those that an edit added, perhaps without finishing.
        force: Replace files that are there: damaged ones, and sidecars that no manifest names any more. Go back to an
            earlier generation where the manifest of the newest is lost.
        jobs: Worker processes that read local tars. Default: as for `index`.
        storage_options, allow_locations: As `shardpack.open` takes them.
        dry_run: Return what would be done, but write nothing.
        progress: Called as progress("index", bytes done, total bytes).

    Raises:
        DatasetNotFoundError: There are neither a manifest nor tars to take.
        OutputExistsError: Files would be replaced, and `force` is off; unfinished work of another command is there; or
            another process changed the dataset meanwhile.
        DuplicateKeyError: Keys of several tars repeat.
        UnsupportedVersionError: A manifest was written by a newer version of the format.
        StorageError: Reading or writing failed.
    """
    began = time.perf_counter()
    jobs = as_jobs(jobs)
    store = as_writable(dataset, None if is_path(dataset) else storage_options)
    target = target_of(store)
    with storage_errors(f"write to {target.location!r}"):
        refuse_newer(target)
        newest = newest_undamaged(target)
        if newest is None or _is_interrupted(target, newest.manifest):
            is_forced = force or newest is not None
            report = _of_all_tars(
                store, target, include, force=is_forced, jobs=jobs, dry_run=dry_run, progress=progress
            )
        else:
            options = LocationOptions(storage_options, allow_locations=allow_locations)
            files = FileRepair(store, target, newest, options=options, progress=progress)
            reopen = partial(open_base, dataset, storage_options=storage_options, allow_locations=allow_locations)
            report = _of_files(files.plan(force=force), target, newest.manifest, reopen, dry_run=dry_run)
    return replace(report, seconds=time.perf_counter() - began, dry_run=dry_run)


def _of_all_tars(
    store: WritableStore,
    target: Target,
    include: Sequence[str],
    *,
    force: bool,
    jobs: int | None,
    dry_run: bool,
    progress: Progress,
) -> RepairReport:
    """Make a first generation of the tars; arguments and errors as for `repair`."""
    tars, left_out = choose_tars(target, include)
    if dry_run:
        report = RepairReport(target.location, 1, 0, len(tars), (MANIFEST_PATH,), tuple(tars), lost=_NO_MANIFEST)
    else:
        manifest, rebuilt = rebuild(store, target, tars, force=force, jobs=jobs, progress=progress)
        report = _of_rebuilt(rebuilt, target, manifest)
    return replace(report, left_out=tuple(left_out))


def _of_files(
    plan: RepairPlan, target: Target, manifest: Manifest, reopen: Callable[[], EditBase], *, dry_run: bool
) -> RepairReport:
    """Write the files of a plan, and save the whole samples of tars that break off.

    Args:
        plan: What is to be done with the files of a generation.
        target: The dataset.
        manifest: The manifest of the generation.
        reopen: Opens the dataset once its files are written.
        dry_run: Return what would be done, but write nothing.
    """
    report = _of_plan(plan, target, manifest)
    if dry_run:
        return report
    write_plan(target, plan)
    if not plan.broken:
        clean_up_committed(target)
        return report
    with closing(reopen()) as base:
        return _with_whole_samples(report, base, plan)


def _of_plan(plan: RepairPlan, target: Target, manifest: Manifest) -> RepairReport:
    """Return the report of a repair that does what is planned, and saves nothing of tars that break off."""
    lost = list(plan.lost)
    if plan.broken:
        lost.append(f"samples at the end of {len(plan.broken)} tar(s) that break off; a repair saves the others")
    return RepairReport(
        target.location,
        manifest.generation,
        manifest.num_visible,
        manifest.num_shards,
        written=tuple(plan.names),
        lost=tuple(lost),
    )


def _with_whole_samples(report: RepairReport, base: EditBase, plan: RepairPlan) -> RepairReport:
    """Save the whole samples of tars that break off; return the report of both."""
    lost = list(plan.lost)
    done = replace_broken(base, plan.broken, keeps_table=plan.has_table, announce=lost.append)
    lost += [f"{one.shard}: all samples but {one.num_samples}; the tar breaks off" for one in done.salvaged]
    lost += [
        f"{one.shard}: samples whose payloads are damaged: {', '.join(map(repr, one.damaged))}"
        for one in done.salvaged
        if one.damaged
    ]
    return replace(
        report,
        generation=done.manifest.generation,
        num_samples=done.manifest.num_visible,
        num_shards=done.manifest.num_shards,
        written=(*report.written, *done.written),
        salvaged=tuple(done.salvaged),
        lost=tuple(lost),
    )


def _of_rebuilt(rebuilt: Rebuilt, target: Target, manifest: Manifest) -> RepairReport:
    """Return the report of a first generation that was made of tars."""
    return RepairReport(
        target.location,
        manifest.generation,
        manifest.num_samples,
        manifest.num_shards,
        written=tuple(rebuilt.written),
        tars=tuple(rebuilt.tars),
        salvaged=tuple(rebuilt.salvaged),
        lost=(*_NO_MANIFEST, *rebuilt.lost),
    )


def _is_interrupted(target: Target, manifest: Manifest) -> bool:
    """Return whether a repair was killed when it had made this manifest, and before it had cleaned up.

    Raises:
        OutputExistsError: Another command is unfinished.
    """
    command = unfinished_command(target)
    may_be_ours = manifest.generation == 1 and manifest.packed_with == recorded_options(indexed=True, repaired=True)
    if command is None:
        return may_be_ours and target.size(RUN_PATH) is not None  # all but this was cleaned up
    if command == "index" and may_be_ours:
        return True
    raise unfinished(target, command)
