"""Pack rows of a foreign format: found, opened, said in one line, and packed by the plan of chunks."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from shardpack.commit.overwrite import check_writable
from shardpack.errors import OptionError
from shardpack.runtime.cores import usable_cores
from shardpack.runtime.engine import as_remote
from shardpack.runtime.processes import start_workers
from shardpack.runtime.start_engine import start_engine
from shardpack.sources.formats.found_files import FoundFiles, find_files
from shardpack.sources.formats.guarded import GuardedRows
from shardpack.sources.formats.importer import find_format, open_format
from shardpack.sources.layouts.describe import without_match_line
from shardpack.sources.layouts.leftovers import matching_names
from shardpack.storage.atomic import storage_errors
from shardpack.storage.url import is_url
from shardpack.write.chunk_plan import ChunkRecipe
from shardpack.write.make_there import probe_source
from shardpack.write.pack_chunked import pack_chunked
from shardpack.write.part import parse_part
from shardpack.write.place import Place
from shardpack.write.report import PackReport
from shardpack.write.request import FOR_FOLDERS, PackRequest
from shardpack.write.row_input import RowInput
from shardpack.write.steps import encoder_versions

Located = str | os.PathLike[str]


def find_rows(
    path: Located, request: PackRequest, storage_options: Mapping[str, Any] | None
) -> tuple[FoundFiles, str] | None:
    """Return the files at a path and their format; None if they are of no foreign format.

    Files behind a URL are looked at only if the request names their format.

    Raises:
        SourceError: The path does not exist, or its files may be of several formats.
        OptionError: The format is unknown, or an option is for formats alone.
    """
    name = request.source_format
    if name is not None:
        return _without_ignored(find_files(path, storage_options), request), name
    said = ("layout", "annotations", "table")  # that these are images with labels
    for_folders = any(getattr(request, option) != FOR_FOLDERS[option] for option in said)
    if is_url(path) or for_folders or not os.path.exists(path):
        return None
    found = find_files(path)
    name = find_format(found if found.is_file else found.ignoring(request.ignore))
    return None if name is None else (_without_ignored(found, request), name)


def _without_ignored(found: FoundFiles, request: PackRequest) -> FoundFiles:
    """Return the files that are not ignored; announce the patterns that no file matches."""
    kept = found.ignoring(request.ignore)
    if line := without_match_line([one for one in request.ignore if not matching_names(found.names, one)]):
        request.announce(line)
    return kept


def pack_rows(found: FoundFiles, name: str, place: Place, request: PackRequest) -> PackReport:
    """Write the dataset of files in a foreign format. Raises as `shardpack.pack`."""
    began = time.perf_counter()
    request.refuse_but_for("a foreign format", check_labels=False, **{**FOR_FOLDERS, "ignore": request.ignore})
    if request.shuffle_seed is not None:
        raise OptionError(
            "rows of a foreign format are packed in their order; pack them without shuffle_seed, "
            "then pack the dataset with it"
        )
    place.refuse([found.store])
    part = None if request.part is None else parse_part(request.part)
    target = place.target(work_dir=request.work_dir, shared=part is not None)
    if not request.dry_run and part is None:
        with storage_errors(f"write to {target.location!r}"):
            check_writable(target, "pack", force=request.force)
    source = open_format(name, found, request.format_options)
    if request.classes is not None and source.classes != tuple(request.classes):
        raise OptionError(f"classes are not for this source: its {source.format} names them, or has no labels")
    request.announce(source.sentence)
    admitted = place.admit_rows(source.classes, [unit.split for unit in source.units])
    only_split = request.split or admitted.only_split
    rows = RowInput(source, only_split=only_split, classes=admitted.classes, as_split=admitted.split)
    steps = request.steps
    recipe = ChunkRecipe(
        steps.application(rename_keys=request.rename_keys, check_images=request.check_images, before=admitted.steps),
        request.limits,
        request.compression,
        request.on_error,
        versions=encoder_versions(),
    )
    with ExitStack() as engines:
        threads = request.threads_per_job
        if threads is None and isinstance(source, GuardedRows):
            threads = 1  # what may end the process has one of its own, also if there is only one job
        if request.engine is not None:
            engine = engines.enter_context(start_engine(request.engine, request.jobs, threads_per_job=threads))
            if (remote := as_remote(engine)) is not None:
                probe_source(remote, rows.first_part())
        else:
            jobs = _useful_jobs(rows, request)
            engine = engines.enter_context(start_workers(jobs, threads_per_job=threads))
        recorded = request.recorded(source.format)
        totals = pack_chunked(rows, recipe, target, request, recorded=recorded, engine=engine, part=part)
    return PackReport(
        out=target.location,
        layout=source.format,
        found=source.sentence,
        classes=rows.classes,
        seconds=time.perf_counter() - began,
        dry_run=request.dry_run,
        **totals,
    )


def _useful_jobs(rows: RowInput, request: PackRequest) -> int:
    """Return the number of jobs that were asked for, of which those beyond the cores are of use for chunks only.

    Otherwise the number of cores, but at most that of chunks, roughly: starting a worker takes 0.2 s.
    """
    cores, chunks = usable_cores(), rows.source_bytes // request.limits.max_bytes + 1
    if request.jobs is not None:
        return min(request.jobs, max(cores, chunks))
    return 1 if request.dry_run else min(cores, chunks)
